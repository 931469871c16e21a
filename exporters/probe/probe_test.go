package probe_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/probe"
)

var brokers = []string{"broker=0", "broker=1", "broker=2"}

func TestMistakesOfTheUser(t *testing.T) {
	for _, tc := range []struct {
		change func(*probe.Config)
		want   []string
	}{
		{func(*probe.Config) {}, nil},
		{func(c *probe.Config) { c.Topic = "a b" }, []string{`--probe.topic "a b"`}},
		{func(c *probe.Config) { c.Topic = ".." }, []string{`--probe.topic ".."`}},
		{func(c *probe.Config) { c.Group = "" }, []string{`--probe.group ""`}},
		{func(c *probe.Config) { c.Interval = 10 * time.Millisecond }, []string{`--probe.interval "10ms"`, `--probe.deadline "500ms"`}},
		{func(c *probe.Config) { c.Deadline = 800 * time.Millisecond }, []string{`--probe.deadline "800ms"`}},
		{func(c *probe.Config) { c.Topic, c.Interval = "", 10*time.Minute }, []string{`--probe.topic ""`, `--probe.interval "10m0s"`}},
	} {
		cfg := config()
		tc.change(&cfg)
		err := cfg.Validate()
		if (err != nil) != (len(tc.want) > 0) {
			t.Errorf("%+v: got %v", cfg, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if _, again := probe.New(cfg, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); (again != nil) != (err != nil) {
			t.Errorf("New says %v, Validate %v", again, err)
		}
	}
}

func TestEverythingIsMeasured(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	for _, b := range brokers {
		for _, h := range []string{"api_versions", "metadata", "produce", "end_to_end"} {
			eventually(t, func() bool { return w.value(t, h+"_duration_seconds", b, "outcome=ok") >= 2 }, "%s of %s is not measured", h, b)
		}
		if got := w.value(t, "canaries_received_total", b); got < 3 { // the first one's way is not measured
			t.Errorf("%v canaries of %s came back", got, b)
		}
		if got := w.value(t, "broker_partitions", b); got != 1 {
			t.Errorf("%s leads %v partitions", b, got)
		}
	}
	coordinator := "broker=" + string('0'+rune(w.fake.CoordinatorFor("candlestack-canary")))
	w.grow(t, 2, "commit_duration_seconds", coordinator, "outcome=ok")
	if all, its := w.value(t, "commit_duration_seconds"), w.value(t, "commit_duration_seconds", coordinator); all > its+1 { // one between the two
		t.Errorf("%v commits, %v of the coordinator", all, its)
	}
	if got := w.value(t, "ready"); got != 1 {
		t.Errorf("ready is %v", got)
	}
	for _, name := range []string{"canaries_duplicated_total", "canaries_late_total"} {
		if got := w.value(t, name); got != 0 {
			t.Errorf("%s is %v", name, got)
		}
	}

	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range families {
		h := f.GetMetric()[0].GetHistogram()
		if f.GetType() == dto.MetricType_HISTOGRAM && (h.Schema == nil || len(h.GetBucket()) == 0) {
			t.Errorf("%s is not native and classic", f.GetName())
		}
	}
}

// The group has read to the end, whichever broker led the partitions.
func TestTheGroupHasNoLag(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	eventually(t, func() bool {
		offsets, err := admin.FetchOffsets(t.Context(), "candlestack-canary")
		if err != nil {
			return false // the group begins with its first commit
		}
		n := 0
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic && o.At >= 2 {
				n++
			}
		})
		return n == 3
	}, "the group does not commit all partitions")
}

