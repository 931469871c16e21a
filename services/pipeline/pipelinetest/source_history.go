package pipelinetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// read calls History and checks what holds for every answer: ascending, within
// the stretch, closed, true, of the origin, and whole as far as it says.
func read(t *testing.T, w *World, from, to market.Millis, origin market.Origin) (candles []*market.Candle, whole market.Millis) {
	t.Helper()
	h, series := history(t, w)
	last := from - 1
	whole, err := h.History(deadline(t), series, from, to, origin, func(_ context.Context, e market.Event) error {
		c, ok := e.(*market.Candle)
		if !ok {
			t.Fatalf("History emitted a %s", e.Kind())
		}
		switch {
		case c.Series() != series:
			t.Errorf("%s is of another series", c.Key())
		case c.Validate() != nil:
			t.Errorf("%s: %v", c.Key(), c.Validate())
		case c.OpenTime <= last || c.OpenTime >= to:
			t.Errorf("%s after %s is not ascending in [%s, %s)", c.OpenTime, last, from, to)
		case !c.Closed:
			t.Errorf("%s is open", c.Key())
		case c.EventTime > w.Now():
			t.Errorf("%s has the event time %s, after the exchange's clock", c.Key(), c.EventTime)
		case c.Origin != origin:
			t.Errorf("%s has the origin %s, not %s", c.Key(), c.Origin, origin)
		}
		truthful(t, w, c)
		last = c.OpenTime
		candles = append(candles, c)
		return nil
	})
	if err != nil {
		t.Fatalf("History: %v", err)
	}
	if whole < from || whole > to {
		t.Errorf("whole is %s, outside of [%s, %s]", whole, from, to)
	}
	got := func(at market.Millis) bool {
		return slices.ContainsFunc(candles, func(c *market.Candle) bool { return c.OpenTime == at })
	}
	for at := from; at < whole; at = series.Interval.Next(at) {
		if _, has := w.Candle(series, at); has && !got(at) {
			t.Errorf("whole until %s, but %s is missing", whole, at)
		}
	}
	return candles, whole
}

// back is the open time of the candle that opened n before the one that is open now.
func back(t *testing.T, w *World, n int) market.Millis {
	t.Helper()
	_, series := history(t, w)
	at := series.Interval.Start(w.Now())
	for range n {
		at = series.Interval.Start(at - 1)
	}
	return at
}

func testHistory(t *testing.T, w *World) {
	from, to := back(t, w, 20), back(t, w, 5)
	if _, whole := read(t, w, from, to, market.OriginBackfill); whole != to {
		t.Errorf("whole is %s, though the exchange has newer candles than %s", whole, to)
	}
}

func testOrigins(t *testing.T, w *World) {
	from, to := back(t, w, 8), back(t, w, 5)
	for _, origin := range []market.Origin{market.OriginBackfill, market.OriginRepair, market.OriginArchive} {
		read(t, w, from, to, origin)
	}
}

func testPages(t *testing.T, w *World) {
	from, to := back(t, w, 2500), back(t, w, 5)
	if _, whole := read(t, w, from, to, market.OriginBackfill); whole != to {
		t.Errorf("whole is %s, not %s", whole, to)
	}
}

func testOpen(t *testing.T, w *World) {
	_, series := history(t, w)
	from := back(t, w, 3)
	to := series.Interval.Next(series.Interval.Next(back(t, w, 0)))
	read(t, w, from, to, market.OriginBackfill)
}

func testHole(t *testing.T, w *World) {
	_, series := history(t, w)
	if w.HoleFrom == 0 {
		t.Skip("this exchange cannot have holes")
	}
	before := series.Interval.Start(w.HoleFrom - 1)
	after := series.Interval.Next(w.HoleTo)
	if candles, whole := read(t, w, before, after, market.OriginRepair); whole != after || len(candles) != 2 {
		t.Errorf("%d candles around the hole, whole until %s; want 2 and %s", len(candles), whole, after)
	}
	if candles, whole := read(t, w, w.HoleFrom, w.HoleTo, market.OriginRepair); whole != w.HoleTo || len(candles) != 0 {
		t.Errorf("%d candles in the hole, whole until %s; want none and %s: newer candles prove it", len(candles), whole, w.HoleTo)
	}
}

func testEmptyHistory(t *testing.T, w *World) {
	at := back(t, w, 5)
	if candles, whole := read(t, w, at, at, market.OriginRepair); len(candles) != 0 || whole != at {
		t.Errorf("%d candles, whole until %s", len(candles), whole)
	}
}

func testHistoryError(t *testing.T, w *World) {
	h, series := history(t, w)
	from, to := back(t, w, 10), back(t, w, 5)
	failed := market.Millis(0)
	whole, err := h.History(deadline(t), series, from, to, market.OriginBackfill, func(_ context.Context, e market.Event) error {
		c := e.(*market.Candle)
		if c.OpenTime < series.Interval.Next(from) {
			return nil
		}
		if failed != 0 {
			t.Error("History went on after an error of emit")
		}
		failed = c.OpenTime
		return errEnough
	})
	if !errors.Is(err, errEnough) || whole < from || whole > failed {
		t.Errorf("History returned whole %s and %v, but emit failed at %s", whole, err, failed)
	}
}

func testHistoryEnds(t *testing.T, w *World) {
	h, series := history(t, w)
	ctx, cancel := context.WithCancel(deadline(t))
	_, err := h.History(ctx, series, back(t, w, 2500), back(t, w, 5), market.OriginBackfill, func(ctx context.Context, _ market.Event) error {
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("History returned %v, not the error of its context", err)
	}
	if _, err := h.Now(ctx); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("Now returned %v, neither a time nor the error of its context", err)
	}
}

// testNow allows a clock to be behind, for an answer takes its time, but not ahead.
func testNow(t *testing.T, w *World) {
	h, _ := history(t, w)
	before := w.Now()
	now, err := h.Now(deadline(t))
	if after := w.Now(); err != nil || now > after || before.Sub(now) > time.Minute {
		t.Errorf("Now is %s (%v), the exchange's clock was %s to %s", now, err, before, after)
	}
}
