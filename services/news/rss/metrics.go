package rss

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of a fetch.
const (
	outcomeOK        = "ok"
	outcomeUnchanged = "unchanged" // 304
	outcomeTimeout   = "timeout"
	outcomeLimited   = "limited"    // 429, or 503 with Retry-After
	outcomeBroken    = "unreadable" // it answers, but with no feed
	outcomeError     = "error"      // no answer, or another status
)

func outcomes() []string {
	return []string{outcomeOK, outcomeUnchanged, outcomeTimeout, outcomeLimited, outcomeBroken, outcomeError}
}

type metrics struct {
	fetches *prometheus.CounterVec
	success *prometheus.GaugeVec
	leftOut *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, feeds []*feed) (*metrics, error) {
	m := &metrics{
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "candlestack", Subsystem: "rss", Name: "fetches_total",
			Help: "Fetches of a feed, by outcome (ok, unchanged, timeout, limited, unreadable, error).",
		}, []string{"feed", "outcome"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "candlestack", Subsystem: "rss", Name: "last_success_timestamp_seconds",
			Help: "When a feed was last read or said that nothing has changed, 0 before the first time.",
		}, []string{"feed"}),
		leftOut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "candlestack", Subsystem: "rss", Name: "left_out_items_total",
			Help: "Items of a feed that were left out at a fetch: without title, text and link, or beyond the newest 500.",
		}, []string{"feed"}),
	}
	for _, f := range feeds {
		m.success.WithLabelValues(f.label)
		m.leftOut.WithLabelValues(f.label)
		for _, o := range outcomes() {
			m.fetches.WithLabelValues(f.label, o)
		}
	}
	return m, errors.Join(reg.Register(m.fetches), reg.Register(m.success), reg.Register(m.leftOut))
}

// fetched counts a fetch.
func (m *metrics) fetched(label, outcome string) {
	m.fetches.WithLabelValues(label, outcome).Inc()
	if outcome == outcomeOK || outcome == outcomeUnchanged {
		m.success.WithLabelValues(label).Set(float64(time.Now().UnixMilli()) / 1000)
	}
}
