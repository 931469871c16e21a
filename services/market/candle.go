package market

import (
	"fmt"
	"strconv"
)

// Candle is what happened to an instrument in one interval. Its end is derived:
// Interval.Next(OpenTime). Prices are in the quote currency, Volume in the base
// currency. Fields that are pointers are nil where the source does not give them.
type Candle struct {
	Exchange     string     `json:"exchange"`
	Instrument   Instrument `json:"instrument"`
	Interval     Interval   `json:"interval"`
	OpenTime     Millis     `json:"open_time"`
	Open         Decimal    `json:"open"`
	High         Decimal    `json:"high"`
	Low          Decimal    `json:"low"`
	Close        Decimal    `json:"close"`
	Volume       Decimal    `json:"volume"`
	QuoteVolume  *Decimal   `json:"quote_volume,omitzero"`
	Trades       *int64     `json:"trades,omitzero"`
	TakerVolume  *Decimal   `json:"taker_volume,omitzero"`       // bought by takers, base currency
	TakerQuote   *Decimal   `json:"taker_quote_volume,omitzero"` // bought by takers, quote currency
	Closed       bool       `json:"closed"`
	EventTime    Millis     `json:"event_time"`   // the venue's clock; a REST candle's is its close time
	ReceivedTime Millis     `json:"receive_time"` // our clock
	Origin       Origin     `json:"-"`            // travels in a header
}

// closedBit lies above every time in ms and leaves versions exact in a float64.
const closedBit = 1 << 48

// Series tells the line of candles that c belongs to.
func (c *Candle) Series() Series {
	return Series{Exchange: c.Exchange, Instrument: c.Instrument, Interval: c.Interval}
}

// Kind is KindCandle.
func (c *Candle) Kind() Kind { return KindCandle }

// PartitionKey is the key of the series.
func (c *Candle) PartitionKey() string { return c.Series().Key() }

// Key is exchange, instrument, interval and open time.
func (c *Candle) Key() string {
	return c.PartitionKey() + "/" + strconv.FormatInt(int64(c.OpenTime), 10)
}

// Version is the closed bit, then the event time in ms: a closed candle is never
// older than an open one.
func (c *Candle) Version() int64 {
	v := int64(c.EventTime)
	if c.Closed {
		v |= closedBit
	}
	return v
}

// Clocks returns event and receive time.
func (c *Candle) Clocks() (event, received Millis) { return c.EventTime, c.ReceivedTime }

// From returns the origin.
func (c *Candle) From() Origin { return c.Origin }

// Equal tells whether both say the same of the market: clocks and origin aside.
func (c *Candle) Equal(d *Candle) bool {
	return c.Open == d.Open && c.High == d.High && c.Low == d.Low && c.Close == d.Close && c.Volume == d.Volume &&
		same(c.QuoteVolume, d.QuoteVolume) && same(c.Trades, d.Trades) &&
		same(c.TakerVolume, d.TakerVolume) && same(c.TakerQuote, d.TakerQuote) && c.Closed == d.Closed
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Validate reports the first field that cannot be true. Whether the open time
// lies on the grid of the interval is not asked: exchanges have published such
// candles, and hiding them would be a loss.
func (c *Candle) Validate() error {
	if err := c.Series().validate(); err != nil {
		return err
	}
	for _, clock := range []struct {
		field string
		at    Millis
	}{{"open_time", c.OpenTime}, {"event_time", c.EventTime}, {"receive_time", c.ReceivedTime}} {
		if err := validClock(clock.field, clock.at); err != nil {
			return err
		}
	}
	for _, number := range []struct {
		field string
		value *Decimal
	}{
		{"low", &c.Low}, {"volume", &c.Volume}, {"quote_volume", c.QuoteVolume},
		{"taker_volume", c.TakerVolume}, {"taker_quote_volume", c.TakerQuote},
	} {
		if number.value != nil && number.value.Sign() < 0 {
			return fmt.Errorf("%s %s is negative", number.field, number.value)
		}
	}
	switch {
	case c.Trades != nil && *c.Trades < 0:
		return fmt.Errorf("trades %d is negative", *c.Trades)
	case c.Low.Cmp(c.Open) > 0 || c.Low.Cmp(c.Close) > 0:
		return fmt.Errorf("low %s is above open %s or close %s", c.Low, c.Open, c.Close)
	case c.High.Cmp(c.Open) < 0 || c.High.Cmp(c.Close) < 0:
		return fmt.Errorf("high %s is below open %s or close %s", c.High, c.Open, c.Close)
	case c.EventTime < c.OpenTime:
		return fmt.Errorf("event_time %s is before open_time %s", c.EventTime, c.OpenTime)
	case !c.Origin.Valid():
		return fmt.Errorf("origin %.20q is unknown", string(c.Origin))
	}
	return nil
}
