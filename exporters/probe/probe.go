// Package probe sends a canary through every broker on its own clock, and
// measures its way: the answers to ApiVersions and Metadata, the acknowledgement
// of a record, its return to a reader, and the commit of its offset. It is what
// a client of the cluster sees, which no broker can tell. The probe changes
// nothing in the cluster but its own topic's records and its own group's offsets.
package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxBrokers bounds labels and memory; those with the least ids are probed.
const maxBrokers = 100

// Probe measures until it is stopped.
type Probe struct {
	cfg  Config
	opts []kgo.Opt
	log  *slog.Logger
	m    *metrics
	mark string // tells our canaries from those of other probes

	client   *kgo.Client // asks and reads
	producer *kgo.Client // nil until the topic is there
	view     atomic.Pointer[view]
	topic    [16]byte // id of the last topic that was there
	said     state    // what was last logged
	lacking  []int32

	reading sync.Mutex       // of what is read
	readers map[int32]reader // by partition

	mu    sync.RWMutex
	lanes map[int32]*lane
	next  map[int32]int64 // offset after the last one read, by partition
	fault error           // of reading, since the last record
}

// view is what the probe knows of the cluster. It is not changed once it is published.
type view struct {
	topic       [16]byte        // id
	partitions  map[int32]int32 // the one that a broker is probed with
	coordinator int32           // -1 if there is none
}

// New connects to nothing. opts are how to reach the cluster (addresses, TLS,
// SASL, client id). What is measured is registered in reg.
func New(cfg Config, opts []kgo.Opt, log *slog.Logger, reg prometheus.Registerer) (*Probe, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Probe{cfg: cfg, log: log, mark: rand.Text(), readers: map[int32]reader{}, lanes: map[int32]*lane{}, next: map[int32]int64{}}
	p.opts = append(slices.Clip(opts),
		kgo.DialTimeout(cfg.Deadline),
		kgo.RequestTimeoutOverhead(cfg.Deadline),
		kgo.ConnIdleTimeout(2*cfg.Interval+time.Minute), // a round trip does not measure connecting again
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MetadataMaxAge(cfg.Interval),
		kgo.DisableClientMetrics(),
	)
	for _, o := range [][]kgo.Opt{p.readOpts(), p.writeOpts(true)} {
		if err := kgo.ValidateOpts(o...); err != nil {
			return nil, fmt.Errorf("preparing the probe: %w", err)
		}
	}
	p.m = newMetrics(reg)
	p.view.Store(&view{coordinator: -1})
	return p, nil
}

func (p *Probe) readOpts() []kgo.Opt {
	return append(slices.Clip(p.opts),
		kgo.FetchMaxWait(min(time.Second, p.cfg.Deadline/2)),
		kgo.FetchMaxBytes(1<<20),
		kgo.FetchMaxPartitionBytes(64<<10),
	)
}

func (p *Probe) writeOpts(idempotent bool) []kgo.Opt {
	opts := append(slices.Clip(p.opts),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProduceRequestTimeout(p.cfg.Deadline),
		kgo.MaxBufferedRecords(10*maxBrokers),
	)
	if idempotent {
		// A canary that is given up is not sent again: what idempotence is needed for ends there.
		return append(opts, kgo.AllowIdempotentProduceCancellation())
	}
	return append(opts, kgo.DisableIdempotentWrite())
}

