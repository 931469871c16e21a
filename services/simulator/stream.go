package simulator

import (
	"strconv"
	"strings"

	"github.com/candlestack/candlestack/services/market"
)

// pushEvery is the rhythm of kline streams, 1s for the interval 1s (exchanges.md
// §1.5). Events are dated on its grid, so they depend on the seed alone.
const pushEvery = 2 * market.Millis(1000)

// line is one stream of a connection: btcusdt@kline_1m. Its state is only what
// can be computed anew: where it stands, and what was sent last.
type line struct {
	name       string
	in         *instrument // nil: a stream that does not exist, and never sends
	grid       grid
	open, next market.Millis // of the candle that runs
	base       sum           // of [open, added)
	added      market.Millis
	sent       bar  // what the last open frame said
	opened     bool // an open frame of this candle was sent
}

// newLine parses the name of a stream. Names that mean nothing here are
// accepted in silence, as by the exchange.
func newLine(name string, b *board, now market.Millis) *line {
	l := &line{name: name}
	symbol, kind, _ := strings.Cut(name, "@")
	kind, zone, zoned := strings.Cut(kind, "@")
	in, ok := b.bySymbol[strings.ToUpper(symbol)]
	interval := market.Interval(strings.TrimPrefix(kind, "kline_"))
	if !ok || symbol != strings.ToLower(symbol) || !strings.HasPrefix(kind, "kline_") || !interval.Valid() {
		return l
	}
	l.grid.interval = interval
	if zoned {
		z, err := parseZone(zone)
		if err != nil {
			return l
		}
		l.grid.zone = z
	}
	l.in = in
	l.begin(l.grid.start(now))
	return l
}

func (l *line) begin(open market.Millis) {
	l.open, l.next, l.added = open, l.grid.next(open), open
	l.base, l.sent, l.opened = sum{}, bar{}, false
}

// until is the bar of the running candle up to t, a whole second. t never goes back.
func (l *line) until(t market.Millis) sum {
	if whole := t - t%minute; whole > l.added {
		l.base.add(l.in.between(l.added, whole))
		l.added = whole
	}
	s := l.base
	if t > l.added {
		s.add(l.in.between(l.added, t))
	}
	return s
}

// update tells what to send at t, within the candle: nothing if nothing changed.
func (l *line) update(t market.Millis) (bar, bool) {
	s := l.until(t)
	if !s.some || s.bar == l.sent {
		return bar{}, false
	}
	l.sent, l.opened = s.bar, true
	return s.bar, true
}

// frame writes an event of the candle that runs. The braces of a combined
// stream go around it.
func (l *line) frame(b []byte, combined bool, k *bar, at market.Millis, final bool) []byte {
	if combined {
		b = append(b, `{"stream":"`...)
		b = append(b, l.name...)
		b = append(b, `","data":`...)
	}
	b = append(b, `{"e":"kline","E":`...)
	b = strconv.AppendInt(b, int64(at), 10)
	b = append(b, `,"s":"`...)
	b = append(b, l.in.symbol...)
	b = append(b, `","k":{"t":`...)
	b = strconv.AppendInt(b, int64(l.open), 10)
	b = append(b, `,"T":`...)
	b = strconv.AppendInt(b, int64(l.next-1), 10)
	b = append(b, `,"s":"`...)
	b = append(b, l.in.symbol...)
	b = append(b, `","i":"`...)
	b = append(b, l.grid.interval...)
	b = append(b, `","f":`...)
	b = strconv.AppendInt(b, k.first, 10)
	b = append(b, `,"L":`...)
	b = strconv.AppendInt(b, k.last, 10)
	for _, number := range [...]struct {
		key   string
		value amount
	}{
		{`,"o":"`, amountOf(k.open)}, {`","c":"`, amountOf(k.close)}, {`","h":"`, amountOf(k.high)},
		{`","l":"`, amountOf(k.low)}, {`","v":"`, k.volume},
	} {
		b = append(b, number.key...)
		b = number.value.append(b)
	}
	b = append(b, `","n":`...)
	b = strconv.AppendInt(b, k.trades, 10)
	b = append(b, `,"x":`...)
	b = strconv.AppendBool(b, final)
	b = append(b, `,"q":"`...)
	b = k.quote.append(b)
	b = append(b, `","V":"`...)
	b = k.takerVolume.append(b)
	b = append(b, `","Q":"`...)
	b = k.takerQuote.append(b)
	b = append(b, `","B":"0"}}`...)
	if combined {
		b = append(b, '}')
	}
	return b
}
