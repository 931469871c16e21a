package binance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/simulator"
)

var errEnough = errors.New("enough")

func TestValidate(t *testing.T) {
	good := config("host:1")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := binance.Config{
		Instruments: []string{"BTC-USDT", "btc-usdt", "BTC-USDT"}, Intervals: []string{"1m", "60m", "1m"}, Transport: "pigeon",
		RestURL: "data-api.binance.vision", StreamURL: "https://data-stream.binance.vision", WeightShare: 1.5, Stall: -time.Second,
	}
	want := []string{
		`--instruments "btc-usdt": is not of the form BTC-USDT`,
		`--instruments "BTC-USDT": is BTCUSDT for Binance, as is BTC-USDT`,
		`--intervals "60m": is none of 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M`,
		`--intervals "1m": is named twice`,
		`--transport "pigeon": is neither stream nor poll`,
		`--rest-url "data-api.binance.vision": is not an http or https address`,
		`--stream-url "https://data-stream.binance.vision": is not a ws or wss address`,
		`--weight-share "1.5": is not above 0 and up to 1`,
		`--stall "-1s": must be above 0`,
		`--connection-life "0s": must be above 0`,
	}
	if diff := cmp.Diff(want, strings.Split(bad.Validate().Error(), "\n")); diff != "" {
		t.Error(diff)
	}
	if _, err := binance.New(bad, quiet, prometheus.NewRegistry()); err == nil {
		t.Error("New took it")
	}
	empty := good
	empty.Instruments, empty.Intervals = nil, nil
	if err := empty.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("nothing to follow: %v", err)
	}
}

func TestPrepare(t *testing.T) {
	sim := simulate(t, simulator.Config{WeightLimit: 1234})
	reg := prometheus.NewRegistry()
	if err := newSource(t, config(sim.Addr()), quiet, reg).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := value(t, reg, "candlestack_rest_weight_limit"); got != 1234 {
		t.Errorf("the weight limit is %v, the exchange says 1234", got)
	}
	cfg := config(sim.Addr())
	cfg.Instruments = []string{"FOO-USDT", "BTC-USDT", "ETH-USDT", "BAR-USDT"}
	err := newSource(t, cfg, quiet, prometheus.NewRegistry()).Prepare(t.Context())
	var wrong *pipeline.ConfigError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	want := "--instruments \"FOO-USDT\": is not known to Binance\n--instruments \"BAR-USDT\": is not known to Binance"
	if err.Error() != want {
		t.Errorf("got\n%v, want\n%s", err, want)
	}
}

