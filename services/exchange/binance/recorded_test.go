package binance

import (
	"bufio"
	"compress/gzip"
	"context"
	stdjson "encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
)

// recorded opens a file of ../shared/data beside the repository.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	file, err := os.Open(filepath.Join(root, "..", "shared", "data", name))
	if os.IsNotExist(err) {
		t.Skipf("the recording %s is not here: %v", name, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if filepath.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// klinesCase is one recorded request for klines.
type klinesCase struct {
	Query    string             `json:"query"`
	Response stdjson.RawMessage `json:"response"`
}

func klinesCases(t testing.TB) []klinesCase {
	var recording struct {
		Cases map[string]stdjson.RawMessage `json:"cases"`
	}
	if err := stdjson.Unmarshal(recorded(t, "binance/binance_public_http.json.gz"), &recording); err != nil {
		t.Fatal(err)
	}
	var cases []klinesCase
	if err := stdjson.Unmarshal(recording.Cases[routeKlines], &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 13 {
		t.Fatalf("%d recorded klines cases, want 13", len(cases))
	}
	return cases
}

// TestRecordedPages decodes every recorded page and compares each number with
// the text on the wire.
func TestRecordedPages(t *testing.T) {
	pages := map[string][]byte{"BTCUSDT_1m": recorded(t, "binance/BTCUSDT_1m.json.gz")}
	for i, c := range klinesCases(t) {
		pages[fmt.Sprintf("%d %s", i, c.Query)] = c.Response
	}
	for name, body := range pages {
		t.Run(name, func(t *testing.T) {
			var wire [][]stdjson.RawMessage
			if err := stdjson.Unmarshal(body, &wire); err != nil {
				t.Fatal(err)
			}
			rows, bad, total, err := parseRows(body)
			if err != nil || len(bad) > 0 || total != len(wire) || len(rows) != len(wire) {
				t.Fatalf("%d rows, %d bad of %d, want %d: %v", len(rows), len(bad), total, len(wire), err)
			}
			for i, r := range rows {
				sameNumbers(t, r, wire[i])
			}
		})
	}
}

func sameNumbers(t *testing.T, r row, wire []stdjson.RawMessage) {
	t.Helper()
	c := r.candle(market.Series{Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m"}, true, r.CloseTime, r.CloseTime, market.OriginBackfill)
	if err := c.Validate(); err != nil {
		t.Errorf("%d: %v", r.OpenTime, err)
	}
	for i, d := range map[int]market.Decimal{1: c.Open, 2: c.High, 3: c.Low, 4: c.Close, 5: c.Volume, 7: *c.QuoteVolume, 9: *c.TakerVolume, 10: *c.TakerQuote} {
		var text string
		if err := stdjson.Unmarshal(wire[i], &text); err != nil {
			t.Fatal(err)
		}
		if want := number(t, text); d != want {
			t.Errorf("%d: element %d is %s, on the wire %s", r.OpenTime, i, d, text)
		}
	}
	for i, n := range map[int]int64{0: int64(c.OpenTime), 6: int64(c.EventTime), 8: *c.Trades} {
		if got := strconv.FormatInt(n, 10); got != string(wire[i]) {
			t.Errorf("%d: element %d is %s, on the wire %s", r.OpenTime, i, got, wire[i])
		}
	}
}

// TestRecordedFrames: what is no candle passes by.
func TestRecordedFrames(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/data/frames/binance_spot_*.jsonl")
	if err != nil || len(files) == 0 {
		t.Skip("the recorded frames are not here")
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var line struct {
				Raw string `json:"raw"`
			}
			if err := stdjson.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			var m message
			if kind, err := parseFrame([]byte(line.Raw), &m); err != nil || kind != frameOther {
				t.Errorf("%s: kind %d, %v", line.Raw, kind, err)
			}
		}
	}
}

// replay serves the recorded rows of one symbol and interval by the rules of the
// exchange.
func replay(t *testing.T, symbol, interval string) *httptest.Server {
	rows := map[int64]stdjson.RawMessage{}
	for _, c := range klinesCases(t) {
		q, err := url.ParseQuery(c.Query)
		if err != nil || q.Get("symbol") != symbol || q.Get("interval") != interval {
			continue
		}
		var page []stdjson.RawMessage
		if err := stdjson.Unmarshal(c.Response, &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			var one row
			if err := json.Unmarshal(r, &one); err != nil {
				t.Fatal(err)
			}
			rows[int64(one.OpenTime)] = r
		}
	}
	var order []int64
	for at := range rows {
		order = append(order, at)
	}
	slices.Sort(order)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == routeTime {
			fmt.Fprintf(w, `{"serverTime":%d}`, time.Now().UnixMilli())
			return
		}
		start, _ := strconv.ParseInt(r.URL.Query().Get("startTime"), 10, 64)
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		page := []stdjson.RawMessage{}
		for _, at := range order {
			if at >= start && len(page) < limit {
				page = append(page, rows[at])
			}
		}
		if err := stdjson.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestRecordedHole reads the recorded months with the hole of 2020-06-28 over
// several pages: every row comes once, and the hole is one at the exchange.
func TestRecordedHole(t *testing.T) {
	server := replay(t, "BTCUSDT", "1h")
	s := local(t, server.URL)
	bitcoin := market.Series{Exchange: exchange, Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1h"}
	at := func(s string) market.Millis {
		tm, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return market.MillisOf(tm)
	}
	read := func(from, to market.Millis) (opens []market.Millis, whole market.Millis) {
		whole, err := s.History(t.Context(), bitcoin, from, to, market.OriginBackfill, func(_ context.Context, e market.Event) error {
			opens = append(opens, e.(*market.Candle).OpenTime)
			return e.Validate()
		})
		if err != nil {
			t.Fatal(err)
		}
		return opens, whole
	}
	from, to := at("2020-05-01 00:00:00"), at("2020-07-01 00:00:00")
	opens, whole := read(from, to)
	var missing []string
	next := from
	for _, open := range opens {
		for ; next < open; next = bitcoin.Interval.Next(next) {
			missing = append(missing, next.String())
		}
		if open != next {
			t.Fatalf("%s after %s", open, next)
		}
		next = bitcoin.Interval.Next(open)
	}
	if want := []string{"2020-06-28T02:00:00.000Z", "2020-06-28T03:00:00.000Z", "2020-06-28T04:00:00.000Z"}; !slices.Equal(missing, want) || whole != to {
		t.Errorf("missing %v, want %v; whole until %s", missing, want, whole)
	}
	if opens, whole := read(at("2020-06-28 02:00:00"), at("2020-06-28 04:00:00")); len(opens) != 0 || whole != at("2020-06-28 04:00:00") {
		t.Errorf("in the hole: %v, whole until %s", opens, whole)
	}
}

// local is a source for a server of the test.
func local(t testing.TB, url string) *Source {
	t.Helper()
	s, err := New(Config{
		Instruments: []string{"BTC-USDT"}, Intervals: []string{"1m"}, Transport: TransportPoll, RestURL: url, StreamURL: "ws://nowhere",
		WeightShare: 1, Stall: time.Minute, ConnectionLife: time.Hour,
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
