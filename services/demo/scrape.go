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

// state is what the line of a second says: the broker's end offsets, and the
// sinks' /metrics as Prometheus would read them.
type state struct {
	appended, durable      float64 // candles, gaps and posts
	posts                  float64 // of durable: posts and their changes
	written, dead, retries float64 // by this run
	newest                 float64 // unix seconds of the newest durable live candle
	paused                 float64
}

func (s state) String() string {
	lag := "-"
	if s.newest > 0 {
		lag = fmt.Sprintf("%.1fs", float64(time.Now().UnixMilli())/1000-s.newest)
	}
	return fmt.Sprintf("appended=%.0f durable=%.0f lag=%s written=%.0f posts=%.0f retries=%.0f dead=%.0f paused=%.0f", s.appended, s.durable, lag, s.written, s.posts, s.retries, s.dead, s.paused)
}

// scrape asks the broker and the sinks of candles and of news.
func scrape(ctx context.Context, broker *stack.Kafka, candles, news string) (s state, err error) {
	appended, err := broker.Records(ctx, market.TopicCandles, market.TopicGaps, market.TopicPosts)
	if err != nil {
		return state{}, err
	}
	s.appended = float64(appended)
	for _, addr := range []string{candles, news} {
		of, err := families(ctx, addr)
		if err != nil {
			return state{}, err
		}
		durable := sum(of["candlestack_sink_durable_offset"])
		s.durable += durable
		s.written += sum(of["candlestack_sink_rows_total"])
		s.dead += sum(of["candlestack_sink_dead_letters_total"])
		s.retries += sum(of["candlestack_sink_retries_total"])
		s.paused += sum(of["candlestack_sink_paused_partitions"])
		if addr == news {
			s.posts = durable
		} else {
			s.newest = greatest(of["candlestack_sink_newest_event_timestamp_seconds"])
		}
	}
	return s, nil
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
