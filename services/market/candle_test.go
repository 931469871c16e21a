package market_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

func TestCandleValidate(t *testing.T) {
	for problem, change := range map[string]func(c *market.Candle){
		"":                                      func(*market.Candle) {},
		`exchange "" is not 1 to 32 bytes long`: func(c *market.Candle) { c.Exchange = "" },
		`exchange "` + strings.Repeat("x", 33) + `" is not 1 to 32 bytes long`: func(c *market.Candle) { c.Exchange = strings.Repeat("x", 33) },
		`instrument "" is not of the form BTC-USDT`:                            func(c *market.Candle) { c.Instrument = market.Instrument{} },
		`instrument "btc-USDT" is not of the form BTC-USDT`:                    func(c *market.Candle) { c.Instrument.Base = "btc" },
		`instrument "BTC-" is not of the form BTC-USDT`:                        func(c *market.Candle) { c.Instrument.Quote = "" },
		`interval "1H" is unknown`:                                             func(c *market.Candle) { c.Interval = "1H" },
		`open_time 0 is not a time in ms between 2009 and 2100`:                func(c *market.Candle) { c.OpenTime = 0 },
		`open_time 1725416820 is not a time in ms between 2009 and 2100`:       func(c *market.Candle) { c.OpenTime /= 1000 },
		`event_time 4102444800000 is not a time in ms between 2009 and 2100`:   func(c *market.Candle) { c.EventTime = 4102444800000 },
		`receive_time 0 is not a time in ms between 2009 and 2100`:             func(c *market.Candle) { c.ReceivedTime = 0 },
		`low -1 is negative`:                              func(c *market.Candle) { c.Low = dec("-1") },
		`volume -0.5 is negative`:                         func(c *market.Candle) { c.Volume = dec("-.5") },
		`quote_volume -1 is negative`:                     func(c *market.Candle) { c.QuoteVolume = some(dec("-1")) },
		`taker_volume -1 is negative`:                     func(c *market.Candle) { c.TakerVolume = some(dec("-1")) },
		`taker_quote_volume -1 is negative`:               func(c *market.Candle) { c.TakerQuote = some(dec("-1")) },
		`trades -1 is negative`:                           func(c *market.Candle) { c.Trades = some(int64(-1)) },
		`low 56642.1 is above open 56714 or close 56642`:  func(c *market.Candle) { c.Low = dec("56642.1") },
		`low 56642 is above open 56641.9 or close 56642`:  func(c *market.Candle) { c.Low, c.Open = dec("56642"), dec("56641.9") },
		`high 56713.9 is below open 56714 or close 56642`: func(c *market.Candle) { c.High = dec("56713.9") },
		`event_time 2024-09-04T02:26:59.999Z is before open_time 2024-09-04T02:27:00.000Z`: func(c *market.Candle) { c.EventTime = c.OpenTime - 1 },
		`origin "" is unknown`:                     func(c *market.Candle) { c.Origin = "" },
		`origin "yyyyyyyyyyyyyyyyyyyy" is unknown`: func(c *market.Candle) { c.Origin = market.Origin(strings.Repeat("y", 99)) },
	} {
		c := fullCandle()
		change(c)
		wants(t, c.Validate(), problem)
	}
	off := fullCandle()
	off.OpenTime += 17 // exchanges have published such candles
	wants(t, off.Validate(), "")
	wants(t, bareCandle().Validate(), "")
}

// Promise 3: a closed candle is never overwritten by an open one, a newer
// version never by an older.
func TestCandleVersionOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Int64Range(1230940800000, 4102444799999)
		a, b := fullCandle(), fullCandle()
		a.EventTime, b.EventTime = market.Millis(moment.Draw(t, "a")), market.Millis(moment.Draw(t, "b"))
		a.Closed, b.Closed = true, false
		if a.Version() <= b.Version() {
			t.Fatalf("a closed candle of %s is not newer than an open one of %s", a.EventTime, b.EventTime)
		}
		a.Closed = rapid.Bool().Draw(t, "closed")
		b.Closed = a.Closed
		if (a.Version() < b.Version()) != (a.EventTime < b.EventTime) {
			t.Fatalf("versions of %s and %s are not in the order of their times", a.EventTime, b.EventTime)
		}
		if int64(float64(a.Version())) != a.Version() {
			t.Fatalf("version %d is not exact in a float64", a.Version())
		}
	})
}

func TestCandleEqual(t *testing.T) {
	for name, change := range map[string]func(c *market.Candle){
		"event time":   func(c *market.Candle) { c.EventTime++ },
		"receive time": func(c *market.Candle) { c.ReceivedTime++ },
		"origin":       func(c *market.Candle) { c.Origin = market.OriginRepair },
		"spelling":     func(c *market.Candle) { c.Open = dec("5.6714E4") },
	} {
		c := fullCandle()
		change(c)
		if !c.Equal(fullCandle()) {
			t.Errorf("another %s makes another candle", name)
		}
	}
	for name, change := range map[string]func(c *market.Candle){
		"open":               func(c *market.Candle) { c.Open = dec("1") },
		"high":               func(c *market.Candle) { c.High = dec("1") },
		"low":                func(c *market.Candle) { c.Low = dec("1") },
		"close":              func(c *market.Candle) { c.Close = dec("1") },
		"volume":             func(c *market.Candle) { c.Volume = dec("1") },
		"quote volume":       func(c *market.Candle) { c.QuoteVolume = some(dec("1")) },
		"no quote volume":    func(c *market.Candle) { c.QuoteVolume = nil },
		"trades":             func(c *market.Candle) { c.Trades = some(int64(1)) },
		"no trades":          func(c *market.Candle) { c.Trades = nil },
		"taker volume":       func(c *market.Candle) { c.TakerVolume = some(dec("1")) },
		"no taker volume":    func(c *market.Candle) { c.TakerVolume = nil },
		"taker quote volume": func(c *market.Candle) { c.TakerQuote = some(dec("1")) },
		"no taker quote":     func(c *market.Candle) { c.TakerQuote = nil },
		"open still":         func(c *market.Candle) { c.Closed = false },
	} {
		c, d := fullCandle(), fullCandle()
		change(c)
		if c.Equal(d) || d.Equal(c) {
			t.Errorf("another %s makes no other candle", name)
		}
	}
	if !bareCandle().Equal(bareCandle()) {
		t.Error("candles without what a source does not give differ")
	}
}

func TestCandleNames(t *testing.T) {
	c := fullCandle()
	event, received := c.Clocks()
	for _, f := range []struct{ what, got, want string }{
		{"kind", string(c.Kind()), "candle"},
		{"topic", c.Kind().Topic(), "market.candles"},
		{"dead-letter topic", market.DeadLetterTopic(c.Kind().Topic()), "market.candles.dead"},
		{"partition key", c.PartitionKey(), "binance/BTC-USDT/1m"},
		{"key", c.Key(), "binance/BTC-USDT/1m/1725416820000"},
		{"event time", event.String(), "2024-09-04T02:27:59.999Z"},
		{"receive time", received.String(), "2024-09-04T02:28:00.123Z"},
		{"origin", string(c.From()), "live"},
		{"topic of nothing", market.Kind("ticker").Topic(), ""},
	} {
		if f.got != f.want {
			t.Errorf("%s is %q, want %q", f.what, f.got, f.want)
		}
	}
}
