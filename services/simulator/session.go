package simulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/candlestack/candlestack/services/market"
)

// Rules of a connection (exchanges.md §1.5).
const (
	maxStreams  = 1024
	maxIncoming = 5 // messages a second
	// shortest wait of a writer: with a fast clock events are bundled, not timed.
	shortestWait = 5 * time.Millisecond
	// stride bounds the candles sent before commands and faults are looked at.
	stride = 64
)

var (
	errCut   = errors.New("cut by a fault")
	errClose = errors.New("closed by a fault")
	errOver  = errors.New("lifetime over")
)

// session is one WebSocket connection. One goroutine writes, one reads, one pings.
type session struct {
	*Simulator
	conn     *websocket.Conn
	wrapped  bool // frames carry their stream's name
	lines    []*line
	cursor   market.Millis // everything before it has been sent
	pushed   market.Millis // time of the last open frames
	incoming []time.Time
	commands chan []byte
	cut      context.CancelFunc
	stall    *active
	quiet    *active // stall_symbol
	held     map[*line][]byte
	buffer   []byte
}

// stream answers a handshake on /ws, /ws/a/b and /stream?streams=a/b.
func (s *Simulator) stream(w http.ResponseWriter, q *http.Request) {
	s.sessions.Add(1)
	defer s.sessions.Done()
	if !s.limits.attempt(host(q)) {
		w.Header().Set("Retry-After", "300")
		http.Error(w, "Too many connection attempts.", http.StatusTooManyRequests)
		return
	}
	if s.faults.take(faultRefuse, func(string) bool { return true }) != nil {
		s.metrics.faults.WithLabelValues(faultRefuse).Inc()
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	}
	c := &session{
		Simulator: s, wrapped: strings.HasPrefix(q.URL.Path, "/stream"),
		commands: make(chan []byte, maxIncoming), held: make(map[*line][]byte),
	}
	names := strings.TrimPrefix(strings.TrimPrefix(q.URL.Path, "/ws"), "/")
	if c.wrapped {
		names = q.URL.Query().Get("streams")
	}
	now := s.clock.now()
	c.cursor = now - now%pushEvery
	c.pushed = c.cursor
	for name := range strings.SplitSeq(names, "/") {
		if name != "" && len(c.lines) < maxStreams {
			c.subscribe(name)
		}
	}
	conn, err := websocket.Accept(w, q, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // market data is public: any page may ask for it
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived: func(context.Context, []byte) bool {
			if !c.allowed() {
				c.cut()
			}
			return true
		},
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(1 << 20) // a SUBSCRIBE of 1024 streams
	c.conn = conn
	s.open.Add(1)
	s.metrics.connections.Inc()
	defer func() {
		s.open.Add(-1)
		s.metrics.connections.Dec()
	}()
	c.run(q.Context())
}

func (c *session) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c.cut = cancel
	var both sync.WaitGroup
	both.Go(func() { defer cancel(); c.read(ctx) })
	both.Go(func() { defer cancel(); c.keepAlive(ctx) })
	switch err := c.write(ctx); {
	case errors.Is(err, errOver):
		c.conn.Close(websocket.StatusNormalClosure, "24 hours are over") // the peer may be gone
	case errors.Is(err, errClose):
		c.conn.Close(websocket.StatusGoingAway, "") // the peer may be gone
	}
	_ = c.conn.CloseNow() // it is over in any case
	cancel()
	both.Wait()
}

// read takes commands. Pongs and pings are handled by the library within Read.
func (c *session) read(ctx context.Context) {
	for {
		_, message, err := c.conn.Read(ctx)
		if err != nil {
			return
		}
		if !c.allowed() {
			c.conn.Close(websocket.StatusPolicyViolation, "Too many requests") // it is over
			return
		}
		select {
		case c.commands <- message:
		case <-ctx.Done():
			return
		}
	}
}

// allowed counts what comes in; more than five messages a second are too many.
// Only the reading goroutine calls it.
func (c *session) allowed() bool {
	now := c.wall()
	c.incoming = slices.DeleteFunc(c.incoming, func(t time.Time) bool { return now.Sub(t) >= time.Second })
	c.incoming = append(c.incoming, now)
	return len(c.incoming) <= maxIncoming
}

// keepAlive pings, and gives up a peer that does not answer in time.
func (c *session) keepAlive(ctx context.Context) {
	tick := time.NewTicker(c.pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, c.pongWithin)
		err := c.conn.Ping(within)
		cancel()
		if err != nil {
			return
		}
	}
}

// write sends events, replies and the notice of the end until one of these is
// the last. A slow peer blocks it; then it catches up, as all it sends can be
// computed for any time.
func (c *session) write(ctx context.Context) error {
	notice := time.NewTimer(c.cfg.Lifetime - min(time.Minute, c.cfg.Lifetime/4))
	defer notice.Stop()
	over := time.NewTimer(c.cfg.Lifetime)
	defer over.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		changed := c.faults.change()
		if err := c.strike(); err != nil {
			return err
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return errOver
		case <-notice.C:
			err = c.announce(ctx)
		case message := <-c.commands:
			err = c.command(ctx, message)
		case <-changed:
		case <-next.C:
			var behind bool
			behind, err = c.advance(ctx)
			if behind {
				next.Reset(0)
			} else {
				next.Reset(max(c.clock.until(c.cursor+c.step()), shortestWait))
			}
		}
		if err != nil {
			return err
		}
	}
}

