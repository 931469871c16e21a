package engine

import (
	"context"
	"sync"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// queue is the bounded buffer between the polling goroutine and one lane.
type queue struct {
	rows, bytes int // bounds; one record may exceed bytes, or it would never pass

	mu     sync.Mutex
	items  []pipeline.Record
	size   int
	first  time.Time // arrival of items[0]
	closed bool

	space, filled chan struct{} // level signals of capacity one
}

func newQueue(rows, bytes int) *queue {
	return &queue{rows: rows, bytes: bytes, space: make(chan struct{}, 1), filled: make(chan struct{}, 1)}
}

func size(r *pipeline.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

func raise(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// push adds r, waiting for space for at most wait. False: r was not taken.
func (q *queue) push(r pipeline.Record, wait time.Duration) bool {
	var expired <-chan time.Time
	for {
		if taken, closed := q.offer(r); taken || closed {
			return taken
		}
		if expired == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-q.space:
		case <-expired:
			return false
		}
	}
}

func (q *queue) offer(r pipeline.Record) (taken, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := size(&r)
	if q.closed || len(q.items) > 0 && (len(q.items) >= q.rows || q.size+n > q.bytes) {
		return false, q.closed
	}
	if len(q.items) == 0 {
		q.first = time.Now()
	}
	q.items, q.size = append(q.items, r), q.size+n
	if len(q.items) == 1 || q.full() {
		raise(q.filled)
	}
	return true, false
}

func (q *queue) full() bool { return len(q.items) >= q.rows || q.size >= q.bytes*3/4 }

// take waits for a first record, then until the queue is full or age has passed
// since the record came, and returns all there is. It appends to into. The
// result is empty when the queue is closed and drained, or ctx has ended.
func (q *queue) take(ctx context.Context, age time.Duration, into []pipeline.Record) []pipeline.Record {
	for {
		q.mu.Lock()
		n, ready, closed, wait := len(q.items), q.full(), q.closed, time.Until(q.first.Add(age))
		if n > 0 && (ready || closed || wait <= 0) {
			into = append(into, q.items...)
			clear(q.items)
			q.items, q.size = q.items[:0], 0
			q.mu.Unlock()
			raise(q.space)
			return into
		}
		q.mu.Unlock()
		if closed {
			return into
		}
		if n == 0 {
			wait = time.Hour // for q.filled
		}
		t := time.NewTimer(wait)
		select {
		case <-q.filled:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return into
		}
	}
}

// close lets no more in; what is inside can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	raise(q.filled)
	raise(q.space)
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}
