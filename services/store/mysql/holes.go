package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// Hole is a stretch of a series without closed candles: open times in [From, To).
type Hole struct {
	Series   market.Series
	From, To market.Millis
	Missing  int             // candles
	State    market.GapState // what table gaps says of it; empty if nothing
}

// Holes compares table candles with itself, between the first and the newest
// closed candle of each series that keep takes, and sets beside each hole what
// table gaps says of it. A hole that several gaps speak of in part comes in parts.
// They are ordered by series and time.
func (s *Sink) Holes(ctx context.Context, keep func(market.Series) bool) ([]Hole, error) {
	all, err := s.series(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing series: %w", err)
	}
	var holes []Hole
	for _, series := range all {
		if !keep(series) {
			continue
		}
		bare, err := s.holesOf(ctx, series)
		if err != nil {
			return nil, fmt.Errorf("looking for holes of %s: %w", series.Key(), err)
		}
		if len(bare) == 0 {
			continue
		}
		gaps, err := s.gapsOf(ctx, series)
		if err != nil {
			return nil, fmt.Errorf("reading gaps of %s: %w", series.Key(), err)
		}
		for _, h := range bare {
			holes = append(holes, h.explain(gaps)...)
		}
	}
	return holes, nil
}

// series reads the first columns of the primary key only.
func (s *Sink) series(ctx context.Context) ([]market.Series, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT DISTINCT exchange, instrument, `interval` FROM candles ORDER BY exchange, instrument, `interval`")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []market.Series
	for rows.Next() {
		var one market.Series
		var instrument string
		if err := rows.Scan(&one.Exchange, &instrument, &one.Interval); err != nil {
			return nil, err
		}
		if one.Instrument, err = market.ParseInstrument(instrument); err != nil {
			return nil, err
		}
		if !one.Interval.Valid() {
			return nil, fmt.Errorf("interval %q is unknown", one.Interval)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// holesOf lets the server find each candle whose successor is further than the
// shortest distance, and the interval's own arithmetic decide.
func (s *Sink) holesOf(ctx context.Context, series market.Series) ([]Hole, error) {
	shortest := series.Interval.Next(0) // of those of one length, the length
	if series.Interval == "1M" {        // February
		shortest = market.Millis((28 * 24 * time.Hour).Milliseconds())
	}
	rows, err := s.db.QueryContext(ctx, "SELECT open_time, next_time FROM ("+
		"SELECT open_time, LEAD(open_time) OVER (ORDER BY open_time) AS next_time FROM candles "+
		"WHERE exchange=? AND instrument=? AND `interval`=? AND closed) c "+
		"WHERE next_time > open_time + INTERVAL ? SECOND ORDER BY open_time",
		series.Exchange, series.Instrument.String(), string(series.Interval), int64(shortest/1000))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var holes []Hole
	for rows.Next() {
		var last, next time.Time
		if err := rows.Scan(&last, &next); err != nil {
			return nil, err
		}
		h := Hole{Series: series, From: series.Interval.Next(series.Interval.Start(market.MillisOf(last))), To: market.MillisOf(next)}
		if h.Missing = series.Interval.Count(h.From, h.To); h.Missing > 0 {
			holes = append(holes, h)
		}
	}
	return holes, rows.Err()
}

// gapsOf returns gaps, the latest finding first.
func (s *Sink) gapsOf(ctx context.Context, series market.Series) ([]market.Gap, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT from_time, to_time, state FROM gaps "+
		"WHERE exchange=? AND instrument=? AND `interval`=? ORDER BY version DESC",
		series.Exchange, series.Instrument.String(), string(series.Interval))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var gaps []market.Gap
	for rows.Next() {
		var from, to time.Time
		var g market.Gap
		if err := rows.Scan(&from, &to, &g.State); err != nil {
			return nil, err
		}
		g.FromTime, g.ToTime = market.MillisOf(from), market.MillisOf(to)
		gaps = append(gaps, g)
	}
	return gaps, rows.Err()
}

// explain cuts a hole where what is said of it changes. Of gaps that overlap the
// first in the list counts.
func (h Hole) explain(gaps []market.Gap) []Hole {
	cuts := []market.Millis{h.From, h.To}
	for _, g := range gaps {
		for _, at := range []market.Millis{g.FromTime, g.ToTime} {
			if at > h.From && at < h.To {
				cuts = append(cuts, at)
			}
		}
	}
	slices.SortFunc(cuts, func(a, b market.Millis) int { return cmp.Compare(a, b) })
	var parts []Hole
	for i, from := range cuts[:len(cuts)-1] {
		part := Hole{Series: h.Series, From: from, To: cuts[i+1]}
		for _, g := range gaps {
			if g.FromTime <= part.From && part.To <= g.ToTime {
				part.State = g.State
				break
			}
		}
		if n := len(parts); n > 0 && parts[n-1].State == part.State {
			parts[n-1].To = part.To
			continue
		}
		parts = append(parts, part)
	}
	for i := range parts {
		parts[i].Missing = h.Series.Interval.Count(parts[i].From, parts[i].To)
	}
	return parts
}
