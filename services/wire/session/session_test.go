package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/candlestack/candlestack/services/pipeline"
)

var errEnough = errors.New("enough")

// handOver runs a session whose connections get the same rising numbers, until
// as many hand-overs have happened, and returns what was read.
func handOver(t *testing.T, cfg Config, want int64, script func(ctx context.Context, ws *websocket.Conn, numbers <-chan int, replaced func() bool)) []string {
	c := &counter{subs: map[chan int]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	var v *venue
	v = newVenue(t, func(ctx context.Context, n int64, ws *websocket.Conn) {
		script(ctx, ws, c.subscribe(), func() bool { return v.handshakes.Load() > n+1 })
	})
	var frames []string
	after := 0
	err := run(t, cfg, prometheus.NewRegistry(), []string{v.url()}, func(_ context.Context, frame string) error {
		frames = append(frames, frame)
		if v.handshakes.Load() > want {
			if after++; after > 5000 { // both connections for a while, then the new one
				return errEnough
			}
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return frames
}

func whole(t *testing.T, frames []string) {
	t.Helper()
	missing, err := gaps(frames)
	if err != nil || len(missing) > 0 {
		t.Errorf("of %d frames these are missing: %v %v", len(frames), missing, err)
	}
}

func TestHandOverAtNotice(t *testing.T) {
	t.Parallel()
	frames := handOver(t, patient(), 3, func(ctx context.Context, ws *websocket.Conn, numbers <-chan int, replaced func() bool) {
		after := 0 // the notice it lives on for a while, as at the venue
		for i := 0; after < 1000 && ctx.Err() == nil; i++ {
			if i == 500 {
				send(ctx, ws, "leaving")
			}
			if replaced() {
				after++
			}
			send(ctx, ws, fmt.Sprint(<-numbers))
		}
		ws.Close(websocket.StatusGoingAway, "bye")
	})
	whole(t, frames)
}

// TestHandOverAtLife ends the old connection itself, while frames are under way on it.
func TestHandOverAtLife(t *testing.T) {
	t.Parallel()
	cfg := patient()
	cfg.Life = 300 * time.Millisecond
	cut := make(chan struct{}, 10)
	frames := handOver(t, cfg, 2, func(ctx context.Context, ws *websocket.Conn, numbers <-chan int, _ func() bool) {
		for ctx.Err() == nil {
			select {
			case n := <-numbers:
				send(ctx, ws, fmt.Sprint(n))
			case <-ctx.Done():
			}
		}
		cut <- struct{}{}
	})
	whole(t, frames)
	<-cut
}

// TestHandOverReadsWhatIsUnderWay: what the old connection has sent before it is
// ended is read, also where handle is slow.
func TestHandOverReadsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	const under = 100
	replaced := make(chan struct{})
	v := newVenue(t, func(ctx context.Context, n int64, ws *websocket.Conn) {
		if n == 1 {
			send(ctx, ws, "new")
			<-ctx.Done()
			return
		}
		send(ctx, ws, "first", "leaving")
		<-replaced
		for range under {
			send(ctx, ws, "old")
		}
		<-ctx.Done()
	})
	old := 0
	err := run(t, patient(), prometheus.NewRegistry(), []string{v.url()}, func(ctx context.Context, frame string) error {
		if frame == "new" {
			close(replaced)
		}
		if frame != "old" {
			return nil
		}
		if old++; old == 1 {
			until(ctx, func() bool { return v.pings.Load() > 0 }) // the question whether all has come
		}
		if old == under {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("%d of %d frames, %v", old, under, err)
	}
}

func TestPlannedCloseWithoutReplacement(t *testing.T) {
	refused := make(chan struct{})
	v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
		send(ctx, ws, "1", "leaving")
		<-refused
		ws.Close(websocket.StatusGoingAway, "bye")
	})
	v.refuse = func(n int64) int {
		if n == 1 {
			close(refused)
		}
		if n > 0 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	ended(t, run(t, patient(), prometheus.NewRegistry(), []string{v.url()}, nil), pipeline.CausePlanned)
}

func TestReplacementIsTriedAgain(t *testing.T) {
	t.Parallel()
	v := newVenue(t, func(ctx context.Context, n int64, ws *websocket.Conn) {
		if n == 0 {
			send(ctx, ws, "1", "leaving")
			<-ctx.Done()
			return
		}
		send(ctx, ws, "2")
		<-ctx.Done()
	})
	v.refuse = func(n int64) int {
		if n == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	err := run(t, patient(), prometheus.NewRegistry(), []string{v.url()}, func(_ context.Context, frame string) error {
		if frame == "2" {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || v.handshakes.Load() != 3 {
		t.Errorf("ended with %v after %d handshakes", err, v.handshakes.Load())
	}
}

func TestStall(t *testing.T) {
	v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
		send(ctx, ws, "1")
		for ctx.Err() == nil { // talk without data is silence
			send(ctx, ws, "ack")
		}
	})
	cfg := patient()
	cfg.Stall = 200 * time.Millisecond
	ended(t, run(t, cfg, prometheus.NewRegistry(), []string{v.url()}, nil), pipeline.CauseStall)
}

func TestHalfOpen(t *testing.T) {
	t.Parallel()
	v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
		send(ctx, ws, "1")
		<-ctx.Done()
	})
	v.deaf = true
	cfg := patient()
	cfg.Ping, cfg.DialTimeout = 10*time.Millisecond, 500*time.Millisecond
	ended(t, run(t, cfg, prometheus.NewRegistry(), []string{v.url()}, nil), pipeline.CauseTimeout)
}

// TestBlockedHandleIsNoSilence: while handle blocks nobody reads, so neither
// missing pongs nor missing data are the venue's fault.
func TestBlockedHandleIsNoSilence(t *testing.T) {
	t.Parallel()
	var v *venue
	v = newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
		send(ctx, ws, "1")
		until(ctx, func() bool { return v.pings.Load() >= 3 })
		send(ctx, ws, "2")
		<-ctx.Done()
	})
	cfg := patient()
	cfg.Ping, cfg.DialTimeout, cfg.Stall = 10*time.Millisecond, time.Second, 1500*time.Millisecond
	err := run(t, cfg, prometheus.NewRegistry(), []string{v.url()}, func(ctx context.Context, frame string) error {
		if frame == "2" {
			return errEnough
		}
		until(ctx, func() bool { return v.pings.Load() >= 3 }) // the third is sent when two were not answered in time
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
}

func TestUndecodableFrames(t *testing.T) {
	nine := strings.Fields(strings.Repeat("bad ", badInARow-1))
	t.Run("are left out", func(t *testing.T) {
		v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
			send(ctx, ws, append(append(append(nine, "ack"), nine...), "last")...)
			<-ctx.Done()
		})
		reg := prometheus.NewRegistry()
		err := run(t, patient(), reg, []string{v.url()}, func(context.Context, string) error { return errEnough })
		if !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		if got := value(t, reg, "undecodable_frames_total"); got != 2*(badInARow-1) {
			t.Errorf("%v frames counted", got)
		}
	})
	t.Run("in a row end it", func(t *testing.T) {
		v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
			send(ctx, ws, append(nine, "bad")...)
			<-ctx.Done()
		})
		ended(t, run(t, patient(), prometheus.NewRegistry(), []string{v.url()}, nil), pipeline.CauseProtocol)
	})
}