func TestSlowBrokerIsSeenInItsOwnSeriesOnly(t *testing.T) {
	w := three(t, 3)
	for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Produce} {
		w.fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.fake.KeepControl()
			if w.fake.CurrentNode() == 1 {
				w.fake.SleepControl(func() { time.Sleep(300 * time.Millisecond) })
			}
			return nil, nil, false
		})
	}
	w.probe(t, func(c *probe.Config) { c.Interval, c.Deadline = 6*time.Second, 3*time.Second })
	for _, name := range []string{"api_versions_duration_seconds", "produce_duration_seconds"} {
		fast := func(broker string) (n uint64) { // within a quarter of a second
			each(t, w.reg, name, []string{broker, "outcome=ok"}, func(m *dto.Metric) {
				for _, b := range m.GetHistogram().GetBucket() {
					if b.GetUpperBound() == .25 {
						n += b.GetCumulativeCount()
					}
				}
			})
			return n
		}
		for _, b := range []string{"broker=0", "broker=2"} {
			eventually(t, func() bool { return fast(b) > 0 }, "%s: %s is slow too", name, b)
		}
		eventually(t, func() bool { return w.value(t, name, "broker=1", "outcome=ok") > 0 }, "%s: the slow broker is not measured", name)
		if n := fast("broker=1"); n > 0 {
			t.Errorf("%s: %d answers of the slow broker are fast", name, n)
		}
	}
}

func TestLostBrokerCostsItsOwnSeriesOnly(t *testing.T) {
	for outcome, err := range map[string]error{"error": errCut, "timeout": nil} {
		t.Run(outcome, func(t *testing.T) {
			w := three(t, 3)
			group := "group"
			for w.fake.CoordinatorFor(group) == 1 {
				group += "s"
			}
			w.probe(t, func(c *probe.Config) { c.Group = group })
			w.grow(t, 1, "end_to_end_duration_seconds", "broker=1", "outcome=ok")
			w.grow(t, 1, "commit_duration_seconds", "outcome=ok")
			stop := w.fails(-1, 1, err)
			for _, name := range []string{"api_versions", "metadata"} {
				w.grow(t, 2, name+"_duration_seconds", "broker=1", "outcome="+outcome)
			}
			bad := func() float64 {
				return w.value(t, "produce_duration_seconds", "broker=1", "outcome=error") + w.value(t, "produce_duration_seconds", "broker=1", "outcome=timeout")
			}
			begin := bad()
			eventually(t, func() bool { return bad() > begin }, "no canary to the lost broker fails")
			for _, b := range []string{"broker=0", "broker=2"} {
				w.grow(t, 2, "end_to_end_duration_seconds", b, "outcome=ok")
				if got := w.value(t, "api_versions_duration_seconds", b, "outcome=error"); got > 0 {
					t.Errorf("%s has %v errors", b, got)
				}
			}
			none := w.value(t, "commit_duration_seconds", "broker=none")
			w.grow(t, 3, "commit_duration_seconds", "outcome=ok")
			if got := w.value(t, "commit_duration_seconds", "broker=none"); got > none {
				t.Error("the coordinator is forgotten with another broker")
			}
			if w.log.count("probing a broker fails") < 1 {
				t.Error("it is not said")
			}
			stop()
			w.grow(t, 2, "end_to_end_duration_seconds", "broker=1", "outcome=ok")
			eventually(t, func() bool { return w.log.count("probing a broker succeeds again") > 0 }, "its return is not said")
		})
	}
}

func TestSeriesOfABrokerThatLeftGo(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	w.grow(t, 1, "canaries_received_total", "broker=1")
	if err := w.fake.RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	w.move(t, 0, 0)
	w.move(t, 1, 2)
	w.move(t, 2, 2)
	eventually(t, func() bool { return count(t, w.reg, "", "broker=1") == 0 }, "series of the broker stay")
	w.grow(t, 2, "canaries_received_total", "broker=0")
	w.grow(t, 2, "canaries_received_total", "broker=2")
	if _, _, err := w.fake.AddNode(1, 0); err != nil {
		t.Fatal(err)
	}
	w.spread(t, 3)
	eventually(t, func() bool { return w.value(t, "canaries_received_total", "broker=1") > 0 }, "the broker is not probed again")
}

