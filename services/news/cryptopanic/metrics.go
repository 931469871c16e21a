package cryptopanic

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	badPosts prometheus.Counter
	polled   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, q *quota) (*metrics, error) {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "candlestack", Subsystem: source, Name: name, Help: help}
	}
	m := &metrics{
		badPosts: prometheus.NewCounter(prometheus.CounterOpts(opts("unreadable_posts_total", "Posts that could not be read and were left out."))),
		polled:   prometheus.NewGauge(prometheus.GaugeOpts(opts("last_poll_timestamp_seconds", "When a poll last read all its pages; 0 before the first."))),
	}
	used := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("quota_used_requests", "Requests of this calendar month (UTC), failed ones included.")),
		func() float64 { return float64(q.usage(time.Now())) })
	limit := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("quota_limit_requests", "Requests that the plan allows a calendar month, 0 where nobody told.")),
		func() float64 { return float64(q.limit) })
	return m, errors.Join(reg.Register(m.badPosts), reg.Register(m.polled), reg.Register(used), reg.Register(limit))
}
