// Package session is the life of WebSocket connections, the same for every
// exchange: dial within the venue's attempt limit, answer and send pings, notice
// silence, and before a planned close open the replacement first and read both.
// It reconnects only for that; anything else ends the session and says why.
package session

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Config is what a venue asks of a connection. Adapters fill it; it has no
// flags of its own.
type Config struct {
	Exchange    string        // label of the metrics
	Life        time.Duration // after it a connection is replaced; below the venue's own limit
	Stall       time.Duration // without a data frame
	Ping        time.Duration // between our own pings
	DialTimeout time.Duration // of the handshake, and of a pong
	ReadLimit   int64         // bytes of one frame
	Attempts    rate.Limit    // connection attempts a second, well under the venue's limit
	Burst       int           // attempts at once
	Blocked     string        // a word of advice for 403 and 451
}

// Verdict is what a frame was.
type Verdict int

// Verdicts. Only Data ends a silence.
const (
	Data    Verdict = iota
	Control         // an acknowledgement, a heartbeat
	Leaving         // the venue says that it will close this connection
	Bad             // not to be read; badInARow of them end the session
)

// badInARow undecodable frames without a good one between them mean that the
// venue speaks another language now.
const badInARow = 10

// Handle reads one frame, which is valid until it returns; received is our clock
// at the read. It is called by one goroutine at a time. With Bad the error says
// what is wrong with the frame; with another verdict an error ends the session
// and is returned as it is.
type Handle func(ctx context.Context, frame []byte, received time.Time) (Verdict, error)

// Session connects to one exchange.
type Session struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	attempts *rate.Limiter
}

// New makes a session.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Session, error) {
	m, err := newMetrics(reg, cfg.Exchange)
	if err != nil {
		return nil, fmt.Errorf("registering metrics of %s: %w", cfg.Exchange, err)
	}
	return &Session{cfg: cfg, log: log, metrics: m, attempts: rate.NewLimiter(cfg.Attempts, cfg.Burst)}, nil
}

// Run opens one connection for each URL and reads them all until the first is
// lost: then ctx.Err(), a *pipeline.Disconnected, or the error of handle.
func (s *Session) Run(ctx context.Context, urls []string, handle Handle) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var one sync.Mutex
	serial := func(ctx context.Context, frame []byte, received time.Time) (Verdict, error) {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() != nil {
			return Control, ctx.Err()
		}
		verdict, err := handle(ctx, frame, received)
		if err != nil && verdict != Bad {
			cancel(err)
		}
		return verdict, err
	}
	ends := make(chan error, len(urls))
	s.metrics.expect(len(urls))
	for _, url := range urls {
		go func() { ends <- s.keep(inner, url, serial) }()
	}
	for range urls {
		cancel(<-ends) // the first is the reason
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return context.Cause(inner)
}

// redial is the pause after a replacement could not be opened; the connection
// in use still lives.
const redial = time.Second

// settle is how long both connections are read at least: a venue may begin the
// streams of one connection one after the other.
const settle = 2 * time.Second

// keep holds one connection to url, and replaces it before its planned end.
func (s *Session) keep(ctx context.Context, url string, handle Handle) error {
	current, err := s.dial(ctx, url, handle)
	if err != nil {
		return err
	}
	for {
		s.metrics.line(+1)
		next := make(chan *conn, 1)
		go func() { next <- s.replace(ctx, current, url, handle) }()
		<-current.done
		s.metrics.line(-1)
		replacement := <-next
		if replacement == nil {
			return current.err
		}
		s.log.Info("connection handed over", "exchange", s.cfg.Exchange)
		current = replacement
	}
}

// replace waits until old nears its end, opens the replacement while old is
// still read, and ends old when nothing can be missing. It returns nil where old
// ended before the replacement stood.
func (s *Session) replace(ctx context.Context, old *conn, url string, handle Handle) *conn {
	life := time.NewTimer(s.cfg.Life)
	defer life.Stop()
	select {
	case <-old.leaving:
	case <-life.C:
	case <-old.done:
		return nil
	}
	old.planned.Store(true)
	for failed := false; ; failed = true {
		c, err := s.dial(ctx, url, handle)
		if err == nil {
			if old.over() {
				c.end()
				return nil
			}
			if s.retire(ctx, old, c) {
				return c
			}
			err = c.err
		}
		if !failed && ctx.Err() == nil {
			s.log.Warn("opening a replacement connection", "exchange", s.cfg.Exchange, "error", err)
		}
		select {
		case <-old.done:
			return nil
		case <-time.After(redial):
		}
	}
}

// retire reads both until nothing can be missing, then ends old. False where
// the replacement ended first. A pong is the proof: it comes after everything
// that old had under way when the replacement was already delivering.
func (s *Session) retire(ctx context.Context, old, replacement *conn) bool {
	select {
	case <-replacement.heard:
	case <-replacement.done:
		return false
	case <-old.done:
		return true
	}
	for {
		select {
		case <-time.After(settle):
		case <-replacement.done:
			return false
		case <-old.done:
			return true
		}
		if old.pong(ctx) == nil {
			old.end()
			return true
		}
	}
}

// Probe opens a connection, waits for a pong and closes it again.
func (s *Session) Probe(ctx context.Context, url string) (time.Duration, error) {
	start := time.Now()
	c, err := s.dial(ctx, url, func(context.Context, []byte, time.Time) (Verdict, error) { return Control, nil })
	if err != nil {
		return 0, err
	}
	defer c.end()
	return time.Since(start), c.pong(ctx)
}
