package rest

import (
	"context"
	"sync"
	"time"
)

// window is the stretch in which hosts count.
const window = time.Minute

// budget counts weight in windows of our own clock. The host's windows may
// begin at another moment; what the host says of itself (correct) keeps us
// below its limit all the same.
type budget struct {
	mu    sync.Mutex
	limit int
	share float64
	begun time.Time // of the current window
	used  int
}

// take reserves weight, waiting for the next window as often as needed.
func (b *budget) take(ctx context.Context, weight int, urgent bool) error {
	for {
		wait := b.try(weight, urgent, time.Now())
		if wait == 0 {
			return ctx.Err()
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// try reserves weight, or says how long to wait. A weight above the whole
// budget may go when nothing else has: never is no answer.
func (b *budget) try(weight int, urgent bool, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	allowed := float64(b.limit) * b.share
	if !urgent {
		allowed *= 0.9
	}
	if b.used > 0 && float64(b.used+weight) > allowed {
		return b.begun.Add(window).Sub(now)
	}
	b.used += weight
	return 0
}

// correct takes what the host has counted where that is more: others share our
// address. An answer that was under way at the turn of the window may tell of
// the old one.
func (b *budget) correct(used int, sent, received time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(received)
	if !sent.Before(b.begun) {
		b.used = max(b.used, used)
	}
}

func (b *budget) turn(now time.Time) {
	if begun := now.Truncate(window); begun.After(b.begun) {
		b.begun, b.used = begun, 0
	}
}

func (b *budget) setLimit(weight int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = weight
}

func (b *budget) state(now time.Time) (used, limit int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	return b.used, b.limit
}
