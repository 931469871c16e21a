package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	confluent "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// ConsumerConfig is what a member of a group is told.
type ConsumerConfig struct {
	Group      string `help:"Consumer group." default:"${group}" placeholder:"NAME"`
	InstanceID string `help:"Name of this member for static membership: a restart within the session time-out causes no rebalance." placeholder:"NAME"`
}

// Consumer is the engine's consumer.
type Consumer struct {
	client  *confluent.Consumer
	topics  []string
	state   *brokers
	metrics *metrics
	log     *slog.Logger
	wait    sync.WaitGroup
	headers []pipeline.Header // of the newest record, see record

	mu   sync.Mutex
	next map[engine.Partition]int64 // offset of the record that should come next
}

// NewConsumer makes a member of the group; it joins in Run.
func NewConsumer(cfg Config, member ConsumerConfig, topics []string, report engine.Report, log *slog.Logger, reg prometheus.Registerer) (*Consumer, error) {
	settings, err := cfg.settings()
	if err != nil {
		return nil, err
	}
	for k, v := range (confluent.ConfigMap{
		"group.id":                           member.Group,
		"enable.auto.commit":                 true,
		"auto.commit.interval.ms":            1000,
		"enable.auto.offset.store":           false, // the engine stores what is durable
		"auto.offset.reset":                  "earliest",
		"partition.assignment.strategy":      "cooperative-sticky",
		"queued.max.messages.kbytes":         8192,
		"queued.min.messages":                1000,     // of all partitions together; the lanes hold more, and each costs as much again as its bytes
		"fetch.message.max.bytes":            32 << 10, // of each partition, compressed: so a reply feeds all lanes, and is no more than five times as large in the queue
		"fetch.max.bytes":                    1 << 20,
		"fetch.queue.backoff.ms":             20, // the default of a second starves a fast sink on a small queue
		"fetch.wait.max.ms":                  100,
		"topic.metadata.refresh.interval.ms": 10_000,
		"allow.auto.create.topics":           false,
	}) {
		if _, set := settings[k]; !set {
			settings[k] = v
		}
	}
	if member.InstanceID != "" {
		settings["group.instance.id"] = member.InstanceID
	}
	client, err := confluent.NewConsumer(&settings)
	if err != nil {
		return nil, err
	}
	c := &Consumer{client: client, topics: topics, log: log, next: map[engine.Partition]int64{}, metrics: newMetrics(reg, "consumer", topics...)}
	c.state = newBrokers("kafka consumer", report, c.metrics)
	c.wait.Go(func() { forward(client.Logs(), log) })
	return c, nil
}

// pollWait is how long a poll waits for an event; Run looks at its context in between.
const pollWait = 100

// Run joins the group and calls h until ctx ends, then revokes, commits and leaves.
func (c *Consumer) Run(ctx context.Context, h engine.Handler) error {
	var broken error // the library throws a callback's error away
	rebalance := func(_ *confluent.Consumer, e confluent.Event) error {
		switch e := e.(type) {
		case confluent.AssignedPartitions:
			broken = errors.Join(broken, c.assign(ctx, h, e.Partitions))
		case confluent.RevokedPartitions:
			broken = errors.Join(broken, c.revoke(h, e.Partitions))
		}
		return nil
	}
	if err := c.client.SubscribeTopics(c.topics, rebalance); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	for ctx.Err() == nil && broken == nil {
		switch e := c.client.Poll(pollWait).(type) {
		case *confluent.Message:
			if e.TopicPartition.Error != nil {
				c.log.Debug("consuming", "error", e.TopicPartition.Error)
				continue
			}
			r := c.record(e)
			c.watch(&r)
			h.Record(r)
		case confluent.OffsetsCommitted:
			c.metrics.committed(e.Offsets)
		case *confluent.Stats:
			c.state.stats(e.String())
		case confluent.Error:
			if e.IsFatal() {
				return errors.Join(fmt.Errorf("consuming: %w", e), c.close(h))
			}
			c.state.failed(e)
		}
	}
	if ctx.Err() != nil {
		return c.close(h)
	}
	return errors.Join(broken, c.close(h))
}

