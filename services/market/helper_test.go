package market_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

func dec(s string) market.Decimal {
	d, err := market.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

func some[T any](v T) *T { return &v }

// fullCandle is a candle with every field given.
func fullCandle() *market.Candle {
	return &market.Candle{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m",
		OpenTime: 1725416820000,
		Open:     dec("56714.00000000"), High: dec("56714.01000000"), Low: dec("56634.00000000"), Close: dec("56642.00000000"),
		Volume: dec("11.02444000"), QuoteVolume: some(dec("624782.95032640")), Trades: some(int64(1425)),
		TakerVolume: some(dec("2.24261000")), TakerQuote: some(dec("127055.79808400")),
		Closed: true, EventTime: 1725416879999, ReceivedTime: 1725416880123, Origin: market.OriginLive,
	}
}

// openGap is a gap of two candles.
func openGap() *market.Gap {
	return &market.Gap{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m",
		FromTime: 1725416820000, ToTime: 1725416940000, State: market.GapOpen, Cause: "reconnect", Changed: 1725416950000, Origin: market.OriginLive,
	}
}

// decimals draws numbers in all the forms that a venue may write them.
func decimals() *rapid.Generator[string] {
	return rapid.StringMatching(`[-+]?(\d{1,20}|\d{0,12}\.\d{1,14}|\d{1,12}\.)([eE][-+]?\d)?`)
}

// positive draws numbers that Validate takes for a volume.
func positive() *rapid.Generator[string] { return rapid.StringMatching(`\d{1,12}(\.\d{1,12})?`) }

func candles() *rapid.Generator[*market.Candle] {
	return rapid.Custom(func(t *rapid.T) *market.Candle {
		low, high := dec(positive().Draw(t, "a")), dec(positive().Draw(t, "b"))
		if low.Cmp(high) > 0 {
			low, high = high, low
		}
		between := rapid.SampledFrom([]market.Decimal{low, high})
		optional := rapid.Ptr(rapid.Map(positive(), dec), true)
		open := rapid.Int64Range(1230940800000, 4102444799999).Draw(t, "open time")
		return &market.Candle{
			Exchange:   rapid.StringMatching(`[a-z]{1,32}`).Draw(t, "exchange"),
			Instrument: instruments().Draw(t, "instrument"), Interval: rapid.SampledFrom(market.Intervals()).Draw(t, "interval"),
			OpenTime: market.Millis(open), Open: between.Draw(t, "open"), High: high, Low: low, Close: between.Draw(t, "close"),
			Volume: dec(positive().Draw(t, "volume")), QuoteVolume: optional.Draw(t, "quote volume"),
			Trades:      rapid.Ptr(rapid.Int64Min(0), true).Draw(t, "trades"),
			TakerVolume: optional.Draw(t, "taker volume"), TakerQuote: optional.Draw(t, "taker quote volume"),
			Closed: rapid.Bool().Draw(t, "closed"), EventTime: market.Millis(rapid.Int64Range(open, 4102444799999).Draw(t, "event time")),
			ReceivedTime: market.Millis(rapid.Int64Range(1230940800000, 4102444799999).Draw(t, "receive time")),
			Origin:       rapid.SampledFrom([]market.Origin{"live", "backfill", "repair", "archive"}).Draw(t, "origin"),
		}
	})
}

func gaps() *rapid.Generator[*market.Gap] {
	return rapid.Custom(func(t *rapid.T) *market.Gap {
		from := rapid.Int64Range(1230940800000, 4102444799998).Draw(t, "from")
		return &market.Gap{
			Exchange:   rapid.StringMatching(`[a-z]{1,32}`).Draw(t, "exchange"),
			Instrument: instruments().Draw(t, "instrument"), Interval: rapid.SampledFrom(market.Intervals()).Draw(t, "interval"),
			FromTime: market.Millis(from), ToTime: market.Millis(rapid.Int64Range(from+1, 4102444799999).Draw(t, "to")),
			State:   rapid.SampledFrom([]market.GapState{market.GapOpen, market.GapRepaired, market.GapConfirmed}).Draw(t, "state"),
			Cause:   strings.ToValidUTF8(rapid.StringN(0, 8, 32).Draw(t, "cause"), "?"),
			Changed: market.Millis(rapid.Int64Range(1230940800000, 4102444799999).Draw(t, "changed")),
			Origin:  rapid.SampledFrom([]market.Origin{"live", "backfill", "repair", "archive"}).Draw(t, "origin"),
		}
	})
}

func instruments() *rapid.Generator[market.Instrument] {
	return rapid.Custom(func(t *rapid.T) market.Instrument {
		part := rapid.StringMatching(`[A-Z0-9]{1,20}`)
		return market.Instrument{Base: part.Draw(t, "base"), Quote: part.Draw(t, "quote")}
	})
}

// wants fails unless err has exactly the text; an empty text wants no error.
func wants(t *testing.T, err error, text string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != text {
		t.Errorf("error\n  %s\nwant\n  %s", got, text)
	}
}
