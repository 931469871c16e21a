package simulator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

// finals collects the open times of final frames by stream, and checks the
// order of events on the way: open frames before the final one, none after it,
// at least one (but for 1s), dates never in the future and never backwards.
type finals struct {
	t      testing.TB
	s      *Simulator
	opened map[string]market.Millis // open time of the last open frame
	dated  map[string]market.Millis
	closed map[string][]market.Millis
	last   map[string]event
}

func newFinals(t testing.TB, s *Simulator) *finals {
	return &finals{t, s, map[string]market.Millis{}, map[string]market.Millis{}, map[string][]market.Millis{}, map[string]event{}}
}

func (f *finals) take(e event) {
	f.t.Helper()
	if e.at > f.s.Now() || e.at > market.MillisOf(time.Now()) {
		f.t.Fatalf("an event of the future: %s, now %s", e.at, f.s.Now())
	}
	if e.at < f.dated[e.stream] {
		f.t.Fatalf("%s goes back to %s", e.stream, e.at)
	}
	f.dated[e.stream] = e.at
	all := f.closed[e.stream]
	if len(all) > 0 && e.open() <= all[len(all)-1] {
		f.t.Fatalf("%s: candle %s comes after %s was closed", e.stream, e.open(), all[len(all)-1])
	}
	if !e.final() {
		f.opened[e.stream] = e.open()
		return
	}
	if f.opened[e.stream] != e.open() && !strings.HasSuffix(e.stream, "1s") {
		f.t.Fatalf("%s: candle %s was closed and never open", e.stream, e.open())
	}
	f.closed[e.stream] = append(all, e.open())
	f.last[e.stream] = e
}

// expected are the candles of a grid that close in (from, to].
func (in *instrument) expected(g grid, from, to market.Millis) (all []market.Millis) {
	for open := g.start(from); g.next(open) <= to; open = g.next(open) {
		if _, ok := in.between(open, g.next(open)); ok && g.next(open) > from {
			all = append(all, open)
		}
	}
	return all
}

// An accelerated replay sends every candle of every interval exactly once, in
// order, holes excepted; and the values of the recording.
func TestReplaySendsEachCandleOnce(t *testing.T) {
	symbols := []string{"BTCUSDT", "ETHUSDT", "XRPUSDT"}
	dir := writeRecording(t, 600, map[int]bool{100: true, 101: true, 299: true}, symbols...)
	begin := at("2025-03-01 03:00:00")
	s := newTest(t, Config{Replay: dir, ReplayExact: true, Start: begin.Time(), Speed: 20_000})
	var streams []string
	for _, symbol := range symbols {
		for _, iv := range []string{"1m", "3m", "1h"} {
			streams = append(streams, strings.ToLower(symbol)+"@kline_"+iv)
		}
	}
	c := dial(t, s, "/stream?streams="+strings.Join(streams, "/"))
	got := newFinals(t, s)
	first := map[string]market.Millis{}
	end := begin + 600*minute
	for n := 0; n < len(streams); {
		e := c.event()
		if _, ok := first[e.stream]; !ok {
			first[e.stream] = e.open()
		}
		got.take(e)
		if e.final() && millis(e.kline["T"]) == end-1 {
			n++
		}
	}
	for _, in := range s.board.order {
		for _, iv := range []market.Interval{"1m", "3m", "1h"} {
			name := strings.ToLower(in.symbol) + "@kline_" + string(iv)
			if d := cmp.Diff(in.expected(grid{interval: iv}, first[name], end), got.closed[name]); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
		// the last candle as writeRecording has it: minute 599
		k := got.last[strings.ToLower(in.symbol)+"@kline_1m"].kline
		if k["o"] != "104.50000000" || k["h"] != "107.75000000" || k["l"] != "102.25000000" || k["c"] != "105.00000000" || k["v"] != "4.12500000" {
			t.Errorf("%v", k)
		}
	}
	eventually(t, "the clock stands at the end", func() bool { return s.Now() == end+minute })
}

// A client that does not read for a while misses nothing.
func TestSlowClientMissesNothing(t *testing.T) {
	begin := at("2025-03-01 03:00:00")
	end := begin + 1000*minute
	s := newTest(t, Config{Replay: writeRecording(t, 1000, nil, "BTCUSDT"), ReplayExact: true, Start: begin.Time(), Speed: 100_000})
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m/btcusdt@kline_1s")
	eventually(t, "the recording is over", func() bool { return s.Now() > end })
	got := newFinals(t, s)
	first := map[string]market.Millis{}
	for n := 0; n < 2; {
		e := c.event()
		if _, ok := first[e.stream]; !ok {
			first[e.stream] = e.open()
		}
		got.take(e)
		if e.final() && millis(e.kline["T"]) == end-1 {
			n++
		}
	}
	for _, iv := range []market.Interval{"1m", "1s"} {
		name := "btcusdt@kline_" + string(iv)
		want := s.board.order[0].expected(grid{interval: iv}, first[name], end)
		if len(want) < 900 || len(want) != len(got.closed[name]) || !cmp.Equal(want, got.closed[name]) {
			t.Errorf("%s: %d candles, want %d", name, len(got.closed[name]), len(want))
		}
	}
}

// Acceleration begins in the past and ends at now: nothing is dated in the
// future, and REST has what the stream closed.
func TestAccelerationEndsAtNow(t *testing.T) {
	s := newTest(t, Config{Start: time.Now().Add(-5 * time.Hour), Speed: 10_000})
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m")
	got := newFinals(t, s)
	caughtUp := false
	for !caughtUp {
		e := c.event()
		got.take(e)
		caughtUp = market.MillisOf(time.Now())-e.at < 5000
	}
	closed := got.closed["btcusdt@kline_1m"]
	for _, open := range closed {
		if _, ok := s.Candle(btc, "1m", open); !ok {
			t.Errorf("%s was closed on the stream, and REST has no such candle", open)
		}
	}
	last := got.last["btcusdt@kline_1m"]
	rows := page(t, s, fmt.Sprintf("symbol=BTCUSDT&interval=1m&startTime=%d&limit=1", int64(last.open())))
	if got, want := string(rows[0][7]), fmt.Sprintf("%q", last.kline["q"]); got != want {
		t.Errorf("quote volume %s on REST, %s on the stream", got, want)
	}
}
