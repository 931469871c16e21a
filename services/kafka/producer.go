package kafka

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	confluent "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// Producer is the engine's producer: idempotent, acknowledged by all in-sync
// replicas, never giving up on time.
type Producer struct {
	client  *confluent.Producer
	metrics *metrics
	pending atomic.Int64 // records without an acknowledgement
	wait    sync.WaitGroup
}

// NewProducer makes a producer; it does not wait for a broker. The broker's
// coming and going is reported as part "kafka producer".
func NewProducer(cfg Config, report engine.Report, log *slog.Logger, reg prometheus.Registerer) (*Producer, error) {
	settings, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	for k, v := range (confluent.ConfigMap{
		"enable.idempotence":           true,
		"acks":                         "all",
		"message.timeout.ms":           0,                // the default loses after five minutes
		"partitioner":                  "murmur2_random", // as Java and franz-go choose
		"queue.buffering.max.kbytes":   16 << 10,         // then Produce blocks
		"queue.buffering.max.messages": 20_000,
		"message.max.bytes":            deadLetterBytes,
		"linger.ms":                    5,
		"compression.type":             "lz4",
		"go.delivery.report.fields":    "none",
		"go.events.channel.size":       1000, // see Config.check
		"go.produce.channel.size":      1,
	}) {
		if _, set := settings[k]; !set {
			settings[k] = v
		}
	}
	client, err := confluent.NewProducer(&settings)
	if err != nil {
		return nil, err
	}
	p := &Producer{client: client, metrics: newMetrics(reg, "producer")}
	state := newBrokers("kafka producer", report, p.metrics)
	p.wait.Go(func() { forward(client.Logs(), log) })
	p.wait.Go(func() { p.events(state) })
	return p, nil
}

func (p *Producer) events(state *brokers) {
	for e := range p.client.Events() {
		switch e := e.(type) {
		case *confluent.Message:
			p.pending.Add(-1)
			p.metrics.delivered(e.TopicPartition.Error)
			e.Opaque.(func(error))(e.TopicPartition.Error)
		case *confluent.Stats:
			state.stats(e.String())
		case confluent.Error:
			state.failed(e)
		}
	}
}

// Produce hands r to the client's queue and blocks while that is full.
func (p *Producer) Produce(ctx context.Context, r pipeline.Record, done func(error)) error {
	m := &confluent.Message{
		TopicPartition: confluent.TopicPartition{Topic: &r.Topic, Partition: confluent.PartitionAny},
		Key:            r.Key,
		Value:          r.Value,
		Headers:        make([]confluent.Header, len(r.Headers)),
		Opaque:         done,
	}
	for i, h := range r.Headers {
		m.Headers[i] = confluent.Header{Key: h.Name, Value: h.Value}
	}
	p.pending.Add(1)
	err := p.enqueue(ctx, m)
	if err != nil {
		p.pending.Add(-1)
	}
	return err
}

func (p *Producer) enqueue(ctx context.Context, m *confluent.Message) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := p.client.Produce(m, nil)
		var failure confluent.Error
		if err == nil || !errors.As(err, &failure) || failure.Code() != confluent.ErrQueueFull {
			return err
		}
		p.metrics.queueFull.Inc()
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Close waits until ctx ends for what is on its way, and returns how many
// records were given up.
func (p *Producer) Close(ctx context.Context) (lost int) {
	for ctx.Err() == nil && p.client.Flush(100) > 0 {
	}
	p.client.Close()
	p.wait.Wait()
	return int(p.pending.Load())
}
