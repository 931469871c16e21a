package binance

import (
	"context"
	"fmt"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// History emits the closed candles of line that open in [from, to), page by
// page. It asks for one candle more than it needs and sets no end: a candle at or
// after to, or one that is still open, is the proof that nothing before it is
// still to come. Without such a proof whole is the end of the last candle seen.
//
// A row that cannot be read is counted, logged and left out: one bad row must
// not stop a back-fill for ever. A page without a readable row is an error.
func (s *Source) History(ctx context.Context, line market.Series, from, to market.Millis, origin market.Origin, emit pipeline.Emit) (whole market.Millis, err error) {
	whole = from
	for start := from; start < to; {
		limit := min(pageRows, line.Interval.Count(start, to)+1)
		p, err := s.page(ctx, line, start, limit, origin == market.OriginRepair)
		if err != nil {
			return whole, err
		}
		next := start
		for _, r := range p.rows {
			switch {
			case r.OpenTime < next: // not ascending: we have it
				continue
			case r.OpenTime >= to:
				return to, nil
			case !p.closed(r, line.Interval):
				return r.OpenTime, nil
			}
			if err := emit(ctx, r.candle(line, true, r.CloseTime, p.received, origin)); err != nil {
				return whole, err
			}
			whole = min(line.Interval.Next(r.OpenTime), to)
			next = r.OpenTime + 1
		}
		if !p.full {
			return whole, nil
		}
		for _, b := range p.bad {
			next = max(next, b.OpenTime+1)
		}
		if next == start {
			return whole, unreadable(fmt.Errorf("a full page of klines from %s holds nothing from there on", start))
		}
		start = next
	}
	return whole, nil
}
