package kafka_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/stack"
)

// Promise 1: committed <= durable, and what is not durable comes again.
func TestConsumerCommitsOnlyWhatIsStored(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		const parts, each, stored = 3, 2000, 700
		topic, as := b.topic(t, parts), b.group(t)
		b.fill(t, topic, parts, each)
		first := newMember(t, b.config(), as, topic)
		first.each = func(p engine.Partition, r pipeline.Record) {
			if r.Offset < stored {
				first.storing(t)(p, r)
			}
		}
		first.join(t)
		eventually(t, "all records came", func() bool { return first.count() == parts*each })
		eventually(t, "what is stored is committed", func() bool {
			return slices.Equal(b.committed(t, as.Group, topic, parts), slicesOf(parts, stored))
		})
		eventually(t, "the metric says so", func() bool {
			return value(t, first.reg, "candlestack_kafka_client_committed_offset", "topic", topic, "partition", "1") == stored
		})
		first.stop(t)
		if diff := cmp.Diff(slicesOf(parts, stored), b.committed(t, as.Group, topic, parts)); diff != "" {
			t.Errorf("the end committed what is not stored:\n%s", diff)
		}
		if n := value(t, first.reg, "candlestack_kafka_client_committed_offset"); n != -1 {
			t.Errorf("partitions that nobody owns still have an offset: %v", n)
		}

		second := newMember(t, b.config(), as, topic)
		second.each = second.storing(t)
		second.join(t)
		eventually(t, "the rest came again", func() bool { return second.count() == parts*(each-stored) })
		second.stop(t)
		if diff := cmp.Diff(slicesOf(parts, each), b.committed(t, as.Group, topic, parts)); diff != "" {
			t.Errorf("the end did not commit what is stored:\n%s", diff)
		}
		for id := range int32(parts) {
			p := engine.Partition{Topic: topic, ID: id}
			if !run(first.got(p), 0, each) || !run(second.got(p), stored, each) {
				t.Errorf("records of partition %d came out of order", id)
			}
		}
		if n := value(t, second.reg, "candlestack_kafka_client_skipped_records_total", "topic", topic); n != 0 {
			t.Errorf("counted %v lost records", n)
		}
	})
}

func TestConsumerGivesRecordsWhole(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic := b.topic(t, 1)
		want := pipeline.Record{
			Topic: topic, Time: time.UnixMilli(1740787200123), Key: []byte("binance/BTC-USDT/1m"), Value: []byte("\xff\x00"),
			Headers: []pipeline.Header{{Name: "twice", Value: []byte("1")}, {Name: "twice", Value: []byte("2")}, {Name: "empty", Value: []byte{}}},
		}
		b.append(t, toKgo(want, want.Time))
		var got pipeline.Record
		m := newMember(t, b.config(), b.group(t), topic)
		m.each = func(_ engine.Partition, r pipeline.Record) { got = r }
		m.join(t)
		eventually(t, "it came", func() bool { return m.count() == 1 })
		m.stop(t)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A pause drops what is on its way; a resume goes on with exactly the record
// asked for, whatever was fetched meanwhile.
func TestConsumerPausesAndResumesExactly(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		const parts, each, rounds = 4, 20_000, 40
		topic := b.topic(t, parts)
		b.fill(t, topic, parts, each)
		m := newMember(t, b.config(), b.group(t), topic)
		type lane struct {
			sync.Mutex
			next   int64
			paused bool
			pauses int
		}
		lanes := [parts]*lane{}
		for i := range lanes {
			lanes[i] = &lane{}
		}
		var resumes sync.WaitGroup
		defer resumes.Wait()
		m.each = func(p engine.Partition, r pipeline.Record) {
			l := lanes[p.ID]
			l.Lock()
			defer l.Unlock()
			switch {
			case l.paused: // it was on its way
			case r.Offset != l.next:
				t.Errorf("partition %d: record %d came, want %d", p.ID, r.Offset, l.next)
				l.next = r.Offset + 1
			case l.pauses < rounds && rand.IntN(each/rounds/2) == 0:
				if err := m.Pause(p); err != nil {
					t.Error(err)
				}
				l.paused, l.pauses = true, l.pauses+1
				resumes.Go(func() { // another goroutine, as a lane's; sometimes before the next poll
					l.Lock()
					defer l.Unlock()
					if err := m.Resume(p, r.Offset); err != nil {
						t.Error(err)
					}
					l.paused = false
				})
			default:
				l.next++
			}
		}
		m.join(t)
		eventually(t, "all records came once and in order", func() bool {
			for _, l := range lanes {
				l.Lock()
				at := l.next
				l.Unlock()
				if at < each {
					return false
				}
			}
			return true
		})
		m.stop(t)
		total := 0
		for _, l := range lanes {
			total += l.pauses
		}
		t.Logf("%d pauses, %d records came again", total, m.count()-parts*each)
		if n := value(t, m.reg, "candlestack_kafka_client_skipped_records_total", "topic", topic); n != 0 {
			t.Errorf("counted %v lost records", n)
		}
	})
}

