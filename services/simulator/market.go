package simulator

import (
	"slices"
	"strings"
	"sync"

	"github.com/candlestack/candlestack/services/market"
)

// Exchange is the name under which the stack knows what the simulator serves.
const Exchange = "binance"

// lot is the grid of an instrument: decimals of its prices and quantities.
// Together at most eight, so that a quote volume is exact.
type lot struct{ price, quantity int }

func power(n int) int64 {
	p := int64(1)
	for ; n > 0; n-- {
		p *= 10
	}
	return p
}

// tick and step are in units of 1e-8, cent is the unit of their product.
func (l lot) tick() int64  { return power(8 - l.price) }
func (l lot) step() int64  { return power(8 - l.quantity) }
func (l lot) cent() uint64 { return uint64(power(8 - l.price - l.quantity)) }

// tape knows what was traded in every second of an instrument's life: a seeded
// market or a recording.
type tape interface {
	// slice is the bar of the seconds [from, to) of a minute, counted from the
	// epoch; false where the exchange itself has nothing.
	slice(minute int64, from, to int) (bar, bool)
	// span is the minutes [first, end) outside of which there is nothing.
	span() (first, end int64)
	// jumps planted in minutes [from, to).
	jumps(from, to int64) []Jump
}

// instrument is a tape with its name, its grid and what was once added up.
type instrument struct {
	market.Instrument
	symbol string // BTCUSDT
	lot    lot
	tape   tape
	hours  cache
	days   cache
}

func newInstrument(i market.Instrument, l lot, t tape) *instrument {
	return &instrument{Instrument: i, symbol: i.Base + i.Quote, lot: l, tape: t}
}

// cache keeps bars of closed hours or days by their number. They never change,
// so the only question is memory: when it is full it starts anew.
type cache struct {
	mu   sync.Mutex
	bars map[int64]sum
}

// cacheSize is some ten years of days, or five months of hours: 0.5 MB each.
const cacheSize = 3660

func (c *cache) get(i int64, compute func() sum) sum {
	c.mu.Lock()
	s, ok := c.bars[i]
	c.mu.Unlock()
	if ok {
		return s
	}
	s = compute()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bars == nil || len(c.bars) >= cacheSize {
		c.bars = make(map[int64]sum)
	}
	c.bars[i] = s
	return s
}

func (in *instrument) hour(h int64) sum {
	return in.hours.get(h, func() (s sum) {
		for m := h * 60; m < (h+1)*60; m++ {
			s.add(in.tape.slice(m, 0, 60))
		}
		return s
	})
}

func (in *instrument) day(d int64) sum {
	return in.days.get(d, func() (s sum) {
		for h := d * 24; h < (d+1)*24; h++ {
			hour := in.hour(h)
			s.add(hour.bar, hour.some)
		}
		return s
	})
}

// between is the bar of [from, to), both whole seconds; false if nothing is in it.
func (in *instrument) between(from, to market.Millis) (bar, bool) {
	first, end := in.tape.span()
	from, to = max(from, market.Millis(first)*minute), min(to, market.Millis(end)*minute)
	var s sum
	for t := from; t < to; {
		switch {
		case t%day == 0 && t+day <= to:
			b := in.day(int64(t / day))
			s.add(b.bar, b.some)
			t += day
		case t%hour == 0 && t+hour <= to:
			b := in.hour(int64(t / hour))
			s.add(b.bar, b.some)
			t += hour
		default:
			start := t - t%minute
			stop := min(start+minute, to)
			s.add(in.tape.slice(int64(start/minute), wholeSeconds(t-start), wholeSeconds(stop-start)))
			t = stop
		}
	}
	return s.bar, s.some
}

func wholeSeconds(m market.Millis) int { return int(m / 1000) }

// row is a candle and where it stands.
type row struct {
	open, close market.Millis
	bar
}

// page returns at most limit rows with open times in [from, to], the open one
// at clock now included; the oldest of them, or the newest. Always ascending.
func (in *instrument) page(g grid, from, to, now market.Millis, limit int, newest bool) []row {
	now -= now % 1000 // the second that runs has not been traded yet
	first, end := in.tape.span()
	from = max(from, g.start(market.Millis(first)*minute))
	to = min(to, now-1, market.Millis(end)*minute-1)
	rows := make([]row, 0, min(limit, 1000))
	take := func(open market.Millis) {
		next := g.next(open)
		if b, ok := in.between(open, min(next, now)); ok {
			rows = append(rows, row{open: open, close: next - 1, bar: b})
		}
	}
	if newest {
		for open := g.start(to); open >= from && len(rows) < limit; open = g.start(open - 1) {
			take(open)
		}
		slices.Reverse(rows)
		return rows
	}
	open := g.start(from)
	if open < from {
		open = g.next(open)
	}
	for ; open <= to && len(rows) < limit; open = g.next(open) {
		take(open)
	}
	return rows
}

// board is the instruments that are served, by symbol, and in their order.
type board struct {
	order    []*instrument
	bySymbol map[string]*instrument
}

func newBoard(all []*instrument) board {
	b := board{order: all, bySymbol: make(map[string]*instrument, len(all))}
	for _, in := range all {
		b.bySymbol[in.symbol] = in
	}
	return b
}

// find takes BTCUSDT, btcusdt or BTC-USDT.
func (b *board) find(symbol string) (*instrument, bool) {
	in, ok := b.bySymbol[strings.ToUpper(strings.ReplaceAll(symbol, "-", ""))]
	return in, ok
}
