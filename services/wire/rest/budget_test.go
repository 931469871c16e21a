package rest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// host counts weight as an exchange does, in minutes of its own clock, without a
// network, so that time can be simulated.
type host struct {
	mu      sync.Mutex
	ahead   time.Duration // its clock before ours
	minute  time.Time
	used    int
	most    int           // that it ever counted in a minute
	others  int           // weight that somebody else spends at our address with each request
	latency time.Duration // there
	back    time.Duration // and back
}

func (h *host) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(h.latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	used := h.count(r)
	time.Sleep(h.back)
	header := http.Header{"Used": {strconv.Itoa(used)}}
	return &http.Response{StatusCode: 200, Header: header, Body: http.NoBody, Request: r}, nil
}

func (h *host) count(r *http.Request) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := time.Now().Add(h.ahead).Truncate(time.Minute); m.After(h.minute) {
		h.minute, h.used = m, 0
	}
	weight, _ := strconv.Atoi(r.URL.Query().Get("weight"))
	h.used += weight + h.others
	h.most = max(h.most, h.used)
	return h.used
}

func simulated(t *testing.T, cfg Config, h *host) *Client {
	c, err := New(cfg, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = h
	return c
}

func weighing(weight int) Request {
	return Request{Route: "/data", Weight: weight, Query: map[string][]string{"weight": {strconv.Itoa(weight)}}}
}

// TestBudgetIsKept sends more than a minute allows, from several goroutines, to
// hosts whose minutes begin at any moment.
func TestBudgetIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ahead := time.Duration(rapid.IntRange(0, 59).Draw(rt, "ahead")) * time.Second
		others := rapid.IntRange(0, 3).Draw(rt, "others")
		workers := rapid.IntRange(1, 4).Draw(rt, "workers")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			h := &host{ahead: ahead, others: others, latency: 100 * time.Millisecond}
			cfg := config("http://host")
			cfg.Limit, cfg.Share = 1000, 0.8
			c := simulated(t, cfg, h)
			var all sync.WaitGroup
			for w := range workers {
				all.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(w)))
					for range 400 {
						if _, err := c.Get(t.Context(), weighing(1+random.IntN(20))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if h.most > 1000 {
				t.Errorf("the host counted %d in a minute of 1000", h.most)
			}
		})
	})
}

func TestBudgetIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{latency: time.Millisecond}
		c := simulated(t, config("http://host"), h)
		start := time.Now().Truncate(time.Minute)
		for range 900 { // ten minutes of 90
			if _, err := c.Get(t.Context(), weighing(1)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 10*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

func TestUrgentGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simulated(t, config("http://host"), &host{})
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		start := time.Now()
		urgent := weighing(1)
		urgent.Urgent = true
		for range 90 {
			if _, err := c.Get(t.Context(), weighing(1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if _, err := c.Get(t.Context(), urgent); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("a hundred waited %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, urgent); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the hundred and first: %v", err)
		}
		c.SetLimit(200)
		if _, err := c.Get(t.Context(), urgent); err != nil || time.Since(start) != time.Second {
			t.Errorf("after the limit has grown: %v", err)
		}
	})
}

// TestHeaderCorrects: others at our address may have spent the minute.
func TestHeaderCorrects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{others: 95}
		c := simulated(t, config("http://host"), h)
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
		start := time.Now()
		for range 2 {
			if _, err := c.Get(t.Context(), weighing(1)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the second went after %s, not in the next minute", took)
		}
	})
}

// TestHeaderOfTheOldMinute: an answer that was under way at the turn tells
// nothing of the new minute.
func TestHeaderOfTheOldMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simulated(t, config("http://host"), &host{others: 95, back: 2 * time.Second})
		turn := time.Now().Truncate(time.Minute).Add(time.Minute)
		time.Sleep(time.Until(turn.Add(-time.Second)))
		for range 2 {
			if _, err := c.Get(t.Context(), weighing(1)); err != nil {
				t.Fatal(err)
			}
		}
		if late := time.Since(turn); late != 3*time.Second {
			t.Errorf("the second answer came %s after the turn", late)
		}
	})
}

func TestMoreThanTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simulated(t, config("http://host"), &host{})
		for range 2 {
			if _, err := c.Get(t.Context(), weighing(500)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
