package binance

import (
	"context"
	"errors"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// pollDelay is how long after the turn of an interval REST is asked: its rows
// come from a database that follows the trades.
const pollDelay = time.Second

// poll asks REST for the newest two candles of each series, each minute or, for
// 1s candles, each second, just after the turn.
func (s *Source) poll(ctx context.Context, emit pipeline.Emit) error {
	newest := map[market.Series]market.Millis{} // closed and emitted
	last := market.Millis(0)
	for {
		now, err := s.Now(ctx)
		if err != nil {
			return disconnected(ctx, err)
		}
		for _, line := range s.series {
			rhythm := rhythmOf(line.Interval)
			if last != 0 && rhythm.Start(now.Add(-pollDelay)) == rhythm.Start(last.Add(-pollDelay)) {
				continue
			}
			if err := s.pollLine(ctx, line, newest, emit); err != nil {
				return err
			}
		}
		last = now
		turn := s.rhythm().Next(s.rhythm().Start(now.Add(-pollDelay))).Add(pollDelay)
		select {
		case <-time.After(turn.Sub(now)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rhythmOf is how often a series is asked for.
func rhythmOf(i market.Interval) market.Interval {
	if i == "1s" {
		return i
	}
	return "1m"
}

func (s *Source) rhythm() market.Interval {
	if s.asked["1s"] {
		return "1s"
	}
	return "1m"
}

func (s *Source) pollLine(ctx context.Context, line market.Series, newest map[market.Series]market.Millis, emit pipeline.Emit) error {
	p, err := s.page(ctx, line, newestRows, 2, true)
	if err != nil {
		return disconnected(ctx, err)
	}
	for _, r := range p.rows {
		c := r.candle(line, true, r.CloseTime, p.received, market.OriginLive)
		if !p.closed(r, line.Interval) {
			c.Closed, c.EventTime = false, max(p.now, r.OpenTime) // its close time lies ahead
		} else if r.OpenTime <= newest[line] {
			continue
		}
		if err := emit(ctx, c); err != nil {
			return err
		}
		if c.Closed {
			newest[line] = r.OpenTime
		}
	}
	return nil
}

// disconnected gives a failure of REST the cause that a stream would have.
func disconnected(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var d *pipeline.Disconnected
	if errors.As(err, &d) {
		return &pipeline.Disconnected{Cause: d.Cause, RetryAfter: d.RetryAfter, Err: err}
	}
	cause := pipeline.CauseRefused
	switch _, code := pipeline.ClassOf(err); code {
	case "timeout":
		cause = pipeline.CauseTimeout
	case "network":
		cause = pipeline.CauseEOF
	case "body":
		cause = pipeline.CauseProtocol
	}
	return &pipeline.Disconnected{Cause: cause, Err: err}
}
