package pipelinetest

import (
	"testing"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func testDecimals(t *testing.T, s pipeline.Sink, read Reader) {
	var events []market.Event
	for i, f := range []func(c *market.Candle){
		func(c *market.Candle) {}, // ordinary
		func(c *market.Candle) { // eighteen digits after the point
			c.Low, c.Open, c.Close, c.High = decimal(t, "0.000000000000000001"), decimal(t, "0.000000000000000002"), decimal(t, "0.000000000000000010"), decimal(t, "0.123456789012345678")
		},
		func(c *market.Candle) { c.Volume = decimal(t, "99999999999999.999999999999999999") }, // more than a float64 holds
		func(c *market.Candle) { v := decimal(t, "12345678901234567890"); c.QuoteVolume = &v },
		func(c *market.Candle) { c.Volume = decimal(t, "11.7500000000") }, // zeros at the end
		func(c *market.Candle) { // nothing was traded
			zero, none := decimal(t, "0.00000000"), int64(0)
			c.Volume, c.QuoteVolume, c.TakerVolume, c.TakerQuote, c.Trades = zero, &zero, &zero, &zero, &none
		},
		func(c *market.Candle) { c.Volume = decimal(t, "1.16539E8") },
		func(c *market.Candle) { c.Close = decimal(t, "84000.1000000000000001") }, // a float64 would say 84000.1
		func(c *market.Candle) { n := int64(1) << 62; c.Trades = &n },
	} {
		events = append(events, with(Candle(i), f))
	}
	write(t, s, events...)
	want(t, read, plain(events...)...)
}

func testNulls(t *testing.T, s pipeline.Sink, read Reader) {
	bare := with(Candle(0), func(c *market.Candle) {
		c.QuoteVolume, c.TakerVolume, c.TakerQuote, c.Trades = nil, nil, nil, nil
	})
	some := with(Candle(1), func(c *market.Candle) { c.TakerVolume, c.Trades = nil, nil })
	write(t, s, bare, some)
	want(t, read, plain(bare, some)...)
	// A newer version takes what it does not say away: it is the newer truth.
	newer := with(some, func(c *market.Candle) { c.EventTime++; c.QuoteVolume = nil; c.Trades = Candle(1).Trades })
	write(t, s, newer)
	want(t, read, plain(bare, newer)...)
	// Absent and zero are not the same value.
	zero := decimal(t, "0")
	write(t, s, with(newer, func(c *market.Candle) { c.QuoteVolume = &zero }))
	want(t, read, Stored{Event: bare}, Stored{Event: newer, Conflict: true})
}

func testTimes(t *testing.T, s pipeline.Sink, read Reader) {
	var events []market.Event
	for i, at := range []market.Millis{
		1230940800000, 4102444799998, // the ends of what is valid
		1711846799999, 1711846800001, 1711850399999, // where summer time begins in Europe
		1729994399001, 1729997999999, 1730000000000, // and where an hour comes twice
		1456704000000, // 29th of February
	} {
		events = append(events, with(Candle(i), func(c *market.Candle) { c.OpenTime, c.EventTime, c.ReceivedTime = at, at+1, at }))
	}
	write(t, s, events...)
	want(t, read, plain(events...)...)
}

func testIntervals(t *testing.T, s pipeline.Sink, read Reader) {
	var events []market.Event
	origins := []market.Origin{market.OriginLive, market.OriginBackfill, market.OriginRepair, market.OriginArchive}
	for i, interval := range market.Intervals() {
		events = append(events, with(Candle(0), func(c *market.Candle) { c.Interval, c.Origin = interval, origins[i%len(origins)] }))
	}
	write(t, s, events...)
	want(t, read, plain(events...)...)
}

// testKeys has keys that a careless collation would take for one.
func testKeys(t *testing.T, s pipeline.Sink, read Reader) {
	events := []market.Event{Candle(0)}
	for _, f := range []func(c *market.Candle){
		func(c *market.Candle) { c.Interval = "1M" },
		func(c *market.Candle) { c.Exchange = "Binance" },
		func(c *market.Candle) { c.Exchange = "bínance" },
		func(c *market.Candle) { c.Exchange = `o'b\r"ien; -- ?` },
		func(c *market.Candle) { c.Exchange = "abcdefghijklmnopqrstuvwxyz012345" },
		func(c *market.Candle) { c.Instrument = market.Instrument{Base: "BT", Quote: "CUSDT"} },
		func(c *market.Candle) {
			c.Instrument = market.Instrument{Base: "ABCDEFGHIJ0123456789", Quote: "ZYXWVUTSRQ9876543210"}
		},
		func(c *market.Candle) { c.OpenTime++ },
	} {
		events = append(events, with(Candle(0), f))
	}
	write(t, s, events...)
	want(t, read, plain(events...)...)
}

func testEmpty(t *testing.T, s pipeline.Sink, read Reader) {
	write(t, s)
	want(t, read)
}

func gap(from, to int, state market.GapState, changed market.Millis) *market.Gap {
	return &market.Gap{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m",
		FromTime: Candle(from).OpenTime, ToTime: Candle(to).OpenTime, State: state, Cause: "reconnect", Changed: changed, Origin: market.OriginRepair,
	}
}

func testGaps(t *testing.T, s pipeline.Sink, read Reader) {
	found := gap(0, 10, market.GapOpen, start)
	other := gap(20, 21, market.GapConfirmed, start+5)
	write(t, s, found, other)
	want(t, read, plain(found, other)...)
	write(t, s, found, other, found)
	want(t, read, plain(found, other)...)
	// A repair in part splits the gap; the older finding comes once more, in the same batch and later.
	part, rest := gap(0, 6, market.GapRepaired, start+100), gap(6, 10, market.GapOpen, start+100)
	write(t, s, part, found, rest)
	want(t, read, plain(part, rest, other)...)
	write(t, s, found)
	want(t, read, plain(part, rest, other)...)
	closed := gap(6, 10, market.GapConfirmed, start+200)
	closed.Cause = `it's \ "quoted"`
	write(t, s, closed, rest)
	want(t, read, plain(part, closed, other)...)
	// Gaps and candles of one key do not meet.
	write(t, s, Candle(0), gap(30, 31, market.GapOpen, start))
	want(t, read, plain(part, closed, other, Candle(0), gap(30, 31, market.GapOpen, start))...)
}
