package probe_test

import (
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/probe"
)

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
