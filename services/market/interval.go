package market

import (
	"fmt"
	"strings"
	"time"
)

// Interval is the length of a candle in the field's spelling; case matters, 1m
// is a minute and 1M a month.
type Interval string

// The sixteen intervals, shortest first (exchanges.md §1.2).
var intervals = []Interval{
	"1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M",
}

// Intervals returns all intervals, shortest first.
func Intervals() []Interval { return append([]Interval(nil), intervals...) }

const (
	week  = 7 * 24 * time.Hour
	month = -1 // no fixed length
)

func (i Interval) duration() (time.Duration, bool) {
	switch i {
	case "1s":
		return time.Second, true
	case "1m":
		return time.Minute, true
	case "3m":
		return 3 * time.Minute, true
	case "5m":
		return 5 * time.Minute, true
	case "15m":
		return 15 * time.Minute, true
	case "30m":
		return 30 * time.Minute, true
	case "1h":
		return time.Hour, true
	case "2h":
		return 2 * time.Hour, true
	case "4h":
		return 4 * time.Hour, true
	case "6h":
		return 6 * time.Hour, true
	case "8h":
		return 8 * time.Hour, true
	case "12h":
		return 12 * time.Hour, true
	case "1d":
		return 24 * time.Hour, true
	case "3d":
		return 72 * time.Hour, true
	case "1w":
		return week, true
	case "1M":
		return month, true
	}
	return 0, false
}

// Valid tells whether i is one of the sixteen.
func (i Interval) Valid() bool { _, ok := i.duration(); return ok }

// ParseInterval reads one of the sixteen intervals.
func ParseInterval(s string) (Interval, error) {
	if i := Interval(s); i.Valid() {
		return i, nil
	}
	names := make([]string, len(intervals))
	for k, i := range intervals {
		names[k] = string(i)
	}
	return "", fmt.Errorf("interval %q is none of %s", s, strings.Join(names, " "))
}

// Start is the open time of the candle that holds m: by calendar for months,
// from Monday for weeks, else from multiples since the epoch. The interval must be valid.
func (i Interval) Start(m Millis) Millis {
	d, _ := i.duration()
	var offset Millis
	switch d {
	case month:
		y, mo, _ := m.Time().Date()
		return MillisOf(time.Date(y, mo, 1, 0, 0, 0, 0, time.UTC))
	case week:
		offset = Millis((4 * 24 * time.Hour).Milliseconds()) // 1970-01-05 was a Monday
	}
	length := Millis(d.Milliseconds())
	start := (m - offset) / length * length
	if start > m-offset { // division rounds towards zero
		start -= length
	}
	return start + offset
}

// Next is the open time of the candle after the one that opens at m.
func (i Interval) Next(m Millis) Millis {
	d, _ := i.duration()
	if d == month {
		return MillisOf(i.Start(m).Time().AddDate(0, 1, 0))
	}
	return m.Add(d)
}

// Count is the number of candles that open in [from, to), both open times.
func (i Interval) Count(from, to Millis) int {
	if to <= from {
		return 0
	}
	d, _ := i.duration()
	if d == month {
		a, b := from.Time(), to.Time()
		return (b.Year()-a.Year())*12 + int(b.Month()) - int(a.Month())
	}
	length := Millis(d.Milliseconds())
	return int((to - from + length - 1) / length)
}
