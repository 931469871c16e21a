package cluster_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// three is a cluster of three brokers, each of which leads a partition and
// coordinates a group: groups[i] is that of broker i.
func three(t *testing.T, change ...func(*snapshot.Config)) (w *world, groups []string) {
	w = newWorld(t, 3, change...)
	w.create(t, "orders", 3, nil)
	groups = make([]string, 3)
	for i := range int32(3) {
		if err := w.fake.MoveTopicPartition("orders", i, i); err != nil {
			t.Fatal(err)
		}
		w.produce(t, "orders", i, 4, time.Time{})
	}
	for n := 0; slices.Contains(groups, ""); n++ {
		name := fmt.Sprintf("group-%d", n)
		if i := w.fake.CoordinatorFor(name); groups[i] == "" {
			groups[i] = name
			w.commit(t, name, "orders", i, 1)
		}
	}
	return w, groups
}

func offset(partition int) string {
	return fmt.Sprintf(`kafka_topic_partition_current_offset{topic="orders",partition="%d"} 4`, partition)
}

func lag(group string, partition int) string {
	return fmt.Sprintf(`kafka_consumergroup_lag{consumergroup=%q,topic="orders",partition="%d"} 3`, group, partition)
}

// on makes node fail the requests of a key, as f says, until stop is called.
func on(w *world, key kmsg.Key, node int32, f func(kmsg.Request) (kmsg.Response, error)) (stop func()) {
	var stopped atomic.Bool
	w.fake.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.fake.KeepControl()
		if stopped.Load() || node >= 0 && w.fake.CurrentNode() != node {
			return nil, nil, false
		}
		resp, err := f(req)
		return resp, err, true
	})
	return func() { stopped.Store(true) }
}

func cut(kmsg.Request) (kmsg.Response, error) { return nil, errors.New("cut") }

func silent(kmsg.Request) (kmsg.Response, error) { return nil, nil }

// A controller that does not answer is no fault of the brokers that ask it for us.
func TestControllerThatIsSilent(t *testing.T) {
	w, _ := three(t, func(c *snapshot.Config) { c.Refresh.BrokerTimeout = 3 * time.Second })
	w.look(t)
	stop := on(w, kmsg.ListPartitionReassignments, -1, silent)
	for range 2 {
		w.look(t)
		w.has(t, "kafka_up 1", `kafka_broker_up{id="0"} 1`, `kafka_broker_up{id="1"} 1`, `kafka_broker_up{id="2"} 1`, offset(0), offset(1), offset(2))
	}
	stop()
	w.look(t)
	w.has(t, "kafka_up 1", `kafka_broker_up{id="0"} 1`)
}

// The log tells once of a broker that does not answer, not again where the cluster
// then forgets it, and once when it is back.
func TestLogTellsOfBrokersThatAreAway(t *testing.T) {
	w, _ := three(t)
	var log strings.Builder
	snapshots, err := snapshot.New(snapshotConfig(w.fake.ListenAddrs()...), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshots.Close)
	whole, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), w.client)
	if err != nil {
		t.Fatal(err)
	}
	// Without broker 1, whose partition stays with nobody.
	forgotten := func(req kmsg.Request) (kmsg.Response, error) {
		resp := *whole
		resp.SetVersion(req.GetVersion())
		resp.Brokers = slices.DeleteFunc(slices.Clone(whole.Brokers), func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == 1 })
		return &resp, nil
	}
	lines := func(want ...string) {
		t.Helper()
		for range 2 {
			snapshots.Refresh(t.Context())
		}
		got := strings.Split(strings.TrimSpace(log.String()), "\n")
		log.Reset()
		if len(want) == 0 && got[0] == "" {
			return
		}
		if len(got) != len(want) {
			t.Errorf("the log is %q, want %q", got, want)
			return
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("the log is %q, want %q", got, want)
			}
		}
	}
	lines()
	back := on(w, kmsg.ListGroups, 1, cut)
	lines("brokers=[1]")
	remember := on(w, kmsg.Metadata, -1, forgotten)
	lines()
	remember()
	lines()
	back()
	lines("all brokers answer again")
}