// A paused partition gives no record until it is resumed.
func TestConsumerStaysPaused(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic := b.topic(t, 2)
		b.fill(t, topic, 2, 100)
		held, free := engine.Partition{Topic: topic, ID: 0}, engine.Partition{Topic: topic, ID: 1}
		m := newMember(t, b.config(), b.group(t), topic)
		var beyond []int64
		m.each = func(p engine.Partition, r pipeline.Record) {
			switch {
			case p == held && r.Offset == 10 && len(m.got(held)) == 11:
				if err := m.Pause(held); err != nil {
					t.Error(err)
				}
			case p == held && r.Offset > 10 && beyond == nil:
				beyond = append(beyond, r.Offset)
			}
		}
		m.join(t)
		eventually(t, "the other partition is read", func() bool { return len(m.got(free)) == 100 && len(m.got(held)) >= 11 })
		b.fill(t, topic, 2, 100)
		eventually(t, "it goes on", func() bool { return len(m.got(free)) == 200 })
		if got := m.got(held); !run(got, 0, 11) {
			t.Errorf("a paused partition gave %v", got[11:])
		}
		if err := m.Resume(held, 5); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the paused one goes on", func() bool { return len(m.got(held)) == 11+195 })
		if got := m.got(held)[11:]; !run(got, 5, 200) {
			t.Errorf("went on with %v", got[:5])
		}
	})
}

func TestMembersShareWithoutLossOrHaste(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		const parts = 6
		topic, as := b.topic(t, parts), b.group(t)
		b.fill(t, topic, parts, 500)
		first, second := newMember(t, b.config(), as, topic), newMember(t, b.config(), as, topic)
		first.each, second.each = first.storing(t), second.storing(t)
		first.join(t)
		eventually(t, "the first has all", func() bool { return first.count() == parts*500 })
		second.join(t)
		for range 20 { // under load
			b.fill(t, topic, parts, 100)
		}
		eventually(t, "they share", func() bool { return len(first.starts()) == parts/2 && len(second.starts()) == parts/2 })
		b.fill(t, topic, parts, 500)
		eventually(t, "both read to the end", func() bool { return first.count()+second.count() == parts*3000 })
		if diff := cmp.Diff([]string{"assigned", "revoked"}, first.story()); diff != "" {
			t.Errorf("the first did not keep what it kept (cooperative):\n%s", diff)
		}
		shared := second.starts()
		for p, start := range shared {
			if got := first.got(p); !run(got, 0, start) {
				t.Errorf("%v was given over at %d, the first had read %d", p, start, len(got))
			}
			if got := second.got(p); !run(got, start, 3000) {
				t.Errorf("%v was not read on from %d", p, start)
			}
		}
		first.stop(t)
		eventually(t, "the second has all", func() bool { return len(second.starts()) == parts })
		b.fill(t, topic, parts, 10)
		eventually(t, "and reads it", func() bool { return first.count()+second.count() == parts*3010 })
		for p, start := range second.starts() {
			if _, before := shared[p]; !before && start != 3000 {
				t.Errorf("%v starts at %d, want where the first ended", p, start)
			}
		}
		second.stop(t)
		if diff := cmp.Diff(slicesOf(parts, 3010), b.committed(t, as.Group, topic, parts)); diff != "" {
			t.Error(diff)
		}
	})
}

