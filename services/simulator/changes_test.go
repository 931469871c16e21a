package simulator

import (
	"math"
	"slices"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/candlestack/candlestack/services/market"
)

// A move counts once, also where a minute is missing within it, and again after
// the change fell below half.
func TestHourMoves(t *testing.T) {
	flat := func(n int, price int64) []int64 { return slices.Repeat([]int64{price}, n) }
	for _, test := range []struct {
		name    string
		closes  []int64
		percent int64
		want    int
	}{
		{"nothing", nil, 1, 0},
		{"exactly one percent counts", slices.Concat(flat(60, 1000), flat(1, 1010)), 1, 1},
		{"one tick less does not", slices.Concat(flat(60, 1000), flat(1, 1009)), 1, 0},
		{"up is not down", slices.Concat(flat(60, 1000), flat(1, 1010)), -1, 0},
		{"down", slices.Concat(flat(60, 1000), flat(1, 990)), -1, 1},
		{"a move that stays is one", slices.Concat(flat(60, 1000), flat(60, 1010)), 1, 1},
		{"a fall to more than half does not arm", slices.Concat(flat(60, 1000), flat(1, 1010), flat(1, 1005), flat(1, 1010)), 1, 1},
		{"a fall below half does", slices.Concat(flat(60, 1000), flat(1, 1010), flat(1, 1004), flat(1, 1010)), 1, 2},
		{"a missing minute neither counts nor arms", slices.Concat(flat(60, 1000), flat(1, 1010), flat(1, 0), flat(1, 1010)), 1, 1},
		{"no base, no change", slices.Concat(flat(60, 0), flat(60, 1010)), 1, 0},
	} {
		if n := hourMoves(test.closes, test.percent); n != test.want {
			t.Errorf("%s: %d moves, want %d", test.name, n, test.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	for percent, want := range map[int]float64{0: 1, 50: 2.5, 75: 4.75, 100: 10} {
		if got := percentile([]float64{1, 2, 3, 10}, percent); math.Abs(got-want) > 1e-12 {
			t.Errorf("percentile %d is %v, want %v", percent, got, want)
		}
	}
	if got := percentile([]float64{7}, 99); got != 7 {
		t.Errorf("of one value: %v", got)
	}
}

// Days and percentiles of a seeded market, by way of Candle and decimals.
func TestChanges(t *testing.T) {
	s := newTest(t, Config{Seed: 5})
	from, to := at("2025-03-01 05:00:00"), at("2025-04-15 00:00:00")
	for _, a := range s.Answers(from, to).Instruments {
		closeAt := func(m market.Millis) (decimal.Decimal, bool) {
			c, ok := s.Candle(a.Instrument, "1m", m)
			return decimal.RequireFromString(c.Close.String()), ok && m >= from && m < to
		}
		days, up, down := 0, [11]int{}, [11]int{}
		for m := from; m < to; m++ {
			if m += day - 1 - m%day; m >= to { // the last millisecond of a day
				break
			}
			last := m + 1 - minute
			now, ok := closeAt(last)
			before, had := closeAt(last - day)
			if !ok || !had {
				continue
			}
			days++
			change := now.Div(before).Sub(decimal.NewFromInt(1)).Mul(decimal.NewFromInt(100))
			for _, percent := range moveSizes {
				if change.GreaterThanOrEqual(decimal.NewFromInt(int64(percent))) {
					up[percent]++
				}
				if change.LessThanOrEqual(decimal.NewFromInt(int64(-percent))) {
					down[percent]++
				}
			}
		}
		if a.Changes.Days != days || days < 40 {
			t.Errorf("%s: %d days, want %d", a.Instrument, a.Changes.Days, days)
		}
		for _, move := range a.Changes.Moves {
			if move.DayUp != up[move.Percent] || move.DayDown != down[move.Percent] {
				t.Errorf("%s: %+v, want %d up and %d down", a.Instrument, move, up[move.Percent], down[move.Percent])
			}
		}
		if up[1] == 0 || down[1] == 0 {
			t.Errorf("%s has no day of 1 %%: choose another seed", a.Instrument)
		}
		n, below := 0, make([]int, len(percentiles))
		for m := from + day; m < to; m += minute {
			now, ok := closeAt(m)
			before, had := closeAt(m - day)
			if !ok || !had {
				continue
			}
			n++
			for k, p := range a.Changes.Percentiles {
				if now.Div(before).Sub(decimal.NewFromInt(1)).LessThan(decimal.NewFromFloat(p.Change)) {
					below[k]++
				}
			}
		}
		if a.Changes.Windows != n {
			t.Errorf("%s: %d windows, want %d", a.Instrument, a.Changes.Windows, n)
		}
		for k, percent := range percentiles {
			if share := 100 * float64(below[k]) / float64(n); math.Abs(share-float64(percent)) > 0.01 {
				t.Errorf("%s: %.3f %% of the changes are below percentile %d", a.Instrument, share, percent)
			}
		}
	}
}
