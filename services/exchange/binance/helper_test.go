package binance_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// simulate runs an exchange until the test ends.
func simulate(t testing.TB, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	sim, err := simulator.New(cfg, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
	return sim
}

// config is the usual one, for an exchange at addr.
func config(addr string) binance.Config {
	return binance.Config{
		Instruments: []string{"BTC-USDT", "ETH-USDT", "XRP-USDT"}, Intervals: []string{"1m"}, Transport: binance.TransportStream,
		RestURL: "http://" + addr, StreamURL: "ws://" + addr, WeightShare: 0.8,
		Stall: time.Minute, ConnectionLife: 23 * time.Hour,
	}
}

// newSource makes a source that is closed when the test ends.
func newSource(t testing.TB, cfg binance.Config, log *slog.Logger, reg prometheus.Registerer) *binance.Source {
	t.Helper()
	s, err := binance.New(cfg, log, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// value sums the series of a metric.
func value(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
