package market_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

func at(text string) market.Millis {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return market.MillisOf(t)
}

func TestIntervalByCalendar(t *testing.T) {
	for _, f := range []struct {
		interval             market.Interval
		moment, start, after string
	}{
		{"1s", "2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"},
		{"1m", "2024-02-29T23:59:59.999Z", "2024-02-29T23:59:00Z", "2024-03-01T00:00:00Z"},
		{"3m", "2024-02-29T23:59:59.999Z", "2024-02-29T23:57:00Z", "2024-03-01T00:00:00Z"},
		{"5m", "2024-02-29T23:59:59.999Z", "2024-02-29T23:55:00Z", "2024-03-01T00:00:00Z"},
		{"15m", "2024-02-29T23:59:59.999Z", "2024-02-29T23:45:00Z", "2024-03-01T00:00:00Z"},
		{"30m", "2024-02-29T23:59:59.999Z", "2024-02-29T23:30:00Z", "2024-03-01T00:00:00Z"},
		{"1h", "2024-02-29T23:59:59.999Z", "2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"},
		{"2h", "2024-02-29T23:59:59.999Z", "2024-02-29T22:00:00Z", "2024-03-01T00:00:00Z"},
		{"4h", "2024-02-29T23:59:59.999Z", "2024-02-29T20:00:00Z", "2024-03-01T00:00:00Z"},
		{"6h", "2024-02-29T23:59:59.999Z", "2024-02-29T18:00:00Z", "2024-03-01T00:00:00Z"},
		{"8h", "2024-02-29T23:59:59.999Z", "2024-02-29T16:00:00Z", "2024-03-01T00:00:00Z"},
		{"12h", "2024-02-29T23:59:59.999Z", "2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z"},
		{"1d", "2024-02-29T23:59:59.999Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"1d", "2023-02-28T12:00:00Z", "2023-02-28T00:00:00Z", "2023-03-01T00:00:00Z"},
		{"3d", "1970-01-04T00:00:00Z", "1970-01-04T00:00:00Z", "1970-01-07T00:00:00Z"}, // from the epoch on
		{"3d", "2024-03-01T12:00:00Z", "2024-02-29T00:00:00Z", "2024-03-03T00:00:00Z"},
		{"1w", "2024-03-03T23:59:59.999Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"}, // a Sunday belongs to the Monday before
		{"1w", "2024-03-04T00:00:00Z", "2024-03-04T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"1w", "2025-01-01T00:00:00Z", "2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z"},
		{"1w", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"},
		{"1M", "2024-02-29T23:59:59.999Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"1M", "2023-02-28T23:59:59.999Z", "2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z"},
		{"1M", "2024-12-31T23:59:59.999Z", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"},
		{"1M", "2024-01-31T00:00:00Z", "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"},
	} {
		start := f.interval.Start(at(f.moment))
		if start != at(f.start) {
			t.Errorf("the %s candle of %s opens at %s, want %s", f.interval, f.moment, start, f.start)
		}
		if next := f.interval.Next(start); next != at(f.after) {
			t.Errorf("the %s candle after %s opens at %s, want %s", f.interval, start, next, f.after)
		}
	}
}

func TestIntervalCount(t *testing.T) {
	for _, f := range []struct {
		interval market.Interval
		from, to string
		want     int
	}{
		{"1m", "2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z", 44_640},
		{"1d", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", 366},
		{"1d", "2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z", 365},
		{"1w", "2024-12-30T00:00:00Z", "2025-12-29T00:00:00Z", 52},
		{"1M", "2023-11-01T00:00:00Z", "2025-03-01T00:00:00Z", 16},
		{"1M", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", 0},
		{"1h", "2024-02-02T00:00:00Z", "2024-02-01T00:00:00Z", 0}, // backwards
	} {
		if got := f.interval.Count(at(f.from), at(f.to)); got != f.want {
			t.Errorf("%d candles of %s open from %s to %s, want %d", got, f.interval, f.from, f.to, f.want)
		}
	}
}

func TestIntervalArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := rapid.SampledFrom(market.Intervals()).Draw(t, "interval")
		m := market.Millis(rapid.Int64Range(-1e12, 4102444800000).Draw(t, "moment")) // from 1938 on
		start := interval.Start(m)
		next := interval.Next(start)
		if m < start || m >= next {
			t.Fatalf("%s is not in its %s candle [%s, %s)", m, interval, start, next)
		}
		if again := interval.Start(start); again != start {
			t.Fatalf("the %s candle that opens at %s opens at %s", interval, start, again)
		}
		steps := rapid.IntRange(0, 500).Draw(t, "steps")
		to := start
		for range steps {
			to = interval.Next(to)
			if interval.Start(to) != to {
				t.Fatalf("%s is no open time of %s", to, interval)
			}
		}
		if got := interval.Count(start, to); got != steps {
			t.Fatalf("%d candles of %s from %s to %s, walking finds %d", got, interval, start, to, steps)
		}
	})
}

func TestParseInterval(t *testing.T) {
	all := market.Intervals()
	if len(all) != 16 {
		t.Fatalf("there are %d intervals", len(all))
	}
	for _, want := range all {
		if got, err := market.ParseInterval(string(want)); err != nil || got != want {
			t.Errorf("%s is read as %s, %v", want, got, err)
		}
	}
	all[0] = "changed"
	if market.Intervals()[0] != "1s" {
		t.Error("a caller can change the list of intervals")
	}
	_, err := market.ParseInterval("1H")
	wants(t, err, `interval "1H" is none of 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M`)
	for _, wrong := range []string{"", "m", "1D", "1W", "60s", "1m ", "7m"} {
		if _, err := market.ParseInterval(wrong); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}