// A static member that comes back within the session time-out disturbs nobody.
func TestStaticMemberComesBack(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		const parts = 4
		topic, as := b.topic(t, parts), b.group(t)
		b.fill(t, topic, parts, 100)
		named := func(id string) *member {
			m := newMember(t, b.config(), kafka.ConsumerConfig{Group: as.Group, InstanceID: id}, topic)
			m.each = m.storing(t)
			m.join(t)
			return m
		}
		one, two := named("one"), named("two")
		eventually(t, "they share", func() bool {
			return len(one.starts()) == parts/2 && len(two.starts()) == parts/2 && one.count()+two.count() == parts*100
		})
		had, story := one.starts(), two.story()
		one.stop(t)
		b.fill(t, topic, parts, 50)
		again := named("one")
		eventually(t, "the one who came back reads on", func() bool { return again.count() == parts/2*50 })
		for p := range had {
			if start, ok := again.starts()[p]; !ok || start != 100 {
				t.Errorf("%v: came back at %d, %t", p, start, ok)
			}
		}
		if diff := cmp.Diff(story, two.story()); diff != "" {
			t.Errorf("the other member was disturbed:\n%s", diff)
		}
	})
}

// What retention deletes before it was read is lost; that is counted, and
// reading goes on with what is left.
func TestConsumerCountsWhatRetentionTook(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic, as := b.topic(t, 1), b.group(t)
		p := engine.Partition{Topic: topic}
		b.fill(t, topic, 1, 1000)
		truncate := func(before int64) {
			t.Helper()
			if _, err := b.admin.DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, At: before}}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.admin.CommitAllOffsets(t.Context(), as.Group, kadm.Offsets{topic: {0: {Topic: topic, At: 100, LeaderEpoch: -1}}}); err != nil {
			t.Fatal(err)
		}
		truncate(250)
		m := newMember(t, b.config(), as, topic)
		m.each = func(p engine.Partition, r pipeline.Record) {
			if r.Offset == 999 { // a store that is away for longer than retention
				if err := m.Pause(p); err != nil {
					t.Error(err)
				}
			}
		}
		skipped := func() float64 {
			return value(t, m.reg, "candlestack_kafka_client_skipped_records_total", "topic", topic)
		}
		if skipped() != 0 {
			t.Errorf("before anything happened %v are lost", skipped())
		}
		m.join(t)
		eventually(t, "what is left came", func() bool { return m.count() == 750 })
		if got := m.got(p); !run(got, 250, 1000) || skipped() != 150 {
			t.Errorf("read from %d, counted %v lost records, want 250 and 150", got[0], skipped())
		}
		b.fill(t, topic, 1, 1000)
		truncate(1400)
		if err := m.Resume(p, 999); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it goes on with what is left", func() bool { return m.count() == 750+600 })
		if got := m.got(p)[750:]; !run(got, 1400, 2000) || skipped() != 150+401 {
			t.Errorf("went on at %d, counted %v lost records, want 1400 and 551", got[0], skipped())
		}
	})
}

// A topic that was deleted and made anew starts again; nothing of it was skipped.
func TestConsumerOfATopicThatBeganAnew(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic, as := b.topic(t, 1), b.group(t)
		b.fill(t, topic, 1, 10)
		if err := b.admin.CommitAllOffsets(t.Context(), as.Group, kadm.Offsets{topic: {0: {Topic: topic, At: 5000, LeaderEpoch: -1}}}); err != nil {
			t.Fatal(err)
		}
		m := newMember(t, b.config(), as, topic)
		m.join(t)
		eventually(t, "its records came", func() bool { return m.count() == 10 })
		if n := value(t, m.reg, "candlestack_kafka_client_skipped_records_total", "topic", topic); n != 0 {
			t.Errorf("counted %v lost records", n)
		}
	})
}

