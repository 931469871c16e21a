package session

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	connected   prometheus.Gauge
	connects    *prometheus.CounterVec
	undecodable prometheus.Counter
	lastFrame   prometheus.Gauge

	mu         sync.Mutex
	open, want int
}

// newMetrics registers what belongs to one exchange; it is a constant label, so
// that several sessions live in one registry.
func newMetrics(reg prometheus.Registerer, exchange string) (*metrics, error) {
	label := prometheus.Labels{"exchange": exchange}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "candlestack", Subsystem: "session", Name: name, Help: help, ConstLabels: label})
	}
	m := &metrics{
		connected: gauge("connected", "1 while every WebSocket connection that the streams need stands, else 0."),
		lastFrame: gauge("last_frame_timestamp_seconds", "Our time of the last data frame, 0 before the first."),
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "candlestack", Subsystem: "session", Name: "connects_total",
			Help: "Attempts to open a WebSocket connection, replacements included, by outcome.", ConstLabels: label}, []string{"outcome"}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "candlestack", Subsystem: "session", Name: "undecodable_frames_total",
			Help: "Frames that could not be read and were left out.", ConstLabels: label}),
	}
	m.dialedBy(true)
	m.dialedBy(false)
	return m, errors.Join(reg.Register(m.connected), reg.Register(m.lastFrame), reg.Register(m.connects), reg.Register(m.undecodable))
}

func (m *metrics) dialedBy(ok bool) prometheus.Counter {
	outcome := "ok"
	if !ok {
		outcome = "error"
	}
	return m.connects.WithLabelValues(outcome)
}

func (m *metrics) dialed(ok bool) { m.dialedBy(ok).Inc() }

// expect begins a run with that many connections.
func (m *metrics) expect(lines int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = lines
}

// line notes that one of them stands or has ended.
func (m *metrics) line(change int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open += change
	m.connected.Set(0)
	if m.open == m.want {
		m.connected.Set(1)
	}
}
