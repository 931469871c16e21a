package simulator

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quietLog = slog.New(slog.DiscardHandler)

// newTest makes a simulator that runs until the test ends.
func newTest(t testing.TB, cfg Config, change ...func(*Simulator)) *Simulator {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := New(cfg, quietLog, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	run(t, s)
	return s
}

func run(t testing.TB, s *Simulator) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// wallClock is a wall clock that tests set.
type wallClock struct {
	mu sync.Mutex
	t  time.Time
}

func newWall(text string) *wallClock { return &wallClock{t: at(text).Time()} }

func (w *wallClock) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.t
}

func (w *wallClock) set(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = at(text).Time()
}

// newTestAt makes a simulator whose wall clock is the test's.
func newTestAt(t testing.TB, cfg Config, wall *wallClock) *Simulator {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := NewAt(cfg, quietLog, prometheus.NewRegistry(), wall.now)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}
