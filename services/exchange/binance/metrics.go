package binance

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ badRows prometheus.Counter }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{badRows: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "candlestack", Subsystem: "binance", Name: "unreadable_rows_total",
		Help: "Rows of REST klines that could not be read and were left out: a hole that looks like the exchange's own.",
	})}
	return m, reg.Register(m.badRows)
}
