package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// lane is one partition's way into the store.
type lane struct {
	Partition
	sink     *Sink
	queue    *queue
	consumed prometheus.Counter
	durable  prometheus.Gauge
	cancel   context.CancelFunc
	stopping chan struct{} // drain, and do not wait for a store that is away
	done     chan struct{}

	pauseMu sync.Mutex
	paused  bool
	next    int64 // while paused: offset of the record to go on with
}

// item is a record and its event.
type item struct {
	record *pipeline.Record
	event  market.Event
}

// letter is a record that will not be stored, and why.
type letter struct {
	record          *pipeline.Record
	reason, message string
}

var errStopping = errors.New("stopping")

func (l *lane) run(ctx context.Context) {
	defer close(l.done)
	defer l.sink.down.forget(l.Partition)
	var records []pipeline.Record
	for {
		clear(records)
		records = l.queue.take(ctx, l.sink.cfg.Age, records[:0])
		l.resume()
		if len(records) == 0 {
			if ctx.Err() != nil || l.stopped() && l.queue.empty() {
				return
			}
			continue
		}
		if l.store(ctx, records) != nil {
			return
		}
	}
}

func (l *lane) stopped() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// pause stops the partition at the record with offset next, which found no place.
// The lane may have drained since: then nobody but us would end the pause.
func (l *lane) pause(next int64) {
	l.pauseMu.Lock()
	l.next = next
	if err := l.sink.consumer.Pause(l.Partition); err != nil && !errors.Is(err, ErrNotOwned) {
		l.sink.log.Warn("pausing a partition", "topic", l.Topic, "partition", l.ID, "error", err)
	}
	l.paused = true
	l.sink.metrics.paused.Inc()
	l.pauseMu.Unlock()
	if l.queue.empty() {
		l.resume()
	}
}

// resume ends a pause; the lane calls it whenever it has emptied the queue.
func (l *lane) resume() {
	l.pauseMu.Lock()
	defer l.pauseMu.Unlock()
	if !l.paused || l.stopped() {
		return
	}
	if err := l.sink.consumer.Resume(l.Partition, l.next); err != nil && !errors.Is(err, ErrNotOwned) {
		l.sink.log.Warn("resuming a partition", "topic", l.Topic, "partition", l.ID, "offset", l.next, "error", err)
	}
	l.paused = false
	l.sink.metrics.paused.Dec()
}

// store makes records durable, in the store or as dead letters, and only then
// marks their offsets. An error means that the lane ends with them undone.
func (l *lane) store(ctx context.Context, records []pipeline.Record) error {
	items := make([]item, 0, len(records))
	for i := range records {
		r := &records[i]
		e, err := r.Event()
		if err != nil {
			if err := l.bury(ctx, letter{r, reasonOf(e, err), err.Error()}); err != nil {
				return err
			}
			continue
		}
		items = append(items, item{r, e})
	}
	if err := l.write(ctx, items); err != nil {
		return err
	}
	last := records[len(records)-1].Offset
	if err := l.sink.consumer.Store(l.Partition, last+1); err != nil && !errors.Is(err, ErrNotOwned) {
		l.sink.log.Warn("storing an offset", "topic", l.Topic, "partition", l.ID, "offset", last+1, "error", err)
	}
	l.durable.Set(float64(last + 1))
	l.sink.metrics.durable(items)
	return nil
}

// reasonOf sorts what is wrong with a record before any store saw it.
func reasonOf(e market.Event, err error) string {
	switch {
	case errors.Is(err, market.ErrContract):
		return reasonContract
	case e == nil:
		return reasonDecode
	}
	return reasonInvalid
}

// write stores items, waiting for the store as long as it takes. Poison is
// found by halving where the store cannot point at it: log2 n writes.
func (l *lane) write(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	wait := backoff{low: 50 * time.Millisecond, high: 2 * time.Second}
	batch := make(pipeline.Batch, len(items))
	for i := range items {
		batch[i] = items[i].event
	}
	noticed := l.sink.down.watch(l.Partition)
	defer noticed()
	for {
		start := time.Now()
		effects, err := l.sink.store.Write(ctx, batch)
		class, code := pipeline.ClassOf(err)
		l.sink.metrics.wrote(start, len(items), effects, err, class)
		switch {
		case err == nil:
			noticed()
			l.sink.down.ended(l.Partition)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case class == pipeline.Poison:
			return l.isolate(ctx, items, err)
		}
		l.sink.metrics.retry(class, code)
		if class == pipeline.Environment {
			l.sink.down.began(l.Partition, err)
		}
		if err := l.wait(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// isolate takes the poison out of items and stores the rest.
func (l *lane) isolate(ctx context.Context, items []item, cause error) error {
	var e *pipeline.Error
	errors.As(cause, &e)
	if len(items) == 1 {
		return l.bury(ctx, letter{items[0].record, e.Code, cause.Error()})
	}
	if len(e.Items) == 0 {
		half := len(items) / 2
		if err := l.write(ctx, items[:half]); err != nil {
			return err
		}
		return l.write(ctx, items[half:])
	}
	poison := make(map[int]bool, len(e.Items))
	for _, i := range e.Items {
		poison[i] = true
	}
	rest := make([]item, 0, len(items))
	for i := range items {
		if !poison[i] {
			rest = append(rest, items[i])
		} else if err := l.bury(ctx, letter{items[i].record, e.Code, cause.Error()}); err != nil {
			return err
		}
	}
	return l.write(ctx, rest)
}

// bury appends a dead letter and waits for the acknowledgement, as long as it
// takes: to skip a record that is nowhere would be to lose it.
func (l *lane) bury(ctx context.Context, d letter) error {
	wait := backoff{low: 50 * time.Millisecond, high: 2 * time.Second}
	told := false
	dead := pipeline.DeadLetter{Record: *d.record, Reason: d.reason, Message: d.message, By: l.sink.group, Time: time.Now()}
	for {
		err := produceSync(ctx, l.sink.producer, dead.Encode())
		if err == nil {
			if told {
				l.sink.report("dead letters", "")
			}
			l.sink.metrics.buried(d.reason)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		told = true
		l.sink.report("dead letters", err.Error())
		if err := l.wait(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// wait sleeps, but not for a lane whose partition is going away.
func (l *lane) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}
