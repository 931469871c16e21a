package cryptopanic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// TestBackoffBeginsAnew: a poll that read all its pages ends an outage.
func TestBackoffBeginsAnew(t *testing.T) {
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
		fmt.Fprint(w, `{"results":[]}`)
	}))
	defer server.Close()
	cfg := good()
	cfg.URL = server.URL
	s, err := New(cfg, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	emit := func(context.Context, market.Event) error { return nil }
	fails := func(want time.Duration) {
		t.Helper()
		down.Store(true)
		defer down.Store(false)
		var d *pipeline.Disconnected
		if err := s.Stream(t.Context(), emit); !errors.As(err, &d) || d.RetryAfter != want {
			t.Errorf("%v, again after %+v, want %s", err, d, want)
		}
	}
	fails(30 * time.Second)
	fails(time.Minute)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error)
	go func() { done <- s.Stream(ctx, emit) }()
	var polled dto.Metric
	for polled.GetGauge().GetValue() == 0 && ctx.Err() == nil {
		if err := s.metrics.polled.Write(&polled); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // asks again
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.quota.poll(time.Time{}) // an interval has passed
	fails(30 * time.Second)
}
