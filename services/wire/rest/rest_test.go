package rest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func used(h http.Header) (int, bool) {
	n, err := strconv.Atoi(h.Get("Used"))
	return n, err == nil
}

func config(url string) Config {
	return Config{
		URL: url, Limit: 100, Share: 1, Timeout: 5 * time.Second, MaxBody: 1000, Routes: []string{"/data"}, Used: used, Blocked: "try another network",
		Explain: func(body []byte) Complaint {
			if ms, ok := strings.CutPrefix(string(body), "until "); ok {
				n, _ := strconv.ParseInt(ms, 10, 64)
				return Complaint{Code: "-1003", Message: "banned", BannedUntil: time.UnixMilli(n)}
			}
			if string(body) == "wrong" {
				return Complaint{Code: "-1121", Message: "Invalid symbol."}
			}
			return Complaint{}
		},
	}
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func serve(t *testing.T, answer http.HandlerFunc) string {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL
}

var request = Request{Route: "/data", Query: url.Values{"token": {"secret"}}, Weight: 1}

func TestGet(t *testing.T) {
	for _, f := range []struct {
		name   string
		answer http.HandlerFunc
		body   string // of a success
		class  pipeline.Class
		code   string // of a failure
		text   string // that it holds
	}{
		{name: "plain", answer: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.URL.Path, " ", r.URL.Query().Get("token"))
		}, body: "/data secret"},
		{name: "gzip", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, "packed")
			z.Close()
		}, body: "packed"},
		{name: "redirect on the host", answer: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/data" {
				http.Redirect(w, r, "/moved", http.StatusFound)
				return
			}
			fmt.Fprint(w, "here")
		}, body: "here"},
		{name: "redirect elsewhere", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.2/data?token=secret", http.StatusFound)
		}, class: pipeline.Environment, code: "network", text: "another host"},
		{name: "redirect for ever", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/data?token=secret", http.StatusFound)
		}, class: pipeline.Environment, code: "network"},
		{name: "gzip cut short", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, "packed")
			z.Flush()
		}, class: pipeline.Transient, code: "body"},
		{name: "cut short", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
		}, class: pipeline.Transient, code: "body"},
		{name: "too long", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat("x", 1001))
		}, class: pipeline.Environment, code: "body", text: "longer than 1000 bytes"},
		{name: "html", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "\n<!DOCTYPE html>")
		}, class: pipeline.Environment, code: "body", text: "HTML"},
		{name: "503", answer: status(503, "<html>"), class: pipeline.Environment, code: "http_503", text: "503 Service Unavailable"},
		{name: "403", answer: status(403, "<html>"), class: pipeline.Environment, code: "http_403", text: "try another network"},
		{name: "451", answer: status(451, ""), class: pipeline.Environment, code: "http_451", text: "try another network"},
		{name: "400", answer: status(400, "wrong"), class: pipeline.Environment, code: "-1121", text: "Invalid symbol. (-1121)"},
		{name: "404", answer: status(404, "wrong"), class: pipeline.Environment, code: "http_404"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := client(t, config(serve(t, f.answer)))
			reply, err := c.Get(t.Context(), request)
			if f.code == "" {
				if err != nil || string(reply.Body) != f.body || reply.Date.IsZero() {
					t.Errorf("got %q at %s, %v", reply.Body, reply.Date, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %q", reply.Body)
			}
			class, code := pipeline.ClassOf(err)
			if class != f.class || code != f.code || !strings.Contains(err.Error(), f.text) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %s: %v", class, code, err)
			}
		})
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func TestTimeouts(t *testing.T) {
	for _, f := range []struct {
		name string
		head bool // comes before the silence
	}{{"no head", false}, {"slow body", true}} {
		t.Run(f.name, func(t *testing.T) {
			cfg := config(serve(t, func(w http.ResponseWriter, r *http.Request) {
				if f.head {
					fmt.Fprint(w, "a")
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			}))
			cfg.Timeout = 50 * time.Millisecond
			_, err := client(t, cfg).Get(t.Context(), request)
			if _, code := pipeline.ClassOf(err); code != "timeout" || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := client(t, config(serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })))
		if _, err := c.Get(ctx, request); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := client(t, config(server.URL)).Get(t.Context(), request)
	if _, code := pipeline.ClassOf(err); code != "network" || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Used", "42")
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(map[string]int{"/data": 200, "/busy": 429}[r.URL.Path])
	})
	c, err := New(config(base), quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := New(config(base), quiet, reg); err == nil {
		t.Error("a second client of the same host shares metrics in silence")
	}
	if got := gather(t, reg, "ban_until_timestamp_seconds"); got != 0 {
		t.Errorf("ban until %v before there is one", got)
	}
	if _, err := c.Get(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	busy := request
	busy.Route = "/busy"
	if _, err := c.Get(t.Context(), busy); err == nil {
		t.Fatal("429 is no error")
	}
	if got := gather(t, reg, "weight_used"); got != 42 && got != 43 { // the second may fall into a minute of its own
		t.Errorf("weight used %v", got)
	}
	if got := gather(t, reg, "weight_limit"); got != 100 {
		t.Errorf("weight limit %v", got)
	}
	if got := gather(t, reg, "ban_until_timestamp_seconds"); got < float64(time.Now().Unix()) {
		t.Errorf("ban until %v", got)
	}
	if got := gather(t, reg, "request_duration_seconds"); got != 2 {
		t.Errorf("%v requests observed, want 2", got)
	}
}

// gather sums the series of a metric.
func gather(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "candlestack_rest_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