// watch notices that r is not the record that should come next: the broker
// deleted some while we were behind, and the library goes on at the first left.
func (c *Consumer) watch(r *pipeline.Record) {
	p := engine.Partition{Topic: r.Topic, ID: r.Partition}
	c.mu.Lock()
	want, owned := c.next[p]
	c.next[p] = r.Offset + 1
	c.mu.Unlock()
	if !owned || r.Offset <= want {
		return
	}
	low, _, err := c.client.QueryWatermarkOffsets(r.Topic, r.Partition, lookUp)
	if err != nil {
		low = r.Offset // then all of them are taken for lost
	}
	c.skipped(p, want, min(low, r.Offset)) // holes above low are marks of transactions
}

// skipped says aloud and counts that records in [from, to) are lost.
func (c *Consumer) skipped(p engine.Partition, from, to int64) {
	if to <= from {
		return
	}
	c.metrics.skipped.WithLabelValues(p.Topic).Add(float64(to - from))
	c.log.Error("retention deleted records before they were read", "topic", p.Topic, "partition", p.ID, "from", from, "to", to, "records", to-from)
}

// close drains, commits and leaves the group, as far as the broker lets us.
func (c *Consumer) close(h engine.Handler) error {
	held, err := c.client.Assignment()
	if err == nil && len(held) > 0 {
		err = c.revoke(h, held)
	}
	var failed error
	if !inTime(func() { failed = c.client.Close(); c.wait.Wait() }) {
		c.log.Warn("leaving the group: no answer; it will miss this member after its session's time-out")
		return err
	}
	return errors.Join(err, failed)
}

// patience is how long a commit or the leaving of the group may take. Without a
// coordinator librdkafka tries for the session's time-out, sometimes for ever.
const patience = 3 * time.Second

