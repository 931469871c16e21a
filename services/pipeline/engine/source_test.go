package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

var line = market.Series{Exchange: "venue", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m"}

// venue is an exchange on the bubble's clock: it closes a candle a minute, and
// says so by REST and, while its stream works, at once.
type venue struct {
	mu      sync.Mutex
	holes   map[market.Millis]bool // it has no candle there
	quiet   map[market.Millis]bool // a candle without trades: REST has it, the stream is silent
	restErr error
	silent  bool          // the stream delivers nothing
	brisk   bool          // it delivers a frame soon after a minute's begin
	cut     chan struct{} // ends the current stream
	streams int
}

func newVenue() *venue {
	return &venue{holes: map[market.Millis]bool{}, quiet: map[market.Millis]bool{}, cut: make(chan struct{})}
}

func now() market.Millis { return market.MillisOf(time.Now()) }

func (v *venue) at(open market.Millis, closed bool, origin market.Origin) *market.Candle {
	trades := int64(7)
	if v.quiet[open] {
		trades = 0
	}
	event := now()
	if origin != market.OriginLive {
		event = open + minute - 1
	}
	price, _ := market.ParseDecimal("1.5")
	return &market.Candle{Exchange: line.Exchange, Instrument: line.Instrument, Interval: line.Interval, OpenTime: open,
		Open: price, High: price, Low: price, Close: price, Trades: &trades, Closed: closed, EventTime: event, ReceivedTime: now(), Origin: origin}
}

// Stream sends an open frame in mid-minute and the closing frame at its end; a
// brisk one also an open frame in each first second.
func (v *venue) Stream(ctx context.Context, emit pipeline.Emit) error {
	v.mu.Lock()
	v.streams++
	cut := v.cut
	v.mu.Unlock()
	for {
		open := line.Interval.Start(now())
		half := open + minute/2
		for _, moment := range []market.Millis{open + 1000, half, open + minute} {
			if moment <= now() || moment < half && !v.brisk {
				continue
			}
			select {
			case <-time.After(moment.Sub(now())):
			case <-cut:
				return &pipeline.Disconnected{Cause: "eof"}
			case <-ctx.Done():
				return ctx.Err()
			}
			v.mu.Lock()
			skip := v.silent || v.holes[open] || v.quiet[open]
			c := v.at(open, moment == open+minute, market.OriginLive)
			v.mu.Unlock()
			if skip {
				continue
			}
			if err := emit(ctx, c); err != nil {
				return err
			}
		}
	}
}

func (v *venue) connects() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.streams
}

func (v *venue) Series() []market.Series { return []market.Series{line} }

func (v *venue) Now(context.Context) (market.Millis, error) { return now(), nil }

func (v *venue) History(ctx context.Context, _ market.Series, from, to market.Millis, origin market.Origin, emit pipeline.Emit) (market.Millis, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.restErr != nil {
		return from, v.restErr
	}
	for open := from; open < to; open += minute {
		if open+minute > now() {
			return open, nil
		}
		if v.holes[open] {
			continue
		}
		if err := emit(ctx, v.at(open, true, origin)); err != nil {
			return open, err
		}
	}
	return to, nil
}

// tape is Kafka as the source sees it, and its memory.
type tape struct {
	mu     sync.Mutex
	events []market.Event
	dead   []pipeline.Record
	newest map[market.Series]market.Millis
	open   []market.Gap
}

func (k *tape) Produce(_ context.Context, r pipeline.Record, done func(error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, err := r.Event(); err == nil {
		k.events = append(k.events, e)
	} else {
		k.dead = append(k.dead, r)
	}
	go done(nil)
	return nil
}

func (k *tape) Recall(context.Context, []market.Series) (map[market.Series]market.Millis, []market.Gap, error) {
	return k.newest, k.open, nil
}

func (k *tape) RecallPosts(_ context.Context, source string, each func(*market.Post)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if p, ok := e.(*market.Post); ok && p.Source == source {
			each(p)
		}
	}
	return nil
}

// closed tells each closed candle in the order of the log: minutes since begin, and origin.
func (k *tape) closed(begin market.Millis) (lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if c, ok := e.(*market.Candle); ok && c.Closed {
			lines = append(lines, fmt.Sprintf("%d %s", (c.OpenTime-begin)/minute, c.Origin))
		}
	}
	return lines
}

