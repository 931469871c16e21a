package market_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

// The wire form of contract 1. Records of it lie in the topics of users: who
// changes these lines needs a new contract version.
const (
	goldenCandle = `{"exchange":"binance","instrument":"BTC-USDT","interval":"1m","open_time":1725416820000,` +
		`"open":"56714","high":"56714.01","low":"56634","close":"56642","volume":"11.02444",` +
		`"quote_volume":"624782.9503264","trades":1425,"taker_volume":"2.24261","taker_quote_volume":"127055.798084",` +
		`"closed":true,"event_time":1725416879999,"receive_time":1725416880123}`
	goldenGap = `{"exchange":"binance","instrument":"BTC-USDT","interval":"1m","from":1725416820000,"to":1725416940000,` +
		`"state":"open","cause":"reconnect","changed":1725416950000}`
	goldenPost = `{"source":"cryptopanic","id":"20776523","type":"news","title":"Bitcoin “rises” & falls","summary":"A day of both.",` +
		`"url":"https://cryptopanic.com/news/20776523/x","article_url":"https://example.org/a?b=c&d","image_url":"https://example.org/i.png",` +
		`"slug":"x","author":"A. Writer","publisher":{"title":"Example","domain":"example.org","region":"en","type":"feed","path":"p"},` +
		`"instruments":["BTC","XRP"],"votes":{"negative":0,"positive":1,"important":2,"liked":3,"disliked":4,"lol":5,"toxic":6,"saved":7,"comments":8},` +
		`"panic_score":50,"published_time":1725416820000,"created_time":1725416821000,` +
		`"first_seen_time":1725416830000,"observed_time":1725420430000,"votes_time":1725420430000}`
	// A source that gives less leaves fields out.
	goldenBare = `{"exchange":"binance","instrument":"BTC-USDT","interval":"1m","open_time":1725416820000,` +
		`"open":"1","high":"1","low":"1","close":"1","volume":"0","closed":false,"event_time":1725416879999,"receive_time":1725416880123}`
)

func bareCandle() *market.Candle {
	c := fullCandle()
	c.Open, c.High, c.Low, c.Close, c.Volume = dec("1"), dec("1"), dec("1"), dec("1"), dec("0")
	c.QuoteVolume, c.Trades, c.TakerVolume, c.TakerQuote, c.Closed = nil, nil, nil, nil, false
	return c
}

// exact compares decimals by their text, which == of them is.
var exact = cmp.Comparer(func(a, b market.Decimal) bool { return a == b })

func TestWireForm(t *testing.T) {
	for _, f := range []struct {
		event market.Event
		wire  string
	}{{fullCandle(), goldenCandle}, {bareCandle(), goldenBare}, {openGap(), goldenGap}, {fullPost(), goldenPost}} {
		value, err := market.Encode(f.event)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.wire, string(value)); diff != "" {
			t.Errorf("the wire form of a %s changed:\n%s", f.event.Kind(), diff)
		}
		back, err := market.Decode(string(f.event.Kind()), "1", "live", []byte(f.wire))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.event, back, exact); diff != "" {
			t.Errorf("a %s came back changed:\n%s", f.event.Kind(), diff)
		}
	}
}

func TestEventsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.OneOf(
			rapid.Map(candles(), func(c *market.Candle) market.Event { return c }),
			rapid.Map(gaps(), func(g *market.Gap) market.Event { return g }),
			rapid.Map(posts(), func(p *market.Post) market.Event { return p }),
		).Draw(t, "event")
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		value, err := market.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := market.Decode(string(e.Kind()), market.ContractVersion, string(e.From()), value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back, exact); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	for _, more := range []string{
		`"added":{"deep":[1,{"x":null}]},`,
		`"Open":"999","OPEN":"998","Closed":false,`, // a decoder without case takes them for ours
		`"opEn":true,"trade":"x","quoteVolume":[],`,
	} {
		back, err := market.Decode("candle", "1", "live", []byte("{"+more+goldenCandle[1:]))
		if err != nil {
			t.Errorf("%s: %v", more, err)
			continue
		}
		if diff := cmp.Diff(market.Event(fullCandle()), back, exact); diff != "" {
			t.Errorf("%s changed the candle:\n%s", more, diff)
		}
	}
	after, err := market.Decode("candle", "1", "live", []byte(goldenCandle[:len(goldenCandle)-1]+`,"Open":"999","Trades":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(market.Event(fullCandle()), after, exact); diff != "" {
		t.Errorf("keys in another case changed the candle:\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, f := range map[string]struct{ kind, contract, value, problem string }{
		"contract of tomorrow": {"candle", "2", goldenCandle, `contract: header candlestack-contract is "2", not "1"`},
		"no contract":          {"candle", "", goldenCandle, `contract: header candlestack-contract is "", not "1"`},
		"unknown kind":         {"ticker", "1", goldenCandle, `contract: header candlestack-kind "ticker" is unknown`},
		"no kind":              {"", "1", goldenCandle, `contract: header candlestack-kind "" is unknown`},
		"kind in another case": {"Candle", "1", goldenCandle, `contract: header candlestack-kind "Candle" is unknown`},
		"nothing":              {"candle", "1", ``, "decoding candle: "},
		"half":                 {"candle", "1", goldenCandle[:100], "decoding candle: "},
		"two values":           {"candle", "1", goldenCandle + goldenCandle, "decoding candle: "},
		"a list":               {"gap", "1", `[]`, "decoding gap: "},
		"HTML":                 {"gap", "1", `<html>`, "decoding gap: "},
		"duplicate key":        {"candle", "1", `{"open":"1","open":"2"}`, "duplicate"},
		"invalid UTF-8":        {"candle", "1", "{\"exchange\":\"\xff\"}", "UTF-8"},
		"invalid UTF-8 aside":  {"candle", "1", "{\"unknown\":\"\xff\"}", "UTF-8"},
		"deep nesting":         {"candle", "1", `{"unknown":` + strings.Repeat("[", 100_000), "depth"},
		"wrong number":         {"candle", "1", `{"open":"NaN"}`, "is not a decimal number"},
		"wrong instrument":     {"candle", "1", `{"instrument":"btc/usdt"}`, "is not of the form BTC-USDT"},
		"time as text":         {"candle", "1", `{"open_time":"2024-01-01T00:00:00Z"}`, "open_time"},
		"time beyond 64 bits":  {"candle", "1", `{"open_time":99999999999999999999}`, "open_time"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := market.Decode(f.kind, f.contract, "live", []byte(f.value))
			if err == nil {
				t.Fatalf("was decoded as %v", e)
			}
			if !strings.Contains(err.Error(), f.problem) {
				t.Errorf("error %q, want one with %q", err, f.problem)
			}
			if got, want := errors.Is(err, market.ErrContract), strings.HasPrefix(f.problem, "contract"); got != want {
				t.Errorf("is ErrContract: %t, want %t", got, want)
			}
		})
	}
}

// What Encode writes is read by a decoder of its own. A space in front sends the
// same text to the general one: both must agree, whatever the text.
func agree(t interface{ Fatalf(string, ...any) }, kind string, value []byte) {
	fast, err := market.Decode(kind, market.ContractVersion, "live", value)
	general, want := market.Decode(kind, market.ContractVersion, "live", append([]byte(" "), value...))
	if (err == nil) != (want == nil) {
		t.Fatalf("%s: error %v, of the general decoder %v", value, err, want)
	}
	if diff := cmp.Diff(general, fast, exact); err == nil && diff != "" {
		t.Fatalf("%s differs from the general decoder:\n%s", value, diff)
	}
}

func TestDecodersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value, err := market.Encode(candles().Draw(t, "candle"))
		if err != nil {
			t.Fatal(err)
		}
		agree(t, "candle", value)
		at := rapid.IntRange(0, len(value)-1).Draw(t, "at")
		other := rapid.SampledFrom([]byte(`0123456789.,:"\\{}[]-+eE truefalsn`+"\x00\x7f\xff\n")).Draw(t, "byte")
		changed := append([]byte{}, value...)
		changed[at] = other
		agree(t, "candle", changed)
		agree(t, "candle", append(value[:at:at], value[at+1:]...))
		agree(t, "candle", append(append(value[:at:at], other), value[at:]...))
	})
}

func FuzzDecode(f *testing.F) {
	for _, value := range []string{goldenCandle, goldenBare, goldenGap, goldenPost, `{}`, `null`, `{"open":1e9}`, `{"instrument":"A-B","Instrument":"C-D"}`} {
		f.Add("candle", []byte(value))
		f.Add("gap", []byte(value))
		f.Add("post", []byte(value))
	}
	f.Fuzz(func(t *testing.T, kind string, value []byte) {
		agree(t, kind, value)
		e, err := market.Decode(kind, market.ContractVersion, "live", value)
		if err != nil || e.Validate() != nil {
			return
		}
		again, err := market.Encode(e)
		if err != nil {
			t.Fatalf("a valid event cannot be written: %v", err)
		}
		back, err := market.Decode(kind, market.ContractVersion, "live", again)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", again, err)
		}
		if diff := cmp.Diff(e, back, exact); diff != "" {
			t.Fatal(diff)
		}
	})
}
