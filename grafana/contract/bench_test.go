package contract_test

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/candlestack/candlestack/grafana/contract"
	"github.com/candlestack/candlestack/prometheus"
	"github.com/candlestack/candlestack/services/stack"
)

// BenchmarkBoards asks for every target of every panel over a day: the series of
// the demo, with a sample each five seconds, and its eight days of candles.
func BenchmarkBoards(b *testing.B) {
	d := startDemo(b)
	all := boards(b)
	eventually(b, warmStart, "every panel of the Overview", func() string {
		left, _ := contract.Except(d.live.Opened(b.Context(), of(all, "candlestack-overview")).Problems, contract.Exceptions, where)
		return list(left)
	})
	dir := b.TempDir()
	series := fillDay(b, filepath.Join(dir, "prometheus", "data"), d.live.Prometheus)
	server, err := stack.StartPrometheus(dir, 0, stack.PrometheusConfig{Files: prometheus.Files, Discovery: "http://127.0.0.1:1/sd", Rules: []string{"demo"}},
		slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	for _, board := range all {
		board.Time.From = "now-24h"
	}
	live := &contract.Live{Prometheus: "http://" + server.Addr, MySQL: d.db, Scrape: d.live.Scrape}
	var result contract.Result
	for b.Loop() {
		result = live.Opened(b.Context(), all...)
	}
	slices.SortFunc(result.Rows, func(x, y contract.Row) int { return int(y.Took - x.Took) })
	b.ReportMetric(float64(series), "series")
	b.ReportMetric(float64(len(result.Rows)), "queries")
	b.ReportMetric(result.Rows[0].Took.Seconds()*1000, "ms/slowest")
	b.ReportMetric(result.Rows[len(result.Rows)/2].Took.Seconds()*1000, "ms/median")
	most := slices.MaxFunc(result.Rows, func(x, y contract.Row) int { return x.Series - y.Series })
	b.ReportMetric(float64(most.Series), "series/query")
	for _, r := range result.Rows[:5] {
		b.Logf("%s / %s %s: %v, %d series, %d points", r.Board, r.Panel, r.Target, r.Took, r.Series, r.Points)
	}
}

// fillDay writes a day of what a Prometheus shows now into dir: counters grow to
// what they are, all else trembles about it. It returns the number of series.
func fillDay(b *testing.B, dir, from string) int {
	b.Helper()
	resp, err := http.Get(from + "/federate?" + url.Values{"match[]": {`{__name__=~".+"}`}}.Encode())
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	type line struct {
		labels  labels.Labels
		value   float64
		counter bool
	}
	var all []line
	for name, f := range families {
		for _, m := range f.Metric {
			l := labels.NewBuilder(labels.EmptyLabels()).Set("__name__", name)
			for _, p := range m.Label {
				l.Set(p.GetName(), p.GetValue())
			}
			counts := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_count") || strings.HasSuffix(name, "_sum")
			all = append(all, line{l.Labels(), value(m), counts})
		}
	}
	if len(all) == 0 {
		b.Fatal("the demo's Prometheus shows no series")
	}
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		b.Fatal(err)
	}
	const day, step = 24 * time.Hour, 5 * time.Second
	end := time.Now()
	for at := end.Add(-day); at.Before(end); at = at.Add(step) {
		share := 1 - float64(end.Sub(at))/float64(day)
		app := db.Appender(b.Context())
		for _, l := range all {
			v := l.value * (1 + rand.Float64()/100)
			if l.counter {
				v = l.value * share
			}
			if _, err := app.Append(0, l.labels, at.UnixMilli(), v); err != nil {
				b.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return len(all)
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	}
	return m.Untyped.GetValue()
}
