package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/stack"
)

// producer makes one that is closed at the end of the test.
func producer(t *testing.T, cfg kafka.Config, told *reports, reg prometheus.Registerer) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(cfg, told.set, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.Close(ctx)
	})
	return p
}

// acknowledgements counts callbacks.
type acknowledgements struct {
	mu     sync.Mutex
	ok     int
	failed []error
}

func (a *acknowledgements) done(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.failed = append(a.failed, err)
		return
	}
	a.ok++
}

func (a *acknowledgements) count() (int, []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ok, a.failed
}

func (a *acknowledgements) await(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d records are acknowledged", n), func() bool {
		ok, failed := a.count()
		if len(failed) > 0 {
			t.Fatal(failed[0])
		}
		return ok == n
	})
}

// read returns what a topic holds, by key.
func (b *broker) read(t *testing.T, topic string) map[string][]pipeline.Record {
	t.Helper()
	byKey := map[string][]pipeline.Record{}
	if err := b.administrator(t).ReadAll(t.Context(), func(r *pipeline.Record) error {
		byKey[string(r.Key)] = append(byKey[string(r.Key)], *r)
		return nil
	}, topic); err != nil {
		t.Fatal(err)
	}
	return byKey
}

func TestProducerKeepsTheOrderOfEachKey(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		const keys, each = 50, 100
		topic, reg := b.topic(t, 6), prometheus.NewRegistry()
		p := producer(t, b.config(), &reports{}, reg)
		var acked acknowledgements
		headers := []pipeline.Header{{Name: "candlestack-kind", Value: []byte("candle")}, {Name: "twice", Value: []byte("1")}, {Name: "twice", Value: []byte("2")}}
		for i := range each {
			for k := range keys {
				r := pipeline.Record{Topic: topic, Key: fmt.Appendf(nil, "binance/COIN%d-USDT/1m", k), Value: fmt.Append(nil, i), Headers: headers}
				if err := p.Produce(t.Context(), r, acked.done); err != nil {
					t.Fatal(err)
				}
			}
		}
		acked.await(t, keys*each)
		got := b.read(t, topic)
		if len(got) != keys {
			t.Errorf("%d keys came, want %d", len(got), keys)
		}
		for key, records := range got {
			if len(records) != each {
				t.Fatalf("%d records of %s came, want %d", len(records), key, each)
			}
			for i, r := range records {
				if string(r.Value) != fmt.Sprint(i) || r.Partition != records[0].Partition {
					t.Fatalf("record %d of %s is %s in partition %d", i, key, r.Value, r.Partition)
				}
				if diff := cmp.Diff(headers, r.Headers); diff != "" {
					t.Fatal(diff)
				}
				if age := time.Since(r.Time); age < -time.Minute || age > time.Minute {
					t.Fatalf("the time of a record is %s, not that of producing", r.Time)
				}
			}
		}
		if n := value(t, reg, "candlestack_kafka_client_deliveries_total", "client", "producer", "outcome", "ok"); n != keys*each {
			t.Errorf("counted %v deliveries", n)
		}
		if n := value(t, reg, "candlestack_kafka_client_deliveries_total", "outcome", "error"); n != 0 {
			t.Errorf("counted %v failures", n)
		}
	})
}

// Both clients must choose the same partition, or the ledger's records of a
// series would not be in the order of the source's.
func TestProducerChoosesPartitionsAsOtherClientsDo(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic := b.topic(t, 7)
		p := producer(t, b.config(), &reports{}, prometheus.NewRegistry())
		var acked acknowledgements
		var theirs []*kgo.Record
		const keys = 200
		for i := range keys {
			key := fmt.Appendf(nil, "binance/COIN%d-USDT/1m", i*i)
			if err := p.Produce(t.Context(), pipeline.Record{Topic: topic, Key: key}, acked.done); err != nil {
				t.Fatal(err)
			}
			theirs = append(theirs, &kgo.Record{Topic: topic, Key: key})
		}
		acked.await(t, keys)
		b.append(t, theirs...)
		for key, records := range b.read(t, topic) {
			if len(records) != 2 || records[0].Partition != records[1].Partition {
				t.Errorf("the records of %s are not in one partition: %v", key, records)
			}
		}
	})
}