// Run measures until ctx ends. That Kafka is away is no error.
func (p *Probe) Run(ctx context.Context) (err error) {
	if p.client, err = kgo.NewClient(p.readOpts()...); err != nil {
		return fmt.Errorf("starting the probe: %w", err)
	}
	defer p.client.Close()
	var reader sync.WaitGroup
	reader.Go(func() { p.read(ctx) })
	defer reader.Wait()
	defer func() {
		for id := range p.lanes {
			p.stop(id)
		}
		if p.producer != nil {
			p.producer.Close()
		}
	}()
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for {
		p.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look renews the view and starts and stops lanes by it.
func (p *Probe) look(ctx context.Context) {
	found, err := p.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil { // lanes go on, and tell what of the cluster answers
		p.m.ready.Set(0)
		p.say(away, fmt.Errorf("the cluster does not answer: %w", err))
		return
	}
	next := &view{coordinator: -1, partitions: map[int32]int32{}}
	problem := found.err
	if problem == nil {
		problem = p.openProducer(ctx)
	}
	old := p.view.Load()
	if problem == nil {
		next.topic = found.topic
		next.coordinator = p.coordinator(ctx, old.coordinator)
		for id, led := range found.led {
			next.partitions[id] = led[0]
			if one, ok := old.partitions[id]; ok && slices.Contains(led, one) {
				next.partitions[id] = one
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	if problem == nil && p.topic != next.topic && p.topic != [16]byte{} { // made anew: offsets begin again
		p.client.PurgeTopicsFromClient(p.cfg.Topic)
		p.producer.PurgeTopicsFromClient(p.cfg.Topic)
		p.mu.Lock()
		clear(p.next)
		p.mu.Unlock()
	}
	if problem == nil {
		p.topic = next.topic
	}
	p.view.Store(next)
	p.keep(ctx, found)
	switch {
	case problem == nil:
		p.m.ready.Set(1)
		p.say(ready, nil)
	case errors.Is(problem, errMade): // is said already
		p.m.ready.Set(0)
	default:
		p.m.ready.Set(0)
		p.say(unready, problem)
	}
}

// keep has a lane for each broker, and none for others.
func (p *Probe) keep(ctx context.Context, found *cluster) {
	brokers := found.brokers
	p.m.dropped.Set(float64(max(0, len(brokers)-maxBrokers)))
	brokers = brokers[:min(len(brokers), maxBrokers)]
	for id := range p.lanes {
		if !slices.Contains(brokers, id) {
			p.stop(id)
		}
	}
	var lacking []int32
	for _, id := range brokers {
		if p.lanes[id] == nil {
			p.start(ctx, id)
		}
		p.m.partitions.WithLabelValues(label(id)).Set(float64(len(found.led[id])))
		if len(found.led[id]) == 0 && found.err == nil {
			lacking = append(lacking, id)
		}
	}
	if len(lacking) > 0 && !slices.Equal(lacking, p.lacking) {
		p.log.Warn("brokers lead no partition of the canaries' topic and get no canary", "topic", p.cfg.Topic, "brokers", lacking)
	}
	p.lacking = lacking
}

// state is what the probe can do.
type state int

const (
	ready   state = iota
	unready       // the topic is not there, or cannot be written to
	away          // nobody answers
)

// say logs a line where the state has changed.
func (p *Probe) say(now state, problem error) {
	switch now {
	case p.said:
	case ready:
		p.log.Info("canaries are sent", "topic", p.cfg.Topic)
	default:
		p.log.Warn("no canary is sent", "topic", p.cfg.Topic, "reason", problem)
	}
	p.said = now
}

func (p *Probe) start(ctx context.Context, id int32) {
	ctx, cancel := context.WithCancel(ctx)
	l := &lane{p: p, id: id, broker: label(id), cancel: cancel, ended: make(chan struct{})}
	p.m.begin(l.broker)
	p.mu.Lock()
	p.lanes[id] = l
	p.mu.Unlock()
	go func() {
		defer close(l.ended)
		l.run(ctx)
	}()
}

// stop ends a lane and its series.
func (p *Probe) stop(id int32) {
	p.mu.Lock()
	l := p.lanes[id]
	delete(p.lanes, id)
	p.mu.Unlock()
	l.cancel()
	<-l.ended
	p.m.end(l.broker)
}

// read hands what comes back to the lanes.
func (p *Probe) read(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := p.client.PollFetches(ctx)
		now := time.Now()
		p.mu.Lock()
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
				p.fault = err
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			p.fault = nil
			p.next[r.Partition] = r.Offset + 1
			if id, number, ok := p.ours(r); ok && p.lanes[id] != nil {
				p.lanes[id].receive(number, spot{r.Partition, r.Offset}, now)
			}
		})
		p.mu.Unlock()
	}
}
