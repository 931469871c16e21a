package telemetry_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/telemetry"
)

// serve runs an ops server on a free port until the test ends.
func serve(t *testing.T, cfg telemetry.OpsConfig, reg *prometheus.Registry, health *telemetry.Health) *telemetry.Ops {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	ops, err := telemetry.NewOps(cfg, reg, health, new(lines).logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ops.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return ops
}

func ask(t *testing.T, method, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestOpsAnswersHealth(t *testing.T) {
	health := telemetry.NewHealth(new(lines).logger(), "kafka", "mysql")
	base := "http://" + serve(t, telemetry.OpsConfig{}, telemetry.NewRegistry(), health).Addr()
	f := func(path string, wantStatus int, wantBody string) {
		t.Helper()
		if status, body, _ := ask(t, http.MethodGet, base+path); status != wantStatus || body != wantBody {
			t.Errorf("%s: %d %q, want %d %q", path, status, body, wantStatus, wantBody)
		}
	}
	f("/-/healthy", 200, "healthy\n")
	f("/-/ready", 503, "kafka: starting\nmysql: starting\n")
	health.Set("kafka", "")
	health.Set("mysql", "table candles is missing")
	f("/-/ready", 503, "mysql: table candles is missing\n")
	health.Set("mysql", "")
	f("/-/ready", 200, "ready\n")
	health.Stopping()
	f("/-/ready", 503, "process: stopping\n")
	f("/-/healthy", 200, "healthy\n")
	f("/debug/pprof/", 404, "404 page not found\n")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		for _, path := range []string{"/metrics", "/-/healthy", "/-/ready"} {
			if status, _, _ := ask(t, method, base+path); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
}

func TestOpsShowsMetricsInEachForm(t *testing.T) {
	reg := telemetry.NewRegistry()
	wait := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "t_wait_seconds", Help: "Wait.", Buckets: []float64{1}, NativeHistogramBucketFactor: 1.1,
	})
	reg.MustRegister(wait)
	wait.Observe(0.5)
	url := "http://" + serve(t, telemetry.OpsConfig{}, reg, telemetry.NewHealth(new(lines).logger())).Addr() + "/metrics"

	f := func(accept, wantType, wantBody string) {
		t.Helper()
		status, body, header := ask(t, http.MethodGet, url, "Accept", accept)
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), wantType) || !strings.Contains(body, wantBody) {
			t.Errorf("%s: %d %s\n%s", accept, status, header.Get("Content-Type"), body)
		}
	}
	f("text/plain", "text/plain", `t_wait_seconds_bucket{le="1"} 1`)
	f("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", "# EOF\n")
	f("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
		"application/vnd.google.protobuf", "t_wait_seconds")
}

