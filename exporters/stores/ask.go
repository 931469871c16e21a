package stores

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// server is a client of a store.
type server interface {
	open() error // connects to nothing
	ping(ctx context.Context) error
	close()
}

// ask is a question to a store, which it answers with one or more families.
type ask struct {
	name  string
	every time.Duration
	do    func(ctx context.Context) ([]prometheus.Metric, error) // bounds the time of its queries itself

	// Of the store's mutex:
	next    time.Time
	failing bool
	answer  []prometheus.Metric
	until   time.Time // the answer is too old from here on
}

// share is the part of the time that a question may keep its store busy: one in fifty.
const share = 50

// ping is the name of the question whether a store is there.
const ping = "ping"

// store asks one server. The questions of a line wait for each other, lines do not.
type store struct {
	name   string
	server server
	lines  [][]*ask
	cfg    ClockConfig
	m      *metrics
	log    *slog.Logger

	mu     sync.Mutex
	known  bool
	up     bool
	lastUp time.Time
}

func (st *store) run(ctx context.Context) {
	defer st.server.close()
	st.check(ctx)
	var wg sync.WaitGroup
	for i, line := range st.lines {
		wg.Go(func() {
			tick := time.NewTicker(st.cfg.Interval)
			defer tick.Stop()
			for {
				for _, a := range line {
					st.ask(ctx, a)
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if i == 0 {
					st.check(ctx)
				}
			}
		})
	}
	wg.Wait()
}

// check finds out whether the store is there, and says so where that has changed.
func (st *store) check(ctx context.Context) (up bool) {
	bounded, cancel := context.WithTimeout(ctx, st.cfg.Timeout)
	defer cancel()
	begin := time.Now()
	err := st.server.ping(bounded)
	now := time.Now()
	if ctx.Err() != nil {
		return false
	}
	st.m.asked(st.name, ping, now.Sub(begin), now, err)
	st.mu.Lock()
	defer st.mu.Unlock()
	was, known := st.up, st.known
	st.known, st.up = true, err == nil
	if st.up {
		st.lastUp = now
	}
	switch {
	case st.up && known && !was:
		st.log.Info("store is back", slog.String("store", st.name))
		for _, line := range st.lines {
			for _, a := range line {
				a.next = time.Time{}
			}
		}
	case !st.up && (was || !known):
		st.log.Warn("store is away", slog.String("store", st.name), slog.Any("error", err))
	}
	return st.up
}

// ask asks if it is time to, and the store is there.
func (st *store) ask(ctx context.Context, a *ask) {
	begin := time.Now()
	st.mu.Lock()
	due := st.up && !begin.Before(a.next)
	st.mu.Unlock()
	if !due || ctx.Err() != nil {
		return
	}
	answer, err := a.do(ctx)
	now := time.Now()
	if ctx.Err() != nil {
		return
	}
	took := now.Sub(begin)
	st.m.asked(st.name, a.name, took, now, err)
	pace := max(a.every, share*took)
	// A tick comes a little early or late: half of one does not count.
	next := begin.Add(pace - st.cfg.Interval/2)
	if err != nil && (!st.check(ctx) || reason(err) == reasonConnection) {
		return // the store's state, which check tells; asked again as soon as it is there
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	a.next = next
	switch {
	case err != nil && !a.failing:
		st.log.Warn("store does not answer a query", slog.String("store", st.name), slog.String("query", a.name), slog.Any("error", err))
	case err == nil && a.failing:
		st.log.Info("store answers a query again", slog.String("store", st.name), slog.String("query", a.name))
	}
	a.failing = err != nil
	if err == nil {
		a.answer, a.until = answer, now.Add(2*pace+st.cfg.Timeout)
	}
}

// last is what is known now. What a store that is away held is known for two intervals.
func (st *store) last(now time.Time) []prometheus.Metric {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.known {
		return nil
	}
	up := 0.0
	if st.up {
		up = 1
	}
	all := []prometheus.Metric{gauge(st.m.up, up, st.name)}
	if !st.up && now.Sub(st.lastUp) > 2*st.cfg.Interval {
		return all
	}
	for _, line := range st.lines {
		for _, a := range line {
			if now.Before(a.until) {
				all = append(all, a.answer...)
			}
		}
	}
	return all
}
