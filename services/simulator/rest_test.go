package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

type answer struct {
	status int
	header http.Header
	body   string
}

func get(t testing.TB, s *Simulator, path string) answer {
	t.Helper()
	r, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{r.StatusCode, r.Header, string(body)}
}

func page(t testing.TB, s *Simulator, query string) [][12]json.RawMessage {
	t.Helper()
	a := get(t, s, "/api/v3/klines?"+query)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var rows [][12]json.RawMessage
	if err := json.Unmarshal([]byte(a.body), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// opens of a page, in minutes after 2025-03-01 03:00.
func opens(t testing.TB, rows [][12]json.RawMessage) string {
	t.Helper()
	var all []string
	for _, r := range rows {
		var ms market.Millis
		if err := json.Unmarshal(r[0], &ms); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(int64((ms-at("2025-03-01 03:00:00"))/minute)))
	}
	return strings.Join(all, " ")
}

// The rules of exchanges.md §1.2, on a recording of ten minutes of which the
// fifth is missing. The clock stands at its end and one minute.
func TestKlinesRules(t *testing.T) {
	s := newTest(t, Config{Replay: writeRecording(t, 10, map[int]bool{4: true}, "BTCUSDT"), ReplayExact: true})
	ms := func(m, s int) string {
		return fmt.Sprint(int64(at("2025-03-01 03:00:00") + market.Millis(m*60_000+s*1000)))
	}
	for _, f := range []struct{ name, query, want string }{
		{"no times: the newest", "limit=3", "7 8 9"},
		{"all by default", "", "0 1 2 3 5 6 7 8 9"},
		{"only start: the oldest from there", "limit=2&startTime=" + ms(2, 0), "2 3"},
		{"start in a minute: the next one", "limit=2&startTime=" + ms(2, 1), "3 5"},
		{"only end: the last up to it", "limit=2&endTime=" + ms(6, 0), "5 6"},
		{"end is inclusive, by open time", "limit=2&endTime=" + ms(5, 59), "3 5"},
		{"start = end: that candle", "startTime=" + ms(3, 0) + "&endTime=" + ms(3, 0), "3"},
		{"start = end in a hole", "startTime=" + ms(4, 0) + "&endTime=" + ms(4, 0), ""},
		{"start after end", "startTime=" + ms(4, 0) + "&endTime=" + ms(3, 0), ""},
		{"start before everything", "limit=1&startTime=0", "0"},
		{"end after everything", "limit=1&endTime=9000000000000", "9"},
		{"microseconds", "startTime=" + ms(1, 0) + "000&endTime=" + ms(2, 0) + "000", "1 2"},
		{"limit above 1000", "limit=5000", "0 1 2 3 5 6 7 8 9"},
		{"time zone leaves minutes alone", "limit=1&timeZone=05:45", "9"},
	} {
		t.Run(f.name, func(t *testing.T) {
			if got := opens(t, page(t, s, "symbol=BTCUSDT&interval=1m&"+f.query)); got != f.want {
				t.Errorf("got %q, want %q", got, f.want)
			}
		})
	}
	t.Run("larger intervals hold what is there", func(t *testing.T) {
		rows := page(t, s, "symbol=BTCUSDT&interval=5m")
		if got := opens(t, rows); got != "0 5" {
			t.Errorf("got %q", got)
		}
		if got := string(rows[0][5]); got != `"6.50000000"` { // 0.125+1.125+2.125+3.125
			t.Errorf("volume %s", got)
		}
	})
	t.Run("a time zone moves the day", func(t *testing.T) {
		var ms market.Millis
		rows := page(t, s, "symbol=BTCUSDT&interval=1d&timeZone=-4:30")
		if err := json.Unmarshal(rows[0][0], &ms); err != nil || ms != at("2025-02-28 04:30:00") {
			t.Errorf("got %s, %v", ms, err)
		}
	})
}

// The open candle is the last row, as long as it has seen a second, and grows.
func TestKlinesOpenCandle(t *testing.T) {
	wall := newWall("2025-03-05 12:00:30")
	s := newTestAt(t, Config{}, wall)
	rows := page(t, s, "symbol=BTCUSDT&interval=1h&limit=2")
	want, _ := s.board.order[0].between(at("2025-03-05 12:00:00"), at("2025-03-05 12:00:30"))
	if got := string(rows[1][5]); got != `"`+want.volume.String()+`"` {
		t.Errorf("volume of half a minute is %s, want %s", got, want.volume)
	}
	if got := string(rows[1][6]); got != fmt.Sprint(int64(at("2025-03-05 13:00:00")-1)) {
		t.Errorf("close time %s", got)
	}
	wall.set("2025-03-05 13:00:00") // nothing traded yet
	rows = page(t, s, "symbol=BTCUSDT&interval=1h&limit=1")
	if got := string(rows[0][0]); got != fmt.Sprint(int64(at("2025-03-05 12:00:00"))) {
		t.Errorf("newest row opens at %s", got)
	}
}

// A row has twelve elements of the documented types, and says what Candle says.
func TestKlinesRow(t *testing.T) {
	wall := newWall("2025-03-05 12:00:30")
	s := newTestAt(t, Config{}, wall)
	for _, iv := range market.Intervals() {
		rows := page(t, s, "symbol=BTCUSDT&limit=2&interval="+string(iv))
		var ms, close market.Millis
		var trades int64
		if json.Unmarshal(rows[0][0], &ms) != nil || json.Unmarshal(rows[0][6], &close) != nil || json.Unmarshal(rows[0][8], &trades) != nil {
			t.Fatalf("%s: row %s", iv, rows[0])
		}
		c, ok := s.Candle(btc, iv, ms)
		if !ok || !c.Closed || c.EventTime != close || *c.Trades != trades || c.Exchange != "binance" {
			t.Errorf("%s: Candle says %+v, %v", iv, c, ok)
		}
		for k, want := range map[int]*market.Decimal{1: &c.Open, 2: &c.High, 3: &c.Low, 4: &c.Close, 5: &c.Volume, 7: c.QuoteVolume, 9: c.TakerVolume, 10: c.TakerQuote} {
			var text string
			if err := json.Unmarshal(rows[0][k], &text); err != nil {
				t.Fatal(err)
			}
			_, part, _ := strings.Cut(text, ".")
			if got, err := market.ParseDecimal(text); err != nil || got != *want || len(part) != 8 {
				t.Errorf("%s: element %d is %s, want %s with 8 decimals", iv, k, text, want)
			}
		}
		if string(rows[0][11]) != `"0"` {
			t.Errorf("last element %s", rows[0][11])
		}
	}
}

func TestErrorCodes(t *testing.T) {
	s := newTest(t, Config{})
	const k = "/api/v3/klines?"
	for _, f := range []struct {
		path string
		code int
	}{
		{k + "interval=1m", -1102},
		{k + "symbol=BTCUSDT", -1102},
		{k + "symbol=&interval=1m", -1102},
		{k + "symbol=btcusdt&interval=1m", -1100},
		{k + "symbol=BTC-USD&interval=1m", -1121},
		{k + "symbol=NOPE&interval=1m", -1121},
		{k + "symbol=BTCUSDT&interval=1", -1120},
		{k + "symbol=BTCUSDT&interval=1D", -1120},
		{k + "symbol=BTCUSDT&interval=1m&limit=x", -1100},
		{k + "symbol=BTCUSDT&interval=1m&limit=", -1105},
		{k + "symbol=BTCUSDT&interval=1m&limit=0", -1130},
		{k + "symbol=BTCUSDT&interval=1m&startTime=-1", -1100},
		{k + "symbol=BTCUSDT&interval=1m&endTime=now", -1100},
		{k + "symbol=BTCUSDT&interval=1m&timeZone=UTC", -1100},
		{k + "symbol=BTCUSDT&interval=1m&timeZone=15", -1130},
		{k + "symbol=BTCUSDT&interval=1m&from=1", -1104},
		{"/api/v3/time?x=1", -1101},
		{"/api/v3/ping?x=1", -1101},
		{"/api/v3/exchangeInfo?symbol=NOPE", -1121},
		{"/api/v3/exchangeInfo?symbols=BTCUSDT", -1100},
		{"/api/v3/exchangeInfo?symbol=BTCUSDT&symbols=[]", -1128},
		{"/api/v3/exchangeInfo?symbols=" + url.QueryEscape(`["BTCUSDT","BTCUSDT"]`), -1151},
	} {
		t.Run(f.path, func(t *testing.T) {
			a := get(t, s, f.path)
			var e apiError
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusBadRequest || e.Code != f.code || e.Msg == "" {
				t.Errorf("%d %s (%v), want 400 and %d", a.status, a.body, err, f.code)
			}
			if a.header.Get("X-MBX-USED-WEIGHT-1M") == "" {
				t.Error("no header with the used weight")
			}
		})
	}
}

func TestExchangeInfo(t *testing.T) {
	s := newTest(t, Config{})
	for _, f := range []struct{ query, want string }{
		{"", "BTCUSDT ETHUSDT XRPUSDT"},
		{"?symbol=XRPUSDT", "XRPUSDT"},
		{"?symbols=" + url.QueryEscape(`["ETHUSDT","BTCUSDT"]`), "ETHUSDT BTCUSDT"},
	} {
		a := get(t, s, "/api/v3/exchangeInfo"+f.query)
		var info struct {
			RateLimits []struct {
				RateLimitType string
				Limit         int
			}
			Symbols []struct {
				Symbol, Status, BaseAsset, QuoteAsset string
				Filters                               []map[string]string
			}
		}
		if err := json.Unmarshal([]byte(a.body), &info); err != nil {
			t.Fatal(err)
		}
		var symbols []string
		for _, symbol := range info.Symbols {
			symbols = append(symbols, symbol.Symbol)
			if symbol.Status != "TRADING" || symbol.BaseAsset+symbol.QuoteAsset != symbol.Symbol {
				t.Errorf("%+v", symbol)
			}
		}
		if d := cmp.Diff(f.want, strings.Join(symbols, " ")); d != "" {
			t.Error(d)
		}
		if info.RateLimits[0].RateLimitType != "REQUEST_WEIGHT" || info.RateLimits[0].Limit != 6000 {
			t.Errorf("%+v", info.RateLimits)
		}
		if len(info.Symbols) == 1 && info.Symbols[0].Filters[0]["tickSize"] != "0.00010000" {
			t.Errorf("%+v", info.Symbols[0].Filters)
		}
	}
}

func TestTimeIsTheSimulatedClock(t *testing.T) {
	wall := newWall("2025-03-05 12:00:00")
	s := newTestAt(t, Config{Start: at("2025-03-05 11:00:00").Time(), Speed: 60}, wall)
	wall.set("2025-03-05 12:00:30")
	want := fmt.Sprintf(`{"serverTime":%d}`, at("2025-03-05 11:30:00"))
	if a := get(t, s, "/api/v3/time"); a.body != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
	wall.set("2025-03-05 12:10:00") // ten hours on: the wall clock is the limit
	if s.Now() != at("2025-03-05 12:10:00") {
		t.Errorf("the clock shows %s", s.Now())
	}
}

func TestIndex(t *testing.T) {
	s := newTest(t, Config{})
	if a := get(t, s, "/"); a.status != http.StatusOK || !strings.Contains(a.body, "BTCUSDT ETHUSDT XRPUSDT") || !strings.Contains(a.body, "/news/rss") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := get(t, s, "/api/v1/klines"); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func FuzzKlines(f *testing.F) {
	s := &Simulator{board: newBoard([]*instrument{seeded(1, "BTCUSDT")}), clock: &clock{wall: newWall("2017-08-19 12:00:00").now, speed: 1}}
	f.Add("symbol=BTCUSDT&interval=1m&startTime=1502928000000&limit=5")
	f.Add("symbol=BTCUSDT&interval=1M&endTime=1502928000000000&timeZone=-12:00")
	f.Add("symbol=BTCUSDT&interval=1s&limit=9223372036854775807&startTime=9223372036854775807")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		body, err := s.klines(q)
		if err == nil && !json.Valid(body) {
			t.Errorf("%q gives %s", query, body)
		}
	})
}