func TestBrokerLostInMidRefreshCostsItsPart(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.ListGroups, kmsg.OffsetFetch, kmsg.ListOffsets} {
		t.Run(key.Name(), func(t *testing.T) {
			w, groups := three(t)
			w.look(t)
			w.has(t, offset(0), offset(1), offset(2), lag(groups[0], 0), lag(groups[1], 1), lag(groups[2], 2))
			stop := on(w, key, 1, cut)
			w.look(t)
			w.has(t, "kafka_up 1", `kafka_broker_up{id="0"} 1`, `kafka_broker_up{id="1"} 0`, `kafka_broker_up{id="2"} 1`,
				offset(0), offset(2), lag(groups[0], 0), lag(groups[2], 2),
				fmt.Sprintf(`kafka_consumergroup_current_offset{consumergroup=%q,topic="orders",partition="1"} 1`, groups[1])) // remembered
			w.lacks(t, "kafka_topic_partition_current_offset", `partition="1"`)
			stop()
			w.look(t)
			w.has(t, `kafka_broker_up{id="1"} 1`, offset(1), lag(groups[1], 1))
		})
	}
}

func TestBrokerThatIsGone(t *testing.T) {
	w, groups := three(t)
	w.look(t)
	if err := w.fake.RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	w.look(t)
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("the look took %s", d)
	}
	w.has(t, "kafka_up 1", "kafka_brokers 2", offset(0), offset(2), lag(groups[0], 0), lag(groups[2], 2))
}

func TestSilentBroker(t *testing.T) {
	w, groups := three(t, func(c *snapshot.Config) { c.Refresh.BrokerTimeout = time.Second })
	w.look(t)
	for _, key := range []kmsg.Key{kmsg.Metadata, kmsg.ApiVersions, kmsg.ListGroups, kmsg.DescribeConfigs, kmsg.ListOffsets} {
		on(w, key, 2, silent)
	}
	for range 5 { // the client begins with another broker each time
		begin := time.Now()
		w.look(t)
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("one silent broker made the look take %s", d)
		}
	}
	failed := w.own(t, "candlestack_exporter_errors_total", "code=no_answer")
	if got := failed - w.own(t, "candlestack_exporter_errors_total", "code=no_answer", "api=Metadata"); got > 5 {
		t.Errorf("five looks waited %v times for a broker that was silent before", got)
	}
	w.has(t, `kafka_broker_up{id="2"} 0`, `kafka_broker_up{id="0"} 1`, offset(0), offset(1), lag(groups[0], 0), lag(groups[1], 1))
}

func TestLeaderlessPartition(t *testing.T) {
	w, _ := three(t)
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), w.client)
	if err != nil {
		t.Fatal(err)
	}
	on(w, kmsg.Metadata, -1, func(req kmsg.Request) (kmsg.Response, error) {
		changed := *resp
		changed.Version = req.GetVersion()
		changed.Topics = slices.Clone(resp.Topics)
		for i := range changed.Topics {
			parts := slices.Clone(changed.Topics[i].Partitions)
			for j := range parts {
				if parts[j].Partition == 1 {
					parts[j].Leader, parts[j].ISR, parts[j].ErrorCode = -1, nil, kerr.LeaderNotAvailable.Code
				}
			}
			changed.Topics[i].Partitions = parts
		}
		return &changed, nil
	})
	w.look(t)
	w.has(t, `kafka_topic_partition_offline{topic="orders",partition="1"} 1`, `kafka_topic_partition_offline{topic="orders",partition="0"} 0`,
		`kafka_topic_partition_leader_is_preferred{topic="orders",partition="1"} 0`, `kafka_topic_partition_under_min_isr{topic="orders",partition="1"} 1`,
		"kafka_topic_partitions{topic=\"orders\"} 3", offset(0), offset(2))
	w.lacks(t, "kafka_topic_partition_leader{", `partition="1"`)
	w.lacks(t, "kafka_topic_partition_current_offset", `partition="1"`)
}

func TestGroupListedByTwoBrokers(t *testing.T) {
	w, groups := three(t)
	for _, node := range []int32{0, 2} {
		on(w, kmsg.ListGroups, node, func(req kmsg.Request) (kmsg.Response, error) {
			resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
			resp.Groups = []kmsg.ListGroupsResponseGroup{{Group: groups[1], ProtocolType: "consumer", GroupState: "Dead", GroupType: "classic"}}
			return resp, nil
		})
	}
	w.look(t)
	parse(t, w.page(t)) // refuses a series that is there twice
	w.has(t, lag(groups[1], 1))
	if got := w.lines(t, "kafka_consumergroup_info", groups[1]); len(got) != 1 {
		t.Errorf("got %s", got)
	}
	w.has(t, fmt.Sprintf(`kafka_consumergroup_state{consumergroup=%q,state="Empty"} 1`, groups[1]))
}