// inTime tells whether f ends in time; if not, it goes on behind.
func inTime(f func()) bool {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// assign starts each partition where the group has committed, else at its
// beginning. Records that retention deleted before they were read are lost: that
// is said aloud and counted, never jumped over in silence.
func (c *Consumer) assign(ctx context.Context, h engine.Handler, parts []confluent.TopicPartition) error {
	committed, starts, err := c.places(ctx, parts)
	if err != nil {
		return err
	}
	for i, p := range partitions(parts) {
		parts[i].Offset = confluent.Offset(starts[p])
		if committed[p] >= 0 {
			c.skipped(p, committed[p], starts[p])
		}
	}
	if err := c.client.IncrementalAssign(parts); err != nil {
		return fmt.Errorf("assigning: %w", err)
	}
	if err := c.client.Resume(parts); err != nil { // a pause outlives a rebalance
		return fmt.Errorf("resuming: %w", err)
	}
	c.mu.Lock()
	maps.Copy(c.next, starts)
	c.mu.Unlock()
	c.metrics.committed(parts)
	h.Assigned(starts)
	return nil
}

// places asks the broker until it answers where to begin: without an answer the
// partitions could only be read from a wrong place, or into nothing.
func (c *Consumer) places(ctx context.Context, parts []confluent.TopicPartition) (committed, starts map[engine.Partition]int64, err error) {
	for {
		if committed, starts, err = c.ask(parts); err == nil {
			return committed, starts, nil
		}
		c.state.report(c.state.part, err.Error())
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (c *Consumer) ask(parts []confluent.TopicPartition) (committed, starts map[engine.Partition]int64, err error) {
	offsets, err := c.client.Committed(parts, lookUp)
	if err != nil {
		return nil, nil, fmt.Errorf("reading committed offsets: %w", err)
	}
	committed, starts = map[engine.Partition]int64{}, map[engine.Partition]int64{}
	for i, p := range partitions(offsets) {
		if err := offsets[i].Error; err != nil {
			return nil, nil, fmt.Errorf("reading the committed offset of %s/%d: %w", p.Topic, p.ID, err)
		}
		low, _, err := c.client.QueryWatermarkOffsets(p.Topic, p.ID, lookUp)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the first offset of %s/%d: %w", p.Topic, p.ID, err)
		}
		committed[p] = int64(offsets[i].Offset)
		starts[p] = max(committed[p], low)
	}
	return committed, starts, nil
}

// lookUp bounds a question to the broker while the group waits for our answer, in ms.
const lookUp = 10_000

func (c *Consumer) revoke(h engine.Handler, parts []confluent.TopicPartition) error {
	if c.client.AssignmentLost() {
		h.Lost(partitions(parts))
	} else {
		h.Revoked(partitions(parts))
		c.commit()
	}
	c.mu.Lock()
	for _, p := range partitions(parts) {
		delete(c.next, p)
	}
	c.mu.Unlock()
	for _, p := range parts {
		c.metrics.forget(p)
	}
	if err := c.client.IncrementalUnassign(parts); err != nil {
		return fmt.Errorf("unassigning: %w", err)
	}
	return nil
}

// commit commits what is stored, at once.
func (c *Consumer) commit() {
	var offsets []confluent.TopicPartition
	var err error
	if !inTime(func() { offsets, err = c.client.Commit() }) {
		c.log.Warn("committing: no answer; the records will come again")
		return
	}
	var failure confluent.Error
	switch {
	case err == nil:
		c.metrics.committed(offsets)
	case errors.As(err, &failure) && failure.Code() == confluent.ErrNoOffset: // nothing new
	default:
		c.log.Warn("committing; the records will come again", "error", err)
	}
}

// Pause implements engine.Consumer.
func (c *Consumer) Pause(p engine.Partition) error {
	return owned(c.client.Pause([]confluent.TopicPartition{{Topic: &p.Topic, Partition: p.ID}}))
}

// Resume implements engine.Consumer. It seeks first: both the pause and the seek
// outdate what was fetched before, so no record older or newer than offset slips through.
func (c *Consumer) Resume(p engine.Partition, offset int64) error {
	at := confluent.TopicPartition{Topic: &p.Topic, Partition: p.ID, Offset: confluent.Offset(offset)}
	c.mu.Lock()
	if _, owned := c.next[p]; owned {
		c.next[p] = offset
	}
	c.mu.Unlock()
	if err := owned(c.client.Seek(at, 0)); err != nil {
		return err
	}
	return owned(c.client.Resume([]confluent.TopicPartition{at}))
}

// Store implements engine.Consumer.
func (c *Consumer) Store(p engine.Partition, next int64) error {
	_, err := c.client.StoreOffsets([]confluent.TopicPartition{{Topic: &p.Topic, Partition: p.ID, Offset: confluent.Offset(next)}})
	return owned(err)
}

// owned turns what librdkafka says of a partition that was revoked into the engine's word.
func owned(err error) error {
	var failure confluent.Error
	if errors.As(err, &failure) {
		switch failure.Code() {
		case confluent.ErrState, confluent.ErrUnknownPartition, confluent.ErrUnknownTopicOrPart:
			return fmt.Errorf("%w: %w", engine.ErrNotOwned, err)
		}
	}
	return err
}

func partitions(parts []confluent.TopicPartition) []engine.Partition {
	ps := make([]engine.Partition, len(parts))
	for i, p := range parts {
		ps[i] = engine.Partition{Topic: *p.Topic, ID: p.Partition}
	}
	return ps
}

// record shares the headers of the record before it where they are the same, as
// they mostly are: a backlog then needs a third less memory.
func (c *Consumer) record(m *confluent.Message) pipeline.Record {
	if !slices.EqualFunc(c.headers, m.Headers, func(a pipeline.Header, b confluent.Header) bool {
		return a.Name == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
	}) {
		c.headers = make([]pipeline.Header, len(m.Headers))
		for i, h := range m.Headers {
			c.headers[i] = pipeline.Header{Name: h.Key, Value: h.Value}
		}
	}
	return pipeline.Record{
		Topic: *m.TopicPartition.Topic, Partition: m.TopicPartition.Partition, Offset: int64(m.TopicPartition.Offset),
		Time: m.Timestamp, Key: m.Key, Value: m.Value, Headers: slices.Clip(c.headers),
	}
}
