package ledger

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/services/market"
)

// cluster is a broker with topics of this test alone.
type cluster struct {
	fake    *kfake.Cluster // nil: a real one
	brokers []string
	topics  map[market.Kind]string
	client  *kgo.Client
	admin   *kadm.Client
}

// onEachBroker runs f against kfake and, where there is one, against real Kafka.
func onEachBroker(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Run("kfake", func(t *testing.T) { f(t, fakeCluster(t)) })
	t.Run("Kafka", func(t *testing.T) {
		address := os.Getenv("CANDLESTACK_TEST_KAFKA")
		if address == "" {
			t.Skip("CANDLESTACK_TEST_KAFKA is not set: no real Kafka")
		}
		f(t, newCluster(t, nil, strings.Split(address, ",")))
	})
}

func fakeCluster(t *testing.T) *cluster {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return newCluster(t, fake, fake.ListenAddrs())
}

func newCluster(t *testing.T, fake *kfake.Cluster, brokers []string) *cluster {
	t.Helper()
	c := &cluster{fake: fake, brokers: brokers, topics: map[market.Kind]string{}}
	var err error
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	c.admin = kadm.NewClient(c.client)
	var names []string
	for kind, topic := range allTopics() {
		c.topics[kind] = fmt.Sprintf("test-ledger-%d.%s", time.Now().UnixNano(), topic)
		names = append(names, c.topics[kind], market.DeadLetterTopic(c.topics[kind]))
	}
	made, err := c.admin.CreateTopics(t.Context(), 3, 1, nil, names...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.admin.DeleteTopics(context.Background(), names...) })
	return c
}

// produce writes n records and returns the path of the ledger.
func (c *cluster) produce(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	p, err := NewProducer(ProducerConfig{Path: path, Brokers: c.brokers, Topics: c.topics, Seed: 3, Series: 5, Rate: 50_000, Records: n})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path
}

