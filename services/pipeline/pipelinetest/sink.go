package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Stored is a row or a document, read back.
type Stored struct {
	Event market.Event // with all that was written, clocks and origin included
	// Conflict tells that the same version came with other values, which were not taken.
	Conflict bool
}

// Reader reads back all that a store holds, in any order.
type Reader func(t *testing.T) []Stored

// Sink is the suite that every store of candles and gaps passes. open returns a sink on
// an empty store, prepared, and closes it at the end of t.
func Sink(t *testing.T, open func(t *testing.T) (pipeline.Sink, Reader)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s pipeline.Sink, read Reader)
	}{
		{"decimals are exact", testDecimals},
		{"what the source does not give is absent", testNulls},
		{"times are exact", testTimes},
		{"every interval and origin", testIntervals},
		{"keys are told apart", testKeys},
		{"an empty batch is fine", testEmpty},
		{"redelivery changes nothing", testRedelivery},
		{"the newest version wins in any order", testOrders},
		{"a closed candle is never overwritten by an open one", testClosed},
		{"an equal version with other values is a conflict", testConflict},
		{"any delivery ends as one after the other", testAnyDelivery},
		{"gaps", testGaps},
		{"poison harms no neighbour", testPoison},
		{"partitions are written at once", testConcurrent},
		{"a cancelled context ends a write", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink, read := open(t)
			c.test(t, sink, read)
		})
	}
}

// start is the open time of the suite's first candle: a minute, an hour and a day begin.
const start market.Millis = 1740787200000 // 2025-03-01T00:00:00Z

// Candle returns the i-th valid closed minute of BTC-USDT at binance.
func Candle(i int) *market.Candle {
	opened := start.Add(time.Duration(i) * time.Minute)
	d := func(s string) market.Decimal { v, _ := market.ParseDecimal(s); return v }
	quote, taker, takerQuote, trades := d("987654.3210001"), d("5.5"), d("443322.11"), int64(1000+i)
	return &market.Candle{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m",
		OpenTime: opened, EventTime: opened.Add(time.Minute) - 1, ReceivedTime: opened.Add(time.Minute + 57*time.Millisecond),
		Open: d(fmt.Sprintf("84000.%02d", i%100)), High: d("84999.99"), Low: d("83000.01"), Close: d("84500.5"), Volume: d("11.75"),
		QuoteVolume: &quote, TakerVolume: &taker, TakerQuote: &takerQuote, Trades: &trades,
		Closed: true, Origin: market.OriginLive,
	}
}

