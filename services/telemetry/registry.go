package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry makes the one registry of a command. It already tells of the Go
// runtime, the process and the build: candlestack_build_info is always 1.
func NewRegistry() *prometheus.Registry {
	v := BuildVersion()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "candlestack_build_info",
		Help:        "What was built; always 1.",
		ConstLabels: prometheus.Labels{"version": v.Version, "revision": v.Revision, "goversion": v.Go},
	}, func() float64 { return 1 })
	reg := prometheus.NewRegistry()
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
