package cryptopanic_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/candlestack/candlestack/services/market"
)

// record is a log that keeps all it is told.
func record() (log *slog.Logger, said func() string) {
	b := &book{}
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})), b.String
}

type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestTokenIsNeverSeen lets the service throw the token back at us in every way,
// and looks for it in logs, metrics, errors, findings, files and posts.
func TestTokenIsNeverSeen(t *testing.T) {
	json := "application/json"
	with := func(s string) string { return strings.ReplaceAll(s, "TOKEN", token) }
	for _, c := range []struct {
		name  string
		fault http.HandlerFunc
	}{
		{"401", answer(401, json, with(`{"detail":"Invalid token TOKEN"}`))},
		{"403", answer(403, json, with(`{"status":"TOKEN","info":"TOKEN has no plan"}`))},
		{"429", answer(429, json, with(`{"status":"api_error","info":"Monthly quota of TOKEN exceeded"}`))},
		{"500", answer(500, json, with(`{"detail":"TOKEN"}`))},
		{"an HTML page", answer(500, "text/html", with(`<html>auth_token=TOKEN</html>`))},
		{"bad JSON", answer(200, json, with(`{"results":"TOKEN","next":"TOKEN"`))},
		{"no results", answer(200, json, with(`{"status":"api_error","info":"TOKEN"}`))},
		{"bad posts", answer(200, json, with(`{"results":[{"id":"TOKEN","published_at":"TOKEN"},{"id":1,"title":"x","published_at":"2026-11-01T00:00:00Z"}]}`))},
		{"redirect elsewhere", answer(302, json, "", "Location", with("http://elsewhere.example/?auth_token=TOKEN"))},
		{"redirect that cannot be read", answer(302, json, "", "Location", with("http://[elsewhere/?auth_token=TOKEN"))},
		{"redirect in circles", nil},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"bad gzip", answer(200, json, "no gzip", "Content-Encoding", "gzip")},
		{"bad header", func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 "+token+"\r\n\r\n") }},
		{"posts", answer(200, json, with(`{"next":"https://x.example/?auth_token=TOKEN&page=2","results":[
			{"id":1,"title":"One","published_at":"2026-11-01T00:00:00Z","url":"https://x.example/1?a=1&auth_token=TOKEN","original_url":"https://x.example/?u=https://y.example/?auth_token=TOKEN","image":"https://x.example/i.png?auth_token=TOKEN"}]}`))},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, 2)
			for range 2 {
				if c.fault == nil {
					f.fail(answer(302, json, "", "Location", "/again?auth_token="+token), answer(302, json, "", "Location", "/again?auth_token="+token),
						answer(302, json, "", "Location", "/again?auth_token="+token), answer(302, json, "", "Location", "/again?auth_token="+token))
				} else {
					f.fail(c.fault)
				}
			}
			log, said := record()
			reg := prometheus.NewRegistry()
			cfg := config(f.url)
			cfg.StateDir = t.TempDir()
			s := newSource(t, cfg, log, reg)
			var seen strings.Builder
			for _, found := range s.Examine(deadline(t)) {
				fmt.Fprintln(&seen, found.Subject, found.Detail)
			}
			err := s.Stream(deadline(t), func(_ context.Context, e market.Event) error {
				value, err := market.Encode(e)
				fmt.Fprintf(&seen, "%s %v\n", value, err)
				if bytes.Contains(value, []byte("auth_token")) {
					t.Errorf("a post shows where a token was: %s", value)
				}
				return errEnough
			})
			fmt.Fprintf(&seen, "%v\n%+v\n%#v\n", err, err, err)
			fmt.Fprintln(&seen, said())
			page := httptest.NewRecorder()
			promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			fmt.Fprintln(&seen, page.Body)
			files, err := filepath.Glob(filepath.Join(cfg.StateDir, "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				content, err := os.ReadFile(name)
				fmt.Fprintln(&seen, name, string(content), err)
			}
			if len(files) == 0 || !strings.Contains(seen.String(), "candlestack_cryptopanic") {
				t.Fatal("the test looks in the wrong places")
			}
			for line := range strings.Lines(seen.String()) {
				if strings.Contains(line, token) {
					t.Errorf("seen: %s", line)
				}
			}
		})
	}
}

// hijack answers with bytes of its own.
func hijack(w http.ResponseWriter, raw string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(raw)); err != nil {
		panic(err)
	}
}
