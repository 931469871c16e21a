package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Causes of gaps.
const (
	causeBackfill = "backfill" // the first run: nothing was missed, but the exchange may have holes
	causeStart    = "start"    // missed while the source was down
	causeStream   = "stream"   // a live candle came too early: the stream skipped some
	causeLate     = "late"     // a candle did not close in time
)

// tracker keeps one series whole. next is the open time of the oldest candle
// that is not closed in the log yet. While a repair runs, live candles wait in
// held, ascending, so that the log stays ascending too.
type tracker struct {
	source  *Source
	history pipeline.History
	series  market.Series

	begun   market.Millis // open time of the first candle that was asked for
	reached atomic.Int64  // end of the newest one that was fetched

	mu        sync.Mutex
	next      market.Millis
	repairing bool
	held      []*market.Candle
	due       time.Time     // when the candle that opens at next is late
	changed   market.Millis // of the last gap event: versions must rise
}

// live takes a candle from the stream.
func (t *tracker) live(ctx context.Context, c *market.Candle) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.repairing {
		t.hold(c)
		return nil
	}
	return t.pass(ctx, c)
}

// pass hands c on, or holds it and starts a repair where candles are missing
// before it. The caller has the lock.
func (t *tracker) pass(ctx context.Context, c *market.Candle) error {
	switch {
	case c.OpenTime > t.next:
		t.hold(c)
		t.startRepair(causeStream)
		return nil
	case c.OpenTime < t.next && !c.Closed:
		return nil // of a candle that has closed since
	case c.OpenTime == t.next && c.Closed:
		t.advance(t.series.Interval.Next(c.OpenTime), c.EventTime)
	}
	return t.source.produce(ctx, c)
}

// advance moves next; now is the exchange's clock.
func (t *tracker) advance(next, now market.Millis) {
	t.next = next
	t.due = time.Now().Add(t.series.Interval.Next(next).Sub(now) + lateAfter)
}

// hold keeps the newest version of each candle. Where there are too many the
// oldest goes: the repair then reaches further.
func (t *tracker) hold(c *market.Candle) {
	i, found := slices.BinarySearchFunc(t.held, c.OpenTime, func(h *market.Candle, at market.Millis) int { return int(h.OpenTime - at) })
	switch {
	case found && c.Version() > t.held[i].Version():
		t.held[i] = c
	case !found:
		t.held = slices.Insert(t.held, i, c)
	}
	if len(t.held) > maxHeld {
		t.held = slices.Delete(t.held, 0, 1)
	}
}

// check starts a repair for a candle that is late.
func (t *tracker) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.repairing && !t.due.IsZero() && time.Now().After(t.due) {
		t.startRepair(causeLate)
	}
}

func (t *tracker) startRepair(cause string) {
	t.repairing = true
	r := repair{from: t.next, origin: market.OriginRepair, cause: cause}
	t.source.behind(func(ctx context.Context) { t.repair(ctx, r) })
}

// repair is one stretch of a series that is to be asked for again.
type repair struct {
	from, to market.Millis // to is zero where live decides
	origin   market.Origin
	cause    string
	recorded bool // as open, so that its end must be recorded too
}

