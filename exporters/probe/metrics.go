package probe

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What was measured may have ended in these ways.
const (
	outcomeOK      = "ok"
	outcomeTimeout = "timeout"
	outcomeError   = "error"
)

var outcomes = []string{outcomeOK, outcomeTimeout, outcomeError}

// nobody is the label of commits that found no coordinator.
const nobody = "none"

// metrics are all families. A series of a broker goes with it.
type metrics struct {
	ready      prometheus.Gauge
	dropped    prometheus.Gauge
	partitions *prometheus.GaugeVec

	apiVersions *prometheus.HistogramVec
	metadata    *prometheus.HistogramVec
	produce     *prometheus.HistogramVec
	endToEnd    *prometheus.HistogramVec
	commit      *prometheus.HistogramVec

	sent       *prometheus.CounterVec
	received   *prometheus.CounterVec
	lost       *prometheus.CounterVec
	late       *prometheus.CounterVec
	duplicated *prometheus.CounterVec
}

// latencyBuckets span a millisecond to a minute, in seconds.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

func newMetrics(reg prometheus.Registerer) *metrics {
	const namespace = "candlestack_probe"
	latency := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help,
			Buckets: latencyBuckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"broker", "outcome"})
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{"broker"})
	}
	m := &metrics{
		ready: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "ready",
			Help: "1 if the cluster answers, the topic of the canaries is there and can be written to; without it no canary is sent."}),
		dropped: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "brokers_dropped",
			Help: "Brokers that are not probed because there are too many."}),
		partitions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "broker_partitions",
			Help: "Partitions of the canaries' topic that the broker leads; one that leads none gets no canary."}, []string{"broker"}),

		apiVersions: latency("api_versions_duration_seconds", "Round trip of an ApiVersions request, which costs the broker next to nothing: the way to it and its queue."),
		metadata:    latency("metadata_duration_seconds", "Round trip of a Metadata request for the broker's view of the cluster without topics."),
		produce:     latency("produce_duration_seconds", "Time until all replicas in sync have a canary, retries included, by the broker that leads its partition."),
		endToEnd:    latency("end_to_end_duration_seconds", "Time from sending a canary until it has been read again. One that was not acknowledged does not count."),
		commit:      latency("commit_duration_seconds", "Round trip of a commit of offsets, by the broker that coordinates the group; none: no coordinator was found."),

		sent:       counter("canaries_sent_total", "Canaries sent, acknowledged or not."),
		received:   counter("canaries_received_total", "Canaries read again in time."),
		lost:       counter("canaries_lost_total", "Canaries acknowledged and not read again in time."),
		late:       counter("canaries_late_total", "Canaries read after they were given up, because they were lost or had not been acknowledged."),
		duplicated: counter("canaries_duplicated_total", "Copies of canaries that were read: a canary stands in the topic more than once."),
	}
	reg.MustRegister(m.ready, m.dropped, m.partitions, m.apiVersions, m.metadata, m.produce, m.endToEnd, m.commit,
		m.sent, m.received, m.lost, m.late, m.duplicated)
	for _, o := range outcomes {
		m.commit.WithLabelValues(nobody, o)
	}
	return m
}

// histograms and counters are the families whose series a broker has.
func (m *metrics) histograms() []*prometheus.HistogramVec {
	return []*prometheus.HistogramVec{m.apiVersions, m.metadata, m.produce, m.endToEnd, m.commit}
}

func (m *metrics) counters() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{m.sent, m.received, m.lost, m.late, m.duplicated}
}

func (m *metrics) begin(broker string) {
	for _, h := range m.histograms() {
		for _, o := range outcomes {
			h.WithLabelValues(broker, o)
		}
	}
	for _, c := range m.counters() {
		c.WithLabelValues(broker)
	}
	m.partitions.WithLabelValues(broker)
}

func (m *metrics) end(broker string) {
	labels := prometheus.Labels{"broker": broker}
	for _, h := range m.histograms() {
		h.DeletePartialMatch(labels)
	}
	for _, c := range m.counters() {
		c.DeletePartialMatch(labels)
	}
	m.partitions.DeletePartialMatch(labels)
}

func observe(h *prometheus.HistogramVec, broker string, took time.Duration, err error) {
	h.WithLabelValues(broker, outcome(err)).Observe(took.Seconds())
}

func outcome(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return outcomeOK
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kerr.RequestTimedOut), errors.As(err, &network) && network.Timeout():
		return outcomeTimeout
	}
	return outcomeError
}

// label is that of a broker.
func label(id int32) string { return strconv.Itoa(int(id)) }
