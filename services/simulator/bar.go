package simulator

import (
	"github.com/candlestack/candlestack/services/market"
)

// bar is what was traded in a stretch of time. Prices are in units of 1e-8.
type bar struct {
	open, high, low, close  int64
	volume, quote           amount // base and quote currency
	takerVolume, takerQuote amount // of these, bought by takers
	trades                  int64
	first, last             int64 // trade ids, -1 without trades
}

// merge appends b, which follows a.
func (a *bar) merge(b *bar) {
	a.high = max(a.high, b.high)
	a.low = min(a.low, b.low)
	a.close = b.close
	a.volume = a.volume.add(b.volume)
	a.quote = a.quote.add(b.quote)
	a.takerVolume = a.takerVolume.add(b.takerVolume)
	a.takerQuote = a.takerQuote.add(b.takerQuote)
	a.trades += b.trades
	if a.first < 0 {
		a.first = b.first
	}
	a.last = max(a.last, b.last)
}

// sum collects bars in order of time; some is false until there was one.
type sum struct {
	bar
	some bool
}

func (s *sum) add(b bar, ok bool) {
	switch {
	case !ok:
	case !s.some:
		s.bar, s.some = b, true
	default:
		s.merge(&b)
	}
}

// grid is a row of candles: an interval whose boundaries a time zone may move
// (parameter timeZone of klines).
type grid struct {
	interval market.Interval
	zone     market.Millis // how much the zone is ahead of UTC
}

// start is the open time of the candle that holds m, next the one after it.
func (g grid) start(m market.Millis) market.Millis { return g.interval.Start(m+g.zone) - g.zone }
func (g grid) next(m market.Millis) market.Millis  { return g.interval.Next(m+g.zone) - g.zone }

// seconds tells whether the candles are shorter than a minute.
func (g grid) seconds() bool { return g.interval == "1s" }

// candle writes b as the stack's contract has it: closed, its event time the
// close time, as one that REST gave.
func (b *bar) candle(i market.Instrument, g grid, open market.Millis) market.Candle {
	quote, trades := b.quote.decimal(), b.trades
	takerVolume, takerQuote := b.takerVolume.decimal(), b.takerQuote.decimal()
	return market.Candle{
		Exchange: Exchange, Instrument: i, Interval: g.interval, OpenTime: open,
		Open: amountOf(b.open).decimal(), High: amountOf(b.high).decimal(),
		Low: amountOf(b.low).decimal(), Close: amountOf(b.close).decimal(),
		Volume: b.volume.decimal(), QuoteVolume: &quote, Trades: &trades,
		TakerVolume: &takerVolume, TakerQuote: &takerQuote,
		Closed: true, EventTime: g.next(open) - 1,
	}
}
