package simulator

import (
	"math"
	"slices"
)

// Changes is how the closes of an instrument move. The change from a to b is
// b/a − 1, and counts only where both minutes have a candle.
type Changes struct {
	Days        int          `json:"days"`        // days whose last minute and that of the day before, UTC, both have a candle
	Moves       []Move       `json:"moves"`       // of 1, 5 and 10 %
	Windows     int          `json:"windows"`     // minutes that have a change over 24 hours: they overlap
	Percentiles []Percentile `json:"percentiles"` // of these changes
}

// Move counts moves of at least Percent, in days and in hours. An hour's move is
// counted once: at the first minute whose change over 60 minutes reaches Percent,
// and not again until such a change was below half of it.
type Move struct {
	Percent  int `json:"percent"`
	DayUp    int `json:"day_up"`
	DayDown  int `json:"day_down"`
	HourUp   int `json:"hour_up"`
	HourDown int `json:"hour_down"`
}

// Percentile of changes, between two of them by linear interpolation.
type Percentile struct {
	Percent int     `json:"percent"`
	Change  float64 `json:"change"`
}

var (
	moveSizes   = [...]int{1, 5, 10}
	percentiles = [...]int{1, 5, 25, 50, 75, 95, 99}
)

// changesOf looks at closes of consecutive minutes from first on; 0 is no candle.
func changesOf(closes []int64, first int64) Changes {
	c := Changes{Moves: []Move{}, Percentiles: []Percentile{}}
	for _, percent := range moveSizes {
		move := Move{Percent: percent}
		c.Days, move.DayUp, move.DayDown = dayMoves(closes, first, int64(percent))
		move.HourUp, move.HourDown = hourMoves(closes, int64(percent)), hourMoves(closes, -int64(percent))
		c.Moves = append(c.Moves, move)
	}
	var changes []float64
	for m := dayMinutes; m < int64(len(closes)); m++ {
		if before, now := closes[m-dayMinutes], closes[m]; before > 0 && now > 0 {
			changes = append(changes, float64(now)/float64(before)-1)
		}
	}
	c.Windows = len(changes)
	slices.Sort(changes)
	for _, percent := range percentiles {
		if len(changes) > 0 {
			c.Percentiles = append(c.Percentiles, Percentile{percent, percentile(changes, percent)})
		}
	}
	return c
}

// moved tells, in whole numbers, whether a price moved from before by at least
// part/2 of percent, in the direction of its sign.
func moved(before, now, percent, part int64) bool {
	if percent < 0 {
		return (before-now)*200 >= -percent*part*before
	}
	return (now-before)*200 >= percent*part*before
}

func dayMoves(closes []int64, first, percent int64) (days, up, down int) {
	// The last minute of a day, counted from the epoch, is one before a multiple.
	for m := dayMinutes - 1 - first%dayMinutes; m < int64(len(closes)); m += dayMinutes {
		if m < dayMinutes || closes[m] == 0 || closes[m-dayMinutes] == 0 {
			continue
		}
		days++
		if moved(closes[m-dayMinutes], closes[m], percent, 2) {
			up++
		}
		if moved(closes[m-dayMinutes], closes[m], -percent, 2) {
			down++
		}
	}
	return days, up, down
}

func hourMoves(closes []int64, percent int64) (n int) {
	armed := true
	for m := 60; m < len(closes); m++ {
		before, now := closes[m-60], closes[m]
		switch {
		case before == 0 || now == 0:
		case moved(before, now, percent, 2):
			if armed {
				n++
			}
			armed = false
		case !moved(before, now, percent, 1):
			armed = true
		}
	}
	return n
}

// percentile of ascending values.
func percentile(values []float64, percent int) float64 {
	at := float64(percent) / 100 * float64(len(values)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(values)-1)
	return values[low] + (values[high]-values[low])*(at-float64(low))
}