// gaps tells each gap event: minutes from and to, state and cause.
func (k *tape) gaps(begin market.Millis) (lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if g, ok := e.(*market.Gap); ok {
			lines = append(lines, fmt.Sprintf("%d-%d %s %s", (g.FromTime-begin)/minute, (g.ToTime-begin)/minute, g.State, g.Cause))
		}
	}
	return lines
}

// scene is one run of a source, which begins thirty seconds into minute 10.
type scene struct {
	venue *venue
	tape  *tape
	begin market.Millis
	cfg   engine.SourceConfig
}

// play runs the source on a bubble's clock while script goes on, then ends it.
func play(t *testing.T, set func(*scene), script func(*scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24*365*10*time.Hour + 30*time.Second) // the bubble begins in 2000: before the earliest event
		s := &scene{venue: newVenue(), tape: &tape{newest: map[market.Series]market.Millis{}}, begin: line.Interval.Start(now()) - 10*minute}
		s.tape.newest[line] = s.begin + 7*minute
		set(s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		loop := engine.NewSource(s.cfg, "venue", s.venue, s.tape, s.tape, func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		go func() { done <- loop.Run(ctx) }()
		script(s)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the source ended with %v", err)
		}
	})
}

func (s *scene) want(t *testing.T, closed, gaps []string) {
	t.Helper()
	if diff := cmp.Diff(closed, s.tape.closed(s.begin)); diff != "" {
		t.Errorf("closed candles (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(gaps, s.tape.gaps(s.begin)); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}

// TestPromiseGaps names design §4.4: after a start and after each reconnect the
// source repairs what it missed, in ascending order, before live goes on.
func TestPromiseGaps(t *testing.T) {
	minutes := func(n int) { time.Sleep(time.Duration(n) * time.Minute) }
	t.Run("a restart begins after the newest closed candle", func(t *testing.T) {
		play(t, func(*scene) {}, func(s *scene) {
			minutes(2)
			s.want(t, []string{"8 backfill", "9 backfill", "10 live", "11 live"}, []string{"8-10 repaired start"})
		})
	})
	t.Run("an empty topic begins eight days back and records no gap", func(t *testing.T) {
		play(t, func(s *scene) { delete(s.tape.newest, line) }, func(s *scene) {
			minutes(1)
			closed := s.tape.closed(s.begin)
			if first := closed[0]; first != fmt.Sprintf("%d backfill", 10-8*24*60) {
				t.Errorf("the first candle is %s", first)
			}
			if len(closed) != 8*24*60+1 || s.tape.gaps(s.begin) != nil {
				t.Errorf("%d candles, gaps %v", len(closed), s.tape.gaps(s.begin))
			}
		})
	})
	t.Run("a cut is repaired before live goes on", func(t *testing.T) {
		play(t, func(*scene) {}, func(s *scene) {
			minutes(1)
			s.venue.mu.Lock()
			s.venue.silent = true // what is sent now is missed
			s.venue.mu.Unlock()
			time.Sleep(59 * time.Second)
			close(s.venue.cut)
			s.venue.mu.Lock()
			s.venue.cut, s.venue.silent = make(chan struct{}), false
			s.venue.mu.Unlock()
			minutes(2)
			s.want(t, []string{"8 backfill", "9 backfill", "10 live", "11 repair", "12 live", "13 live"}, []string{"8-10 repaired start", "11-12 repaired late"})
		})
	})
	t.Run("holes of the exchange are confirmed and split the rest", func(t *testing.T) {
		play(t, func(s *scene) {
			s.tape.newest[line] = s.begin
			s.venue.holes[s.begin+3*minute], s.venue.holes[s.begin+4*minute] = true, true
		}, func(s *scene) {
			minutes(1)
			s.want(t, []string{"1 backfill", "2 backfill", "5 backfill", "6 backfill", "7 backfill", "8 backfill", "9 backfill", "10 live"},
				[]string{"1-3 repaired start", "3-5 confirmed start", "5-10 repaired start"})
		})
	})
	t.Run("a quiet minute is filled and is no gap", func(t *testing.T) {
		play(t, func(s *scene) { s.venue.quiet[s.begin+11*minute] = true }, func(s *scene) {
			minutes(3)
			s.want(t, []string{"8 backfill", "9 backfill", "10 live", "11 repair", "12 live"}, []string{"8-10 repaired start"})
			if n := s.venue.connects(); n != 1 {
				t.Errorf("%d streams: quiet is not dead", n)
			}
		})
	})
	t.Run("a stream that is silent on what trades is cut", func(t *testing.T) {
		play(t, func(*scene) {}, func(s *scene) {
			minutes(2)
			s.venue.mu.Lock()
			s.venue.silent = true
			s.venue.mu.Unlock()
			minutes(2)
			if s.venue.connects() < 2 {
				t.Error("the stream goes on")
			}
		})
	})
	t.Run("live goes on while REST is away, and the gap is repaired later", func(t *testing.T) {
		play(t, func(s *scene) { s.venue.restErr = errors.New("banned") }, func(s *scene) {
			minutes(3)
			s.want(t, []string{"10 live", "11 live", "12 live"}, []string{"8-10 open start"})
			s.venue.mu.Lock()
			s.venue.restErr = nil
			s.venue.mu.Unlock()
			minutes(2)
			closed := s.tape.closed(s.begin)
			slices.Sort(closed) // the repair comes when its back-off lets it
			if diff := cmp.Diff([]string{"10 live", "11 live", "12 live", "13 live", "14 live", "8 backfill", "9 backfill"}, closed); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"8-10 open start", "8-10 repaired start"}, s.tape.gaps(s.begin)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("a repair outlives the stream that asked for it", func(t *testing.T) {
		play(t, func(s *scene) { s.venue.brisk = true }, func(s *scene) {
			minutes(1)
			s.venue.mu.Lock()
			s.venue.silent, s.venue.restErr = true, errors.New("overloaded")
			s.venue.mu.Unlock()
			time.Sleep(30*time.Second + 500*time.Millisecond) // the end of minute 11 is missed
			s.venue.mu.Lock()
			s.venue.silent = false
			s.venue.mu.Unlock()
			time.Sleep(time.Second) // a frame of minute 12 asks for it, in vain
			close(s.venue.cut)
			s.venue.mu.Lock()
			s.venue.cut = make(chan struct{})
			s.venue.mu.Unlock()
			minutes(2)
			s.venue.mu.Lock()
			s.venue.restErr = nil
			s.venue.mu.Unlock()
			minutes(2)
			closed := s.tape.closed(s.begin)
			slices.Sort(closed)
			if diff := cmp.Diff([]string{"10 live", "11 repair", "12 live", "13 live", "14 live", "15 live", "8 backfill", "9 backfill"}, closed); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"8-10 repaired start", "11-12 open stream", "11-12 repaired stream"}, s.tape.gaps(s.begin)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("a gap that an earlier run left open is repaired", func(t *testing.T) {
		play(t, func(s *scene) {
			s.tape.newest[line] = s.begin + 9*minute
			s.tape.open = []market.Gap{{Exchange: line.Exchange, Instrument: line.Instrument, Interval: line.Interval,
				FromTime: s.begin + 2*minute, ToTime: s.begin + 4*minute, State: market.GapOpen, Cause: "stream"}}
		}, func(s *scene) {
			minutes(1)
			s.want(t, []string{"2 repair", "3 repair", "10 live"}, []string{"2-4 repaired stream"})
		})
	})
	t.Run("fixed dates are archive and end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(24 * 365 * 10 * time.Hour)
			tape, at := &tape{}, line.Interval.Start(now())
			loop := engine.NewSource(engine.SourceConfig{Since: at.Add(-5 * time.Minute).Time(), Until: at.Add(-3 * time.Minute).Time()}, "venue", newVenue(), tape, tape,
				func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err := loop.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"-5 archive", "-4 archive"}, tape.closed(at)); diff != "" {
				t.Error(diff)
			}
		})
	})
}

// liar sends one candle that cannot be true.
type liar struct{ sent bool }

func (l *liar) Stream(ctx context.Context, emit pipeline.Emit) error {
	if !l.sent {
		l.sent = true
		c := candle(1, 1, true)
		c.Low, _ = market.ParseDecimal("2")
		if err := emit(ctx, c); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestWhatCannotBeTrueIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k := &tape{}
		done := make(chan error, 1)
		loop := engine.NewSource(engine.SourceConfig{}, "venue", &liar{}, k, k, func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		go func() { done <- loop.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(k.events) != 0 || len(k.dead) != 1 {
			t.Fatalf("%d events, %d dead letters", len(k.events), len(k.dead))
		}
		d, err := pipeline.DecodeDeadLetter(k.dead[0])
		if err != nil || d.Reason != "invalid" || d.Message != "low 2 is above open 1 or close 1" || d.Record.Topic != market.TopicCandles {
			t.Errorf("%v %+v", err, d)
		}
	})
}
