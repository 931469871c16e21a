package binance_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
	"github.com/candlestack/candlestack/services/simulator"
)

// TestConformance runs the suite of all sources on both transports. The
// exchange's time runs ten times as fast as ours, so that candles close.
func TestConformance(t *testing.T) {
	for _, c := range []struct{ transport, cut string }{
		{binance.TransportStream, "disconnect"},
		{binance.TransportPoll, "5xx"},
	} {
		t.Run(c.transport, func(t *testing.T) {
			pipelinetest.Source(t, func(t *testing.T) pipelinetest.World {
				sim := simulate(t, simulator.Config{Start: time.Now().Add(-24 * time.Hour), Speed: 10})
				cfg := config(sim.Addr())
				cfg.Transport, cfg.Intervals = c.transport, []string{"1s", "1m"}
				source := newSource(t, cfg, quiet, prometheus.NewRegistry())
				w := pipelinetest.World{
					Source: source, Now: sim.Now,
					Candle: func(s market.Series, open market.Millis) (*market.Candle, bool) {
						candle, ok := sim.Candle(s.Instrument, s.Interval, open)
						return &candle, ok
					},
					Cut: func(t *testing.T) {
						if err := sim.Inject(simulator.Fault{Kind: c.cut}); err != nil {
							t.Error(err)
						}
					},
				}
				w.HoleFrom, w.HoleTo = hole(t, sim, source.Series()[0])
				return w
			})
		})
	}
}

// hole finds the newest stretch in which the exchange has nothing.
func hole(t *testing.T, sim *simulator.Simulator, s market.Series) (from, to market.Millis) {
	t.Helper()
	minute := market.Interval("1m")
	at := minute.Start(sim.Now().Add(-time.Hour))
	has := func(m market.Millis) bool {
		_, ok := sim.Candle(s.Instrument, minute, m)
		return ok
	}
	for has(at) {
		at = minute.Start(at - 1)
	}
	to = minute.Next(at)
	for !has(at) {
		at = minute.Start(at - 1)
	}
	return minute.Next(at), to
}
