package stack_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/stack"
)

// TestPrometheus scrapes itself and a broker that http_sd tells of, by the files
// of this repository, and goes on with its data after a restart.
func TestPrometheus(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
	defer http.DefaultClient.CloseIdleConnections()
	var exporter *httptest.Server
	exporter = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sd" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `[{"targets": [%q], "labels": {"__metrics_path__": "/broker/7/metrics", "instance": "broker-7"}}]`, strings.TrimPrefix(exporter.URL, "http://"))
			return
		}
		fmt.Fprintln(w, "# TYPE a gauge\na{b=\"c\"} 42")
	}))
	defer exporter.Close()
	dir := t.TempDir()
	config := stack.PrometheusConfig{Discovery: exporter.URL + "/sd"}
	for run := range 2 {
		p, err := stack.StartPrometheus(dir, 0, config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{
			`up{job="prometheus"} == 1`,
			`a{b="c", job="kafka-broker", instance="broker-7"} == 42`,
// 			`ALERTS{alertname="Watchdog", alertstate="firing"}`,
		} {
			eventually(t, p.Addr, query)
		}
		if run == 1 {
			eventually(t, p.Addr, `count_over_time(a[10m]) > 2`)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// eventually wants the query to have a result.
func eventually(t *testing.T, addr, query string) {
	t.Helper()
	var body []byte
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && strings.Contains(string(body), `"value":[`) {
			return
		}
	}
	t.Errorf("%s has no result: %s", query, body)
}

func TestPrometheusWithoutRules(t *testing.T) {
	_, err := stack.StartPrometheus(t.TempDir(), 0, stack.PrometheusConfig{Rules: []string{"nothing"}}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), filepath.Join("rules", "nothing")) {
		t.Errorf("a folder of rules that is not there: %v", err)
	}
}
