package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/telemetry"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		signalHelper()
	}
	goleak.VerifyTestMain(m)
}

func TestLoggerFormatsAndLevels(t *testing.T) {
	f := func(cfg telemetry.LogConfig, debugSeen, isJSON bool) {
		t.Helper()
		var out bytes.Buffer
		log, err := cfg.Logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("d")
		if seen := out.Len() > 0; seen != debugSeen {
			t.Errorf("%+v: debug line seen: %t", cfg, seen)
		}
		out.Reset()
		log.Error("e")
		if valid := json.Valid(out.Bytes()); valid != isJSON {
			t.Errorf("%+v: JSON: %t, line %q", cfg, valid, out.String())
		}
	}
	f(telemetry.LogConfig{}, false, false)
	f(telemetry.LogConfig{Format: "text", Level: "debug"}, true, false)
	f(telemetry.LogConfig{Format: "json", Level: "warn"}, false, true)
}

func TestConfigsTellAllProblems(t *testing.T) {
	f := func(err error, want ...string) {
		t.Helper()
		got := strings.Split(fmt.Sprint(err), "\n")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		var config *pipeline.ConfigError
		if err != nil && !errors.As(err, &config) {
			t.Errorf("%v is no ConfigError", err)
		}
	}
	f(telemetry.LogConfig{Format: "xml", Level: "loud"}.Validate(),
		`--log.format "xml": is not text or json`, `--log.level "loud": is not debug, info, warn or error`)
	f(telemetry.OpsConfig{Listen: ""}.Validate(), "<nil>")
	f(telemetry.OpsConfig{Listen: ":0"}.Validate(), "<nil>")
	f(telemetry.OpsConfig{Listen: "9600"}.Validate(), `--ops.listen "9600": address 9600: missing port in address`)
	f(telemetry.OpsConfig{Listen: ":http"}.Validate(), `--ops.listen ":http": the port is not a number from 0 to 65535`)
	f(telemetry.OpsConfig{Listen: ":65536"}.Validate(), `--ops.listen ":65536": the port is not a number from 0 to 65535`)
}

func TestRegistryTellsTheBuild(t *testing.T) {
	v := telemetry.BuildVersion()
	if v.Version == "" || v.Revision == "" || v.Go != runtime.Version() {
		t.Errorf("incomplete: %+v", v)
	}
	url := "http://" + serve(t, telemetry.OpsConfig{}, telemetry.NewRegistry(), telemetry.NewHealth(new(lines).logger())).Addr() + "/metrics"
	_, body, _ := ask(t, http.MethodGet, url)
	for _, want := range []string{
		fmt.Sprintf("candlestack_build_info{goversion=%q,revision=%q,version=%q} 1\n", v.Go, v.Revision, v.Version),
		"\ngo_goroutines ", "\nprocess_start_time_seconds ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

// lines is a log that a test can read while others write it.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestHealthLogsChangesOfStateOnly(t *testing.T) {
	var log lines
	h := telemetry.NewHealth(log.logger(), "kafka", "mysql")
	if diff := cmp.Diff(map[string]string{"kafka": "starting", "mysql": "starting"}, h.Problems()); diff != "" {
		t.Error(diff)
	}
	f := func(part, problem, want string) {
		t.Helper()
		before := len(log.String())
		h.Set(part, problem)
		if got := log.String()[before:]; got != want {
			t.Errorf("Set(%q, %q) logged %q, want %q", part, problem, got, want)
		}
	}
	f("kafka", "", "level=INFO msg=ready part=kafka\n")
	f("kafka", "", "")
	f("mysql", "refused", "level=WARN msg=\"not ready\" part=mysql problem=refused\n")
	f("mysql", "refused again", "")
	f("mysql", "", "level=INFO msg=ready part=mysql\n")
	f("schema", "", "") // begins well: no news
	f("stream", "starting", "")
	f("stream", "", "level=INFO msg=ready part=stream\n")
	f("kafka", "gone", "level=WARN msg=\"not ready\" part=kafka problem=gone\n")
	if diff := cmp.Diff(map[string]string{"kafka": "gone"}, h.Problems()); diff != "" {
		t.Error(diff)
	}
	h.Stopping()
	h.Stopping()
	if got := strings.Count(log.String(), "msg=stopping"); got != 1 {
		t.Errorf("stopping logged %d times", got)
	}
}

func TestHealthIsSafeForConcurrentUse(t *testing.T) {
	var log lines
	h := telemetry.NewHealth(log.logger(), "part")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 100 {
				h.Set("part", "")
				h.Problems()
			}
		})
	}
	wait.Wait()
	if got := strings.Count(log.String(), "\n"); got != 1 {
		t.Errorf("%d lines, want 1:\n%s", got, log.String())
	}
}

func TestCatalogueListsMetricsThatAreNotSetYet(t *testing.T) {
	c := telemetry.NewCatalogue()
	with := promauto.With(c)
	with.NewCounterVec(prometheus.CounterOpts{Name: "t_errors_total", Help: `A "quoted" | help.`}, []string{"cause", "code"})
	with.NewHistogramVec(prometheus.HistogramOpts{Name: "t_wait_seconds", Help: "Wait."}, []string{"outcome"})
	with.NewSummaryVec(prometheus.SummaryOpts{Name: "t_size_bytes", Help: "Size."}, []string{"a"})
	with.NewGaugeVec(prometheus.GaugeOpts{Name: "t_lag", Help: "Lag.", ConstLabels: prometheus.Labels{"x": "y"}}, []string{"b"})
	with.NewGauge(prometheus.GaugeOpts{Name: "t_depth", Help: "Depth."})
	with.NewHistogram(prometheus.HistogramOpts{Name: "t_age_seconds", Help: "Age."})
	with.NewCounterFunc(prometheus.CounterOpts{Name: "t_bytes", Help: "Bytes."}, func() float64 { return 1 })
	c.MustRegister(silent{prometheus.NewDesc("t_silent_total", "Shown later.", []string{"broker"}, nil)})

	var got strings.Builder
	if err := telemetry.Document(&got, c.Families()); err != nil {
		t.Fatal(err)
	}
	want := "| name | type | labels | meaning |\n|---|---|---|---|\n" +
		"| `t_age_seconds` | histogram |  | Age. |\n" +
		"| `t_bytes` | counter |  | Bytes. |\n" +
		"| `t_depth` | gauge |  | Depth. |\n" +
		"| `t_errors_total` | counter | `cause`, `code` | A \"quoted\" \\| help. |\n" +
		"| `t_lag` | gauge | `b` | Lag. |\n" +
		"| `t_silent_total` | counter | `broker` | Shown later. |\n" +
		"| `t_size_bytes` | summary | `a` | Size. |\n" +
		"| `t_wait_seconds` | histogram | `outcome` | Wait. |\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}

	again := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "t_lag", Help: "Lag.", ConstLabels: prometheus.Labels{"x": "z"}}, []string{"b"})
	if err := c.Register(again); err != nil {
		t.Errorf("the same family once more: %v", err)
	}
	other := prometheus.NewGauge(prometheus.GaugeOpts{Name: "t_lag", Help: "Another lag."})
	if err := c.Register(other); err == nil {
		t.Error("another family of the same name was taken")
	}
}

// silent is a collector that has nothing to show yet.
type silent struct{ desc *prometheus.Desc }

func (s silent) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }
func (s silent) Collect(chan<- prometheus.Metric)    {}
