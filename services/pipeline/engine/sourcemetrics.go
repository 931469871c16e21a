package engine

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

type sourceMetrics struct {
	name       string
	events     *prometheus.CounterVec
	rejected   prometheus.Counter
	reconnects *prometheus.CounterVec
	gaps       *prometheus.CounterVec
	posts      *prometheus.CounterVec
	fromEvent  prometheus.Histogram
	ack        *prometheus.HistogramVec
	newest     *seriesTimes
}

// newSourceMetrics registers what the source's powers can move: a panel of gaps
// says nothing of a feed.
func newSourceMetrics(reg prometheus.Registerer, name string, adapter pipeline.Source) *sourceMetrics {
	source := prometheus.Labels{"source": name}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "candlestack", Name: name, Help: help, ConstLabels: source}, labels)
	}
	received := latency("source_event_receive_seconds", "From the venue's event time to our receiving it, live events only; negative where clocks differ.")
	received.ConstLabels = source
	ack := latency("source_acknowledge_duration_seconds", "From handing an event to the Kafka client to the broker's acknowledgement, by outcome.")
	ack.ConstLabels = source
	m := &sourceMetrics{
		name:   name,
		events: counter("source_events_total", "Events that Kafka has acknowledged, by kind, instrument and origin.", "kind", "instrument", "origin"),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "candlestack", Name: "source_rejected_events_total",
			Help: "Events that cannot be true, sent to the dead-letter topic.", ConstLabels: source}),
		reconnects: counter("source_reconnects_total", "Ends of the live stream, by cause.", "cause"),
		gaps:       counter("source_gaps_total", "Gaps recorded, by state: open, repaired, confirmed (the exchange itself has nothing there).", "state"),
		posts:      counter("source_observed_posts_total", "Posts that the feed showed, by whether they were new or changed: true, or the same as before: false.", "changed"),
		fromEvent:  prometheus.NewHistogram(received),
		ack:        prometheus.NewHistogramVec(ack, []string{"outcome"}),
		newest:     newSeriesTimes("source_newest_event_timestamp_seconds", "Event time of the newest live event of a series that Kafka has acknowledged."),
	}
	for _, outcome := range []string{"ok", "error"} {
		m.ack.WithLabelValues(outcome)
	}
	for _, state := range []market.GapState{market.GapOpen, market.GapRepaired, market.GapConfirmed} {
		m.gaps.WithLabelValues(string(state))
	}
	for _, changed := range []bool{true, false} {
		m.posts.WithLabelValues(strconv.FormatBool(changed))
	}
	for _, cause := range append(pipeline.Causes(), errHalfDead.Error(), causeUnknown) {
		m.reconnects.WithLabelValues(cause)
	}
	reg.MustRegister(m.events, m.rejected, m.reconnects, m.ack, m.newest.vec)
	if _, ok := adapter.(pipeline.Feed); ok {
		reg.MustRegister(m.posts)
	} else {
		reg.MustRegister(m.gaps, m.fromEvent)
	}
	return m
}

func (m *sourceMetrics) received(event, received market.Millis) {
	m.fromEvent.Observe(received.Sub(event).Seconds())
}

func (m *sourceMetrics) observed(changed bool) {
	m.posts.WithLabelValues(strconv.FormatBool(changed)).Inc()
}

func (m *sourceMetrics) reconnect(cause string) { m.reconnects.WithLabelValues(cause).Inc() }

func (m *sourceMetrics) gap(state market.GapState) { m.gaps.WithLabelValues(string(state)).Inc() }

// acknowledged counts e, which is nil for a dead letter.
func (m *sourceMetrics) acknowledged(e market.Event, handed time.Time, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	m.ack.WithLabelValues(outcome).Observe(time.Since(handed).Seconds())
	if e == nil || err != nil {
		return
	}
	instrument := ""
	if c, ok := e.(interface{ Series() market.Series }); ok {
		instrument = c.Series().Instrument.String()
	}
	m.events.WithLabelValues(string(e.Kind()), instrument, string(e.From())).Inc()
	if e.From() == market.OriginLive {
		m.newest.observe(e)
	}
}
