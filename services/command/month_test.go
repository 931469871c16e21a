package command_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"github.com/candlestack/candlestack/services/simulator"
)

// simulate runs a simulator beside the test.
func simulate(t *testing.T, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return sim
}

// row is what the recording has of a candle: open, high, low, close, volume.
type row [5]decimal.Decimal

// readMonth reads a recording, by open time in its own spelling.
func readMonth(t *testing.T, path string) map[string]row {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	lines := bufio.NewScanner(z)
	lines.Scan() // the header
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ",")
		var r row
		for i := range r {
			r[i] = decimal.RequireFromString(fields[i+1])
		}
		rows[fields[0]] = r
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestRecordedMonth sends a real month of three instruments through the whole
// path, the first part by REST, the rest by the live stream, and compares every
// number in the table with the recording.
func TestRecordedMonth(t *testing.T) {
	data := recordings(t)
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MARIADB", "CANDLESTACK_TEST_MYSQL")
	begin := time.Date(2025, 3, 1, 3, 0, 0, 0, time.UTC)
	live := time.Date(2025, 3, 26, 0, 0, 0, 0, time.UTC)
	sim := simulate(t, simulator.Config{Replay: filepath.Join(data, "binance"), ReplayExact: true, Start: live, Speed: 30_000})
	source := w.source(sim, "--since", begin.Format(time.RFC3339))
	sink := w.sink()
	const want = 3 * 44_640
	w.eventually("all rows are closed", func() bool {
		return w.count("SELECT COUNT(*) FROM candles WHERE closed") == want
	})
	backfilled := source.metric("candlestack_source_events_total", "kind", "candle", "origin", "backfill")
	streamed := source.metric("candlestack_source_events_total", "kind", "candle", "origin", "live")
	source.stop()
	w.eventually("the topics are drained", func() bool { return w.drained(candleTopics...) })
	sink.stop()
	if n := w.count("SELECT COUNT(*) FROM candles"); n != want {
		t.Fatalf("%d rows, want %d", n, want)
	}
	if backfilled < 3*24*1440 || streamed < 3*5*1440 {
		t.Errorf("%v candles by REST, %v by stream: one of the paths was not used", backfilled, streamed)
	}
	t.Logf("%v candles by REST, %v events by stream", backfilled, streamed)
	for _, symbol := range []string{"BTC", "ETH", "XRP"} {
		w.compare(symbol+"-USDT", readMonth(t, filepath.Join(data, "binance", symbol+"USDT-1m-2025-03.csv.gz")))
	}
	if n := w.count("SELECT COUNT(*) FROM candles WHERE conflict"); n != 0 {
		t.Errorf("%d conflicts", n)
	}
}

func (w *world) compare(instrument string, want map[string]row) {
	w.t.Helper()
	rows, err := w.db.Query("SELECT DATE_FORMAT(open_time, '%Y-%m-%d %H:%i:%s'), open, high, low, close, volume FROM candles WHERE instrument = ?", instrument)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var at string
		var got row
		if err := rows.Scan(&at, &got[0], &got[1], &got[2], &got[3], &got[4]); err != nil {
			w.t.Fatal(err)
		}
		n++
		for i := range got {
			if !got[i].Equal(want[at][i]) {
				w.t.Fatalf("%s at %s: column %d is %s, want %s", instrument, at, i, got[i], want[at][i])
			}
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	if n != len(want) {
		w.t.Errorf("%s: %d rows, want %d", instrument, n, len(want))
	}
}

// defaultMarket is the seeded market at real speed.
var defaultMarket = simulator.Config{Seed: 1}