func TestEnds(t *testing.T) {
	for _, f := range []struct {
		name, cause string
		script      func(ctx context.Context, ws *websocket.Conn)
	}{
		{"closed", pipeline.CauseEOF, func(ctx context.Context, ws *websocket.Conn) { ws.Close(websocket.StatusNormalClosure, "") }},
		{"cut", pipeline.CauseEOF, func(ctx context.Context, ws *websocket.Conn) { ws.CloseNow() }},
		{"cut within a frame", pipeline.CauseEOF, func(ctx context.Context, ws *websocket.Conn) {
			w, err := ws.Writer(ctx, websocket.MessageText)
			if err == nil {
				_, _ = w.Write(make([]byte, 1<<13))
			}
			ws.CloseNow()
		}},
		{"frame too long", pipeline.CauseProtocol, func(ctx context.Context, ws *websocket.Conn) {
			send(ctx, ws, strings.Repeat("x", 1<<17))
			<-ctx.Done()
		}},
		{"policy", pipeline.CauseProtocol, func(ctx context.Context, ws *websocket.Conn) {
			ws.Close(websocket.StatusPolicyViolation, "Too many requests")
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			v := newVenue(t, func(ctx context.Context, _ int64, ws *websocket.Conn) {
				send(ctx, ws, "1")
				f.script(ctx, ws)
			})
			reg := prometheus.NewRegistry()
			connected := 0.0
			err := run(t, patient(), reg, []string{v.url()}, func(context.Context, string) error {
				connected = value(t, reg, "connected")
				return nil
			})
			ended(t, err, f.cause)
			if after := value(t, reg, "connected"); connected != 1 || after != 0 {
				t.Errorf("connected was %v, and %v after the end", connected, after)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, f := range []struct {
		status int
		cause  string
		after  time.Duration
		text   string
	}{
		{http.StatusTooManyRequests, pipeline.CauseBan, 17 * time.Second, "429"},
		{http.StatusTeapot, pipeline.CauseBan, 17 * time.Second, "418"},
		{http.StatusForbidden, pipeline.CauseRefused, 0, "try another network"},
		{http.StatusUnavailableForLegalReasons, pipeline.CauseRefused, 0, "try another network"},
		{http.StatusServiceUnavailable, pipeline.CauseRefused, 0, "503 Service Unavailable"},
		{http.StatusOK, pipeline.CauseRefused, 0, "200"},
	} {
		t.Run(fmt.Sprint(f.status), func(t *testing.T) {
			v := newVenue(t, nil)
			v.refuse = func(int64) int { return f.status }
			d := ended(t, run(t, patient(), prometheus.NewRegistry(), []string{v.url() + "/?key=secret"}, nil), f.cause)
			if d.RetryAfter != f.after || !strings.Contains(d.Error(), f.text) || strings.Contains(d.Error(), "secret") {
				t.Errorf("retry after %s: %v", d.RetryAfter, d)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + listener.Addr().String() + "/?key=secret"
	cfg := patient()
	cfg.DialTimeout = 50 * time.Millisecond
	ended(t, run(t, cfg, prometheus.NewRegistry(), []string{url}, nil), pipeline.CauseTimeout) // listens, but says nothing
	listener.Close()
	d := ended(t, run(t, patient(), prometheus.NewRegistry(), []string{url}, nil), pipeline.CauseRefused)
	if strings.Contains(d.Error(), "secret") {
		t.Errorf("%v tells the query", d)
	}
}

// TestOneLineEndsAll: what several connections carry is one stream.
func TestOneLineEndsAll(t *testing.T) {
	v := newVenue(t, func(ctx context.Context, n int64, ws *websocket.Conn) {
		send(ctx, ws, "1")
		if n == 2 {
			ws.CloseNow()
		}
		<-ctx.Done()
	})
	ended(t, run(t, patient(), prometheus.NewRegistry(), []string{v.url(), v.url(), v.url()}, nil), pipeline.CauseEOF)
}

func TestAttemptsAreLimited(t *testing.T) {
	v := newVenue(t, func(_ context.Context, _ int64, ws *websocket.Conn) { ws.CloseNow() })
	cfg := patient()
	cfg.Attempts, cfg.Burst = rate.Every(time.Hour), 2
	s, err := New(cfg, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	control := func(context.Context, []byte, time.Time) (Verdict, error) { return Control, nil }
	for range 2 {
		ended(t, s.Run(ctx, []string{v.url()}, control), pipeline.CauseEOF)
	}
	soon, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	ended(t, s.Run(soon, []string{v.url()}, control), pipeline.CauseRefused) // its deadline comes before the next attempt
	third := make(chan error)
	go func() { third <- s.Run(ctx, []string{v.url()}, control) }()
	cancel()
	if err := <-third; !errors.Is(err, context.Canceled) || v.handshakes.Load() != 2 {
		t.Errorf("%v after %d handshakes, want 2", err, v.handshakes.Load())
	}
}

func TestProbe(t *testing.T) {
	v := newVenue(t, func(ctx context.Context, _ int64, _ *websocket.Conn) { <-ctx.Done() })
	s, err := New(patient(), quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Probe(t.Context(), v.url()); err != nil || v.pings.Load() != 1 {
		t.Errorf("%v after %d pings", err, v.pings.Load())
	}
}
