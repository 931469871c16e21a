package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/stack"
)

// state is what the line of a second says: the broker's end offsets, and the sink's
// /metrics as Prometheus would read them.
type state struct {
	appended, durable      float64
	written, dead, retries float64 // by this run
	newest                 float64 // unix seconds of the newest durable live event
	paused                 float64
}

func (s state) String() string {
	lag := "-"
	if s.newest > 0 {
		lag = fmt.Sprintf("%.1fs", float64(time.Now().UnixMilli())/1000-s.newest)
	}
	return fmt.Sprintf("appended=%.0f durable=%.0f lag=%s written=%.0f retries=%.0f dead=%.0f paused=%.0f", s.appended, s.durable, lag, s.written, s.retries, s.dead, s.paused)
}

// scrape asks the broker and the sink.
func scrape(ctx context.Context, broker *stack.Kafka, sink string) (state, error) {
	to, err := families(ctx, sink)
	if err != nil {
		return state{}, err
	}
	appended, err := broker.Records(ctx, market.TopicCandles, market.TopicGaps)
	if err != nil {
		return state{}, err
	}
	return state{
		appended: float64(appended),
		durable:  sum(to["candlestack_sink_durable_offset"]),
		written:  sum(to["candlestack_sink_rows_total"]),
		dead:     sum(to["candlestack_sink_dead_letters_total"]),
		retries:  sum(to["candlestack_sink_retries_total"]),
		paused:   sum(to["candlestack_sink_paused_partitions"]),
		newest:   greatest(to["candlestack_sink_newest_event_timestamp_seconds"]),
	}, nil
}

func families(ctx context.Context, addr string) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

func sum(f *dto.MetricFamily) (total float64) {
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return total
}

func greatest(f *dto.MetricFamily) (most float64) {
	for _, m := range f.GetMetric() {
		most = max(most, m.GetGauge().GetValue())
	}
	return most
}
