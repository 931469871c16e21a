package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

// client is a WebSocket client of a test.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context
}

func dial(t testing.TB, s *Simulator, path string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	conn, r, err := websocket.Dial(ctx, "ws://"+s.Addr()+path, nil)
	if err != nil {
		t.Fatalf("%v (%+v)", err, r)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &client{t, conn, ctx}
}

func (c *client) text() (string, error) {
	_, b, err := c.conn.Read(c.ctx)
	return string(b), err
}

func (c *client) must() string {
	c.t.Helper()
	text, err := c.text()
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// reply is the next message that is no event.
func (c *client) reply() string {
	c.t.Helper()
	for {
		if text := c.must(); !strings.Contains(text, `"e":"kline"`) {
			return text
		}
	}
}

// event is a kline event with the case of its keys respected.
type event struct {
	stream string
	at     market.Millis
	kline  map[string]any
}

func (e event) open() market.Millis { return millis(e.kline["t"]) }
func (e event) final() bool         { return e.kline["x"] == true }

func millis(v any) market.Millis {
	n, err := v.(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return market.Millis(n)
}

func parse(text string) (event, error) {
	var outer map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&outer); err != nil {
		return event{}, err
	}
	e := event{}
	if data, ok := outer["data"].(map[string]any); ok {
		e.stream, _ = outer["stream"].(string)
		outer = data
	}
	if outer["e"] != "kline" {
		return e, fmt.Errorf("no kline: %s", text)
	}
	e.at = millis(outer["E"])
	e.kline = outer["k"].(map[string]any)
	return e, nil
}

func (c *client) event() event {
	c.t.Helper()
	e, err := parse(c.must())
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// fast is a market that began an hour ago and runs 120 times as fast as the
// wall clock: a push every 17 ms.
func fast() Config { return Config{Start: time.Now().Add(-time.Hour), Speed: 120} }

// An event has the documented fields, no more and no fewer: exchanges.md §1.5.
func TestEventFormat(t *testing.T) {
	s := newTest(t, fast())
	keys := []string{"B", "L", "Q", "T", "V", "c", "f", "h", "i", "l", "n", "o", "q", "s", "t", "v", "x"}
	for _, f := range []struct{ path, stream string }{
		{"/ws/btcusdt@kline_1m", ""},
		{"/stream?streams=btcusdt@kline_1m", "btcusdt@kline_1m"},
	} {
		t.Run(f.path, func(t *testing.T) {
			c := dial(t, s, f.path)
			for n := 0; n < 3; {
				e := c.event()
				if d := cmp.Diff(keys, slices.Sorted(maps.Keys(e.kline))); d != "" {
					t.Fatal(d)
				}
				k := e.kline
				if e.stream != f.stream || k["s"] != "BTCUSDT" || k["i"] != "1m" || k["B"] != "0" || millis(k["T"]) != e.open()+minute-1 {
					t.Fatalf("stream %q: %v", e.stream, k)
				}
				if e.at > s.Now() || e.final() && e.at < millis(k["T"]) || !e.final() && e.at > millis(k["T"]) {
					t.Fatalf("event at %s, now %s: %v", e.at, s.Now(), k)
				}
				want, ok := s.board.order[0].between(e.open(), min(e.at, e.open()+minute))
				if !ok || k["v"] != want.volume.String() || k["q"] != want.quote.String() || k["c"] != amountOf(want.close).String() ||
					k["h"] != amountOf(want.high).String() || k["l"] != amountOf(want.low).String() || k["o"] != amountOf(want.open).String() ||
					k["V"] != want.takerVolume.String() || k["Q"] != want.takerQuote.String() || int64(millis(k["n"])) != want.trades {
					t.Fatalf("got %v, want %+v", k, want)
				}
				if e.final() {
					n++
				}
			}
		})
	}
}

// All intervals come on one connection, and 1s every second.
func TestAllIntervals(t *testing.T) {
	s := newTest(t, fast())
	var streams []string
	missing := map[string]bool{}
	for _, iv := range market.Intervals() {
		name := "ethusdt@kline_" + string(iv)
		streams = append(streams, name)
		missing[name] = true
	}
	streams = append(streams, "ethusdt@kline_1d@+08:00")
	missing["ethusdt@kline_1d@+08:00"] = true
	c := dial(t, s, "/stream?streams="+strings.ReplaceAll(strings.Join(streams, "/"), "+", "%2B"))
	last := map[string]event{}
	seconds := 0
	for len(missing) > 0 || seconds < 100 {
		e := c.event()
		delete(missing, e.stream)
		if e.stream == "ethusdt@kline_1s" {
			if before, ok := last[e.stream]; ok && (!e.final() || e.open() != before.open()+1000) {
				t.Fatalf("after %v comes %v", before, e)
			}
			seconds++
		}
		if e.at < last[e.stream].at {
			t.Fatalf("%s goes back from %s to %s", e.stream, last[e.stream].at, e.at)
		}
		last[e.stream] = e
	}
	if zone := last["ethusdt@kline_1d@+08:00"].open() % day; zone != 16*hour {
		t.Errorf("the day of +08:00 opens at %d ms", zone)
	}
}

func TestSubscribe(t *testing.T) {
	s := newTest(t, Config{})
	c := dial(t, s, "/ws")
	for _, f := range []struct{ send, want string }{
		{`{"method":"SUBSCRIBE","params":["btcusdt@kline_1M","nope@kline_1m","x"],"id":1}`, `{"result":null,"id":1}`},
		{`{"method":"SUBSCRIBE","params":["btcusdt@kline_1M"],"id":"again"}`, `{"result":null,"id":"again"}`},
		{`{"method":"LIST_SUBSCRIPTIONS","id":3}`, `{"result":["btcusdt@kline_1M","nope@kline_1m","x"],"id":3}`},
		{`{"method":"UNSUBSCRIBE","params":["btcusdt@kline_1M","x"],"id":null}`, `{"result":null,"id":null}`},
		{`{"method":"LIST_SUBSCRIPTIONS"}`, `{"result":["nope@kline_1m"],"id":null}`},
	} {
		c.send(f.send)
		if got := c.reply(); got != f.want {
			t.Errorf("%s gives %s, want %s", f.send, got, f.want)
		}
	}
}

func TestSubscribeErrors(t *testing.T) {
	s := newTest(t, Config{})
	for _, f := range []struct {
		send string
		code int
	}{
		{`{`, 3},
		{`[]`, 3},
		{`{"method":"SUBSCRIBE","params":[1],"id":1}`, 2},
		{`{"method":"DANCE","id":1}`, 2},
		{`{"id":1}`, 2},
		{`{"method":"SET_PROPERTY","params":["speed",1],"id":1}`, 0},
		{`{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}`, 1},
	} {
		t.Run(f.send, func(t *testing.T) {
			c := dial(t, s, "/ws")
			c.send(f.send)
			var got struct {
				Error *apiError
				ID    any
			}
			if err := json.Unmarshal([]byte(c.must()), &got); err != nil || got.Error == nil || got.Error.Code != f.code {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	t.Run("more than 1024 streams", func(t *testing.T) {
		names := make([]string, 1025)
		for k := range names {
			names[k] = fmt.Sprintf(`"s%d@kline_1m"`, k)
		}
		c := dial(t, s, "/ws")
		c.send(`{"method":"SUBSCRIBE","params":[` + strings.Join(names, ",") + `],"id":1}`)
		if got := c.must(); !strings.Contains(got, "1024") {
			t.Error(got)
		}
	})
}

// SET_PROPERTY wraps the events of a raw connection; UNSUBSCRIBE ends them.
func TestProperty(t *testing.T) {
	s := newTest(t, fast())
	c := dial(t, s, "/ws/btcusdt@kline_1m")
	if e := c.event(); e.stream != "" {
		t.Errorf("wrapped: %v", e)
	}
	c.send(`{"method":"SET_PROPERTY","params":["combined",true],"id":1}`)
	if got := c.reply(); got != `{"result":null,"id":1}` {
		t.Error(got)
	}
	if e := c.event(); e.stream != "btcusdt@kline_1m" {
		t.Errorf("not wrapped: %v", e)
	}
	c.send(`{"method":"UNSUBSCRIBE","params":["btcusdt@kline_1m"],"id":2}`)
	if got := c.reply(); got != `{"result":null,"id":2}` {
		t.Error(got)
	}
	c.send(`{"method":"GET_PROPERTY","params":["combined"],"id":3}`)
	if got := c.must(); got != `{"result":true,"id":3}` {
		t.Errorf("after the end came %s", got)
	}
}

// More than five messages a second end the connection.
func TestTooManyMessages(t *testing.T) {
	s := newTest(t, Config{})
	c := dial(t, s, "/ws")
	for range 50 { // it may be cut meanwhile
		c.conn.Write(c.ctx, websocket.MessageText, []byte(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)) // see above
	}
	err := c.closing()
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v", err)
	}
}

func TestTooManyPings(t *testing.T) {
	s := newTest(t, Config{})
	c := dial(t, s, "/ws")
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.conn.Ping(ctx) == nil {
		}
	}()
	err := c.closing()
	cancel()
	<-done
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) { // a ping may still be on its way to the end that was closed
		t.Errorf("got %v", err)
	}
}

// A peer that answers pings stays; one that does not read is cut.
func TestPing(t *testing.T) {
	s := newTest(t, Config{}, func(s *Simulator) { s.pingEvery, s.pongWithin = 10*time.Millisecond, 3*time.Second })
	dial(t, s, "/ws") // never reads, so never answers
	pings := 0
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.Addr()+"/ws", &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool {
			if pings++; pings == 100 {
				cancel() // it has outlived the other
			}
			return true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.Read(ctx) // it ends with cancel
	if pings < 100 {
		t.Fatalf("cut after %d pings", pings)
	}
	eventually(t, "both connections are gone", func() bool { return s.Accounting().Connections == 0 })
}

// A planned close is announced, and then happens.
func TestLifetime(t *testing.T) {
	s := newTest(t, Config{Lifetime: time.Second})
	for _, f := range []struct{ path, prefix string }{
		{"/ws", `{"e":"serverShutdown","E":`},
		{"/stream", `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":`},
	} {
		c := dial(t, s, f.path)
		if got := c.must(); !strings.HasPrefix(got, f.prefix) || !json.Valid([]byte(got)) {
			t.Errorf("got %s", got)
		}
		if _, err := c.text(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("got %v", err)
		}
	}
}

func TestConnectionAttempts(t *testing.T) {
	s := newTest(t, Config{})
	for range maxAttempts {
		if !s.limits.attempt("127.0.0.1") {
			t.Fatal("refused too early")
		}
	}
	_, r, err := websocket.Dial(t.Context(), "ws://"+s.Addr()+"/ws", nil)
	if err == nil || r == nil || r.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%v, %+v", err, r)
	}
	if n := s.Accounting().ConnectionAttempts; n != maxAttempts+1 {
		t.Errorf("%d attempts", n)
	}
}

// Run ends with its context, and takes its connections with it.
func TestRunEnds(t *testing.T) {
	s := newTestStopped(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c := dial(t, s, "/ws/btcusdt@kline_1m")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := c.closing(); errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// 500 instruments go on one connection.
func TestManyInstruments(t *testing.T) {
	cfg := fast()
	var params []string
	for k := range 500 {
		cfg.Instruments = append(cfg.Instruments, fmt.Sprintf("C%d-USDT", k))
		params = append(params, fmt.Sprintf(`"c%dusdt@kline_1m"`, k))
	}
	s := newTest(t, cfg)
	c := dial(t, s, "/stream")
	c.send(`{"method":"SUBSCRIBE","params":[` + strings.Join(params, ",") + `],"id":1}`)
	if got := c.reply(); got != `{"result":null,"id":1}` {
		t.Error(got)
	}
	seen := map[string]int{}
	finals := 0
	for len(seen) < 500 || finals < 1000 {
		e := c.event()
		seen[e.stream]++
		if e.final() {
			finals++
		}
	}
}
