package command_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/command"
)

// lines is a writer that two goroutines may use.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAlerts posts what an Alertmanager does, and what it does not.
func TestAlerts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var out, log lines
	ended := make(chan int, 1)
	go func() { ended <- command.Run(ctx, []string{"alerts", "--listen", addr, "--ops.listen="}, &out, &log) }()
	post := func(body string) (status int) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			resp, err := http.Post("http://"+addr+"/page", "application/json", strings.NewReader(body))
			if err == nil {
				resp.Body.Close()
				return resp.StatusCode
			}
			if time.Since(begun) > time.Minute {
				t.Fatal(err)
			}
		}
	}
	if status := post(`{"version": "4", "groupKey": "{}", "alerts": [
		{"status": "firing", "labels": {"alertname": "CandlesLate", "severity": "critical"}, "annotations": {"summary": "BTC-USDT is late\n", "runbook_url": "http://x/CandlesLate.md"}},
		{"status": "resolved", "labels": {"alertname": "Quiet"}, "annotations": {}}]}`); status != http.StatusOK {
		t.Errorf("an alert is answered with %d", status)
	}
	if status := post("alerts!"); status != http.StatusBadRequest {
		t.Errorf("rubbish is answered with %d", status)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("code %d: %s", code, &log)
	}
	want := regexp.MustCompile(`^[0-9:]{8} firing   critical CandlesLate "BTC-USDT is late\\n" http://x/CandlesLate.md\n[0-9:]{8} resolved          Quiet "" \n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("it prints\n%s", &out)
	}
}
