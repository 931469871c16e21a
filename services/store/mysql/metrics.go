package mysql

import (
	"database/sql"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the engine cannot know: latency, effects and retries are its own.
type metrics struct {
	registerer prometheus.Registerer
	pool       *pool
	splits     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, db *sql.DB) (*metrics, error) {
	m := &metrics{
		registerer: reg,
		pool: &pool{db, prometheus.NewDesc("candlestack_mysql_connections",
			"Open connections to the store, by state.", []string{"state"}, nil)},
		splits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "candlestack_mysql_splits_total",
			Help: "Batches that needed more than one statement because of the server's max_allowed_packet.",
		}),
	}
	for _, c := range []prometheus.Collector{m.pool, m.splits} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	m.registerer.Unregister(m.pool)
	m.registerer.Unregister(m.splits)
}

// pool reads the state of the connections when it is asked.
type pool struct {
	db          *sql.DB
	connections *prometheus.Desc
}

func (p *pool) Describe(out chan<- *prometheus.Desc) { out <- p.connections }

func (p *pool) Collect(out chan<- prometheus.Metric) {
	s := p.db.Stats()
	out <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, float64(s.InUse), "in_use")
	out <- prometheus.MustNewConstMetric(p.connections, prometheus.GaugeValue, float64(s.Idle), "idle")
}