// records reads all that lies in the topics.
func (c *cluster) records(t *testing.T) []*kgo.Record {
	t.Helper()
	names := slices.Collect(maps.Values(c.topics))
	ends, err := c.admin.ListEndOffsets(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(names...))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var records []*kgo.Record
	for int64(len(records)) < left {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func TestProducerBooksWhatLiesInKafka(t *testing.T) {
	onEachBroker(t, func(t *testing.T, c *cluster) {
		entries, err := readBook(c.produce(t, 2000))
		if err != nil {
			t.Fatal(err)
		}
		at := map[place]*kgo.Record{}
		for _, k := range c.records(t) {
			at[place{k.Topic, k.Partition, k.Offset}] = k
		}
		if len(entries) != 2000 || len(at) != 2000 {
			t.Fatalf("%d records in the book, %d in Kafka", len(entries), len(at))
		}
		for _, e := range entries {
			k := at[e.place]
			if !e.acked || k == nil {
				t.Fatalf("record %d: acknowledged %t, in Kafka %t", e.Sent, e.acked, k != nil)
			}
			sum := hashRecord(k.Key, k.Value, k.Headers)
			if e.Poison == "" {
				event, err := (&record{value: k.Value, headers: k.Headers}).decode()
				if err != nil {
					t.Fatal(err)
				}
				if sum, err = hashEvent(event); err != nil {
					t.Fatal(err)
				}
			}
			if sum != e.Hash {
				t.Fatalf("record %d at %s is not what the book says", e.Sent, e.place)
			}
		}
	})
}

func TestProducerDoesNotCountWhatWasRefused(t *testing.T) {
	c := fakeCluster(t)
	c.fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		produce := request.(*kmsg.ProduceRequest)
		response := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				refused := kmsg.NewProduceResponseTopicPartition()
				refused.Partition, refused.ErrorCode = p.Partition, kerr.MessageTooLarge.Code
				answer.Partitions = append(answer.Partitions, refused)
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
	entries, err := readBook(c.produce(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	if acked := slices.IndexFunc(entries, func(e entry) bool { return e.acked }); len(entries) != 100 || acked >= 0 {
		t.Errorf("%d records, number %d is acknowledged", len(entries), acked)
	}
}

func TestProducerEndsWithItsContext(t *testing.T) {
	c := fakeCluster(t)
	p, err := NewProducer(ProducerConfig{Path: filepath.Join(t.TempDir(), "ledger"), Brokers: c.brokers, Topics: c.topics, Series: 1, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
}

// bury sends the letter of a record.
func (c *cluster) bury(t *testing.T, k *kgo.Record) {
	t.Helper()
	headers := append(slices.Clone(k.Headers),
		kgo.RecordHeader{Key: deadTopic, Value: []byte(k.Topic)},
		kgo.RecordHeader{Key: deadPartition, Value: []byte(strconv.Itoa(int(k.Partition)))},
		kgo.RecordHeader{Key: deadOffset, Value: []byte(strconv.FormatInt(k.Offset, 10))},
		kgo.RecordHeader{Key: "candlestack-dead-reason", Value: []byte("decode")})
	letter := &kgo.Record{Topic: market.DeadLetterTopic(k.Topic), Key: k.Key, Value: k.Value, Headers: headers}
	if err := c.client.ProduceSync(t.Context(), letter).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// commit commits the ends of all partitions, less what lacks, for the group.
func (c *cluster) commit(t *testing.T, group string, records []*kgo.Record, lacks int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	for _, k := range records {
		offsets.Add(kadm.Offset{Topic: k.Topic, Partition: k.Partition, At: max(0, k.Offset+1-lacks), LeaderEpoch: -1})
	}
	if err := c.admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// only are the topics of these kinds.
func (c *cluster) only(kinds ...market.Kind) map[market.Kind]string {
	topics := maps.Clone(c.topics)
	maps.DeleteFunc(topics, func(k market.Kind, _ string) bool { return !slices.Contains(kinds, k) })
	return topics
}

// verdict is what Check says of a run, and what it should.
type verdict struct {
	t   *testing.T
	c   *cluster
	cfg Config
}

func newVerdict(t *testing.T, c *cluster, cfg Config) *verdict { return &verdict{t, c, cfg} }

func (v *verdict) behind(want int) {
	v.t.Helper()
	if got, err := Behind(v.t.Context(), v.cfg); got != int64(want) || err != nil {
		v.t.Errorf("behind by %d, %v, want %d", got, err, want)
	}
}

// expect takes the invariants that are broken: I1 I3.
func (v *verdict) expect(broken string) {
	v.t.Helper()
	invariants, err := Check(v.t.Context(), v.cfg)
	if err != nil {
		v.t.Fatal(err)
	}
	var got []string
	for _, i := range invariants {
		if !i.OK {
			got = append(got, i.Name[:2])
		}
	}
	if strings.Join(got, " ") != broken {
		v.t.Errorf("broken are %v, want %s: %v", got, broken, invariants)
	}
	third, err := CheckCommitted(v.t.Context(), v.cfg)
	if err != nil || third.OK == strings.Contains(broken, "I3") {
		v.t.Errorf("%v, %v", third, err)
	}
}

// settleAs looks on while nothing is durable and nothing committed, and then all
// is, in the order of a sink; store makes the store hold what a faultless one would.
func (v *verdict) settleAs(store func(*truth)) {
	v.t.Helper()
	records := slices.DeleteFunc(v.c.records(v.t), func(k *kgo.Record) bool {
		return !slices.Contains(slices.Collect(maps.Values(v.cfg.Topics)), k.Topic)
	})
	at := map[place]*kgo.Record{}
	sink := newTruth()
	for _, k := range records {
		p := place{k.Topic, k.Partition, k.Offset}
		at[p] = k
		sink.settle(v.t, record{value: k.Value, headers: k.Headers}, p)
	}
	v.behind(len(records))
	v.expect("I1")
	store(sink)
	v.expect("I1") // poisons are no dead letters yet
	lost := sink.dead[0]
	for _, p := range sink.dead[1:] {
		v.c.bury(v.t, at[p])
	}
	v.expect("I1")
	v.c.commit(v.t, v.cfg.Group, records, 0)
	v.behind(0)
	v.expect("I1 I3") // one letter is lost, and its record committed
	v.c.bury(v.t, at[lost])
	v.c.bury(v.t, at[lost])
	v.expect("")
	v.c.commit(v.t, v.cfg.Group, records, 5)
	v.expect("")
	v.c.commit(v.t, v.cfg.Group, records, 0)
}
