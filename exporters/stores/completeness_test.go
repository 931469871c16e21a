package stores

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

// TestWindowsEqualCountingByHand lays random rows and gaps and counts each open
// time of a window alone.
func TestWindowsEqualCountingByHand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := rapid.SampledFrom(slices.DeleteFunc(market.Intervals(), func(i market.Interval) bool { return i == "1s" || i == "1m" })).Draw(t, "interval")
		// Odd steps: small numbers, which rapid likes, still lie in and off each window and grid.
		some := func(name string, least, most int, step time.Duration) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * step
		}
		now := market.MillisOf(aMonday).Add(some("later", 0, 1000, 97*time.Minute+time.Second))
		s := series{interval: interval, first: now.Add(-some("age", 0, 30, 8*time.Hour+time.Second))}
		var gaps []span
		for range rapid.IntRange(0, 5).Draw(t, "gaps") {
			from := now.Add(-some("from", 0, 250, 52*time.Minute))
			gaps = append(gaps, span{from, from.Add(some("length", 1, 100, 31*time.Minute))})
		}
		every := rapid.Int64Range(1, 4).Draw(t, "every")
		there := func(open market.Millis) bool { return int64(open)/1000/180%every == 0 }

		wins := look(&s, now)
		segments := cut(&s, wins, gaps)
		for k := range segments {
			for open := segments[k].from; open < segments[k].to; open = interval.Next(open) {
				if there(open) {
					segments[k].present++
				}
			}
		}
		for w, win := range wins {
			due, present := 0, 0
			end := now.Add(-grace)
			for open := interval.Start(now.Add(-9 * 24 * time.Hour)); interval.Next(open) <= end; open = interval.Next(open) {
				newest := interval.Start(end)
				if open < newest.Add(-windows[w].length) || open < s.first {
					continue
				}
				switch hole := slices.ContainsFunc(gaps, func(g span) bool { return g.from <= open && open < g.to }); {
				case there(open):
					due++
					present++
				case !hole:
					due++
				}
			}
			gotDue, gotPresent := tally(interval, win, segments)
			if gotDue != due || gotPresent != present {
				t.Fatalf("%s, %s: due %d and present %d, by hand %d and %d", interval, windows[w].name, gotDue, gotPresent, due, present)
			}
		}
	})
}
