package snapshot

import (
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metrics tell of our own work. It is a hook of franz-go too.
type metrics struct {
	refresh     *prometheus.HistogramVec
	phase       *prometheus.HistogramVec
	requests    *prometheus.CounterVec
	errors      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	lastSuccess prometheus.Gauge
	supported   *prometheus.GaugeVec
	authorized  *prometheus.GaugeVec
	dropped     *prometheus.GaugeVec
}

// The phases of a look.
const (
	phaseMetadata     = "metadata"
	phaseGroups       = "groups"
	phaseCommits      = "commits"
	phaseOffsets      = "offsets"
	phaseTimes        = "times"
	phaseLogs         = "logs"
	phaseTransactions = "transactions"
	phasePages        = "pages"
)

// noAnswer is the code of a request that a broker did not answer.
const noAnswer = "no_answer"

// asked are the APIs that we use, with the least version that serves us.
var asked = map[kmsg.Key]int16{kmsg.Metadata: 0, kmsg.ListGroups: 0, kmsg.DescribeGroups: 0, kmsg.ConsumerGroupDescribe: 0,
	kmsg.OffsetFetch: 8, kmsg.ListOffsets: 1, kmsg.DescribeConfigs: 0, kmsg.DescribeQuorum: 0,
	kmsg.DescribeCluster: 2, kmsg.ListPartitionReassignments: 0, kmsg.DescribeLogDirs: 1,
	kmsg.ListTransactions: 0, kmsg.DescribeTransactions: 0}

func newMetrics(reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "candlestack_exporter", Name: name, Help: help}
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "candlestack_exporter", Name: name, Help: help,
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), labels)
	}
	m := &metrics{
		refresh:     histogram("refresh_duration_seconds", "Time of a look at the cluster and of encoding it, failed looks too.", "outcome"),
		phase:       histogram("phase_duration_seconds", "Time of a part of a look at the cluster; pages is that of encoding it.", "phase"),
		requests:    prometheus.NewCounterVec(prometheus.CounterOpts(opts("kafka_requests_total", "Requests to Kafka: ok if there was an answer, whatever it says.")), []string{"api", "broker", "code"}),
		errors:      prometheus.NewCounterVec(prometheus.CounterOpts(opts("errors_total", "What Kafka refused, a topic, partition or group each, by its error code; no_answer is a whole request.")), []string{"api", "code"}),
		bytes:       prometheus.NewCounterVec(prometheus.CounterOpts(opts("kafka_bytes_total", "Bytes to and from Kafka.")), []string{"direction"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts(opts("last_success_timestamp_seconds", "When the cluster was last looked at with success."))),
		supported:   gauges("api_supported", "1 if the cluster has the API in a version that serves us.", "api"),
		authorized:  gauges("api_authorized", "0 if the cluster last refused us the API, for all or for some.", "api"),
		dropped:     gauges("groups_dropped", "Groups that are not shown, by the flag that says so: empty of --group.hide-empty-after, max of --group.max.", "reason"),
	}
	reg.MustRegister(m.refresh, m.phase, m.requests, m.errors, m.bytes, m.lastSuccess, m.supported, m.authorized, m.dropped)
	for _, outcome := range []string{"ok", "error"} {
		m.refresh.WithLabelValues(outcome)
	}
	for _, phase := range []string{phaseMetadata, phaseGroups, phaseCommits, phaseOffsets, phaseTimes, phaseLogs, phaseTransactions, phasePages} {
		m.phase.WithLabelValues(phase)
	}
	for _, direction := range []string{"sent", "received"} {
		m.bytes.WithLabelValues(direction)
	}
	for _, reason := range []string{dropEmpty, dropMax} {
		m.dropped.WithLabelValues(reason)
	}
	for api := range asked {
		m.authorized.WithLabelValues(api.Name()).Set(1)
		m.errors.WithLabelValues(api.Name(), noAnswer)
	}
	return m
}

// OnBrokerE2E counts a request when it is answered or given up.
func (m *metrics) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	code := "ok"
	if e.Err() != nil {
		code = "error"
	}
	broker := "seed"
	if meta.NodeID >= 0 {
		broker = strconv.Itoa(int(meta.NodeID))
	}
	m.requests.WithLabelValues(kmsg.NameForKey(key), broker, code).Inc()
	m.bytes.WithLabelValues("sent").Add(float64(e.BytesWritten))
	m.bytes.WithLabelValues("received").Add(float64(e.BytesRead))
}

// OnBrokerConnect counts a connection that failed as the request that could not
// be made.
func (m *metrics) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		return
	}
	broker := "seed"
	if meta.NodeID >= 0 {
		broker = strconv.Itoa(int(meta.NodeID))
	}
	m.requests.WithLabelValues("connect", broker, "error").Inc()
}

// answered notes whether the cluster lets us use an API, by the codes that came.
func (m *metrics) answered(api kmsg.Key, codes map[int16]bool) {
	refused := codes[kerr.ClusterAuthorizationFailed.Code] || codes[kerr.GroupAuthorizationFailed.Code] || codes[kerr.TopicAuthorizationFailed.Code] ||
		codes[kerr.TransactionalIDAuthorizationFailed.Code]
	value := 1.0
	if refused {
		value = 0
	}
	m.authorized.WithLabelValues(api.Name()).Set(value)
}