// The cluster's metadata tells of brokers that are alive. One that should have a
// replica belongs to it still.
func TestBrokerThatIsDown(t *testing.T) {
	w := three(t, 3)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	whole, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.fake.KeepControl()
		if len(req.(*kmsg.MetadataRequest).Topics) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = whole.Brokers
		told := whole.Topics[0]
		told.Partitions = slices.Clone(told.Partitions)
		for i := range told.Partitions {
			if p := &told.Partitions[i]; p.Partition == 1 {
				p.Leader, p.Replicas, p.ISR, p.ErrorCode = -1, []int32{7}, nil, kerr.LeaderNotAvailable.Code
			}
		}
		resp.Topics = []kmsg.MetadataResponseTopic{told}
		return resp, nil, true
	})
	w.probe(t)
	w.grow(t, 2, "api_versions_duration_seconds", "broker=7", "outcome=error")
	w.grow(t, 1, "canaries_received_total", "broker=0")
	if n := count(t, w.reg, "broker_partitions"); n != 4 {
		t.Errorf("%d brokers are known", n)
	}
	if got := w.value(t, "canaries_sent_total", "broker=7"); got != 0 {
		t.Errorf("%v canaries were sent to it", got)
	}
}

func TestBrokerWithoutAPartition(t *testing.T) {
	w := three(t, 3)
	w.move(t, 1, 2)
	w.probe(t)
	w.grow(t, 2, "canaries_received_total", "broker=2")
	w.grow(t, 1, "api_versions_duration_seconds", "broker=1", "outcome=ok")
	if one, two := w.value(t, "broker_partitions", "broker=1"), w.value(t, "broker_partitions", "broker=2"); one != 0 || two != 2 {
		t.Errorf("they lead %v and %v partitions", one, two)
	}
	if got := w.value(t, "canaries_sent_total", "broker=1"); got != 0 {
		t.Errorf("%v canaries were sent", got)
	}
	if got := w.log.count("lead no partition"); got != 1 {
		t.Errorf("it is said %d times", got)
	}
	if got := w.fake.LeaderFor(topic, 1); got != 2 {
		t.Errorf("the partition was given to %d", got)
	}
	w.move(t, 1, 1)
	w.grow(t, 2, "canaries_received_total", "broker=1")
	w.grow(t, 2, "canaries_received_total", "broker=2")
}

// A broker takes over the partition that another one is probed with.
func TestLeadersChange(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	for i := range int32(4) {
		w.move(t, 0, i%2)
		w.move(t, 1, 1-i%2)
		for _, b := range brokers {
			w.grow(t, 2, "canaries_received_total", b)
		}
	}
	if got := w.value(t, "canaries_duplicated_total"); got != 0 {
		t.Errorf("%v duplicates", got)
	}
}

