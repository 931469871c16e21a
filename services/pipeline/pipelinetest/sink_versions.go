package pipelinetest

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func testRedelivery(t *testing.T, s pipeline.Sink, read Reader) {
	var events []market.Event
	for i := range 50 {
		events = append(events, Candle(i))
	}
	if e := write(t, s, events...); e.Updated != 0 || e.Unchanged != 0 {
		t.Errorf("new rows had effects %+v", e)
	}
	for range 2 {
		if e := write(t, s, events...); e.Inserted != 0 || e.Updated != 0 {
			t.Errorf("redelivered rows had effects %+v", e)
		}
	}
	want(t, read, plain(events...)...)
	// Asked for again, the same candle has other clocks and another origin: that is no news.
	again := with(Candle(3), func(c *market.Candle) { c.ReceivedTime += 5000; c.Origin = market.OriginRepair })
	if e := write(t, s, again); e.Inserted != 0 || e.Updated != 0 {
		t.Errorf("a candle that was asked for again had effects %+v", e)
	}
	want(t, read, plain(events...)...)
}

// versions are three of one candle, oldest first.
func versions(i int) []*market.Candle {
	closed := Candle(i)
	early := with(closed, func(c *market.Candle) { c.Closed, c.EventTime, c.Close = false, c.OpenTime.Add(time.Second), c.Low })
	late := with(closed, func(c *market.Candle) { c.Closed, c.EventTime, c.Close = false, c.OpenTime.Add(2*time.Second), c.High })
	return []*market.Candle{early, late, closed}
}

func testOrders(t *testing.T, s pipeline.Sink, read Reader) {
	var expected []market.Event
	i := 0
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, together := range []bool{true, false} {
			v := versions(i)
			a, b, c := v[order[0]], v[order[1]], v[order[2]]
			if together {
				write(t, s, a, b, c)
			} else {
				write(t, s, a)
				write(t, s, b)
				write(t, s, c)
			}
			expected = append(expected, v[2])
			i++
		}
	}
	want(t, read, plain(expected...)...)
	// The effects tell an update from what was kept.
	v := versions(i)
	write(t, s, v[0])
	if e := write(t, s, v[2]); e.Updated != 1 {
		t.Errorf("a newer version had effects %+v", e)
	}
	if e := write(t, s, v[1]); e.Inserted != 0 || e.Updated != 0 {
		t.Errorf("an older version had effects %+v", e)
	}
}

func testClosed(t *testing.T, s pipeline.Sink, read Reader) {
	closed := Candle(0)
	write(t, s, closed)
	// Late, and by its clock far newer: but open.
	write(t, s, with(closed, func(c *market.Candle) {
		c.Closed, c.EventTime, c.Close = false, c.EventTime.Add(24*time.Hour), c.Low
	}))
	want(t, read, plain(closed)...)
	// The exchange's own correction is closed and newer.
	corrected := with(closed, func(c *market.Candle) { c.EventTime += 1; c.Close = c.High })
	write(t, s, corrected)
	want(t, read, plain(corrected)...)
}

func testConflict(t *testing.T, s pipeline.Sink, read Reader) {
	kept, calm := Candle(0), Candle(1)
	other := with(kept, func(c *market.Candle) { c.Close = c.Low })
	write(t, s, kept, calm)
	write(t, s, other, calm)
	want(t, read, Stored{Event: kept, Conflict: true}, Stored{Event: calm})
	// The same after redelivery of either, and in one batch.
	for _, batch := range [][]market.Event{{kept}, {other}, {kept, other}, {other, kept}} {
		if e := write(t, s, batch...); e.Inserted != 0 || e.Updated != 0 {
			t.Errorf("redelivery had effects %+v", e)
		}
		want(t, read, Stored{Event: kept, Conflict: true}, Stored{Event: calm})
	}
	newer := with(other, func(c *market.Candle) { c.EventTime++ })
	write(t, s, newer)
	want(t, read, plain(newer, calm)...)
	write(t, s, other)
	want(t, read, plain(newer, calm)...)
	// Both in the first batch: the first one stands.
	first, second := Candle(2), with(Candle(2), func(c *market.Candle) { c.High = decimal(t, "99999") })
	write(t, s, first, second)
	want(t, read, Stored{Event: newer}, Stored{Event: calm}, Stored{Event: first, Conflict: true})
}

// testAnyDelivery holds a store to the simplest model: one event after the other.
func testAnyDelivery(t *testing.T, s pipeline.Sink, read Reader) {
	model := map[string]*Stored{}
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		base := fmt.Sprintf("RUN%d", run) // a store is emptied once only
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			var batch pipeline.Batch
			for range rapid.IntRange(1, 8).Draw(r, "events") {
				v := versions(rapid.IntRange(0, 2).Draw(r, "key"))
				c := with(v[rapid.IntRange(0, 2).Draw(r, "version")], func(c *market.Candle) {
					c.Instrument.Base = base
					c.ReceivedTime += market.Millis(rapid.IntRange(0, 1).Draw(r, "clock"))
					if rapid.IntRange(0, 3).Draw(r, "values") == 0 {
						c.QuoteVolume = nil
					}
				})
				batch = append(batch, c)
				switch row := model[c.Key()]; {
				case row == nil || c.Version() > row.Event.Version():
					model[c.Key()] = &Stored{Event: c}
				case c.Version() == row.Event.Version() && !c.Equal(row.Event.(*market.Candle)):
					row.Conflict = true
				}
			}
			if _, err := s.Write(t.Context(), batch); err != nil {
				r.Fatal(err)
			}
		}
		found := 0
		for _, got := range read(t) {
			if got.Event.(*market.Candle).Instrument.Base != base {
				continue
			}
			found++
			expected := model[got.Event.Key()]
			if expected == nil || !same(*expected, got) {
				r.Fatalf("want %+v, stored %+v", expected, got)
			}
			delete(model, got.Event.Key())
		}
		for key, missing := range model {
			r.Fatalf("%s is not stored: %+v", key, missing)
		}
		if found == 0 {
			r.Fatal("nothing is stored")
		}
	})
}

func same(a, b Stored) bool {
	c, d := a.Event.(*market.Candle), b.Event.(*market.Candle)
	return a.Conflict == b.Conflict && c.Equal(d) && c.EventTime == d.EventTime && c.ReceivedTime == d.ReceivedTime && c.Origin == d.Origin
}
