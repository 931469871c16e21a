package mongodb

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/event"
)

// metrics are what the engine cannot know: latency, effects and retries are its own.
type metrics struct {
	registerer  prometheus.Registerer
	connections *prometheus.GaugeVec
	features    *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		registerer: reg,
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "candlestack_mongodb_connections",
			Help: "Open connections to the store, by state.",
		}, []string{"state"}),
		features: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "candlestack_mongodb_feature",
			Help: "Whether the store has what makes reading easier (1) or does not know or allow it (0), as of the last start.",
		}, []string{"feature"}),
	}
	for _, state := range []string{"in_use", "idle"} {
		m.connections.WithLabelValues(state)
	}
	for _, f := range features {
		m.features.WithLabelValues(string(f))
	}
	for _, c := range []prometheus.Collector{m.connections, m.features} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	m.registerer.Unregister(m.connections)
	m.registerer.Unregister(m.features)
}

// pool follows the connections. One that is closed was idle: the driver checks
// it in first.
func (m *metrics) pool() *event.PoolMonitor {
	inUse, idle := m.connections.WithLabelValues("in_use"), m.connections.WithLabelValues("idle")
	return &event.PoolMonitor{Event: func(e *event.PoolEvent) {
		switch e.Type {
		case event.ConnectionReady:
			idle.Inc()
		case event.ConnectionClosed:
			idle.Dec()
		case event.ConnectionCheckedOut:
			idle.Dec()
			inUse.Inc()
		case event.ConnectionCheckedIn:
			inUse.Dec()
			idle.Inc()
		}
	}}
}