func decimal(t testing.TB, s string) market.Decimal {
	t.Helper()
	d, err := market.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func with(c *market.Candle, change func(c *market.Candle)) *market.Candle {
	d := *c
	change(&d)
	return &d
}

func write(t *testing.T, s pipeline.Sink, events ...market.Event) pipeline.Effects {
	t.Helper()
	for _, e := range events {
		if err := e.Validate(); err != nil {
			t.Fatalf("the suite's event is not valid: %v", err)
		}
	}
	effects, err := s.Write(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	if n := effects.Inserted + effects.Updated + effects.Unchanged + effects.Kept; n != len(events) {
		t.Errorf("%d events had %d effects: %+v", len(events), n, effects)
	}
	return effects
}

func want(t *testing.T, read Reader, stored ...Stored) {
	t.Helper()
	got := read(t)
	byKey := func(a, b Stored) int { return compareKeys(a.Event, b.Event) }
	slices.SortFunc(got, byKey)
	slices.SortFunc(stored, byKey)
	if diff := cmp.Diff(stored, got, cmp.Comparer(func(a, b market.Decimal) bool { return a == b })); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// compareKeys orders by kind and key: a gap may have the key of a candle.
func compareKeys(a, b market.Event) int {
	return strings.Compare(string(a.Kind())+a.Key(), string(b.Kind())+b.Key())
}

func plain(events ...market.Event) []Stored {
	all := make([]Stored, len(events))
	for i, e := range events {
		all[i] = Stored{Event: e}
	}
	return all
}

// testPoison writes what hardly any store can take, as the engine would: without
// the items named, or half by half where none is.
func testPoison(t *testing.T, s pipeline.Sink, read Reader) {
	var batch pipeline.Batch
	for i := range 10 {
		batch = append(batch, Candle(i))
	}
	digits := make([]byte, 90)
	for i := range digits {
		digits[i] = '1' + byte(i%9)
	}
	monster := with(Candle(4), func(c *market.Candle) { c.Volume = decimal(t, string(digits)) })
	fine := with(Candle(7), func(c *market.Candle) { c.Volume = decimal(t, "0."+string(digits)) })
	batch[4], batch[7] = monster, fine
	dead := writeAround(t, s, batch)
	for _, e := range dead {
		if e != market.Event(monster) && e != market.Event(fine) {
			t.Errorf("%s is called poison", e.Key())
		}
	}
	var rest []market.Event
	for _, e := range batch {
		if !slices.Contains(dead, e) {
			rest = append(rest, e)
		}
	}
	want(t, read, plain(rest...)...)
}

// writeAround returns the events that the sink refuses for good.
func writeAround(t *testing.T, s pipeline.Sink, b pipeline.Batch) (dead []market.Event) {
	t.Helper()
	for len(b) > 0 {
		_, err := s.Write(t.Context(), b)
		if err == nil {
			return dead
		}
		var e *pipeline.Error
		if !errors.As(err, &e) || e.Class != pipeline.Poison {
			t.Fatalf("want Poison, got %v", err)
		}
		if e.Code == "" {
			t.Errorf("poison without a code: %v", err)
		}
		switch {
		case len(e.Items) == 0 && len(b) == 1:
			return append(dead, b[0])
		case len(e.Items) == 0:
			return append(append(dead, writeAround(t, s, b[:len(b)/2])...), writeAround(t, s, b[len(b)/2:])...)
		}
		var rest pipeline.Batch
		for i, event := range b {
			if slices.Contains(e.Items, i) {
				dead = append(dead, event)
			} else {
				rest = append(rest, event)
			}
		}
		if len(rest) == len(b) {
			t.Fatalf("items %v are not in a batch of %d", e.Items, len(b))
		}
		b = rest
	}
	return dead
}

// testConcurrent has a writer a partition; two of them share keys, as after a rebalance.
func testConcurrent(t *testing.T, s pipeline.Sink, read Reader) {
	const writers, rounds, rows = 6, 10, 30
	var expected []market.Event
	var group sync.WaitGroup
	for w := range writers {
		var all []market.Event
		for i := range rows {
			all = append(all, with(Candle(i), func(c *market.Candle) { c.Instrument.Base = fmt.Sprintf("COIN%d", w/2) }))
		}
		if w%2 == 0 {
			expected = append(expected, all...)
		}
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for range rounds {
				batch := slices.Clone(all)
				random.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
				for {
					_, err := s.Write(t.Context(), batch)
					if class, _ := pipeline.ClassOf(err); err != nil && class == pipeline.Transient {
						continue
					}
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
					break
				}
			}
		})
	}
	group.Wait()
	want(t, read, plain(expected...)...)
}

func testCancelled(t *testing.T, s pipeline.Sink, read Reader) {
	writeCancelled(t, s, Candle(0))
	want(t, read, plain(Candle(0))...)
}

// writeCancelled writes e with a context that has ended, and then with one that
// has not.
func writeCancelled(t *testing.T, s pipeline.Sink, e market.Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(ctx, pipeline.Batch{e})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("want %v, got %v", context.Canceled, err)
		}
		if class, _ := pipeline.ClassOf(err); class == pipeline.Poison {
			t.Error("a cancelled write is called poison")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a cancelled write did not return in 30 s")
	}
	write(t, s, e)
}
