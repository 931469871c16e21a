package rest

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Outcomes of a request.
const (
	outcomeOK      = "ok"
	outcomeTimeout = "timeout"
	outcomeLimited = "limited" // 429, 418
	outcomeError   = "error"
)

func outcome(err error) string {
	if err == nil {
		return outcomeOK
	}
	var e *pipeline.Error
	if errors.As(err, &e) {
		switch e.Code {
		case "timeout":
			return outcomeTimeout
		case "http_429", "http_418":
			return outcomeLimited
		}
	}
	return outcomeError
}

type metrics struct{ latency *prometheus.HistogramVec }

// newMetrics registers what belongs to one host; the host is a constant label,
// so that several clients live in one registry.
func newMetrics(reg prometheus.Registerer, host string, routes []string, c *Client) (*metrics, error) {
	label := prometheus.Labels{"host": host}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "candlestack", Subsystem: "rest", Name: name, Help: help, ConstLabels: label}, value)
	}
	m := &metrics{latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "candlestack", Subsystem: "rest", Name: "request_duration_seconds",
		Help:        "Time of a REST request with its body, by route and outcome (ok, limited, timeout, error).",
		ConstLabels: label, Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	}, []string{"route", "outcome"})}
	for _, route := range routes {
		for _, o := range []string{outcomeOK, outcomeTimeout, outcomeLimited, outcomeError} {
			m.latency.WithLabelValues(route, o)
		}
	}
	var errs []error
	for _, collector := range []prometheus.Collector{
		m.latency,
		gauge("weight_used", "Request weight used in this minute, as the host counts it.", func() float64 { used, _ := c.Budget(); return float64(used) }),
		gauge("weight_limit", "Request weight that the host allows a minute; we use a share of it.", func() float64 { _, limit := c.Budget(); return float64(limit) }),
		gauge("ban_until_timestamp_seconds", "End of the host's ban, 0 while there is none.", func() float64 {
			until, _ := c.ban.state()
			if until.IsZero() {
				return 0
			}
			return float64(until.UnixMilli()) / 1000
		}),
	} {
		errs = append(errs, reg.Register(collector))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) observe(route, outcome string, d time.Duration) {
	m.latency.WithLabelValues(route, outcome).Observe(d.Seconds())
}
