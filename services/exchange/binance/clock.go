package binance

import (
	"context"
	"sync"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/wire/rest"
)

// clockAge is how long a measurement of the exchange's clock is trusted.
const clockAge = time.Second

// clock is the exchange's, kept as its distance from ours.
type clock struct {
	mu       sync.Mutex
	offset   time.Duration
	date     time.Duration // distance of the answer's Date, which another machine may write
	measured time.Time     // zero: unknown
}

// set takes a measurement. The answer was under way for a while, so the clock is
// never ahead of the exchange's: an open candle must not look closed.
func (c *clock) set(server market.Millis, r rest.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.date, c.measured = server.Time().Sub(r.Received), r.Date.Sub(r.Received), r.Received
}

func (c *clock) now(at time.Time) (market.Millis, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.measured.IsZero() || at.Sub(c.measured) > clockAge {
		return 0, false
	}
	return market.MillisOf(at.Add(c.offset)), true
}

// check forgets the measurement where the Date of a later answer contradicts it:
// one of the clocks was set. Date has whole seconds.
func (c *clock) check(r rest.Reply) {
	const slack = 2 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	if moved := r.Date.Sub(r.Received) - c.date; moved.Abs() > slack+r.Received.Sub(r.Sent) {
		c.measured = time.Time{}
	}
}

// Now is the exchange's clock, asked for where the last answer is too old.
func (s *Source) Now(ctx context.Context) (market.Millis, error) {
	if now, ok := s.clock.now(time.Now()); ok {
		return now, nil
	}
	reply, err := s.get(ctx, rest.Request{Route: routeTime, Weight: weightTime, Urgent: true})
	if err != nil {
		return 0, err
	}
	server, err := parseTime(reply.Body)
	if err != nil {
		return 0, unreadable(err)
	}
	s.clock.set(server, reply)
	return server, nil
}