func TestCoordinatorMovesInMidRefresh(t *testing.T) {
	w, groups := three(t)
	w.look(t)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch, kmsg.DescribeGroups}, Group: groups[1], Err: kerr.NotCoordinator, Count: 2})
	w.look(t)
	w.has(t, lag(groups[0], 0), lag(groups[1], 1), lag(groups[2], 2))
	w.fake.RehashCoordinators()
	w.look(t)
	w.has(t, lag(groups[0], 0), lag(groups[1], 1), lag(groups[2], 2))
}

func TestRefusedAPI(t *testing.T) {
	w, groups := three(t)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	w.look(t)
	w.has(t, "kafka_up 1", `kafka_broker_up{id="0"} 1`, offset(0), lag(groups[0], 0))
	w.lacks(t, "kafka_consumergroup_members")
	if got := w.own(t, "candlestack_exporter_api_authorized", "api=DescribeGroups"); got != 0 {
		t.Errorf("authorized is %v", got)
	}
	if got := w.own(t, "candlestack_exporter_api_authorized", "api=OffsetFetch"); got != 1 {
		t.Errorf("OffsetFetch: authorized is %v", got)
	}
	if got := w.own(t, "candlestack_exporter_errors_total", "api=DescribeGroups", "code=GROUP_AUTHORIZATION_FAILED"); got != 3 {
		t.Errorf("%v errors, want one of each group", got)
	}
	// The fake cluster has no quorum.
	w.lacks(t, "kafka_controller_id")
	if got := w.own(t, "candlestack_exporter_api_supported", "api=DescribeQuorum"); got != 0 {
		t.Errorf("DescribeQuorum: supported is %v", got)
	}
}

func TestKafkaIsAway(t *testing.T) {
	w := newWorld(t, 1, func(c *snapshot.Config) { c.Refresh.Interval, c.Refresh.BrokerTimeout = time.Second, time.Second })
	w.create(t, "orders", 1, nil)
	w.has(t, "kafka_up 0") // before the first look
	w.look(t)
	w.has(t, "kafka_up 1")
	w.fake.Close()
	var problem string
	w.snapshots.Report = func(p string) { problem = p }
	w.snapshots.Refresh(t.Context())
	w.has(t, "kafka_up 0", `kafka_broker_up{id="0"} 0`, `kafka_topic_partitions{topic="orders"} 1`)
	if problem == "" {
		t.Error("no problem reported")
	}
	time.Sleep(2 * time.Second) // two intervals
	w.snapshots.Refresh(t.Context())
	w.has(t, "kafka_up 0")
	w.lacks(t, "orders")
	w.lacks(t, "kafka_broker")
}

func TestGroupsThatAreNotShown(t *testing.T) {
	w, groups := three(t, func(c *snapshot.Config) { c.Group.Max = 2 })
	w.look(t)
	slices.Sort(groups)
	w.lacks(t, groups[2])
	if got := w.own(t, "candlestack_exporter_groups_dropped", "reason=max"); got != 1 {
		t.Errorf("dropped is %v", got)
	}
	w, groups = three(t, func(c *snapshot.Config) { c.Group.HideEmptyAfter = 50 * time.Millisecond })
	w.look(t)
	w.has(t, lag(groups[0], 0))
	time.Sleep(100 * time.Millisecond)
	w.look(t)
	w.lacks(t, "consumergroup=")
	if got := w.own(t, "candlestack_exporter_groups_dropped", "reason=empty"); got != 3 {
		t.Errorf("dropped is %v", got)
	}
	w, groups = three(t, func(c *snapshot.Config) { c.Group.Exclude, c.Topic.Filter = "^"+groups[0]+"$", "^ord" })
	w.create(t, "other", 1, nil)
	w.look(t)
	w.lacks(t, `"other"`)
	w.lacks(t, fmt.Sprintf("%q", groups[0]))
}

// However many partitions and groups there are, a look takes 6 requests a broker
// and 6 more at most, with groups that stand where timestamps must be asked for.
func TestRequestsOfALook(t *testing.T) {
	w := loaded(t, load{brokers: 3, topics: 20, partitions: 30, groups: 60, commits: 20})
	connect := func() float64 { return w.own(t, "candlestack_exporter_kafka_requests_total", "api=ApiVersions") }
	w.look(t) // asks for settings, and more often for timestamps
	for i := range 5 {
		w.commit(t, fmt.Sprintf("group-%04d", i), "topic-000", int32(i), 0)
		before := w.requests(t) - connect()
		w.look(t)
		if n := w.requests(t) - connect() - before; n > 24 {
			t.Errorf("look %d took %v requests", i, n)
		}
	}
}
