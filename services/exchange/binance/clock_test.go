package binance

import (
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/wire/rest"
)

// TestClock: it is never ahead of the exchange's, however long an answer takes,
// and forgotten when it is old or when the answers' Date contradicts it.
func TestClock(t *testing.T) {
	server := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC) // when it wrote its time
	answer := func(sent, received, date time.Duration) rest.Reply {
		ours := server.Add(-time.Hour)
		return rest.Reply{Sent: ours.Add(sent), Received: ours.Add(received), Date: server.Add(date).Truncate(time.Second)}
	}
	var c clock
	if _, ok := c.now(server); ok {
		t.Error("a time before any was asked for")
	}
	c.set(market.MillisOf(server), answer(-300*time.Millisecond, 700*time.Millisecond, 0))
	for _, f := range []struct {
		name  string
		later time.Duration // on our clock, after the answer came
		want  time.Duration // the exchange's clock at most, after server
		ok    bool
	}{
		{"at once", 0, 700 * time.Millisecond, true}, {"later", clockAge, 700*time.Millisecond + clockAge, true}, {"too late", clockAge + 1, 0, false},
	} {
		now, ok := c.now(server.Add(-time.Hour + 700*time.Millisecond + f.later))
		if ok != f.ok || ok && now.Time().After(server.Add(f.want)) {
			t.Errorf("%s: %s, %v", f.name, now, ok)
		}
	}
	at := server.Add(-time.Hour + 700*time.Millisecond)
	c.check(answer(0, 900*time.Millisecond, 900*time.Millisecond))
	if _, ok := c.now(at); !ok {
		t.Error("forgotten, though Date agrees")
	}
	c.check(answer(0, 900*time.Millisecond, 10*time.Second))
	if _, ok := c.now(at); ok {
		t.Error("kept, though Date says that ten seconds have passed")
	}
}
