package kafka_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/stack"
)

// TestMain finds every client that was not closed, by its goroutine that polls
// for logs. Two others may stay: where a broker goes away for good, librdkafka
// sometimes never answers a commit, and Consumer.close stops to wait for it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/candlestack/candlestack/services/kafka.inTime.func1"),
		goleak.IgnoreAnyFunction("github.com/candlestack/candlestack/services/kafka.NewConsumer.func1"))
}

// broker is a Kafka and a client of another make that looks at it.
type broker struct {
	addr   string
	client *kgo.Client
	admin  *kadm.Client
}

func connect(t *testing.T, addr string) *broker {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MaxBufferedRecords(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &broker{addr: addr, client: client, admin: kadm.NewClient(client)}
}

// embedded is kfake: for what needs the fixed names of topics and groups, which
// on a shared broker belong to other tests.
func embedded(t *testing.T) *broker {
	t.Helper()
	k, err := stack.StartKafka(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return connect(t, k.Addr)
}

// onBrokers runs a test on kfake and on a real broker, where there is one.
func onBrokers(t *testing.T, f func(t *testing.T, b *broker)) {
	t.Run("kfake", func(t *testing.T) { f(t, embedded(t)) })
	t.Run("kafka", func(t *testing.T) {
		addr := os.Getenv("CANDLESTACK_TEST_KAFKA")
		if addr == "" {
			t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
		}
		f(t, connect(t, addr))
	})
}

func (b *broker) config() kafka.Config { return kafka.Config{Brokers: []string{b.addr}} }

// name is one that nobody else has.
func name() string { return "kafkatest." + strings.ToLower(rand.Text()[:12]) }

// topic makes a topic of its own; it is deleted at the end.
func (b *broker) topic(t *testing.T, partitions int32) string {
	t.Helper()
	topic := name()
	if _, err := b.admin.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	b.drop(t, topic)
	return topic
}

// drop deletes topics at the end of the test.
func (b *broker) drop(t *testing.T, topics ...string) {
	t.Cleanup(func() {
		if _, err := b.admin.DeleteTopics(context.Background(), topics...); err != nil {
			t.Error(err)
		}
	})
}

// append sends records and waits for all acknowledgements.
func (b *broker) append(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	if err := b.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// fill appends n records to each of the partitions 0…; value is its offset from the start given.
func (b *broker) fill(t *testing.T, topic string, partitions int32, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	records := make([]*kgo.Record, 0, int(partitions)*n)
	for range n {
		for p := range partitions {
			records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte("some value of a record")})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// committed returns what the group has committed in partition 0…, -1 for nothing.
func (b *broker) committed(t *testing.T, group, topic string, partitions int32) []int64 {
	t.Helper()
	fetched, err := b.admin.FetchOffsets(t.Context(), group)
	if err != nil {
		return slicesOf(partitions, -1)
	}
	at := slicesOf(partitions, -1)
	for p := range partitions {
		if o, ok := fetched.Lookup(topic, p); ok {
			at[p] = o.At
		}
	}
	return at
}

func slicesOf(n int32, value int64) []int64 {
	s := make([]int64, n)
	for i := range s {
		s[i] = value
	}
	return s
}

func (b *broker) administrator(t *testing.T) *kafka.Admin {
	t.Helper()
	a, err := kafka.NewAdmin(b.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// eventually waits for a condition, a minute at most.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// reports remembers what was reported of each part.
type reports struct {
	mu  sync.Mutex
	all map[string][]string // without repetitions
}

func (r *reports) set(part, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string][]string{}
	}
	if told := r.all[part]; len(told) == 0 || told[len(told)-1] != problem {
		r.all[part] = append(told, problem)
	}
}

// of returns what was reported of a part, oldest first, but that it starts.
func (r *reports) of(part string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all[part]), func(problem string) bool { return problem == engine.Starting })
}

// value sums the series of a family whose labels hold the pairs given; -1 where there is none.
func value(t *testing.T, reg prometheus.Gatherer, family string, pairs ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	total, found := 0.0, false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == family && labelled(m, pairs) {
				total, found = total+m.GetCounter().GetValue()+m.GetGauge().GetValue(), true
			}
		}
	}
	if !found {
		return -1
	}
	return total
}

func labelled(m *dto.Metric, pairs []string) bool {
	have := map[string]string{}
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if have[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

var quiet = slog.New(slog.DiscardHandler)

var btc = market.Series{Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m"}

func decimal(s string) market.Decimal {
	d, err := market.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

func candle(s market.Series, open market.Millis, closed bool, origin market.Origin) *market.Candle {
	one := decimal("1")
	return &market.Candle{
		Exchange: s.Exchange, Instrument: s.Instrument, Interval: s.Interval, OpenTime: open, Open: one, High: one, Low: one, Close: one, Volume: one,
		Closed: closed, EventTime: s.Interval.Next(open) - 1, ReceivedTime: s.Interval.Next(open), Origin: origin,
	}
}

// wire is an event's record for the other client.
func wire(t *testing.T, e market.Event, produced time.Time) *kgo.Record {
	t.Helper()
	r, err := pipeline.NewRecord(e, "test")
	if err != nil {
		t.Fatal(err)
	}
	return toKgo(r, produced)
}

func toKgo(r pipeline.Record, produced time.Time) *kgo.Record {
	k := &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Timestamp: produced}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
	}
	return k
}

func setting(name, value string) []kadm.AlterConfig {
	return []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
}

func incompressible(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	parsed, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return int(parsed.Port())
}