// strike lets the faults of whole connections happen.
func (c *session) strike() error {
	due := func(kind string) *active {
		a := c.faults.take(kind, c.carries)
		if a != nil {
			c.metrics.faults.WithLabelValues(kind).Inc()
		}
		return a
	}
	if due(faultDisconnect) != nil {
		return errCut
	}
	if due(faultClose) != nil {
		return errClose
	}
	if c.stall == nil || c.faults.over(c.stall) {
		c.stall = due(faultStall)
	}
	if c.quiet == nil || c.faults.over(c.quiet) {
		c.quiet = due(faultStallSymbol)
	}
	return nil
}

// carries tells whether the connection has a stream of the symbol.
func (c *session) carries(symbol string) bool {
	return slices.ContainsFunc(c.lines, func(l *line) bool { return l.in != nil && l.in.symbol == symbol })
}

// step is the grid on which this connection sends.
func (c *session) step() market.Millis {
	if slices.ContainsFunc(c.lines, func(l *line) bool { return l.grid.seconds() }) {
		return pushEvery / 2
	}
	return pushEvery
}

// advance sends what happened between the cursor and now: at each boundary the
// candles that end there, before its end at least one open frame of each; then
// how the running candles stand. Never more than a stride at once; behind tells
// that there is more.
func (c *session) advance(ctx context.Context) (behind bool, err error) {
	now := c.clock.now()
	step := c.step()
	unit := minute
	if step < pushEvery {
		unit = step
	}
	now -= now % step
	for n := 0; n < stride; n++ {
		b := c.cursor - c.cursor%unit + unit
		if b > now {
			break
		}
		for _, l := range c.lines {
			if l.in != nil && l.next == b {
				if err := c.finish(ctx, l); err != nil {
					return false, err
				}
			}
		}
		c.cursor = b
		if n == stride-1 {
			return true, nil
		}
	}
	c.cursor = max(c.cursor, now)
	at := now - now%pushEvery
	if at <= c.pushed {
		return false, nil
	}
	c.pushed = at
	for _, l := range c.lines {
		if l.in == nil || l.grid.seconds() || at <= l.open {
			continue
		}
		if k, ok := l.update(at); ok {
			if err := c.send(ctx, l, &k, at, false); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// finish sends a candle's final frame, and an open one before it if there was
// none yet. A candle of one second has only the final one. A candle without
// trades, a hole of the exchange's own, sends nothing.
func (c *session) finish(ctx context.Context, l *line) error {
	defer func() { l.begin(l.next) }()
	if at := l.next - pushEvery; !l.opened && !l.grid.seconds() && at > l.open {
		if k, ok := l.update(at); ok {
			if err := c.send(ctx, l, &k, at, false); err != nil {
				return err
			}
		}
	}
	s := l.until(l.next)
	if !s.some {
		return nil
	}
	return c.send(ctx, l, &s.bar, l.next, true)
}

// send writes one event, unless a fault has other plans for it.
func (c *session) send(ctx context.Context, l *line, k *bar, at market.Millis, final bool) error {
	c.buffer = l.frame(c.buffer[:0], c.wrapped, k, at, final)
	frame := c.buffer
	if c.stall == nil && c.quiet == nil && len(c.held) == 0 && !c.faults.any.Load() {
		return c.event(ctx, frame, final)
	}
	due := func(kind string) bool {
		hit := c.faults.take(kind, func(symbol string) bool { return symbol == l.in.symbol }) != nil
		if hit {
			c.metrics.faults.WithLabelValues(kind).Inc()
		}
		return hit
	}
	switch {
	case c.stall != nil && !c.faults.over(c.stall):
		return nil
	case c.quiet != nil && !c.faults.over(c.quiet) && c.quiet.Symbol == l.in.symbol:
		return nil
	case final && due(faultLostClose):
		return nil
	case due(faultTruncated):
		frame = frame[:len(frame)/2]
	case due(faultDuplicate):
		if err := c.event(ctx, frame, final); err != nil {
			return err
		}
	case c.held[l] == nil && due(faultOutOfOrder):
		c.held[l] = slices.Clone(frame)
		return nil
	}
	if err := c.event(ctx, frame, final); err != nil {
		return err
	}
	if late := c.held[l]; late != nil {
		delete(c.held, l)
		return c.event(ctx, late, false)
	}
	return nil
}

func (c *session) event(ctx context.Context, frame []byte, final bool) error {
	if final {
		c.metrics.closed.Inc()
	} else {
		c.metrics.opened.Inc()
	}
	c.frames.Add(1)
	return c.text(ctx, frame)
}

func (c *session) text(ctx context.Context, message []byte) error {
	if err := c.conn.Write(ctx, websocket.MessageText, message); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	return nil
}

// announce sends the serverShutdown event that precedes a planned close.
func (c *session) announce(ctx context.Context) error {
	event := fmt.Appendf(nil, `{"e":"serverShutdown","E":%d}`, c.clock.now())
	if c.wrapped {
		event = fmt.Appendf(nil, `{"stream":"!serverShutdown","data":%s}`, event)
	}
	return c.text(ctx, event)
}
