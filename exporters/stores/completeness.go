package stores

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
)

// windows are looked back upon, shortest first.
var windows = []struct {
	name   string
	length time.Duration
}{{"hour", time.Hour}, {"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}}

// grace is how long a candle may be on its way before it is missed.
const grace = time.Minute

// span is a stretch of a series, of open times in [from, to).
type span struct{ from, to market.Millis }

// segment is one in which nothing changes: it lies in a window or it does not,
// the exchange has candles or it has none.
type segment struct {
	span
	confirmed bool
	present   int
}

// ceil is the first open time at m or after.
func ceil(i market.Interval, m market.Millis) market.Millis {
	if start := i.Start(m); start < m {
		return i.Next(start)
	}
	return m
}

// look returns the stretch of each window that is due by now; empty where none is.
// A window ends with the last interval that ended a grace ago, and holds whole
// intervals only.
func look(s *series, now market.Millis) (all []span) {
	end := s.interval.Start(now.Add(-grace))
	for _, w := range windows {
		from := ceil(s.interval, max(end.Add(-w.length), s.first))
		all = append(all, span{from, max(from, end)})
	}
	return all
}

// cut divides what the windows cover where a window begins and where a confirmed
// gap begins or ends.
func cut(s *series, windows []span, gaps []span) (segments []segment) {
	whole := windows[len(windows)-1]
	cuts := []market.Millis{whole.from, whole.to}
	for _, w := range windows {
		cuts = append(cuts, w.from)
	}
	var inside []span
	for _, g := range gaps {
		g = span{max(ceil(s.interval, g.from), whole.from), min(ceil(s.interval, g.to), whole.to)}
		if g.from < g.to {
			inside = append(inside, g)
			cuts = append(cuts, g.from, g.to)
		}
	}
	slices.SortFunc(cuts, func(a, b market.Millis) int { return cmp.Compare(a, b) })
	cuts = slices.Compact(cuts)
	for i, from := range cuts[:len(cuts)-1] {
		part := segment{span: span{from, cuts[i+1]}}
		if from < whole.from || part.to > whole.to {
			continue
		}
		part.confirmed = slices.ContainsFunc(inside, func(g span) bool { return g.from <= from && part.to <= g.to })
		segments = append(segments, part)
	}
	return segments
}

// tally adds up the segments of a window. Of a confirmed gap only what is there
// after all was due.
func tally(i market.Interval, w span, segments []segment) (due, present int) {
	for _, part := range segments {
		if part.from < w.from {
			continue
		}
		present += part.present
		if part.confirmed {
			due += part.present
		} else {
			due += i.Count(part.from, part.to)
		}
	}
	return due, present
}

// completeness counts the closed candles of each segment, in one pass over the
// last week of the primary key.
func (y *mysql) completeness(ctx context.Context) (out []prometheus.Metric, err error) {
	all, err := y.list(ctx)
	if err != nil {
		return nil, err
	}
	now := market.MillisOf(y.now())
	confirmed, err := y.confirmed(ctx, now.Add(-windows[len(windows)-1].length-24*time.Hour))
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		wins := look(&s, now)
		if w := wins[len(wins)-1]; w.from == w.to {
			continue
		}
		segments := cut(&s, wins, confirmed[keyOf(&s)])
		if err := y.count(ctx, &s, segments); err != nil {
			return nil, fmt.Errorf("counting %s %s %s: %w", s.exchange, s.instrument, s.interval, err)
		}
		for i, w := range wins {
			if w.from == w.to {
				continue
			}
			due, present := tally(s.interval, w, segments)
			ratio := 1.0
			if due > 0 {
				ratio = float64(present) / float64(due)
			}
			labels := s.labels(windows[i].name)
			out = append(out,
				gauge(y.m.due, float64(due), labels...),
				gauge(y.m.present, float64(present), labels...),
				gauge(y.m.completeness, ratio, labels...))
		}
	}
	return out, nil
}

func keyOf(s *series) series {
	return series{exchange: s.exchange, instrument: s.instrument, interval: s.interval}
}

// confirmed returns the gaps that are the exchange's own and end after since.
func (y *mysql) confirmed(ctx context.Context, since market.Millis) (map[series][]span, error) {
	gaps := map[series][]span{}
	err := y.rows(ctx, func(r *sql.Rows) error {
		var s series
		var from, to time.Time
		if err := r.Scan(&s.exchange, &s.instrument, &s.interval, &from, &to); err != nil {
			return err
		}
		gaps[s] = append(gaps[s], span{market.MillisOf(from), market.MillisOf(to)})
		return nil
	}, "SELECT exchange, instrument, `interval`, from_time, to_time FROM gaps WHERE state='confirmed' AND to_time>?", since.Time())
	if err != nil {
		return nil, fmt.Errorf("reading confirmed gaps: %w", err)
	}
	return gaps, nil
}

// count fills in what is present of each segment.
func (y *mysql) count(ctx context.Context, s *series, segments []segment) error {
	parts := make([]part, len(segments))
	for i, one := range segments {
		parts[i] = part{fmt.Sprintf("SELECT %d, COUNT(*) FROM candles WHERE ", i) + ofSeries + " AND open_time>=? AND open_time<? AND closed AND " + aligned(s.interval),
			s.key(one.from.Time(), one.to.Time())}
	}
	return y.parts(ctx, func(r *sql.Rows) error {
		var i, n int
		if err := r.Scan(&i, &n); err != nil {
			return err
		}
		segments[i].present = n
		return nil
	}, parts)
}