func TestLostAndLateCanaries(t *testing.T) {
	for _, deleted := range []bool{true, false} {
		t.Run(fmt.Sprintf("deleted=%v", deleted), func(t *testing.T) {
			w := three(t, 3)
			w.probe(t)
			w.grow(t, 2, "canaries_received_total", "broker=1")
			stop := w.fails(int16(kmsg.Fetch), 1, errCut)
			w.grow(t, 2, "canaries_lost_total", "broker=1")
			w.grow(t, 1, "end_to_end_duration_seconds", "broker=0", "outcome=ok")
			if got := w.value(t, "end_to_end_duration_seconds", "broker=1", "outcome=timeout"); got < 2 {
				t.Errorf("%v lost canaries are timed", got)
			}
			if deleted {
				if err := w.fake.DeleteRecords(topic, 1, -1); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			w.grow(t, 2, "end_to_end_duration_seconds", "broker=1", "outcome=ok")
			lost, late := w.value(t, "canaries_lost_total", "broker=1"), w.value(t, "canaries_late_total", "broker=1")
			if deleted && late > lost-2 || !deleted && late < 2 {
				t.Errorf("%v canaries are lost and %v late", lost, late)
			}
		})
	}
}

func TestDuplicatedCanary(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {1: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w.grow(t, 1, "canaries_received_total", "broker=1")
	records := client.PollFetches(t.Context()).Records()
	if len(records) == 0 {
		t.Fatal("nothing was read")
	}
	original := records[0]
	for _, r := range []*kgo.Record{
		{Key: []byte("of another probe"), Value: original.Value},
		{Key: original.Key, Value: []byte("1")},
		{Key: original.Key, Value: []byte("1/0")},
		{Key: original.Key, Value: []byte("7/1")},
		{Key: original.Key, Value: []byte("1/99999999999999999999")},
		{Key: original.Key, Value: []byte(strings.Repeat("1/1", 100))},
		{},
		{Key: original.Key, Value: original.Value},
	} {
		r.Topic, r.Partition = topic, 1
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.grow(t, 2, "canaries_received_total", "broker=1") // what came before has been read
	if got := w.value(t, "canaries_duplicated_total", "broker=1"); got != 1 {
		t.Errorf("%v duplicates", got)
	}
	if got := w.value(t, "canaries_duplicated_total"); got != 1 {
		t.Errorf("%v duplicates of all", got)
	}
}

func TestTopicIsAbsent(t *testing.T) {
	w := three(t, 0)
	w.probe(t)
	for _, b := range brokers {
		w.grow(t, 2, "metadata_duration_seconds", b, "outcome=ok")
	}
	if got := w.value(t, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	if got := w.value(t, "canaries_sent_total"); got != 0 {
		t.Errorf("%v canaries were sent", got)
	}
	if w.fake.TopicInfo(topic) != nil {
		t.Error("the topic was made")
	}
	if got := strings.Count(w.log.String(), "\n"); got != 1 || w.log.count("--probe.create-topic") != 1 {
		t.Errorf("it is not said once: %s", w.log)
	}
	w.create(t, 3)
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
	eventually(t, func() bool { return w.value(t, "ready") == 1 && w.log.count("canaries are sent") == 1 }, "it is not ready")
}

func TestTopicIsMadeWhenToldTo(t *testing.T) {
	w := three(t, 0)
	w.probe(t, func(c *probe.Config) { c.CreateTopic = true })
	eventually(t, func() bool { return w.value(t, "ready") == 1 }, "it is not ready")
	if info := w.fake.TopicInfo(topic); info == nil {
		t.Fatal("the topic was not made")
	}
	if got := len(w.fake.PartitionInfos(topic)); got != 3 {
		t.Errorf("it has %d partitions", got)
	}
	w.spread(t, 3) // the fake one gives partitions to brokers by chance
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
}

func TestTopicMayNotBeMade(t *testing.T) {
	w := three(t, 0)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	w.probe(t, func(c *probe.Config) { c.CreateTopic = true })
	for _, b := range brokers {
		w.grow(t, 3, "metadata_duration_seconds", b, "outcome=ok")
	}
	if got := w.value(t, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	if got := w.log.count("TOPIC_AUTHORIZATION_FAILED"); got != 1 {
		t.Errorf("it is said %d times", got)
	}
}

func TestWithoutTheRightToBeIdempotent(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	w.probe(t)
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
}

func TestTopicIsMadeAnew(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	w.grow(t, 2, "canaries_received_total", "broker=1")
	if err := w.fake.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	w.create(t, 3)
	for _, b := range brokers {
		w.grow(t, 4, "canaries_received_total", b)
	}
	if got := w.value(t, "canaries_duplicated_total"); got != 0 {
		t.Errorf("%v duplicates", got)
	}
}

func TestCommitsWithoutACoordinator(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	w.probe(t)
	w.grow(t, 2, "commit_duration_seconds", "broker=none", "outcome=error")
	w.grow(t, 1, "canaries_received_total", "broker=1")
}

func TestCommitIsRefused(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	w.probe(t)
	w.grow(t, 2, "commit_duration_seconds", "outcome=error")
	if got := w.value(t, "commit_duration_seconds", "outcome=ok"); got != 0 {
		t.Errorf("%v commits succeeded", got)
	}
	eventually(t, func() bool { return w.log.count("GROUP_AUTHORIZATION_FAILED") == 1 }, "it is not said")
}

func TestKafkaIsAway(t *testing.T) {
	reg, log := run(t, []string{"127.0.0.1:1"})
	eventually(t, func() bool { return log.count("the cluster does not answer") == 1 }, "it is not said")
	if got := value(t, reg, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	var names []string
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if want := []string{"candlestack_probe_brokers_dropped", "candlestack_probe_commit_duration_seconds", "candlestack_probe_ready"}; !slices.Equal(names, want) {
		t.Errorf("got %s", names)
	}
}