func TestOpsShowsProfilesByFlagButNoArguments(t *testing.T) {
	base := "http://" + serve(t, telemetry.OpsConfig{Pprof: true}, telemetry.NewRegistry(), telemetry.NewHealth(new(lines).logger())).Addr()
	f := func(path string, want int) {
		t.Helper()
		if status, _, _ := ask(t, http.MethodGet, base+path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	f("/debug/pprof/", 200)
	f("/debug/pprof/goroutine", 200)
	f("/debug/pprof/cmdline", 404)
}

func TestOpsNamesAPortInUse(t *testing.T) {
	health := telemetry.NewHealth(new(lines).logger())
	first := serve(t, telemetry.OpsConfig{}, telemetry.NewRegistry(), health)
	_, err := telemetry.NewOps(telemetry.OpsConfig{Listen: first.Addr()}, telemetry.NewRegistry(), health, new(lines).logger())
	var config *pipeline.ConfigError
	if !errors.As(err, &config) {
		t.Fatalf("%v is no ConfigError", err)
	}
	if got, want := err.Error(), fmt.Sprintf("--ops.listen %q: the address is in use", first.Addr()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOpsFreesItsAddress(t *testing.T) {
	health := telemetry.NewHealth(new(lines).logger())
	open := func(listen string) *telemetry.Ops {
		t.Helper()
		ops, err := telemetry.NewOps(telemetry.OpsConfig{Listen: listen}, telemetry.NewRegistry(), health, new(lines).logger())
		if err != nil {
			t.Fatal(err)
		}
		return ops
	}
	ops := open("127.0.0.1:0")
	for range 2 {
		if err := ops.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(ops.Addr()).Close(); err != nil {
		t.Fatal(err)
	}
	if got := open("").Addr(); got != "" {
		t.Errorf("address %q where nothing is served", got)
	}
}

// off is an ops server that serves nothing.
func off(t *testing.T) *telemetry.Ops {
	t.Helper()
	ops, err := telemetry.NewOps(telemetry.OpsConfig{}, prometheus.NewRegistry(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func untilDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestRunEndsWithItsContextOrItsFirstPart(t *testing.T) {
	f := func(first func(context.Context) error, cancelled bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			health := telemetry.NewHealth(new(lines).logger())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if cancelled {
				time.AfterFunc(time.Hour, cancel)
			}
			err := telemetry.Run(ctx, time.Minute, health, off(t),
				telemetry.Part{Name: "first", Run: first}, telemetry.Part{Name: "second", Run: untilDone})
			if got := fmt.Sprint(err); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if health.Problems()["process"] != "stopping" {
				t.Error("health does not say that it is stopping")
			}
		})
	}
	f(untilDone, true, "<nil>")
	f(func(context.Context) error { return nil }, false, "<nil>")
	f(func(context.Context) error { return errors.New("no space") }, false, "first: no space")
	f(func(ctx context.Context) error { <-ctx.Done(); return errors.New("flushing: late") }, true, "first: flushing: late")
}

func TestRunNamesPartsThatDoNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		err := telemetry.Run(ctx, time.Minute, telemetry.NewHealth(new(lines).logger()), off(t),
			telemetry.Part{Name: "quick", Run: untilDone},
			telemetry.Part{Name: "stuck", Run: func(context.Context) error { <-release; return nil }})
		if got, want := fmt.Sprint(err), "not stopped within 1m0s: stuck"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("waited %s", waited)
		}
		close(release)
	})
}

func TestRunKeepsOpsServerToTheLast(t *testing.T) {
	health := telemetry.NewHealth(new(lines).logger())
	ops, err := telemetry.NewOps(telemetry.OpsConfig{Listen: "127.0.0.1:0"}, telemetry.NewRegistry(), health, new(lines).logger())
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	drain := telemetry.Part{Name: "drain", Run: func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		if status, body, _ := ask(t, http.MethodGet, "http://"+ops.Addr()+"/-/ready"); status != 503 || body != "process: stopping\n" {
			t.Errorf("while draining: %d %q", status, body)
		}
		return nil
	}}
	if err := telemetry.Run(ctx, time.Minute, health, ops, drain); err != nil {
		t.Error(err)
	}
	if resp, err := http.Get("http://" + ops.Addr() + "/-/ready"); err == nil {
		resp.Body.Close()
		t.Error("still served after the end")
	}
}

const helperVariable = "CANDLESTACK_TELEMETRY_TEST_HELPER"

// signalHelper is a process that says when it is told to stop and never does.
func signalHelper() {
	ctx, cancel := telemetry.Signals(context.Background())
	defer cancel()
	fmt.Println("up")
	<-ctx.Done()
	for { // until a second signal, that is no echo of the first, ends it
		fmt.Println("stopping")
		time.Sleep(50 * time.Millisecond)
	}
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	f := func(sig syscall.Signal) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), helperVariable+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for said := bufio.NewScanner(out); said.Scan(); {
			if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != sig {
			t.Errorf("%s twice: ended by %v", sig, err)
		}
	}
	f(syscall.SIGTERM)
	f(syscall.SIGINT)
}
