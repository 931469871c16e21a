package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/candlestack/candlestack/services/pipeline"
)

// conn is one connection and the goroutines that read and ping it.
type conn struct {
	ws      *websocket.Conn
	cfg     Config
	metrics *metrics
	cut     context.CancelCauseFunc // ends the reading, not a handle that runs

	planned atomic.Bool   // its end will be no surprise
	busy    atomic.Bool   // handle runs: nobody reads, so no pong is seen
	turns   atomic.Int64  // signs of life: frames read, frames handled
	heard   chan struct{} // closed at the first data frame
	leaving chan struct{} // closed when the venue says that it will go
	done    chan struct{} // closed at the end, when err is set
	err     error
}

// dial opens a connection and begins to read it.
func (s *Session) dial(ctx context.Context, url string, handle Handle) (*conn, error) {
	if err := s.attempts.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, disconnected(pipeline.CauseRefused, fmt.Errorf("keeping to the venue's limit of attempts: %w", err))
	}
	shake, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	ws, response, err := websocket.Dial(shake, url, nil) //nolint:bodyclose // the library takes the body and says that it needs no closing
	s.metrics.dialed(err == nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.refused(response, err)
	}
	ws.SetReadLimit(s.cfg.ReadLimit)
	c := &conn{ws: ws, cfg: s.cfg, metrics: s.metrics, heard: make(chan struct{}), leaving: make(chan struct{}), done: make(chan struct{})}
	reading, cut := context.WithCancelCause(ctx)
	c.cut = cut
	pinging := make(chan struct{})
	go func() {
		defer close(pinging)
		c.pings(reading)
	}()
	go func() {
		defer close(c.done)
		c.err = c.read(ctx, reading, handle)
		cut(nil)
		_ = ws.CloseNow() // its error is that it is closed already
		<-pinging
	}()
	return c, nil
}

// refused says why a handshake failed.
func (s *Session) refused(response *http.Response, err error) error {
	if response == nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return disconnected(pipeline.CauseTimeout, fmt.Errorf("opening the stream: no answer in %s", s.cfg.DialTimeout))
		}
		var e *url.Error // its text holds the URL with its query
		if errors.As(err, &e) {
			err = e.Err
		}
		return disconnected(pipeline.CauseRefused, fmt.Errorf("opening the stream: %w", err))
	}
	status := response.StatusCode
	err = fmt.Errorf("opening the stream: %d %s", status, http.StatusText(status))
	switch status {
	case http.StatusSwitchingProtocols:
		return disconnected(pipeline.CauseProtocol, errors.New("opening the stream: the handshake is not valid"))
	case http.StatusTooManyRequests, http.StatusTeapot:
		after := time.Minute
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			after = time.Duration(seconds) * time.Second
		}
		return &pipeline.Disconnected{Cause: pipeline.CauseBan, RetryAfter: after, Err: err}
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		err = fmt.Errorf("%w; %s", err, s.cfg.Blocked)
	}
	return disconnected(pipeline.CauseRefused, err)
}

func disconnected(cause string, err error) *pipeline.Disconnected {
	return &pipeline.Disconnected{Cause: cause, Err: err}
}

// read hands frames to handle until the connection is over, and says why. ctx
// is for handle, reading for the connection.
func (c *conn) read(ctx, reading context.Context, handle Handle) error {
	var buffer bytes.Buffer
	left, bad := c.cfg.Stall, 0
	for {
		waiting := time.Now()
		err := c.next(reading, &buffer, left)
		if err != nil {
			return c.why(ctx, err)
		}
		received := time.Now()
		c.turns.Add(1)
		c.busy.Store(true)
		verdict, err := handle(ctx, buffer.Bytes(), received)
		c.turns.Add(1)
		c.busy.Store(false)
		if err != nil && verdict != Bad {
			return err
		}
		if verdict != Bad {
			bad = 0
		}
		switch verdict {
		case Bad:
			c.metrics.undecodable.Inc()
			if bad++; bad == badInARow {
				return disconnected(pipeline.CauseProtocol, fmt.Errorf("%d undecodable frames in a row: %w", bad, err))
			}
		case Data:
			c.metrics.lastFrame.Set(float64(received.UnixMilli()) / 1000)
			once(c.heard)
			left = c.cfg.Stall
			continue
		case Leaving:
			c.planned.Store(true)
			once(c.leaving)
		}
		left -= received.Sub(waiting) // the time in handle is not the venue's silence
	}
}

// next reads one frame within left.
func (c *conn) next(ctx context.Context, buffer *bytes.Buffer, left time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, left, disconnected(pipeline.CauseStall, fmt.Errorf("no data for %s", c.cfg.Stall)))
	defer cancel()
	_, r, err := c.ws.Reader(ctx)
	if err == nil {
		buffer.Reset()
		_, err = buffer.ReadFrom(r)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// why gives an error of the connection its cause.
func (c *conn) why(ctx context.Context, err error) error {
	var d *pipeline.Disconnected
	switch status := websocket.CloseStatus(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &d):
		return d
	case c.planned.Load():
		return disconnected(pipeline.CausePlanned, err)
	case errors.Is(err, websocket.ErrMessageTooBig), status == websocket.StatusProtocolError, status == websocket.StatusUnsupportedData,
		status == websocket.StatusInvalidFramePayloadData, status == websocket.StatusPolicyViolation:
		return disconnected(pipeline.CauseProtocol, err)
	}
	return disconnected(pipeline.CauseEOF, err)
}

// pings notices a connection that is half open: nothing comes, nothing fails.
func (c *conn) pings(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Ping)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := c.turns.Load()
		err := c.pong(ctx)
		if err != nil && ctx.Err() == nil && !c.busy.Load() && c.turns.Load() == before {
			c.cut(disconnected(pipeline.CauseTimeout, fmt.Errorf("no pong in %s", c.cfg.DialTimeout)))
		}
	}
}

// pong pings and waits for the answer.
func (c *conn) pong(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	return c.ws.Ping(ctx)
}

// over tells whether the connection has ended.
func (c *conn) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// end cuts the connection and waits for its goroutines.
func (c *conn) end() {
	c.cut(nil)
	<-c.done
}

// once closes a channel that only the reader closes.
func once(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
