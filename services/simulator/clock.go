package simulator

import (
	"math"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// clock is the exchange's clock: it starts where it is told, runs at a speed,
// and never overtakes the wall clock, so that no event is dated in the future
// (design §6). A recording with its own dates ends it.
type clock struct {
	wall  func() time.Time
	begun time.Time // wall clock at the start
	start time.Time // simulated clock at the start
	speed float64
	end   time.Time // zero: never
}

func (c *clock) now() market.Millis {
	w := c.wall()
	t := w
	if ahead := float64(w.Sub(c.begun)) * c.speed; ahead < math.MaxInt64/2 {
		t = c.start.Add(time.Duration(ahead))
	}
	if t.After(w) {
		t = w
	}
	if !c.end.IsZero() && t.After(c.end) {
		t = c.end
	}
	return market.MillisOf(t)
}

// never is longer than any connection lives.
const never = 1000 * time.Hour

// until is the wall time that passes before the clock shows t.
func (c *clock) until(t market.Millis) time.Duration {
	if !c.end.IsZero() && t.Time().After(c.end) {
		return never
	}
	w := c.wall()
	own := float64(t.Time().Sub(c.start))/c.speed - float64(w.Sub(c.begun))
	return max(time.Duration(min(own, float64(never))), t.Time().Sub(w), 0)
}