// TestInstrumentIsNotTraded: an exchange may halt an instrument; that is news, no error.
func TestInstrumentIsNotTraded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"symbols":[{"symbol":"BTCUSDT","status":"TRADING"},{"symbol":"ETHUSDT","status":"CANCEL_ONLY"},{"symbol":"XRPUSDT","status":"TRADING"}]}`)
	}))
	defer server.Close()
	var log bytes.Buffer
	s := newSource(t, config(strings.TrimPrefix(server.URL, "http://")), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := log.String(); strings.Count(lines, "\n") != 1 || !strings.Contains(lines, "ETH-USDT") || !strings.Contains(lines, "CANCEL_ONLY") {
		t.Error(lines)
	}
}

func TestSameSymbolTwice(t *testing.T) {
	cfg := config("host:1")
	cfg.Instruments = []string{"BTC-USDT", "BTCU-SDT"}
	var wrong *pipeline.ConfigError
	if _, err := binance.New(cfg, quiet, prometheus.NewRegistry()); !errors.As(err, &wrong) || wrong.Value != "BTCU-SDT" {
		t.Errorf("got %v", err)
	}
}

func TestExamine(t *testing.T) {
	t.Run("well", func(t *testing.T) {
		sim := simulate(t, simulator.Config{})
		found := newSource(t, config(sim.Addr()), quiet, prometheus.NewRegistry()).Examine(t.Context())
		var subjects []string
		for _, f := range found {
			if !f.OK || f.Detail == "" {
				t.Errorf("%+v", f)
			}
			subjects = append(subjects, f.Subject)
		}
		want := []string{"binance rest", "binance clock", "binance weight", "binance BTC-USDT", "binance ETH-USDT", "binance XRP-USDT", "binance stream"}
		if diff := cmp.Diff(want, subjects); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		server := httptest.NewServer(nil)
		server.Close()
		found := newSource(t, config(strings.TrimPrefix(server.URL, "http://")), quiet, prometheus.NewRegistry()).Examine(t.Context())
		if len(found) != 2 || found[0].OK || found[1].OK {
			t.Errorf("%+v", found)
		}
	})
}

// stream reads until done says so and returns how the stream ended.
func stream(t *testing.T, s *binance.Source, done func(c *market.Candle) bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return s.Stream(ctx, func(_ context.Context, e market.Event) error {
		if done(e.(*market.Candle)) {
			return errEnough
		}
		return nil
	})
}

// TestHandOver: over several lives of the connection, ended by the exchange or by
// us, no candle of any series is missing.
func TestHandOver(t *testing.T) {
	for _, f := range []struct {
		name     string
		lifetime time.Duration // the exchange's; it gives notice after three quarters of it
		life     time.Duration // ours
	}{
		{"at the exchange's notice", 4 * time.Second, time.Hour},
		{"before the exchange's limit", time.Hour, 500 * time.Millisecond},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			sim := simulate(t, simulator.Config{Start: time.Now().Add(-24 * time.Hour), Speed: 10, Lifetime: f.lifetime})
			cfg := config(sim.Addr())
			cfg.Intervals, cfg.ConnectionLife = []string{"1s"}, f.life
			reg := prometheus.NewRegistry()
			s := newSource(t, cfg, quiet, reg)
			closed := map[market.Series]map[market.Millis]bool{}
			events, enough := 0, 0
			err := stream(t, s, func(c *market.Candle) bool {
				if closed[c.Series()] == nil {
					closed[c.Series()] = map[market.Millis]bool{}
				}
				if c.Closed {
					closed[c.Series()][c.OpenTime] = true
				}
				if events++; events%30 == 0 && value(t, reg, "candlestack_session_connects_total") >= 3 {
					enough++
				}
				return enough > 3
			})
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			if len(closed) != 3 {
				t.Errorf("%d series, want 3", len(closed))
			}
			for series, seen := range closed {
				first, last := market.Millis(1<<60), market.Millis(0)
				for open := range seen {
					first, last = min(first, open), max(last, open)
				}
				for open := first; open <= last; open = series.Interval.Next(open) {
					if _, has := sim.Candle(series.Instrument, series.Interval, open); has && !seen[open] {
						t.Errorf("%s of %s is missing", open, series.Key())
					}
				}
				if len(seen) < 20 {
					t.Errorf("only %d candles of %s", len(seen), series.Key())
				}
			}
		})
	}
}

func inject(t *testing.T, sim *simulator.Simulator, f simulator.Fault) {
	t.Helper()
	if err := sim.Inject(f); err != nil {
		t.Fatal(err)
	}
}

func TestStreamFaults(t *testing.T) {
	for _, f := range []struct{ fault, cause string }{
		{"disconnect", pipeline.CauseEOF}, {"close", pipeline.CauseEOF}, {"stall", pipeline.CauseStall}, {"refuse", pipeline.CauseRefused},
	} {
		t.Run(f.fault, func(t *testing.T) {
			sim := simulate(t, simulator.Config{Start: time.Now().Add(-24 * time.Hour), Speed: 10})
			cfg := config(sim.Addr())
			cfg.Intervals = []string{"1s"}
			if f.fault == "stall" {
				cfg.Stall = time.Second
			}
			s := newSource(t, cfg, quiet, prometheus.NewRegistry())
			if f.fault == "refuse" {
				inject(t, sim, simulator.Fault{Kind: f.fault})
			}
			events := 0
			err := stream(t, s, func(*market.Candle) bool {
				if events++; events == 1 && f.fault != "refuse" {
					inject(t, sim, simulator.Fault{Kind: f.fault})
				}
				return false
			})
			var d *pipeline.Disconnected
			if !errors.As(err, &d) || d.Cause != f.cause {
				t.Errorf("got %v, want the cause %s", err, f.cause)
			}
		})
	}
	t.Run("truncated_frame", func(t *testing.T) {
		sim := simulate(t, simulator.Config{Start: time.Now().Add(-24 * time.Hour), Speed: 10})
		cfg := config(sim.Addr())
		cfg.Intervals = []string{"1s"}
		reg := prometheus.NewRegistry()
		s := newSource(t, cfg, quiet, reg)
		inject(t, sim, simulator.Fault{Kind: "truncated_frame", Count: 3})
		err := stream(t, s, func(*market.Candle) bool { return value(t, reg, "candlestack_session_undecodable_frames_total") == 3 })
		if !errors.Is(err, errEnough) {
			t.Error(err)
		}
	})
}

func TestHistoryFaults(t *testing.T) {
	for _, f := range []struct {
		fault string
		class pipeline.Class
		code  string
	}{
		{"429", pipeline.Environment, "http_429"}, {"418", pipeline.Environment, "http_418"}, {"5xx", pipeline.Environment, "http_503"},
		{"403", pipeline.Environment, "http_403"}, {"html", pipeline.Environment, "body"}, {"truncated_body", pipeline.Transient, "body"},
	} {
		t.Run(f.fault, func(t *testing.T) {
			sim := simulate(t, simulator.Config{})
			s := newSource(t, config(sim.Addr()), quiet, prometheus.NewRegistry())
			to := market.Interval("1m").Start(sim.Now().Add(-time.Hour))
			from := to.Add(-25 * time.Hour) // two pages
			var last market.Millis
			count := 0
			emit := func(_ context.Context, e market.Event) error {
				last = e.(*market.Candle).OpenTime
				if count++; count == 10 {
					inject(t, sim, simulator.Fault{Kind: f.fault})
				}
				return nil
			}
			whole, err := s.History(t.Context(), s.Series()[0], from, to, market.OriginBackfill, emit)
			class, code := pipeline.ClassOf(err)
			if err == nil || class != f.class || code != f.code {
				t.Fatalf("%s %s: %v", class, code, err)
			}
			if count == 0 || whole != market.Interval("1m").Next(last) {
				t.Errorf("whole until %s after %d candles, the last at %s", whole, count, last)
			}
			if f.fault == "429" || f.fault == "418" {
				return // banned from here on
			}
			if whole, err := s.History(t.Context(), s.Series()[0], whole, to, market.OriginBackfill, emit); err != nil || whole != to {
				t.Errorf("the second call: whole until %s, %v", whole, err)
			}
		})
	}
}

// TestBan: a ban ends the polling with the time of the next attempt, and a
// restart does not ask in between.
func TestBan(t *testing.T) {
	sim := simulate(t, simulator.Config{})
	cfg := config(sim.Addr())
	cfg.Transport, cfg.StateDir = binance.TransportPoll, t.TempDir()
	inject(t, sim, simulator.Fault{Kind: "418", Delay: 600})
	for range 2 {
		s := newSource(t, cfg, quiet, prometheus.NewRegistry())
		err := stream(t, s, func(*market.Candle) bool { return false })
		var d *pipeline.Disconnected
		if !errors.As(err, &d) || d.Cause != pipeline.CauseBan || d.RetryAfter < 9*time.Minute || d.RetryAfter > 11*time.Minute {
			t.Fatalf("got %v", err)
		}
		if _, err := s.Now(t.Context()); err == nil {
			t.Error("Now asked under a ban")
		}
	}
	if requests := sim.Accounting().Requests; requests != 1 {
		t.Errorf("%d requests, want 1", requests)
	}
}

// TestBackfillWeight: a back-fill costs two a page and little for the clock.
func TestBackfillWeight(t *testing.T) {
	sim := simulate(t, simulator.Config{})
	s := newSource(t, config(sim.Addr()), quiet, prometheus.NewRegistry())
	to := market.Interval("1m").Start(sim.Now().Add(-time.Hour))
	begun, count := time.Now(), 0
	whole, err := s.History(t.Context(), s.Series()[0], to.Add(-20*24*time.Hour), to, market.OriginBackfill, func(context.Context, market.Event) error {
		count++
		return nil
	})
	if err != nil || whole != to || count < 28000 {
		t.Fatalf("%d candles, whole until %s, %v", count, whole, err)
	}
	pages := int64(29) // of 28,800 candles
	if weight := int64(sim.Accounting().Weight); weight > 2*pages+2+int64(time.Since(begun)/time.Second) {
		t.Errorf("%d candles cost %d", count, weight)
	}
}

// TestPollSendsClosedOnce: each closed candle comes once, the open one as it grows.
func TestPollSendsClosedOnce(t *testing.T) {
	sim := simulate(t, simulator.Config{Start: time.Now().Add(-24 * time.Hour), Speed: 10})
	cfg := config(sim.Addr())
	cfg.Transport, cfg.Intervals, cfg.Instruments = binance.TransportPoll, []string{"1s", "1h"}, []string{"BTC-USDT"}
	closed := map[string]int{}
	var versions []int64
	err := stream(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), func(c *market.Candle) bool {
		if c.Closed {
			closed[c.Key()]++
		} else if c.Interval == "1h" {
			versions = append(versions, c.Version())
		}
		return len(closed) >= 4
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for key, n := range closed {
		if n != 1 {
			t.Errorf("%s came %d times", key, n)
		}
	}
	for i := 1; i < len(versions); i++ {
		if versions[i] <= versions[i-1] {
			t.Errorf("versions %v do not rise", versions)
		}
	}
}

func TestUnreadableRowsAreLeftOut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "time") {
			fmt.Fprint(w, `{"serverTime":1725417000000}`)
			return
		}
		const row = `[%d,"1","2","0.5",%s,"3",%d,"4",5,"6","7","0"]`
		fmt.Fprintf(w, "["+row+","+row+","+row+"]", 1725416820000, `"1.5"`, 1725416879999, 1725416880000, `"NaN"`, 1725416939999, 1725416940000, `"1.5"`, 1725416999999)
	}))
	defer server.Close()
	reg := prometheus.NewRegistry()
	s := newSource(t, config(strings.TrimPrefix(server.URL, "http://")), quiet, reg)
	var opens []market.Millis
	whole, err := s.History(t.Context(), s.Series()[0], 1725416820000, 1725417000000, market.OriginRepair, func(_ context.Context, e market.Event) error {
		opens = append(opens, e.(*market.Candle).OpenTime)
		return nil
	})
	if diff := cmp.Diff([]market.Millis{1725416820000, 1725416940000}, opens); diff != "" || err != nil || whole != 1725417000000 {
		t.Errorf("%s whole %d, %v", diff, whole, err)
	}
	if got := value(t, reg, "candlestack_binance_unreadable_rows_total"); got != 1 {
		t.Errorf("%v rows counted", got)
	}
}
