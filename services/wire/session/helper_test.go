package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/candlestack/candlestack/services/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// patient are settings under which nothing happens by itself.
func patient() Config {
	return Config{
		Exchange: "test", Life: time.Hour, Stall: time.Hour, Ping: time.Hour, DialTimeout: 10 * time.Second,
		ReadLimit: 1 << 16, Attempts: rate.Inf, Burst: 1, Blocked: "try another network",
	}
}

// venue is a WebSocket server that runs a script for each connection, counted
// from 0. A connection is read while its script runs, so pings are answered.
type venue struct {
	*httptest.Server
	handshakes atomic.Int64
	pings      atomic.Int64
	refuse     func(n int64) int // status; 0 accepts
	deaf       bool              // does not read: no pong
}

func newVenue(t *testing.T, script func(ctx context.Context, n int64, ws *websocket.Conn)) *venue {
	v := &venue{}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := v.handshakes.Add(1) - 1
		if v.refuse != nil {
			if status := v.refuse(n); status != 0 {
				w.Header().Set("Retry-After", "17")
				w.WriteHeader(status)
				return
			}
		}
		running.Add(1)
		defer running.Done()
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			OnPingReceived: func(context.Context, []byte) bool { v.pings.Add(1); return true },
		})
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		defer ws.CloseNow()
		ctx := ctx
		if !v.deaf {
			ctx = ws.CloseRead(ctx)
		}
		script(ctx, n, ws)
	}))
	t.Cleanup(func() {
		cancel()
		running.Wait()
		v.Close()
	})
	return v
}

func (v *venue) url() string { return "ws" + strings.TrimPrefix(v.URL, "http") }

func send(ctx context.Context, ws *websocket.Conn, frames ...string) {
	for _, frame := range frames {
		if ws.Write(ctx, websocket.MessageText, []byte(frame)) != nil {
			return
		}
	}
}

// words is how the test's frames are read.
func words(frame []byte) (Verdict, error) {
	switch {
	case string(frame) == "bad":
		return Bad, errors.New("bad frame")
	case string(frame) == "ack":
		return Control, nil
	case string(frame) == "leaving":
		return Leaving, nil
	}
	return Data, nil
}

// run runs a session against v until it ends; handle sees the data frames.
func run(t *testing.T, cfg Config, reg prometheus.Registerer, urls []string, handle func(ctx context.Context, frame string) error) error {
	t.Helper()
	s, err := New(cfg, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return s.Run(ctx, urls, func(ctx context.Context, frame []byte, _ time.Time) (Verdict, error) {
		verdict, err := words(frame)
		if verdict == Data && handle != nil {
			err = handle(ctx, string(frame))
		}
		return verdict, err
	})
}

func ended(t *testing.T, err error, cause string) *pipeline.Disconnected {
	t.Helper()
	var d *pipeline.Disconnected
	if !errors.As(err, &d) || d.Cause != cause {
		t.Fatalf("ended with %v, not with the cause %s", err, cause)
	}
	return d
}

// value reads one metric.
func value(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "candlestack_session_"+name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// until asks again and again.
func until(ctx context.Context, done func() bool) {
	for !done() && ctx.Err() == nil {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// counter sends rising numbers to every connection, as a venue sends the same
// trades to all who listen.
type counter struct {
	mu   sync.Mutex
	n    int
	subs map[chan int]bool
}

func (c *counter) run(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		c.n++
		for sub := range c.subs {
			sub <- c.n
		}
		c.mu.Unlock()
	}
}

func (c *counter) subscribe() chan int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := make(chan int, 1<<16)
	c.subs[sub] = true
	return sub
}

// gaps returns the numbers between the first and the last that never came.
func gaps(frames []string) (missing []string, err error) {
	seen, first, last := map[int]bool{}, 0, 0
	for _, f := range frames {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		if len(seen) == 0 {
			first = n
		}
		seen[n], last = true, max(last, n)
	}
	for n := first; n <= last; n++ {
		if !seen[n] {
			missing = append(missing, fmt.Sprint(n))
		}
	}
	return missing, nil
}
