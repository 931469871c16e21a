package market

import (
	"fmt"
	"strconv"
)

// GapState is what is known of a gap.
type GapState string

// States of a gap.
const (
	GapOpen      GapState = "open"      // candles are missing here, and may exist
	GapRepaired  GapState = "repaired"  // they were fetched
	GapConfirmed GapState = "confirmed" // the exchange itself has none
)

// Gap is a stretch of a series in which candles were missed: open times in
// [FromTime, ToTime).
type Gap struct {
	Exchange   string     `json:"exchange"`
	Instrument Instrument `json:"instrument"`
	Interval   Interval   `json:"interval"`
	FromTime   Millis     `json:"from"`
	ToTime     Millis     `json:"to"`
	State      GapState   `json:"state"`
	Cause      string     `json:"cause"`   // start, stream, late, manual, backfill: one word for people
	Changed    Millis     `json:"changed"` // our clock at the change of state
	Origin     Origin     `json:"-"`
}

// Series tells the line of candles that g belongs to.
func (g *Gap) Series() Series {
	return Series{Exchange: g.Exchange, Instrument: g.Instrument, Interval: g.Interval}
}

// Kind is KindGap.
func (g *Gap) Kind() Kind { return KindGap }

// PartitionKey is the key of the series.
func (g *Gap) PartitionKey() string { return g.Series().Key() }

// Key is exchange, instrument, interval and the first open time.
func (g *Gap) Key() string { return g.PartitionKey() + "/" + strconv.FormatInt(int64(g.FromTime), 10) }

// Version is the time of the change of state.
func (g *Gap) Version() int64 { return int64(g.Changed) }

// Clocks are both the time of the change: a gap is our own finding.
func (g *Gap) Clocks() (event, received Millis) { return g.Changed, g.Changed }

// From returns the origin.
func (g *Gap) From() Origin { return g.Origin }

// Validate reports the first field that cannot be true.
func (g *Gap) Validate() error {
	if err := g.Series().validate(); err != nil {
		return err
	}
	for _, clock := range []struct {
		field string
		at    Millis
	}{{"from", g.FromTime}, {"to", g.ToTime}, {"changed", g.Changed}} {
		if err := validClock(clock.field, clock.at); err != nil {
			return err
		}
	}
	switch {
	case g.ToTime <= g.FromTime:
		return fmt.Errorf("to %s is not after from %s", g.ToTime, g.FromTime)
	case g.State != GapOpen && g.State != GapRepaired && g.State != GapConfirmed:
		return fmt.Errorf("state %.20q is unknown", string(g.State))
	case len(g.Cause) > 32:
		return fmt.Errorf("cause %.40q is longer than 32 bytes", g.Cause)
	case !g.Origin.Valid():
		return fmt.Errorf("origin %.20q is unknown", string(g.Origin))
	}
	return nil
}
