package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
)

// SinkConfig is the policy of Kafka -> Sink.
type SinkConfig struct {
	Rows  int           `help:"Rows a batch at most." default:"500"`
	Bytes int           `help:"Bytes of records a batch at most." default:"1048576"`
	Age   time.Duration `help:"How long the first record of a batch waits for others." default:"20ms"`
}

// Validate reports all settings that cannot work.
func (c *SinkConfig) Validate() error {
	var problems []error
	if c.Rows < 1 || c.Rows > 100_000 {
		problems = append(problems, &pipeline.ConfigError{Field: "--batch.rows", Value: fmt.Sprint(c.Rows), Err: errors.New("must be 1 to 100000")})
	}
	if c.Bytes < 1024 || c.Bytes > 64<<20 {
		problems = append(problems, &pipeline.ConfigError{Field: "--batch.bytes", Value: fmt.Sprint(c.Bytes), Err: errors.New("must be 1024 to 67108864")})
	}
	if c.Age < 0 || c.Age > time.Minute {
		problems = append(problems, &pipeline.ConfigError{Field: "--batch.age", Value: c.Age.String(), Err: errors.New("must be 0 to 1m")})
	}
	return errors.Join(problems...)
}

const (
	// patience is how long the polling goroutine waits for a full lane before it
	// pauses the partition: long enough that a healthy store never causes a pause,
	// which would throw away what was fetched; short enough for the other lanes.
	patience = time.Second
	// slowBatch is how long a batch may take before the store counts as away.
	slowBatch = 5 * time.Second
	// revokeWait bounds the drain of a lane whose partition goes away.
	revokeWait = 5 * time.Second
)

// Sink runs Kafka -> store. Each partition has a lane of its own, a goroutine
// that batches, writes, dead-letters and marks offsets in order, so that within
// a partition the committed offset never passes what is durable.
type Sink struct {
	cfg      SinkConfig
	store    pipeline.Sink
	consumer Consumer
	producer Producer
	group    string
	report   Report
	log      *slog.Logger
	metrics  *sinkMetrics
	down     outage

	mu    sync.Mutex
	lanes map[Partition]*lane
}

// NewSink makes a sink loop. Dead letters go through producer, in the name of group.
func NewSink(cfg SinkConfig, store pipeline.Sink, consumer Consumer, producer Producer, group string, report Report, log *slog.Logger, reg prometheus.Registerer) *Sink {
	return &Sink{
		cfg: cfg, store: store, consumer: consumer, producer: producer, group: group, report: report, log: log,
		metrics: newSinkMetrics(reg), lanes: map[Partition]*lane{},
		down: outage{report: report, lanes: map[Partition]bool{}},
	}
}

// Run gets the store ready, then consumes until ctx ends. Its error is nil
// after an orderly end, a *pipeline.ConfigError for the user's mistakes.
func (s *Sink) Run(ctx context.Context) error {
	if err := prepare(ctx, s.store, "store", s.report); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return s.consumer.Run(ctx, s)
}

// Assigned starts a lane for each partition.
func (s *Sink) Assigned(starts map[Partition]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, start := range starts {
		consumed, durable := s.metrics.own(p, start)
		ctx, cancel := context.WithCancel(context.Background()) // ended by Revoked or Lost, which Consumer.Run promises
		l := &lane{Partition: p, sink: s, queue: newQueue(s.cfg.Rows, s.cfg.Bytes), consumed: consumed, durable: durable,
			cancel: cancel, stopping: make(chan struct{}), done: make(chan struct{})}
		s.lanes[p] = l
		go l.run(ctx)
	}
}

// Revoked drains the lanes, in bounded time.
func (s *Sink) Revoked(ps []Partition) { s.end(ps, revokeWait) }

// Lost ends the lanes at once.
func (s *Sink) Lost(ps []Partition) { s.end(ps, 0) }

func (s *Sink) end(ps []Partition, wait time.Duration) {
	deadline, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	lanes := make([]*lane, 0, len(ps))
	s.mu.Lock()
	for _, p := range ps {
		if l := s.lanes[p]; l != nil {
			delete(s.lanes, p)
			lanes = append(lanes, l)
			close(l.stopping)
			l.queue.close()
		}
	}
	s.mu.Unlock()
	for _, l := range lanes {
		select {
		case <-l.done:
		case <-deadline.Done():
		}
		l.cancel()
		<-l.done
		if l.paused { // nobody else touches the lane any more
			s.metrics.paused.Dec()
		}
		s.metrics.forget(l.Partition)
	}
}

// Record hands r to its lane, and pauses the partition where the lane is full for long.
func (s *Sink) Record(r pipeline.Record) {
	s.mu.Lock()
	l := s.lanes[Partition{r.Topic, r.Partition}]
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.pauseMu.Lock()
	paused := l.paused
	l.pauseMu.Unlock()
	if paused {
		return // on its way when we paused: it comes again
	}
	if l.queue.push(r, patience) {
		l.consumed.Inc()
		return
	}
	l.pause(r.Offset)
}

var errSlow = fmt.Errorf("a batch has not been stored for %s", slowBatch)

// outage tells people once when the store goes, and once when it is back,
// however many lanes notice.
type outage struct {
	report Report
	mu     sync.Mutex
	told   bool
	lanes  map[Partition]bool // those that wait for the store
}

func (o *outage) began(p Partition, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(p, err)
}

// watch notices a batch that is not stored for long, whatever the reason: a
// store that hangs returns no error. The caller ends the watch.
func (o *outage) watch(p Partition) (end func()) {
	ended := false
	t := time.AfterFunc(slowBatch, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !ended {
			o.note(p, errSlow)
		}
	})
	return func() {
		t.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		ended = true
	}
}

// note is called with the lock.
func (o *outage) note(p Partition, err error) {
	o.lanes[p] = true
	if !o.told {
		o.told = true
		o.report("store", err.Error())
	}
}

func (o *outage) ended(p Partition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.lanes, p)
	if o.told && len(o.lanes) == 0 {
		o.told = false
		o.report("store", "")
	}
}

// forget takes out a lane that ends, which says nothing of the store.
func (o *outage) forget(p Partition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.lanes, p)
}
