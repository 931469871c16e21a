package stack_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/prometheus"
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
	config := stack.PrometheusConfig{Files: prometheus.Files, Discovery: exporter.URL + "/sd", Rules: []string{"pipeline", "kafka", "demo"}}
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

// TestBrokenFiles: what is wrong, with file and line where there is one.
func TestBrokenFiles(t *testing.T) {
	for name, test := range map[string]struct{ path, from, to, want string }{
		"rule":          {"rules/pipeline/monitoring.yml", "expr: vector(1)", "expr: vector(1", "prometheus/rules/pipeline/monitoring.yml: "},
		"configuration": {"prometheus.yml", "scrape_timeout", "scrape_tmeout", "prometheus/prometheus.yml: "},
		"targets":       {"targets/demo.yml", "labels", "label", "prometheus/targets/demo.yml: "},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			if err := fs.WalkDir(prometheus.Files, ".", func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					var content []byte
					content, err = fs.ReadFile(prometheus.Files, path)
					files[path] = &fstest.MapFile{Data: content}
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			broken := bytes.Replace(files[test.path].Data, []byte(test.from), []byte(test.to), 1)
			if bytes.Equal(broken, files[test.path].Data) {
				t.Fatalf("%s holds no %q to break", test.path, test.from)
			}
			files[test.path] = &fstest.MapFile{Data: broken}
			p, err := stack.StartPrometheus(t.TempDir(), 0, stack.PrometheusConfig{Files: files, Discovery: "http://127.0.0.1:1/sd", Rules: []string{"pipeline"}}, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal(p.Close())
			}
			t.Log(err)
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), os.TempDir()) {
				t.Errorf("want %q in %q", test.want, err)
			}
		})
	}
	if _, err := stack.StartPrometheus(t.TempDir(), 0, stack.PrometheusConfig{Files: prometheus.Files, Rules: []string{"nothing"}}, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "prometheus/rules/nothing: holds no rules") {
		t.Errorf("a folder of rules that is not there: %v", err)
	}
}
