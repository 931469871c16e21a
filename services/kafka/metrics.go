package kafka

import (
	"fmt"
	"strconv"
	"sync"

	confluent "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// metrics tell what librdkafka does, mostly from its statistics (STATISTICS.md).
type metrics struct {
	queueRecords, queueBytes prometheus.Gauge
	queueFull                prometheus.Counter
	deliveries               *prometheus.CounterVec
	committedOffset          *prometheus.GaugeVec
	skipped                  *prometheus.CounterVec
	requests, responses      *total
	sentBytes, receivedBytes *total
	brokersUp                prometheus.Gauge
	rtt                      *prometheus.GaugeVec
	rebalances               *total
}

func newMetrics(reg prometheus.Registerer, client string, topics ...string) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "candlestack", Name: "kafka_client_" + name, Help: help, ConstLabels: prometheus.Labels{"client": client}}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	counted := func(name, help string) *total { return newTotal(opts(name, help)) }
	m := &metrics{
		queueRecords:    gauge("queue_records", "Records in the client's queue: to be sent by a producer, to be read from a consumer."),
		queueBytes:      gauge("queue_bytes", "Bytes in the client's queue."),
		queueFull:       prometheus.NewCounter(prometheus.CounterOpts(opts("queue_full_total", "Times the queue was full and the source had to wait."))),
		deliveries:      prometheus.NewCounterVec(prometheus.CounterOpts(opts("deliveries_total", "Records acknowledged (ok) or given up (error).")), []string{"outcome"}),
		committedOffset: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("committed_offset", "Offset that the group has committed.")), []string{"topic", "partition"}),
		skipped:         prometheus.NewCounterVec(prometheus.CounterOpts(opts("skipped_records_total", "Records that retention deleted before the group had read them: they are lost.")), []string{"topic"}),
		requests:        counted("requests_total", "Requests sent to brokers."),
		responses:       counted("responses_total", "Responses received from brokers."),
		sentBytes:       counted("sent_bytes_total", "Bytes sent to brokers."),
		receivedBytes:   counted("received_bytes_total", "Bytes received from brokers."),
		brokersUp:       gauge("brokers_up", "Brokers with a connection that is up."),
		rtt:             prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("rtt_seconds", "Round trip to a broker over the last window of statistics, by percentile.")), []string{"broker", "percentile"}),
		rebalances:      counted("rebalances_total", "Rebalances of the consumer group."),
	}
	reg.MustRegister(m.brokersUp, m.rtt, m.requests, m.responses, m.sentBytes, m.receivedBytes, m.queueRecords, m.queueBytes)
	if client == "producer" {
		reg.MustRegister(m.queueFull, m.deliveries)
		m.deliveries.WithLabelValues("ok")
		m.deliveries.WithLabelValues("error")
	} else {
		reg.MustRegister(m.committedOffset, m.rebalances, m.skipped)
		for _, topic := range topics {
			m.skipped.WithLabelValues(topic)
		}
	}
	return m
}

// total is a counter that the library counts for us.
type total struct {
	prometheus.CounterFunc
	mu sync.Mutex
	n  float64
}

func newTotal(opts prometheus.Opts) *total {
	t := &total{}
	t.CounterFunc = prometheus.NewCounterFunc(prometheus.CounterOpts(opts), func() float64 {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.n
	})
	return t
}

func (t *total) set(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n = float64(n)
}

func (m *metrics) delivered(err error) {
	if err != nil {
		m.deliveries.WithLabelValues("error").Inc()
		return
	}
	m.deliveries.WithLabelValues("ok").Inc()
}

func (m *metrics) committed(offsets []confluent.TopicPartition) {
	for _, p := range offsets {
		if p.Error == nil && p.Offset >= 0 {
			topic, id := partitionOf(p)
			m.committedOffset.WithLabelValues(topic, strconv.Itoa(int(id))).Set(float64(p.Offset))
		}
	}
}

func (m *metrics) forget(p confluent.TopicPartition) {
	topic, id := partitionOf(p)
	m.committedOffset.DeleteLabelValues(topic, strconv.Itoa(int(id)))
}

// brokers follows whether any broker can be reached, and reports changes.
type brokers struct {
	part    string
	report  engine.Report
	metrics *metrics
	problem string

	connected map[string]bool // by node id, at the last statistics
}

func newBrokers(part string, report engine.Report, m *metrics) *brokers {
	report(part, engine.Starting)
	return &brokers{part: part, report: report, metrics: m}
}

// failed notes what the library says of a connection; the next statistics tell
// whether it matters.
func (b *brokers) failed(err confluent.Error) {
	b.problem = reportError(err)
	if err.Code() == confluent.ErrAllBrokersDown || err.Code() == confluent.ErrAuthentication {
		b.report(b.part, b.problem)
	}
}

// statistics is what we read of librdkafka's.
type statistics struct {
	MsgCnt  int64 `json:"msg_cnt"`
	MsgSize int64 `json:"msg_size"`
	ReplyQ  int64 `json:"replyq"`
	Tx      int64 `json:"tx"`
	Rx      int64 `json:"rx"`
	TxBytes int64 `json:"tx_bytes"`
	RxBytes int64 `json:"rx_bytes"`
	Brokers map[string]struct {
		Name   string `json:"name"`
		NodeID int32  `json:"nodeid"`
		State  string `json:"state"`
		RTT    struct {
			P50 int64 `json:"p50"` // µs
			P99 int64 `json:"p99"`
		} `json:"rtt"`
	} `json:"brokers"`
	Topics map[string]struct {
		Partitions map[string]struct {
			FetchQCnt  int64 `json:"fetchq_cnt"`
			FetchQSize int64 `json:"fetchq_size"`
		} `json:"partitions"`
	} `json:"topics"`
	Cgrp struct {
		Rebalances int64 `json:"rebalance_cnt"`
	} `json:"cgrp"`
}

func (b *brokers) stats(text string) {
	var s statistics
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.report("kafka statistics", err.Error())
		return
	}
	m := b.metrics
	m.requests.set(s.Tx)
	m.responses.set(s.Rx)
	m.sentBytes.set(s.TxBytes)
	m.receivedBytes.set(s.RxBytes)
	m.rebalances.set(s.Cgrp.Rebalances)
	count, bytes := s.MsgCnt, s.MsgSize
	for _, t := range s.Topics {
		for _, p := range t.Partitions { // each tells of the queue that they share
			count, bytes = max(count, p.FetchQCnt), max(bytes, p.FetchQSize)
		}
	}
	m.queueRecords.Set(float64(count))
	m.queueBytes.Set(float64(bytes))
	up := false
	connected := map[string]bool{}
	for _, broker := range s.Brokers {
		if broker.State != "UP" {
			continue
		}
		up = true
		if broker.NodeID >= 0 { // else a second connection: to an address to begin with, to the group's coordinator
			id := strconv.Itoa(int(broker.NodeID))
			connected[id] = true
			m.rtt.WithLabelValues(id, "50").Set(float64(broker.RTT.P50) / 1e6)
			m.rtt.WithLabelValues(id, "99").Set(float64(broker.RTT.P99) / 1e6)
		}
	}
	for id := range b.connected {
		if !connected[id] {
			m.rtt.DeletePartialMatch(prometheus.Labels{"broker": id})
		}
	}
	b.connected = connected
	m.brokersUp.Set(float64(len(connected)))
	switch {
	case up:
		b.problem = ""
		b.report(b.part, "")
	case b.problem != "":
		b.report(b.part, b.problem)
	default:
		b.report(b.part, fmt.Sprintf("none of %d brokers is connected", len(s.Brokers)))
	}
}
