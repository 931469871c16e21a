package binance

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func number(t testing.TB, s string) market.Decimal {
	t.Helper()
	d, err := market.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var decimals = cmp.Comparer(func(a, b market.Decimal) bool { return a == b })

// TestKline decodes hand-made frames of the documented format, in any order of
// members. t and T, v and V, q and Q, l and L differ by case alone: a decoder
// that does not mind case mixes them (exchanges.md §6, trap 1).
func TestKline(t *testing.T) {
	trades := int64(812)
	quote, taker, takerQuote := number(t, "1002342.12345678"), number(t, "200.1"), number(t, "486955.00000001")
	ether := market.Instrument{Base: "ETH", Quote: "USDT"}
	want := &market.Candle{
		Exchange: "binance", Instrument: ether, Interval: "1m", OpenTime: 1741003200000,
		Open: number(t, "2432.1"), High: number(t, "2434"), Low: number(t, "2431.99"), Close: number(t, "2433.55"), Volume: number(t, "412.0031"),
		QuoteVolume: &quote, Trades: &trades, TakerVolume: &taker, TakerQuote: &takerQuote,
		Closed: true, EventTime: 1741003260004, ReceivedTime: 1741003260100, Origin: market.OriginLive,
	}
	for _, name := range []string{"kline_closed.json", "kline_reversed.json"} {
		t.Run(name, func(t *testing.T) {
			var m message
			kind, err := parseFrame(fixture(t, name), &m)
			if err != nil || kind != frameKline {
				t.Fatalf("kind %d, %v", kind, err)
			}
			k := m.Data.Kline
			if k.OpenTime != 1741003200000 || k.CloseTime != 1741003259999 || k.FirstTrade != 2231000001 || k.LastTrade != 2231000812 {
				t.Errorf("t %d T %d f %d L %d", k.OpenTime, k.CloseTime, k.FirstTrade, k.LastTrade)
			}
			if diff := cmp.Diff(want, m.Data.candle(ether, 1741003260100), decimals); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("no trades", func(t *testing.T) {
		var m message
		if kind, err := parseFrame(fixture(t, "kline_no_trades.json"), &m); err != nil || kind != frameKline {
			t.Fatalf("kind %d, %v", kind, err)
		}
		c := m.Data.candle(market.Instrument{Base: "XRP", Quote: "USDT"}, 1741003201100)
		if err := c.Validate(); err != nil || m.Data.Kline.FirstTrade != -1 {
			t.Error(err)
		}
	})
}

// TestSameAsEncodingJSON: the benchmark's two decoders must fill the struct alike.
func TestSameAsEncodingJSON(t *testing.T) {
	for _, name := range []string{"kline_open.json", "kline_closed.json", "kline_reversed.json", "kline_no_trades.json"} {
		var ours, theirs message
		if _, err := parseFrame(fixture(t, name), &ours); err != nil {
			t.Fatal(err)
		}
		if err := stdjson.Unmarshal(fixture(t, name), &theirs); err != nil {
			t.Fatal(err)
		}
		if ours != theirs {
			t.Errorf("%s: %+v, encoding/json has %+v", name, ours, theirs)
		}
	}
}

func TestEveryMemberIsNeeded(t *testing.T) {
	frame := fixture(t, "kline_closed.json")
	var parts struct {
		Stream string `json:"stream"`
		Data   struct {
			Name   string                        `json:"e"`
			Time   int64                         `json:"E"`
			Symbol string                        `json:"s"`
			K      map[string]stdjson.RawMessage `json:"k"`
		} `json:"data"`
	}
	if err := stdjson.Unmarshal(frame, &parts); err != nil {
		t.Fatal(err)
	}
	for i := range len(needed) {
		name := needed[i : i+1]
		value := parts.Data.K[name]
		if value == nil {
			t.Fatalf("the fixture has no %s", name)
		}
		for what, replacement := range map[string]stdjson.RawMessage{"missing": nil, "an object": []byte("{}"), "text": []byte(`"x y"`), "null": []byte("null")} {
			delete(parts.Data.K, name)
			if replacement != nil {
				parts.Data.K[name] = replacement
			}
			changed, err := stdjson.Marshal(parts)
			if err != nil {
				t.Fatal(err)
			}
			var m message
			if _, err := parseFrame(changed, &m); err == nil && !(what == "text" && (name == "s" || name == "i")) {
				t.Errorf("k.%s %s: accepted", name, what)
			}
		}
		parts.Data.K[name] = value
	}
}

func TestOtherFrames(t *testing.T) {
	for _, f := range []struct {
		name, frame string
		want        frameKind
		bad         bool
	}{
		{"acknowledged", `{"result":null,"id":1}`, frameOther, false},
		{"another stream", `{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}`, frameOther, false},
		{"shutdown, combined", `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}`, frameShutdown, false},
		{"shutdown, raw", `{"e":"serverShutdown","E":1770123456789}`, frameShutdown, false},
		{"problem", `{"code":2,"msg":"Invalid request: unknown variant"}`, frameProblem, false},
		{"problem, wrapped", `{"error":{"code":2,"msg":"Invalid request"},"id":1}`, frameProblem, false},
		{"truncated", `{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":174`, frameOther, true},
		{"kline without k", `{"data":{"e":"kline","E":1741003260004,"s":"ETHUSDT"}}`, frameOther, true},
		{"kline without E", strings.Replace(string(fixture(t, "kline_closed.json")), `"E":1741003260004,`, "", 1), frameOther, true},
		{"two documents", `{} {}`, frameOther, true},
		{"html", `<html>`, frameOther, true},
		{"empty", ``, frameOther, true},
		{"array", `[]`, frameOther, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			var m message
			kind, err := parseFrame([]byte(f.frame), &m)
			if kind != f.want || (err != nil) != f.bad {
				t.Errorf("kind %d, %v", kind, err)
			}
			if kind == frameProblem && (m.Code != 2 || m.Message == "") {
				t.Errorf("problem %+v", m.problem)
			}
		})
	}
}

const goodRow = `[1725416820000,"56714.00000000","56714.01000000","56634.00000000","56642.00000000","11.02444000",1725416879999,"624782.95032640",1425,"2.24261000","127055.79808400","0"]`

func TestRows(t *testing.T) {
	second := strings.Replace(strings.Replace(goodRow, "1725416820000", "1725416880000", 1), "1725416879999", "1725416939999", 1)
	for _, f := range []struct {
		name, body      string
		rows, bad, full int
		fails           bool
	}{
		{"two", "[" + goodRow + "," + second + "]", 2, 0, 2, false},
		{"none", "[]", 0, 0, 0, false},
		{"numbers bare", "[" + strings.ReplaceAll(strings.ReplaceAll(goodRow, `"0"`, `null`), `"`, "") + "]", 1, 0, 1, false},
		{"more elements", "[" + strings.Replace(goodRow, `"0"]`, `"0",{"new":[1]}]`, 1) + "]", 1, 0, 1, false},
		{"one bad", "[" + goodRow + "," + strings.Replace(second, `"56714.00000000"`, "null", 1) + "]", 1, 1, 2, false},
		{"one short", "[" + goodRow + ",[1725416880000,\"1\"]]", 1, 1, 2, false},
		{"one that is no array", "[" + goodRow + ",{}]", 1, 1, 2, false},
		{"one in µs", "[" + goodRow + "," + strings.Replace(second, "1725416880000", "1725416880000000", 1) + "]", 1, 1, 2, false},
		{"all bad", "[[],[]]", 0, 0, 0, true},
		{"truncated", "[" + goodRow, 0, 0, 0, true},
		{"more behind it", "[]x", 0, 0, 0, true},
		{"object", "{}", 0, 0, 0, true},
		{"html", "<html>", 0, 0, 0, true},
		{"empty", "", 0, 0, 0, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			rows, bad, total, err := parseRows([]byte(f.body))
			if len(rows) != f.rows || len(bad) != f.bad || total != f.full || (err != nil) != f.fails {
				t.Errorf("%d rows, %d bad of %d: %v", len(rows), len(bad), total, err)
			}
			for _, b := range bad {
				if b.OpenTime != 1725416880000 && b.OpenTime != 0 {
					t.Errorf("the bad one opens at %d", b.OpenTime)
				}
			}
		})
	}
}

func TestExplain(t *testing.T) {
	c := explain([]byte(`{"code":-1003,"msg":"Way too much request weight used; IP banned until 1770123456789. Please use WebSocket Streams."}`))
	if c.Code != "-1003" || c.BannedUntil.UnixMilli() != 1770123456789 {
		t.Errorf("%+v", c)
	}
	if c := explain([]byte(`{"code":-1121,"msg":"Invalid symbol."}`)); c.Code != codeBadSymbol || c.Message != "Invalid symbol." || !c.BannedUntil.IsZero() {
		t.Errorf("%+v", c)
	}
	for _, body := range []string{"", "{}", "[]", "<html>", `{"code":"x"}`, `{"msg":"banned until forever"}`} {
		if c := explain([]byte(body)); c.Code != "" && c.Code != "0" || !c.BannedUntil.IsZero() {
			t.Errorf("%s: %+v", body, c)
		}
	}
}

func TestStreamURLs(t *testing.T) {
	var streams []string
	for i := range 1000 {
		streams = append(streams, fmt.Sprintf("symbol%dusdt@kline_1m", i))
	}
	var got []string
	for _, url := range streamURLs("ws://host:1/", streams) {
		list, ok := strings.CutPrefix(url, "ws://host:1/stream?streams=")
		if !ok || len(url) > urlLimit {
			t.Errorf("%d bytes: %.60s", len(url), url)
		}
		names := strings.Split(list, "/")
		if len(names) > 1024 {
			t.Errorf("%d streams on one connection", len(names))
		}
		got = append(got, names...)
	}
	if diff := cmp.Diff(streams, got); diff != "" {
		t.Error(diff)
	}
}

// The fuzz targets ask that nothing panics and that what is accepted is whole.

func FuzzFrame(f *testing.F) {
	for _, name := range []string{"kline_open.json", "kline_closed.json", "kline_reversed.json", "kline_no_trades.json"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte(`{"e":"serverShutdown","E":1}`))
	f.Add([]byte(`{"error":{"code":2,"msg":"x"}}`))
	f.Add([]byte(`{"data":{"e":"kline","k":{"t":1,"":2,"\u0074":3}}}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var m message
		kind, err := parseFrame(frame, &m)
		if err != nil && kind != frameOther {
			t.Errorf("kind %d with %v", kind, err)
		}
		if kind == frameKline && err == nil {
			if c := m.Data.candle(market.Instrument{Base: "A", Quote: "B"}, 1); c.EventTime <= 0 || c.OpenTime <= 0 {
				t.Errorf("%+v", c)
			}
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte("[" + goodRow + "]"))
	f.Add([]byte("[[],{},null," + goodRow + "]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, bad, total, err := parseRows(body)
		if err == nil && (len(rows)+len(bad) != total || total > 0 && len(rows) == 0) {
			t.Errorf("%d rows and %d bad of %d", len(rows), len(bad), total)
		}
		if err != nil && !bytes.Equal(body, nil) && rows != nil {
			t.Errorf("%d rows with %v", len(rows), err)
		}
	})
}

func FuzzExchangeInfo(f *testing.F) {
	f.Add([]byte(`{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}],"symbols":[{"symbol":"BTCUSDT","status":"TRADING"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		info, err := parseExchangeInfo(body)
		if err != nil {
			return
		}
		if limit, ok := info.weightLimit(); ok && limit <= 0 {
			t.Errorf("limit %d", limit)
		}
	})
}

func FuzzTimeAndProblem(f *testing.F) {
	f.Add([]byte(`{"serverTime":1741003260004}`))
	f.Add([]byte(`{"code":-1003,"msg":"banned until 99999999999999999999"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if at, err := parseTime(body); err == nil && at <= 0 {
			t.Errorf("time %d", at)
		}
		explain(body)
	})
}