func TestConsumerOutlastsTheBroker(t *testing.T) {
	dir := t.TempDir()
	k, err := stack.StartKafka(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { k.Close() }()
	port := portOf(t, k.Addr)
	b := connect(t, k.Addr)
	if _, err := b.admin.CreateTopic(t.Context(), 3, 1, nil, "candles"); err != nil {
		t.Fatal(err)
	}
	b.fill(t, "candles", 3, 500)
	m := newMember(t, b.config(), kafka.ConsumerConfig{Group: "sink"}, "candles")
	m.each = m.storing(t)
	m.join(t)
	eventually(t, "all came", func() bool { return m.count() == 1500 })
	k.Close()
	eventually(t, "the broker's end is reported", func() bool { all := m.told.of("kafka consumer"); return len(all) > 0 && all[len(all)-1] != "" })
	if k, err = stack.StartKafka(dir, port); err != nil {
		t.Fatal(err)
	}
	connect(t, k.Addr).fill(t, "candles", 3, 500)
	eventually(t, "the rest came", func() bool {
		for id := range int32(3) {
			got := m.got(engine.Partition{Topic: "candles", ID: id})
			if len(got) == 0 || got[len(got)-1] != 999 {
				return false
			}
		}
		return true
	})
	eventually(t, "its return is reported", func() bool { all := m.told.of("kafka consumer"); return all[len(all)-1] == "" })
	m.stop(t)
	for id := range int32(3) {
		got := m.got(engine.Partition{Topic: "candles", ID: id})
		slices.Sort(got)
		if !run(slices.Compact(got), 0, 1000) { // some may have come twice
			t.Errorf("records of partition %d are missing", id)
		}
	}
	if diff := cmp.Diff(slicesOf(3, 1000), connect(t, k.Addr).committed(t, "sink", "candles", 3)); diff != "" {
		t.Error(diff)
	}
}

// Without a broker a member waits, says so, and ends when it is told to.
func TestConsumerWithoutABroker(t *testing.T) {
	m := newMember(t, kafka.Config{Brokers: []string{"127.0.0.1:1"}}, kafka.ConsumerConfig{Group: "g"}, "candles")
	m.join(t)
	eventually(t, "the missing broker is reported", func() bool { all := m.told.of("kafka consumer"); return len(all) > 0 && all[0] != "" })
	m.stop(t)
}

// A broker that goes away for good with offsets uncommitted does not keep a
// member from ending: what it could not commit will come again.
func TestConsumerEndsAfterTheBroker(t *testing.T) {
	k, err := stack.StartKafka(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	b := connect(t, k.Addr)
	topic := "candles"
	if _, err := b.admin.CreateTopic(t.Context(), 3, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	b.fill(t, topic, 3, 500)
	m := newMember(t, b.config(), kafka.ConsumerConfig{Group: "sink"}, topic)
	m.join(t)
	eventually(t, "all came", func() bool { return m.count() == 1500 })
	for id := range int32(3) {
		if err := m.Store(engine.Partition{Topic: topic, ID: id}, 500); err != nil {
			t.Fatal(err)
		}
	}
	k.Close()
	m.end()
	select {
	case err := <-m.done:
		if err != nil {
			t.Error(err)
		}
		m.done <- nil
	case <-time.After(30 * time.Second):
		t.Fatal("the member waits for a broker that is gone")
	}
}

// A broker that does not answer at the time of an assignment must not make a
// member read from a wrong place, or into nothing: it asks again.
func TestConsumerAsksAgainWhereToBegin(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "candles"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := connect(t, cluster.ListenAddrs()[0])
	b.fill(t, "candles", 2, 100)
	var refused atomic.Int32
	cluster.ControlKey(int16(kmsg.OffsetFetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 2 {
			return nil, nil, false
		}
		cluster.KeepControl()
		response := request.ResponseKind().(*kmsg.OffsetFetchResponse)
		response.ErrorCode = kerr.GroupAuthorizationFailed.Code
		for _, g := range request.(*kmsg.OffsetFetchRequest).Groups {
			group := kmsg.NewOffsetFetchResponseGroup()
			group.Group, group.ErrorCode = g.Group, kerr.GroupAuthorizationFailed.Code
			response.Groups = append(response.Groups, group)
		}
		return response, nil, true
	})
	m := newMember(t, b.config(), kafka.ConsumerConfig{Group: "sink"}, "candles")
	m.each = m.storing(t)
	m.join(t)
	eventually(t, "all came", func() bool { return m.count() == 200 })
	if told := m.told.of("kafka consumer"); refused.Load() < 3 || !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "reading committed offsets: ") }) {
		t.Errorf("was refused %d times and reported %q", refused.Load(), told)
	}
	eventually(t, "it is well again", func() bool { all := m.told.of("kafka consumer"); return all[len(all)-1] == "" })
}

// What librdkafka says of a partition that went away is the engine's ErrNotOwned.
func TestConsumerOfPartitionsThatItDoesNotOwn(t *testing.T) {
	b := embedded(t)
	topic := b.topic(t, 1)
	m := newMember(t, b.config(), b.group(t), topic)
	m.join(t)
	eventually(t, "it owns the one", func() bool { return len(m.starts()) == 1 })
	other := engine.Partition{Topic: topic, ID: 7}
	for what, err := range map[string]error{"Store": m.Store(other, 1), "Resume": m.Resume(other, 1)} {
		if !errors.Is(err, engine.ErrNotOwned) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
