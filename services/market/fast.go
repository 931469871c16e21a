package market

import (
	"strings"
	"unsafe"
)

// decodeCandle reads the exact form that Encode writes: all fields in their
// order, no white space, no escapes. It gives up on anything else, which is the
// business of the general decoder; what it does read is the same. A sink spends
// most of its time in decoding, and this takes a sixth of it. The texts of the
// candle lie in value, which must not change any more: a copy would be a third of
// what a backlog needs.
func decodeCandle(value []byte, origin Origin) (*Candle, bool) {
	var whole struct { // one piece of memory
		Candle
		trades                   int64
		quote, taker, takerQuote Decimal
	}
	c, s := &whole.Candle, scanner{rest: unsafe.String(unsafe.SliceData(value), len(value)), ok: true}
	c.Origin = origin
	c.Exchange = s.text(`{"exchange":"`, `"`)
	c.Instrument.Base = s.text(`,"instrument":"`, `-`)
	c.Instrument.Quote = s.text(``, `"`)
	c.Interval = Interval(s.text(`,"interval":"`, `"`))
	c.OpenTime = Millis(s.integer(`,"open_time":`))
	s.decimal(`,"open":"`, &c.Open)
	s.decimal(`,"high":"`, &c.High)
	s.decimal(`,"low":"`, &c.Low)
	s.decimal(`,"close":"`, &c.Close)
	s.decimal(`,"volume":"`, &c.Volume)
	if s.next(`,"quote_volume":"`) {
		c.QuoteVolume = &whole.quote
		s.decimal(``, c.QuoteVolume)
	}
	if strings.HasPrefix(s.rest, `,"trades":`) {
		whole.trades = s.integer(`,"trades":`)
		c.Trades = &whole.trades
	}
	if s.next(`,"taker_volume":"`) {
		c.TakerVolume = &whole.taker
		s.decimal(``, c.TakerVolume)
	}
	if s.next(`,"taker_quote_volume":"`) {
		c.TakerQuote = &whole.takerQuote
		s.decimal(``, c.TakerQuote)
	}
	c.Closed = s.next(`,"closed":true`)
	if !c.Closed {
		s.must(`,"closed":false`)
	}
	c.EventTime = Millis(s.integer(`,"event_time":`))
	c.ReceivedTime = Millis(s.integer(`,"receive_time":`))
	s.must(`}`)
	return c, s.ok && s.rest == "" && symbol(c.Instrument.Base) && symbol(c.Instrument.Quote)
}

// scanner reads text piece by piece until something is not as it must be.
type scanner struct {
	rest string
	ok   bool
}

// next skips piece where it stands there.
func (s *scanner) next(piece string) bool {
	rest, found := strings.CutPrefix(s.rest, piece)
	s.rest = rest
	return found
}

func (s *scanner) must(piece string) { s.ok = s.next(piece) && s.ok }

// text is what stands between before and after, plain ASCII without escapes.
func (s *scanner) text(before, after string) string {
	s.must(before)
	text, rest, found := strings.Cut(s.rest, after)
	for i := range len(text) {
		found = found && text[i] >= ' ' && text[i] < 0x7f && text[i] != '\\' && text[i] != '"'
	}
	s.rest, s.ok = rest, s.ok && found
	return text
}

func (s *scanner) decimal(before string, into *Decimal) {
	d, err := ParseDecimal(s.text(before, `"`))
	*into, s.ok = d, s.ok && err == nil
}

// integer reads up to 18 digits after before: more might overflow.
func (s *scanner) integer(before string) (n int64) {
	s.must(before)
	i := 0
	for ; i < len(s.rest) && s.rest[i] >= '0' && s.rest[i] <= '9'; i++ {
		n = n*10 + int64(s.rest[i]-'0')
	}
	s.ok = s.ok && i > 0 && i <= 18 && (i == 1 || s.rest[0] != '0')
	s.rest = s.rest[i:]
	return n
}