// repair fetches from r.from until the live candles that are held connect, then
// lets them pass.
func (t *tracker) repair(ctx context.Context, r repair) {
	wait := backoff{low: 500 * time.Millisecond, high: 5 * time.Second} // live candles wait
	progress := time.Now()
	for {
		to, now, err := t.target(ctx, r)
		if err == nil {
			if r.from >= to {
				if t.connect(ctx, r.from, now) {
					return
				}
				continue
			}
			from := r.from
			r, err = t.fetch(ctx, r, to)
			if r.from > from {
				progress = time.Now()
				wait.reset()
				if err == nil {
					continue
				}
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.source.report(t.source.name+" history", err.Error())
		}
		if time.Since(progress) > holdLive && r.to == 0 {
			if behind, ok := t.release(ctx, r); ok {
				t.repairBehind(ctx, behind)
				return
			}
		}
		if sleep(ctx, wait.next()) != nil {
			return
		}
	}
}

// repairBehind fetches a stretch that live no longer waits for. Its beginning
// may be younger than what the log already holds: versions keep the store right.
func (t *tracker) repairBehind(ctx context.Context, r repair) {
	wait := backoff{low: 500 * time.Millisecond, high: time.Minute}
	for r.from < r.to {
		from := r.from
		var err error
		r, err = t.fetch(ctx, r, r.to)
		if r.from > from {
			wait.reset()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.source.report(t.source.name+" history", err.Error())
		}
		if r.from < r.to && sleep(ctx, wait.next()) != nil {
			return
		}
	}
}

// target is where a repair may stop: the first candle that is held, else the one
// that is open now.
func (t *tracker) target(ctx context.Context, r repair) (to, now market.Millis, err error) {
	now, err = t.history.Now(ctx)
	if err != nil {
		return 0, 0, err
	}
	if r.to != 0 {
		return r.to, now, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) > 0 {
		return t.held[0].OpenTime, now, nil
	}
	return t.series.Interval.Start(now), now, nil
}

// fetch asks the exchange for [r.from, to) and returns what is left of r.
func (t *tracker) fetch(ctx context.Context, r repair, to market.Millis) (repair, error) {
	s := t.source
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return r, ctx.Err()
	}
	var holes []span
	expected, traded := r.from, false
	whole, err := t.history.History(ctx, t.series, r.from, to, r.origin, func(ctx context.Context, e market.Event) error {
		c, ok := e.(*market.Candle)
		if ok {
			if c.OpenTime > expected {
				holes = append(holes, span{expected, c.OpenTime})
			}
			expected = max(expected, t.series.Interval.Next(c.OpenTime))
			t.reached.Store(int64(expected))
			traded = traded || c.Trades == nil || *c.Trades > 0
		}
		return s.produce(ctx, e)
	})
	if whole > expected {
		holes = append(holes, span{expected, whole})
	}
	if whole <= r.from {
		return r, err
	}
	s.report(s.name+" history", "")
	missed := r.recorded || r.cause == causeStart || r.cause == causeStream || r.cause == causeLate && traded
	if err := t.record(ctx, r, whole, holes, missed); err != nil {
		return r, err
	}
	if r.cause == causeLate && traded {
		s.suspect(t.series.Interval.Next(r.from).Sub(r.from))
	}
	r.from = whole
	return r, err
}

// span is a range of open times.
type span struct{ from, to market.Millis }

// record tells what became of [r.from, whole): holes are the exchange's own;
// between them it was repaired, which is said only where something had been missed.
func (t *tracker) record(ctx context.Context, r repair, whole market.Millis, holes []span, missed bool) error {
	at := r.from
	repaired := func(to market.Millis) error {
		if !missed || at >= to {
			return nil
		}
		return t.gap(ctx, r, span{at, to}, market.GapRepaired)
	}
	for _, h := range holes {
		if err := repaired(h.from); err != nil {
			return err
		}
		if err := t.gap(ctx, r, h, market.GapConfirmed); err != nil {
			return err
		}
		at = h.to
	}
	if err := repaired(whole); err != nil {
		return err
	}
	if r.recorded && whole < r.to {
		return t.gap(ctx, r, span{whole, r.to}, market.GapOpen)
	}
	return nil
}

func (t *tracker) gap(ctx context.Context, r repair, s span, state market.GapState) error {
	t.mu.Lock()
	t.changed = max(market.MillisOf(time.Now()), t.changed+1)
	g := &market.Gap{
		Exchange: t.series.Exchange, Instrument: t.series.Instrument, Interval: t.series.Interval,
		FromTime: s.from, ToTime: s.to, State: state, Cause: r.cause, Changed: t.changed, Origin: r.origin,
	}
	t.mu.Unlock()
	t.source.metrics.gap(state)
	return t.source.produce(ctx, g)
}

// connect ends a repair that has reached whole: what is held passes. False where
// candles before the first that is held are still missing.
func (t *tracker) connect(ctx context.Context, whole, now market.Millis) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) > 0 && t.held[0].OpenTime > whole {
		return false
	}
	t.advance(whole, now)
	t.flush(ctx)
	return true
}

// flush lets pass what is held, and may start the next repair. The caller has the lock.
func (t *tracker) flush(ctx context.Context) {
	t.repairing = false
	held := t.held
	t.held = nil
	for _, c := range held {
		if t.repairing {
			t.hold(c)
		} else if t.pass(ctx, c) != nil {
			return // ctx has ended
		}
	}
}

// release lets live go on before r is done: the rest of r is recorded as an open
// gap. False where no live candle is waiting.
func (t *tracker) release(ctx context.Context, r repair) (repair, bool) {
	t.mu.Lock()
	if len(t.held) == 0 || t.held[0].OpenTime <= r.from {
		t.mu.Unlock()
		return r, false
	}
	r.to, r.recorded = t.held[0].OpenTime, true
	t.mu.Unlock()
	if t.gap(ctx, r, span{r.from, r.to}, market.GapOpen) != nil {
		return r, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(r.to, t.held[len(t.held)-1].EventTime)
	t.flush(ctx)
	return r, true
}