func TestProducerReportsWhatCannotBe(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic, reg := b.topic(t, 1), prometheus.NewRegistry()
		if _, err := b.admin.AlterTopicConfigs(t.Context(), setting("max.message.bytes", "1000"), topic); err != nil {
			t.Fatal(err)
		}
		p := producer(t, b.config(), &reports{}, reg)
		var acked acknowledgements
		if err := p.Produce(t.Context(), pipeline.Record{Topic: topic, Value: incompressible(5000)}, acked.done); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the record is refused", func() bool { _, failed := acked.count(); return len(failed) == 1 })
		if n := value(t, reg, "candlestack_kafka_client_deliveries_total", "outcome", "error"); n != 1 {
			t.Errorf("counted %v failures", n)
		}
		// What is too large for any topic is refused at once, and done is not called.
		if err := p.Produce(t.Context(), pipeline.Record{Topic: topic, Value: incompressible(3 << 20)}, acked.done); err == nil {
			t.Error("3 MB were taken")
		}
	})
}

// Promise 5: memory is bounded; a full queue is back-pressure.
func TestProducerBlocksWhenItsQueueIsFull(t *testing.T) {
	reg := prometheus.NewRegistry()
	var told reports
	p := producer(t, kafka.Config{Brokers: []string{"127.0.0.1:1"}}, &told, reg) // nobody is there
	r := pipeline.Record{Topic: "absent", Value: make([]byte, 64<<10)}
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error, 1)
	taken := 0
	go func() {
		for {
			if err := p.Produce(ctx, r, func(error) {}); err != nil {
				blocked <- err
				return
			}
			taken++
		}
	}()
	eventually(t, "the queue is full", func() bool { return value(t, reg, "candlestack_kafka_client_queue_full_total") > 3 })
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if taken < 200 || taken > 300 {
		t.Errorf("the queue took %d records of 64 KiB, want 16 MiB", taken)
	}
	eventually(t, "the missing broker is reported", func() bool { return len(told.of("kafka producer")) > 0 })
	if err := p.Produce(ctx, r, func(error) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A broker that is away for a while costs nothing, in order.
func TestProducerOutlastsTheBroker(t *testing.T) {
	dir := t.TempDir()
	k, err := stack.StartKafka(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	running := true
	defer func() {
		if running {
			k.Close()
		}
	}()
	port := portOf(t, k.Addr)
	first := connect(t, k.Addr)
	if _, err := first.admin.CreateTopic(t.Context(), 3, 1, nil, "candles"); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	var told reports
	p := producer(t, kafka.Config{Brokers: []string{k.Addr}}, &told, reg)
	var acked acknowledgements
	const keys = 20
	n := 0
	send := func(rounds int) {
		t.Helper()
		for range rounds {
			for key := range keys {
				if err := p.Produce(t.Context(), pipeline.Record{Topic: "candles", Key: fmt.Append(nil, key), Value: fmt.Append(nil, n/keys)}, acked.done); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
	}
	up := func(want float64) func() bool {
		return func() bool { return value(t, reg, "candlestack_kafka_client_brokers_up") == want }
	}
	send(50)
	acked.await(t, n)
	eventually(t, "the one broker is up", up(1))
	k.Close()
	running = false
	send(50)
	eventually(t, "the broker's end is reported", func() bool {
		all := told.of("kafka producer")
		return len(all) > 0 && all[len(all)-1] != "" && up(0)()
	})
	if k, err = stack.StartKafka(dir, port); err != nil {
		t.Fatal(err)
	}
	running = true
	send(50)
	acked.await(t, n)
	eventually(t, "its return is reported", func() bool { all := told.of("kafka producer"); return all[len(all)-1] == "" })
	for key, records := range connect(t, k.Addr).read(t, "candles") {
		last := -1
		for _, r := range records {
			var i int
			fmt.Sscan(string(r.Value), &i)
			if i != last+1 {
				t.Fatalf("record %d of key %s follows %d", i, key, last)
			}
			last = i
		}
		if last != n/keys-1 {
			t.Errorf("the last record of key %s is %d, want %d", key, last, n/keys-1)
		}
	}
}

func TestProducerCloseCountsWhatItGivesUp(t *testing.T) {
	for _, patience := range []time.Duration{0, 300 * time.Millisecond} {
		p, err := kafka.NewProducer(kafka.Config{Brokers: []string{"127.0.0.1:1"}}, (&reports{}).set, quiet, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := p.Produce(t.Context(), pipeline.Record{Topic: "absent"}, func(error) {}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if lost := p.Close(ctx); lost != 3 {
			t.Errorf("gave up %d records after %s, want 3", lost, patience)
		}
		cancel()
	}
}
