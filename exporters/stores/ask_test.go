package stores

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// present is a server of which only the presence matters.
type present struct{ err error }

func (p *present) open() error                { return nil }
func (p *present) ping(context.Context) error { return p.err }
func (p *present) close()                     {}

func TestExpensiveQuestionsAreAskedSeldomAndOldAnswersGo(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	const took = 100 * time.Millisecond
	failing := errors.New("no answer")
	var fails error
	a := &ask{name: "posts", every: time.Second, do: func(context.Context) ([]prometheus.Metric, error) {
		time.Sleep(took)
		return []prometheus.Metric{gauge(m.rows, 1, "x", "y")}, fails
	}}
	server := &present{}
	st := &store{name: "x", server: server, lines: [][]*ask{{a}}, cfg: ClockConfig{Interval: time.Second, Timeout: time.Second}, m: m, log: slog.New(slog.DiscardHandler)}
	shown := func(at time.Time) int { return len(st.last(at)) }

	if n := shown(time.Now()); n != 0 {
		t.Errorf("%d series before the store was asked", n)
	}
	st.check(t.Context())
	begin := time.Now()
	st.ask(t.Context(), a)
	if wait := a.next.Sub(begin); wait < share*took-time.Second {
		t.Errorf("asked again after %s, though it took %s", wait, took)
	}
	if n := shown(time.Now()); n != 2 {
		t.Errorf("%d series, not up and rows", n)
	}
	if n := shown(a.until); n != 1 {
		t.Errorf("%d series when the answer is too old, not up alone", n)
	}

	until := a.until
	fails, a.next = failing, time.Time{}
	st.ask(t.Context(), a)
	if !a.failing || a.until != until || shown(time.Now()) != 2 {
		t.Error("a failure took the last answer away, or renewed it")
	}

	server.err = failing
	st.check(t.Context())
	if n := shown(st.lastUp.Add(2 * time.Second)); n != 2 {
		t.Errorf("%d series right after the store went", n)
	}
	if n := shown(st.lastUp.Add(2*time.Second + 1)); n != 1 {
		t.Errorf("%d series two intervals after the store went", n)
	}
	a.next = time.Time{}
	if st.ask(t.Context(), a); !slices.ContainsFunc(st.lines[0], func(a *ask) bool { return a.next.IsZero() }) {
		t.Error("a store that is away was asked")
	}
	server.err, fails = nil, nil
	a.next = time.Now().Add(time.Hour)
	if st.check(t.Context()); !a.next.IsZero() {
		t.Error("after its return the store is not asked at once")
	}
}
