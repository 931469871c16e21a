package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/candlestack/candlestack/services/market"
)

func inject(t testing.TB, s *Simulator, f Fault) {
	t.Helper()
	if err := s.Inject(f); err != nil {
		t.Fatal(err)
	}
}

const onePage = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=2"

// What the faults of REST look like; after their count all is well again.
func TestRESTFaults(t *testing.T) {
	s := newTest(t, Config{})
	for _, f := range []struct {
		fault      Fault
		status     int
		retryAfter string
		body       string
	}{
		{Fault{Kind: "429"}, 429, "1", `{"code":-1003,`},
		{Fault{Kind: "429", Delay: 7}, 429, "7", `{"code":-1003,`},
		{Fault{Kind: "418"}, 418, "120", "IP banned until "},
		{Fault{Kind: "418", Count: 3, Delay: 1.5}, 418, "2", "IP banned until "},
		{Fault{Kind: "5xx"}, 503, "", `{"code":-1008,`},
		{Fault{Kind: "403", Count: 2}, 403, "", "<html>"},
		{Fault{Kind: "html"}, 200, "", "<!DOCTYPE html>"},
		{Fault{Kind: "slow", Delay: 0.001}, 200, "", `[[`},
		{Fault{Kind: "5xx", Symbol: "BTC-USDT"}, 503, "", ``},
	} {
		t.Run(f.fault.Kind, func(t *testing.T) {
			inject(t, s, f.fault)
			for range max(f.fault.Count, 1) {
				a := get(t, s, onePage)
				if a.status != f.status || a.header.Get("Retry-After") != f.retryAfter || !strings.Contains(a.body, f.body) {
					t.Errorf("%d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
				}
				if a.header.Get("X-MBX-USED-WEIGHT-1M") == "" {
					t.Error("no header with the used weight")
				}
			}
			if a := get(t, s, onePage); a.status != http.StatusOK || !strings.HasPrefix(a.body, "[[") {
				t.Errorf("afterwards %d %s", a.status, a.body)
			}
		})
	}
	t.Run("of another symbol", func(t *testing.T) {
		inject(t, s, Fault{Kind: "5xx", Symbol: "ETHUSDT"})
		defer s.ClearFaults()
		if a := get(t, s, onePage); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := get(t, s, "/api/v3/time"); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("slow is slow", func(t *testing.T) {
		inject(t, s, Fault{Kind: "slow", Delay: 3600})
		c := http.Client{Timeout: 50 * time.Millisecond}
		if _, err := c.Get("http://" + s.Addr() + onePage); err == nil {
			t.Error("an answer within 50 ms")
		}
	})
	t.Run("truncated_body", func(t *testing.T) {
		inject(t, s, Fault{Kind: "truncated_body"})
		r, err := http.Get("http://" + s.Addr() + onePage)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 || r.StatusCode != http.StatusOK {
			t.Errorf("%d: %v after %s", r.StatusCode, err, body)
		}
	})
}

// A fault with seconds lasts that long, whatever the number of requests.
func TestFaultsEnd(t *testing.T) {
	wall := newWall("2025-03-05 12:00:00")
	s := newTestAt(t, Config{}, wall)
	inject(t, s, Fault{Kind: "429", Seconds: 30})
	for range 3 {
		if a := get(t, s, onePage); a.status != 429 || a.header.Get("Retry-After") != "30" {
			t.Errorf("%d, Retry-After %s", a.status, a.header.Get("Retry-After"))
		}
	}
	wall.set("2025-03-05 12:00:31")
	if a := get(t, s, onePage); a.status != 200 {
		t.Errorf("afterwards %d", a.status)
	}
	if left := s.faults.active(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// closing reads until the connection ends.
func (c *client) closing() error {
	for {
		if _, err := c.text(); err != nil {
			return err
		}
	}
}

func TestConnectionFaults(t *testing.T) {
	s := newTest(t, Config{})
	t.Run("refuse", func(t *testing.T) {
		inject(t, s, Fault{Kind: "refuse", Count: 2})
		for range 2 {
			if _, r, err := websocket.Dial(t.Context(), "ws://"+s.Addr()+"/ws", nil); err == nil || r == nil || r.StatusCode != 503 {
				t.Errorf("%v %+v", err, r)
			}
		}
		dial(t, s, "/ws")
	})
	t.Run("disconnect", func(t *testing.T) {
		other := dial(t, s, "/stream?streams=ethusdt@kline_1m")
		c := dial(t, s, "/stream?streams=ethusdt@kline_1m/btcusdt@kline_1m")
		inject(t, s, Fault{Kind: "disconnect", Symbol: "BTCUSDT"})
		if err := c.closing(); websocket.CloseStatus(err) != -1 || !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
		other.send(`{"method":"LIST_SUBSCRIPTIONS"}`) // it lives
		other.reply()
	})
	t.Run("close", func(t *testing.T) {
		c := dial(t, s, "/stream?streams=xrpusdt@kline_1m")
		inject(t, s, Fault{Kind: "close", Symbol: "XRPUSDT"})
		if err := c.closing(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("got %v", err)
		}
	})
}

// settled waits until a fault that was injected has reached the connection: the
// reply to a command is sent by the goroutine that sends events, which looks at
// faults before each.
func (c *client) settled() {
	c.t.Helper()
	c.send(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
	c.reply()
}

// A stalled connection answers, but sends no events; later it goes on with
// what happens then.
func TestStall(t *testing.T) {
	s := newTest(t, fast())
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m")
	c.event()
	inject(t, s, Fault{Kind: "stall"})
	c.settled()
	before := s.Now()
	eventually(t, "three minutes of silence", func() bool { return s.Now() > before+3*minute })
	c.send(`{"method":"LIST_SUBSCRIPTIONS","id":2}`)
	if got := c.must(); !strings.HasSuffix(got, `"id":2}`) {
		t.Errorf("a stalled connection sends %s", got)
	}
	s.ClearFaults()
	if e := c.event(); e.at <= before+2*minute {
		t.Errorf("after the stall comes %s, what was missed", e.at)
	}
}

// One symbol falls silent, the others go on.
func TestStallSymbol(t *testing.T) {
	s := newTest(t, fast())
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m")
	inject(t, s, Fault{Kind: "stall_symbol", Symbol: "ETHUSDT"})
	c.settled()
	for finals := 0; finals < 3; {
		e := c.event()
		if e.stream == "ethusdt@kline_1m" {
			t.Fatalf("the stalled symbol sends %v", e)
		}
		if e.final() {
			finals++
		}
	}
	s.ClearFaults()
	for c.event().stream != "ethusdt@kline_1m" {
	}
}

// struck injects a fault and reads until it was seen as often as it should,
// then to the end of a candle, in which it is not seen again.
func struck(t *testing.T, f Fault, seen func(before, now string) bool) {
	t.Helper()
	s := newTest(t, fast())
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m")
	before := c.must()
	inject(t, s, f)
	for n := 0; n < f.Count; {
		now := c.must()
		if seen(before, now) {
			n++
		}
		before = now
	}
	for final := false; !final; {
		now := c.must()
		if seen(before, now) {
			t.Errorf("%s struck once too often: %s", f.Kind, now)
		}
		before = now
		e, err := parse(now)
		final = err == nil && e.final()
	}
}

func TestTruncatedFrame(t *testing.T) {
	struck(t, Fault{Kind: "truncated_frame", Count: 2}, func(_, now string) bool { return !json.Valid([]byte(now)) })
}

func TestDuplicate(t *testing.T) {
	struck(t, Fault{Kind: "duplicate", Count: 3}, func(before, now string) bool { return before == now })
}

func TestOutOfOrder(t *testing.T) {
	struck(t, Fault{Kind: "out_of_order", Count: 2}, func(before, now string) bool {
		a, err := parse(before)
		b, err2 := parse(now)
		return err == nil && err2 == nil && b.at < a.at
	})
}

// A candle is open, and the next one is closed before it ever was.
func TestLostClose(t *testing.T) {
	s := newTest(t, fast())
	c := dial(t, s, "/stream?streams=btcusdt@kline_1m")
	inject(t, s, Fault{Kind: "lost_close"})
	opened, closed := map[market.Millis]bool{}, market.Millis(0)
	for {
		e := c.event()
		if !e.final() {
			opened[e.open()] = true
			continue
		}
		if closed == 0 && opened[e.open()-minute] || closed != 0 && e.open() == closed+2*minute {
			break // the first close was lost, or one in the middle
		}
		closed = e.open()
	}
}

func TestFaultsByHTTP(t *testing.T) {
	s := newTest(t, Config{})
	do := func(method, body string) (int, string) {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+s.Addr()+"/simulator/faults", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(text)
	}
	for _, f := range []struct{ body, want string }{
		{`{"kind":"meteor"}`, `kind "meteor" is none of 429 418 5xx 403 html slow truncated_body refuse disconnect close stall stall_symbol truncated_frame lost_close duplicate out_of_order quota shift bad_post`},
		{`{"kind":"stall_symbol"}`, `symbol "" must be named`},
		{`{"kind":"stall","symbol":"DOGEUSDT"}`, `symbol "DOGEUSDT" is not served`},
		{`{"kind":"x","count":-1}`, `is negative`},
		{`{"kind":"stall","target":"news"}`, `target "news" of kind "stall" is none of exchange`},
		{`{"kind":"418","target":"rss"}`, `target "rss" of kind "418" is none of exchange`},
		{`{"kind":"shift","target":"rss"}`, `target "rss" of kind "shift" is none of news cryptopanic`},
		{`{"kind":"quota","target":"exchange"}`, `target "exchange" of kind "quota" is none of news cryptopanic`},
		{`{"kind":"5xx","target":"news","symbol":"BTCUSDT"}`, `symbol "BTCUSDT" must be empty for target news`},
		{`{"kind":"429","times":1}`, `unknown field`},
		{`{`, `EOF`},
	} {
		status, text := do("POST", f.body)
		if status != 400 || !strings.Contains(text, f.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s gives %d %q", f.body, status, text)
		}
	}
	for _, kind := range FaultKinds() {
		symbol := "BTCUSDT"
		if targetsOf(kind)[0] != targetExchange {
			symbol = ""
		}
		if status, text := do("POST", `{"kind":"`+kind+`","symbol":"`+symbol+`","count":2,"seconds":60}`); status != 200 {
			t.Errorf("%s: %d %s", kind, status, text)
		}
	}
	var list []Fault
	_, text := do("GET", "")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != len(FaultKinds()) || list[0].Count != 2 || list[0].Seconds > 60 {
		t.Errorf("%v: %s", err, text)
	}
	if status, _ := do("DELETE", ""); status != 204 {
		t.Errorf("DELETE gives %d", status)
	}
	if _, text := do("GET", ""); strings.TrimSpace(text) != "[]" {
		t.Errorf("left: %s", text)
	}
}
