// Package pipelinetest holds the suites that every source and every sink passes.
package pipelinetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// World is a source under test and the exchange that it speaks to. The exchange
// trades all the time, closes a candle of the source's first series at least
// each second, and has done so for at least 2500 candles.
type World struct {
	Source pipeline.Source
	// Now is the exchange's clock, and so that of all event times.
	Now func() market.Millis
	// Candle is the truth about a closed candle; false where the exchange has none.
	Candle func(s market.Series, open market.Millis) (*market.Candle, bool)
	// HoleFrom and HoleTo are open times of the first series between which the
	// exchange has nothing, but before and after; zero where it cannot have holes.
	HoleFrom, HoleTo market.Millis
	// Cut ends the live connection from the exchange's side.
	Cut func(t *testing.T)
}

// Source is the suite that every source of candles passes. start makes a world
// that ends, exchange and all, with t: nothing of it may run on.
func Source(t *testing.T, start func(t *testing.T) World) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, w *World)
	}{
		{"live candles are true", testLive},
		{"a live stream ends with its context", testStreamEnds},
		{"an error of emit ends the stream", testEmitError},
		{"a blocked emit holds the stream", testBackPressure},
		{"a cut says why", testCut},
		{"a stream can be opened again", testAgain},
		{"history is exact", testHistory},
		{"history keeps the origin", testOrigins},
		{"history reads many pages", testPages},
		{"history never gives an open candle", testOpen},
		{"history knows holes", testHole},
		{"history without a stretch is empty", testEmptyHistory},
		{"an error of emit ends history", testHistoryError},
		{"history ends with its context", testHistoryEnds},
		{"the clock is the exchange's", testNow},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the world's own clean-up
			w := start(t)
			c.test(t, &w)
			if closer, ok := w.Source.(pipeline.Closer); ok {
				if err := closer.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
		})
	}
}

// patience bounds what must come in the end; no test passes by waiting for it.
const patience = 30 * time.Second

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// history is w's power to read the past; without it the test is skipped.
func history(t *testing.T, w *World) (pipeline.History, market.Series) {
	t.Helper()
	h, ok := w.Source.(pipeline.History)
	if !ok {
		t.Skip("the source has no history")
	}
	series := h.Series()
	if len(series) == 0 {
		t.Fatal("Series is empty")
	}
	return h, series[0]
}

var errEnough = errors.New("enough")

// testLive watches until both an open and a closed candle came that must be whole.
func testLive(t *testing.T, w *World) {
	known := map[market.Series]bool{}
	if h, ok := w.Source.(pipeline.History); ok {
		for _, s := range h.Series() {
			known[s] = true
		}
	}
	var open, closed int
	var busy atomic.Int32
	err := w.Source.Stream(deadline(t), func(_ context.Context, e market.Event) error {
		defer busy.Add(-1)
		if busy.Add(1) > 1 {
			t.Error("two events at once")
		}
		c, ok := e.(*market.Candle)
		if !ok {
			return nil
		}
		now, ours := w.Now(), market.MillisOf(time.Now())
		event, received := c.Clocks()
		switch {
		case c.Validate() != nil:
			t.Errorf("%s: %v", c.Key(), c.Validate())
		case len(known) > 0 && !known[c.Series()]:
			t.Errorf("%s is of no series that was asked for", c.Key())
		case c.From() != market.OriginLive:
			t.Errorf("%s has the origin %s", c.Key(), c.From())
		case event > now:
			t.Errorf("%s has the event time %s, after the exchange's clock %s", c.Key(), event, now)
		case received > ours || ours.Sub(received) > patience:
			t.Errorf("%s was received at %s, now is %s", c.Key(), received, ours)
		case c.Closed && event < c.Interval.Next(c.OpenTime)-1:
			t.Errorf("%s is closed, but its event time is %s", c.Key(), event)
		}
		if !c.Closed {
			open++
		} else {
			closed++
			truthful(t, w, c)
		}
		if open > 0 && closed > 1 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d open and %d closed candles: %v", open, closed, err)
	}
}

// truthful compares a closed candle with the truth.
func truthful(t *testing.T, w *World, c *market.Candle) {
	t.Helper()
	truth, ok := w.Candle(c.Series(), c.OpenTime)
	if !ok {
		t.Errorf("%s is a candle that the exchange never had", c.Key())
	} else if !c.Equal(truth) {
		t.Errorf("%s is\n%+v, the exchange had\n%+v", c.Key(), c, truth)
	}
}

func testStreamEnds(t *testing.T, w *World) {
	ctx, cancel := context.WithCancel(deadline(t))
	err := w.Source.Stream(ctx, func(context.Context, market.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Stream returned %v, not the error of its context", err)
	}
	if err := w.Source.Stream(ctx, func(context.Context, market.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Stream with a context that has ended returned %v", err)
	}
}

func testEmitError(t *testing.T, w *World) {
	events := 0
	err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { events++; return errEnough })
	if !errors.Is(err, errEnough) || events != 1 {
		t.Errorf("Stream returned %v after %d events, not the error of the first emit", err, events)
	}
}

// testBackPressure holds the first event until the exchange has closed another
// candle, so that more was to be emitted, and then ends the context.
func testBackPressure(t *testing.T, w *World) {
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	_, series := history(t, w)
	events := 0
	err := w.Source.Stream(ctx, func(ctx context.Context, _ market.Event) error {
		if events++; events > 1 {
			return nil
		}
		next := series.Interval.Next(series.Interval.Next(w.Now()))
		for w.Now() < next && ctx.Err() == nil {
			select {
			case <-time.After(10 * time.Millisecond): // asks again
			case <-ctx.Done():
			}
		}
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || events != 1 {
		t.Errorf("Stream returned %v after %d events; one was blocked until the context ended", err, events)
	}
}

func testCut(t *testing.T, w *World) {
	events := 0
	err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error {
		if events++; events == 1 {
			w.Cut(t)
		}
		return nil
	})
	var d *pipeline.Disconnected
	if !errors.As(err, &d) || d.Cause == "" {
		t.Fatalf("Stream returned %v, not a Disconnected with a cause", err)
	}
}

func testAgain(t *testing.T, w *World) {
	for range 2 {
		if err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { return errEnough }); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
	}
}
