package command_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/candlestack/candlestack/services/command"
)

// TestReady holds the exit codes that a health check lives by.
func TestReady(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/ready" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	waiting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "kafka: away\nstore: full", http.StatusServiceUnavailable)
	}))
	defer waiting.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	addr := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	port := func(s *httptest.Server) string { return addr(s)[strings.LastIndex(addr(s), ":"):] }
	for _, c := range []struct {
		listen string
		code   int
		says   string
	}{
		{addr(server), 0, ""},
		{port(server), 0, ""},
		{"0.0.0.0" + port(server), 0, ""},
		{"[::]" + port(server), 0, ""},
		{addr(waiting), 1, "not ready: kafka: away; store: full"},
		{addr(gone), 1, "refused"},
		{"", 2, `--ops.listen "": names no address`},
		{"nowhere", 2, `--ops.listen "nowhere"`},
	} {
		var out, log bytes.Buffer
		code := command.Run(context.Background(), []string{"ready", "--ops.listen=" + c.listen}, &out, &log)
		if code != c.code || !strings.Contains(log.String(), c.says) || (c.says == "") != (log.Len() == 0) || strings.Count(log.String(), "\n") > 1 {
			t.Errorf("candlestack ready --ops.listen=%s: code %d, says %q; want %d, %q", c.listen, code, log.String(), c.code, c.says)
		}
	}
}
