package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each route costs what is documented, and every reply says what was used.
func TestWeights(t *testing.T) {
	wall := newWall("2025-03-05 12:00:15")
	s := newTestAt(t, Config{}, wall)
	for _, f := range []struct{ path, used string }{
		{"/api/v3/ping", "1"},
		{"/api/v3/time", "2"},
		{"/api/v3/exchangeInfo", "22"},
		{"/api/v3/klines?symbol=BTCUSDT&interval=1m", "24"},
		{"/api/v3/klines", "26"}, // an error costs the same
	} {
		if a := get(t, s, f.path); a.header.Get("X-MBX-USED-WEIGHT-1M") != f.used {
			t.Errorf("%s: used %s, want %s", f.path, a.header.Get("X-MBX-USED-WEIGHT-1M"), f.used)
		}
	}
	wall.set("2025-03-05 12:01:00")
	if a := get(t, s, "/api/v3/ping"); a.header.Get("X-MBX-USED-WEIGHT-1M") != "1" {
		t.Errorf("in the next minute: used %s", a.header.Get("X-MBX-USED-WEIGHT-1M"))
	}
}

// Over the limit: 429 until the minute's end; going on: 418, longer each time.
func TestLimitAndBan(t *testing.T) {
	wall := newWall("2025-03-05 12:00:15")
	s := newTestAt(t, Config{WeightLimit: 5}, wall)
	const path = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1"
	expect := func(status int, retryAfter string) answer {
		t.Helper()
		a := get(t, s, path)
		if a.status != status || a.header.Get("Retry-After") != retryAfter {
			t.Fatalf("%d, Retry-After %q, want %d and %q: %s", a.status, a.header.Get("Retry-After"), status, retryAfter, a.body)
		}
		return a
	}
	expect(200, "")
	expect(200, "")
	for range patience {
		if a := expect(429, "45"); !strings.Contains(a.body, `"code":-1003`) || a.header.Get("X-MBX-USED-WEIGHT-1M") != "4" {
			t.Error(a)
		}
	}
	until := at("2025-03-05 12:02:15")
	if a := expect(418, "120"); !strings.Contains(a.body, fmt.Sprintf("IP banned until %d.", until)) {
		t.Error(a.body)
	}
	wall.set("2025-03-05 12:01:15") // a new minute does not end a ban
	for range patience {
		expect(418, "60")
	}
	expect(418, "240") // who goes on is banned for longer
	wall.set("2025-03-05 12:05:16")
	expect(200, "")

	got := s.Accounting()
	want := Accounting{
		Requests: 25, Weight: 6,
		Minutes: []MinuteAccount{
			{at("2025-03-05 12:00:00").Time(), "127.0.0.1", 13, 11, 4},
			{at("2025-03-05 12:01:00").Time(), "127.0.0.1", 11, 11, 0},
			{at("2025-03-05 12:05:00").Time(), "127.0.0.1", 1, 0, 2},
		},
		Bans: []Ban{
			{"127.0.0.1", at("2025-03-05 12:00:15").Time(), at("2025-03-05 12:02:15").Time()},
			{"127.0.0.1", at("2025-03-05 12:01:15").Time(), at("2025-03-05 12:05:15").Time()},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var served Accounting
	if err := json.Unmarshal([]byte(get(t, s, "/simulator/accounting").body), &served); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, served); d != "" {
		t.Error(d)
	}
}

// Each client has its own budget, and the accounting does not grow for ever.
func TestLimitsAreByIP(t *testing.T) {
	wall := newWall("2025-03-05 12:00:15")
	l := newLimits(2, wall.now)
	for k := range 3 * keptMinutes {
		if v := l.request(fmt.Sprintf("10.0.%d.%d", k/256, k%256), 2); v.status != http.StatusOK {
			t.Fatalf("client %d: %d", k, v.status)
		}
		if k == keptMinutes {
			wall.set("2025-03-05 12:10:15")
		}
	}
	if n := len(l.accounting().Minutes); n > keptMinutes {
		t.Errorf("%d lines", n)
	}
	wall.set("2025-03-05 12:20:15")
	l.request("10.1.0.0", 1)
	if n := len(l.ips); n > 1 {
		t.Errorf("%d clients remembered", n)
	}
}

// The longest ban is three days.
func TestBansGrow(t *testing.T) {
	l := newLimits(0, newWall("2025-03-05 12:00:00").now)
	for range 20 * (patience + 1) {
		l.request("10.0.0.1", 1)
	}
	bans := l.accounting().Bans
	if last := bans[len(bans)-1]; last.Until.Sub(last.From) != longestBan {
		t.Errorf("the last of %d bans lasts %s", len(bans), last.Until.Sub(last.From))
	}
}
