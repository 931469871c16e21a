package engine

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Reasons for dead letters as the metric tells them; the letter itself also
// has the store's code.
const (
	reasonDecode   = "decode"
	reasonContract = "contract"
	reasonInvalid  = "invalid"
	reasonStore    = "store"
)

// latencyBuckets span a millisecond to a minute, in seconds.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// latency is a histogram in seconds, native and classic.
func latency(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: "candlestack", Name: name, Help: help,
		Buckets: latencyBuckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

type sinkMetrics struct {
	consumedTotal *prometheus.CounterVec
	durableOffset *prometheus.GaugeVec
	batch         prometheus.Histogram
	write         *prometheus.HistogramVec
	rows          *prometheus.CounterVec
	retries       *prometheus.CounterVec
	paused        prometheus.Gauge
	deadLetters   *prometheus.CounterVec
	newest        *seriesTimes
	fromEvent     prometheus.Histogram
	fromAppend    prometheus.Histogram
}

func newSinkMetrics(reg prometheus.Registerer) *sinkMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "candlestack", Name: name, Help: help}, labels)
	}
	m := &sinkMetrics{
		consumedTotal: counter("sink_consumed_records_total", "Records taken from Kafka.", "topic", "partition"),
		durableOffset: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "candlestack", Name: "sink_durable_offset",
			Help: "Offset after the last record that is durable in the store or in the dead-letter topic."}, []string{"topic", "partition"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "candlestack", Name: "sink_batch_records", Help: "Records a batch.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8), NativeHistogramBucketFactor: 1.1}),
		write:   prometheus.NewHistogramVec(latency("sink_write_duration_seconds", "Duration of a write to the store, by outcome."), []string{"outcome"}),
		rows:    counter("sink_rows_total", "Rows by what the write did to them; kept: inserted or unchanged, where the store cannot tell.", "effect"),
		retries: counter("sink_retries_total", "Writes tried again, by class and the store's code.", "class", "code"),
		paused: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "candlestack", Name: "sink_paused_partitions",
			Help: "Partitions that are paused because their queue is full: the store does not keep up or is away."}),
		deadLetters: counter("sink_dead_letters_total", "Records given up and kept in the dead-letter topic, by reason.", "reason"),
		newest: newSeriesTimes("sink_newest_event_timestamp_seconds",
			"Event time of the newest live event of a series that is durable in the store; a closed candle's is its close, a post's the observation of its last change (exchange is then the feed)."),
		fromEvent:  prometheus.NewHistogram(latency("sink_event_durable_seconds", "From the venue's event time to durable in the store, live events only.")),
		fromAppend: prometheus.NewHistogram(latency("sink_append_durable_seconds", "From the append to Kafka to durable in the store, live events only.")),
	}
	for _, outcome := range []string{"ok", string(pipeline.Environment), string(pipeline.Transient), string(pipeline.Poison)} {
		m.write.WithLabelValues(outcome)
	}
	for _, effect := range []string{"inserted", "updated", "unchanged", "kept"} {
		m.rows.WithLabelValues(effect)
	}
	for _, reason := range []string{reasonDecode, reasonContract, reasonInvalid, reasonStore} {
		m.deadLetters.WithLabelValues(reason)
	}
	reg.MustRegister(m.consumedTotal, m.durableOffset, m.batch, m.write, m.rows, m.retries, m.paused, m.deadLetters, m.newest.vec, m.fromEvent, m.fromAppend)
	return m
}

func labels(p Partition) []string { return []string{p.Topic, strconv.Itoa(int(p.ID))} }

// own begins the series of a partition; its lane keeps them, because to look them
// up for each record costs more than to count it.
func (m *sinkMetrics) own(p Partition, start int64) (consumed prometheus.Counter, durable prometheus.Gauge) {
	consumed, durable = m.consumedTotal.WithLabelValues(labels(p)...), m.durableOffset.WithLabelValues(labels(p)...)
	durable.Set(float64(start))
	return consumed, durable
}

func (m *sinkMetrics) wrote(start time.Time, records int, effects pipeline.Effects, err error, class pipeline.Class) {
	outcome := "ok"
	if err != nil {
		outcome = string(class)
	} else {
		m.batch.Observe(float64(records))
	}
	m.write.WithLabelValues(outcome).Observe(time.Since(start).Seconds())
	if err != nil {
		return // what it did all the same is counted when it is tried again
	}
	m.rows.WithLabelValues("inserted").Add(float64(effects.Inserted))
	m.rows.WithLabelValues("updated").Add(float64(effects.Updated))
	m.rows.WithLabelValues("unchanged").Add(float64(effects.Unchanged))
	m.rows.WithLabelValues("kept").Add(float64(effects.Kept))
}

func (m *sinkMetrics) retry(class pipeline.Class, code string) {
	m.retries.WithLabelValues(string(class), code).Inc()
}

func (m *sinkMetrics) buried(reason string) {
	switch reason {
	case reasonDecode, reasonContract, reasonInvalid:
	default:
		reason = reasonStore
	}
	m.deadLetters.WithLabelValues(reason).Inc()
}

func (m *sinkMetrics) durable(items []item) {
	now := time.Now()
	for _, i := range items {
		if i.event.From() != market.OriginLive {
			continue
		}
		event, _ := i.event.Clocks()
		m.fromEvent.Observe(now.Sub(event.Time()).Seconds())
		m.fromAppend.Observe(now.Sub(i.record.Time).Seconds())
		m.newest.observe(i.event)
	}
}

// forget drops the series of a partition that has another owner now.
func (m *sinkMetrics) forget(p Partition) {
	m.consumedTotal.DeleteLabelValues(labels(p)...)
	m.durableOffset.DeleteLabelValues(labels(p)...)
}

// seriesTimes is a gauge of the newest event time by series. It follows at most
// maxSeries of them: names come from records, and a label must not grow without bound.
type seriesTimes struct {
	vec *prometheus.GaugeVec
	mu  sync.Mutex
	at  map[market.Series]*seriesTime
}

type seriesTime struct {
	newest market.Millis
	gauge  prometheus.Gauge
}

const maxSeries = 10_000

func newSeriesTimes(name, help string) *seriesTimes {
	return &seriesTimes{
		vec: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "candlestack", Name: name, Help: help}, []string{"exchange", "instrument", "interval"}),
		at:  map[market.Series]*seriesTime{},
	}
}

func (t *seriesTimes) observe(e market.Event) {
	var s market.Series
	switch e := e.(type) {
	case *market.Candle:
		s = e.Series()
	case *market.Post: // a feed is one series
		s.Exchange = e.Source
	default:
		return
	}
	event, _ := e.Clocks()
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at[s]
	if at == nil {
		if len(t.at) >= maxSeries {
			return
		}
		at = &seriesTime{gauge: t.vec.WithLabelValues(s.Exchange, s.Instrument.String(), string(s.Interval))}
		t.at[s] = at
	}
	if event > at.newest {
		at.newest = event
		at.gauge.Set(float64(event) / 1000)
	}
}
