package simulator

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/candlestack/candlestack/services/market"
)

// shared finds a file of the recordings beside the repository.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the recordings are not on this machine: %v", err)
	}
	return path
}

// writeRecording makes a folder with a recording of the symbols: minutes of
// 2025-03-01 from 03:00 on, without those that skip names.
func writeRecording(t *testing.T, minutes int, skip map[int]bool, symbols ...string) string {
	t.Helper()
	dir := t.TempDir()
	start := at("2025-03-01 03:00:00").Time()
	for _, symbol := range symbols {
		var b strings.Builder
		b.WriteString("timestamp,open,high,low,close,volume\n")
		for m := range minutes {
			if !skip[m] {
				o := 100 + m%7
				fmt.Fprintf(&b, "%s,%d.5,%d.75,%d.25,%d.0,%d.125\n",
					start.Add(time.Duration(m)*time.Minute).Format("2006-01-02 15:04:05"), o, o+3, o-2, o+m%3-1, m%5)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, symbol+"-1m-2025-03.csv"), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func handmade(t *testing.T) *instrument {
	t.Helper()
	all, err := openRecordings(writeRecording(t, 200, map[int]bool{50: true, 51: true}, "ETHUSDT"))
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// Every number of the recorded month is served as it was recorded.
func TestRecordingIsServedExactly(t *testing.T) {
	folder := shared(t, "binance")
	s := newTest(t, Config{Replay: folder, ReplayExact: true})
	candles := 0
	for _, in := range s.board.order {
		f, err := os.Open(filepath.Join(folder, in.symbol+"-1m-2025-03.csv.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(z).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records[1:] {
			c, ok := s.Candle(in.Instrument, "1m", at(r[0]))
			if !ok {
				t.Fatalf("%s %s is missing", in.symbol, r[0])
			}
			for k, got := range []market.Decimal{c.Open, c.High, c.Low, c.Close, c.Volume} {
				if want := decimal.RequireFromString(r[k+1]); !want.Equal(decimal.RequireFromString(got.String())) {
					t.Fatalf("%s %s column %d: got %s, want %s", in.symbol, r[0], k+1, got, want)
				}
			}
			candles++
		}
	}
	if candles != 133_920 {
		t.Errorf("%d candles, not 133,920", candles)
	}
	if want := at("2025-04-01 03:01:00"); s.Now() != want {
		t.Errorf("the clock stands at %s, not %s", s.Now(), want)
	}
}

// A page that Binance once sent comes back byte for byte.
func TestRecordedPageIsServedExactly(t *testing.T) {
	path := shared(t, "binance/BTCUSDT_1m.json.gz")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	s := newTest(t, Config{Replay: path, ReplayExact: true})
	got := get(t, s, "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000")
	if got.body != strings.TrimSpace(string(want)) {
		t.Errorf("got %.300s\nwant %.300s", got.body, want)
	}
}

// Without ReplayExact a recording ends today, and keeps its times of day.
func TestRecordingIsMovedToToday(t *testing.T) {
	dir := writeRecording(t, 200, nil, "BTCUSDT")
	s := newTest(t, Config{Replay: dir})
	_, end := s.board.order[0].tape.span()
	last := market.Millis(end-1) * minute
	if last.Time().Format("15:04") != "06:19" {
		t.Errorf("the last candle is at %s", last)
	}
	if today := time.Now().UTC().Format(time.DateOnly); last.Time().Format(time.DateOnly) != today {
		t.Errorf("the last candle is at %s, today is %s", last, today)
	}
}

func TestRecordingFormats(t *testing.T) {
	const vision = "1740798000000000,1.5,2.5,1.25,2,10,1740798059999999,17.5,3,4,7,0\n1740798060000000,2,2,2,2,0,1740798119999999,0,0,0,0,0\n"
	for _, f := range []struct{ name, file, text, want string }{
		{"data.binance.vision, microseconds", "XRPBTC-1m-2025-03-01.csv", vision, ""},
		{"page", "XRPBTC_1m.json", `[[1740798000000,"1.5","2.5","1.25","2","10",1740798059999,"17.5",3,"4","7","0"]]`, ""},
		{"page broken", "XRPBTC_1m.json", `[[1740798000000,`, "unexpected end"},
		{"price above high", "BTCUSDT.csv", "2025-03-01 03:00:00,5,4,1,2,1\n", "contradict"},
		{"negative volume", "BTCUSDT.csv", "2025-03-01 03:00:00,1,1,1,1,-1\n", "-1"},
		{"nine decimals", "BTCUSDT.csv", "2025-03-01 03:00:00,1.123456789,2,1,1,1\n", "8 decimals"},
		{"not a minute", "BTCUSDT.csv", "2025-03-01 03:00:01,1,1,1,1,1\n", "whole minute"},
		{"before the epoch", "BTCUSDT.csv", "0000-01-01 00:00:00,1,1,1,1,1\n", "between 1970 and 2100"},
		{"twice", "BTCUSDT.csv", "2025-03-01 03:00:00,1,1,1,1,1\n2025-03-01 03:00:00,1,1,1,1,1\n", "two candles"},
		{"short", "BTCUSDT.csv", "2025-03-01 03:00:00,1,1,1\n", "columns"},
		{"time", "BTCUSDT.csv", "2025-03-01T03,1,1,1,1,1\n", "cannot parse"},
		{"empty", "BTCUSDT.csv", "timestamp,open,high,low,close,volume\n", "no candle"},
		{"no symbol", "prices.csv", "2025-03-01 03:00:00,1,1,1,1,1\n", "no symbol"},
		{"no gzip", "BTCUSDT.csv.gz", "x", "EOF"},
	} {
		t.Run(f.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), f.file)
			if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := openRecordings(path)
			if f.want != "" {
				if err == nil || !strings.Contains(err.Error(), f.want) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("error %v, want one line with %q", err, f.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, ok := all[0].between(at("2025-03-01 03:00:00"), at("2025-03-01 03:01:00"))
			if !ok || b.quote.String() != "17.50000000" || b.trades != 3 || b.takerVolume.String() != "4.00000000" {
				t.Errorf("got %+v", b)
			}
			if all[0].String() != "XRP-BTC" || all[0].lot != (lot{2, 0}) {
				t.Errorf("got %s with %+v", all[0], all[0].lot)
			}
		})
	}
	if _, err := openRecordings(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no") {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzRecording(f *testing.F) {
	f.Add([]byte("timestamp,open,high,low,close,volume\n2025-03-01 03:00:00,1.5,2,1,1,1e-5\n"))
	f.Add([]byte("1740798000000000,1.5,2.5,1.25,2,10,1740798059999999,17.5,3,4,7,0\n"))
	f.Add([]byte(`1740798000000,"1","1","1","1","4e10"`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r recording
		if r.readCSV(raw) != nil || r.finish() != nil {
			return
		}
		first, end := r.span()
		for _, m := range []int64{first, end - 1} {
			whole, ok := r.slice(m, 0, 60)
			both, _ := r.slice(m, 0, 30)
			second, _ := r.slice(m, 30, 60)
			if both.merge(&second); !ok || both != whole {
				t.Errorf("minute %d: %+v, its halves %+v", m, whole, both)
			}
		}
	})
}
