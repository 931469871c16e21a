package simulator

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests       *prometheus.CounterVec
	faults         *prometheus.CounterVec
	opened, closed prometheus.Counter
	connections    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, routes []route, feeds []newsRoute, now func() float64) *metrics {
	f := promauto.With(reg)
	frames := f.NewCounterVec(prometheus.CounterOpts{
		Name: "candlestack_simulator_frames_total",
		Help: "Kline events sent on WebSocket connections, by whether they were a candle's final one.",
	}, []string{"final"})
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "candlestack_simulator_requests_total",
			Help: "HTTP requests answered, by route and status.",
		}, []string{"route", "code"}),
		faults: f.NewCounterVec(prometheus.CounterOpts{
			Name: "candlestack_simulator_faults_total",
			Help: "Times that an injected fault struck, by kind.",
		}, []string{"kind"}),
		opened: frames.WithLabelValues("false"),
		closed: frames.WithLabelValues("true"),
		connections: f.NewGauge(prometheus.GaugeOpts{
			Name: "candlestack_simulator_connections",
			Help: "WebSocket connections that are open.",
		}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "candlestack_simulator_clock_timestamp_seconds",
		Help: "The simulated clock, in seconds since the epoch.",
	}, now)
	for _, r := range routes {
		for _, code := range []string{"200", "400", "403", "418", "429", "503"} {
			m.requests.WithLabelValues(r.name, code)
		}
	}
	for _, r := range feeds {
		for _, code := range []string{"200", "304", "400", "401", "403", "404", "429", "503"} {
			m.requests.WithLabelValues(r.feed, code)
		}
	}
	for _, kind := range FaultKinds() {
		m.faults.WithLabelValues(kind)
	}
	return m
}
