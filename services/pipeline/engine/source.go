package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// SourceConfig is the policy of Source -> Kafka.
type SourceConfig struct {
	Since time.Time `help:"Begin here (RFC 3339), whatever the topic holds. Default: after the newest closed candle in the topic, or eight days back." placeholder:"TIME"`
	Until time.Time `help:"End here (RFC 3339): no live stream, the command ends when all is sent. With --since the candles count as archive and move no resume point." placeholder:"TIME"`
}

// Validate reports all settings that cannot work.
func (c *SourceConfig) Validate() error {
	if !c.Until.IsZero() && !c.Until.After(c.Since) {
		return &pipeline.ConfigError{Field: "--until", Value: c.Until.Format(time.RFC3339), Err: fmt.Errorf("must be after --since %s", c.Since.Format(time.RFC3339))}
	}
	return nil
}

const (
	// firstBackfill is how far back an empty topic begins: the 24-hour change and
	// a week's completeness need it.
	firstBackfill = 8 * 24 * time.Hour
	// lateAfter is how long after its end a candle may close before REST is asked.
	lateAfter = 10 * time.Second
	// holdLive is how long live events wait for a repair that makes no progress.
	// Then the gap is recorded as open, live goes on, and the repair in the
	// background: fresh data must not wait for a ban of three days.
	holdLive = 30 * time.Second
	// repairsAtOnce keeps many series from opening many connections.
	repairsAtOnce = 4
	// maxHeld bounds the live candles of one series that wait for a repair.
	maxHeld = 2000
)

// Source runs source -> Kafka: the live stream, connected again for ever, and
// for a source with History the repair of everything that the stream missed.
// What the log holds is whole up to its newest closed candle, but for the gaps
// that are recorded as open.
type Source struct {
	cfg      SourceConfig
	name     string
	source   pipeline.Source
	producer Producer
	memory   Memory
	report   Report
	log      *slog.Logger
	metrics  *sourceMetrics

	fail     context.CancelCauseFunc // ends the run: the producer has lost a record for good
	trackers map[market.Series]*tracker
	posts    notebook
	slots    chan struct{} // of repairsAtOnce
	repairs  sync.WaitGroup
	behind   func(work func(context.Context)) // starts a repair, which outlives the stream that asked for it

	mu     sync.Mutex
	cutter context.CancelCauseFunc // ends the current stream
	since  time.Time               // of the current stream's first event; zero before
}

// NewSource makes a source loop under the exchange's or feed's name.
func NewSource(cfg SourceConfig, name string, source pipeline.Source, producer Producer, memory Memory, report Report, log *slog.Logger, reg prometheus.Registerer) *Source {
	return &Source{
		cfg: cfg, name: name, source: source, producer: producer, memory: memory, report: report, log: log,
		metrics: newSourceMetrics(reg, name, source), trackers: map[market.Series]*tracker{}, slots: make(chan struct{}, repairsAtOnce),
	}
}

// Run streams until ctx ends, or until everything before --until is sent. It
// returns nil after an orderly end, a *pipeline.ConfigError for the user's
// mistakes. Records may still be on their way: close the producer after it.
func (s *Source) Run(ctx context.Context) error {
	stop := ctx
	ctx, s.fail = context.WithCancelCause(ctx)
	s.behind = func(work func(context.Context)) { s.repairs.Go(func() { work(ctx) }) }
	defer s.repairs.Wait()
	defer s.fail(nil)
	err := s.run(ctx)
	if stop.Err() != nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (s *Source) run(ctx context.Context) error {
	if err := prepare(ctx, s.source, s.name, s.report); err != nil {
		return err
	}
	if history, ok := s.source.(pipeline.History); ok {
		if err := s.start(ctx, history); err != nil {
			return err
		}
	}
	if feed, ok := s.source.(pipeline.Feed); ok {
		if err := s.recallPosts(ctx, feed); err != nil {
			return err
		}
	}
	if !s.cfg.Until.IsZero() {
		return s.fill(ctx)
	}
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		s.watch(ctx)
	}()
	defer func() { <-watch }()
	return s.stream(ctx)
}

// Repair asks the exchange again for each gap and returns when all is handed to
// the producer, with what was found recorded in the gap topic. It does not stream.
func (s *Source) Repair(ctx context.Context, gaps []market.Gap) error {
	history, ok := s.source.(pipeline.History)
	if !ok {
		return errors.New("this source has no history")
	}
	stop := ctx
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	if err := prepare(ctx, s.source, s.name, s.report); err != nil {
		return err
	}
	for _, g := range gaps {
		t := s.trackers[g.Series()]
		if t == nil {
			t = &tracker{source: s, history: history, series: g.Series()}
			s.trackers[g.Series()] = t
		}
		t.repairBehind(ctx, repair{from: g.FromTime, to: g.ToTime, origin: market.OriginRepair, cause: g.Cause, recorded: true})
	}
	if stop.Err() != nil {
		return stop.Err()
	}
	return context.Cause(ctx)
}

// start makes a tracker for each series and begins its back-fill.
func (s *Source) start(ctx context.Context, history pipeline.History) error {
	series := history.Series()
	newest, open, err := s.recall(ctx, series)
	if err != nil {
		return err
	}
	now, err := s.now(ctx, history)
	if err != nil {
		return err
	}
	for _, line := range series {
		t := &tracker{source: s, history: history, series: line, next: s.begin(line, newest, now)}
		t.begun = t.next
		s.trackers[line] = t
		r := repair{from: t.next, origin: market.OriginBackfill, cause: causeBackfill}
		if _, known := newest[line]; known {
			r.cause = causeStart
		}
		if !s.cfg.Until.IsZero() {
			r.to = min(line.Interval.Next(line.Interval.Start(market.MillisOf(s.cfg.Until)-1)), line.Interval.Start(now))
			if !s.cfg.Since.IsZero() {
				r.origin = market.OriginArchive
			}
		}
		for _, g := range open {
			if s.cfg.Until.IsZero() && g.Series() == line && g.FromTime < t.next {
				behind := repair{from: g.FromTime, to: min(g.ToTime, t.next), origin: market.OriginRepair, cause: g.Cause, recorded: true}
				s.behind(func(ctx context.Context) { t.repairBehind(ctx, behind) })
			}
		}
		t.repairing = true
		s.behind(func(ctx context.Context) { t.repair(ctx, r) }) // from here on next is its own
	}
	return nil
}

// begin is the first open time that is asked for.
func (s *Source) begin(line market.Series, newest map[market.Series]market.Millis, now market.Millis) market.Millis {
	if !s.cfg.Since.IsZero() {
		at := market.MillisOf(s.cfg.Since)
		if start := line.Interval.Start(at); start < at {
			return line.Interval.Next(start)
		}
		return at
	}
	if at, known := newest[line]; known {
		return line.Interval.Next(at)
	}
	hour := market.Interval("1h").Start(now.Add(-firstBackfill)) // or the first hour would be incomplete for ever
	return line.Interval.Start(hour)
}

func (s *Source) recall(ctx context.Context, series []market.Series) (newest map[market.Series]market.Millis, open []market.Gap, err error) {
	err = s.insist(ctx, "kafka", func() error {
		newest, open, err = s.memory.Recall(ctx, series)
		return err
	})
	return newest, open, err
}

func (s *Source) recallPosts(ctx context.Context, feed pipeline.Feed) error {
	return s.insist(ctx, "kafka", func() error {
		return s.memory.RecallPosts(ctx, feed.Posts(), s.posts.recall)
	})
}

func (s *Source) now(ctx context.Context, history pipeline.History) (now market.Millis, err error) {
	err = s.insist(ctx, s.name, func() error {
		now, err = history.Now(ctx)
		return err
	})
	return now, err
}

// insist calls f until it succeeds, and tells of the part that it waits for.
func (s *Source) insist(ctx context.Context, part string, f func() error) error {
	wait := backoff{low: 200 * time.Millisecond, high: 3 * time.Second}
	for {
		err := f()
		if err == nil {
			s.report(part, "")
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.report(part, err.Error())
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// causeUnknown is of a stream that ended and did not say why.
const causeUnknown = "error"

// errHalfDead cuts a stream that is silent on a series that trades.
var errHalfDead = errors.New("half_dead")

// stream connects for ever.
func (s *Source) stream(ctx context.Context) error {
	part := s.name + " stream"
	if _, ok := s.source.(pipeline.Feed); ok {
		s.report(part, "") // it may wait for an hour until its next poll, and is well meanwhile
	} else {
		s.report(part, Starting)
	}
	wait := backoff{low: time.Second, high: 30 * time.Second}
	for {
		one, cut := context.WithCancelCause(ctx)
		s.setStream(cut, time.Time{})
		err := s.source.Stream(one, s.emit)
		cause, after := causeOf(context.Cause(one), err)
		lived := s.setStream(nil, time.Time{})
		cut(nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.metrics.reconnect(cause)
		if lived > time.Minute {
			wait.reset()
		}
		if cause == pipeline.CausePlanned {
			continue
		}
		s.report(part, said(cause, err))
		if err := sleep(ctx, max(wait.next(), after)); err != nil {
			return err
		}
	}
}

func causeOf(cut, err error) (cause string, after time.Duration) {
	if errors.Is(cut, errHalfDead) {
		return errHalfDead.Error(), 0
	}
	var d *pipeline.Disconnected
	if errors.As(err, &d) {
		return d.Cause, d.RetryAfter
	}
	return causeUnknown, 0
}

// said is cause and error for people, once.
func said(cause string, err error) string {
	var d *pipeline.Disconnected
	if errors.As(err, &d) {
		return err.Error()
	}
	return fmt.Sprintf("%s: %v", cause, err)
}

// setStream notes the stream that runs, and returns how long the last one was heard.
func (s *Source) setStream(cut context.CancelCauseFunc, heard time.Time) (lived time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.since.IsZero() {
		lived = time.Since(s.since)
	}
	s.cutter, s.since = cut, heard
	return lived
}

// heard notes the first event of a stream.
func (s *Source) heard() {
	s.mu.Lock()
	first := s.since.IsZero()
	if first {
		s.since = time.Now()
	}
	s.mu.Unlock()
	if first {
		s.report(s.name+" stream", "")
	}
}

// suspect ends the stream where it has run for the whole of the candle that it
// did not deliver.
func (s *Source) suspect(candle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutter != nil && !s.since.IsZero() && time.Since(s.since) > candle+lateAfter {
		s.cutter(errHalfDead)
	}
}

// emit takes a live event.
func (s *Source) emit(ctx context.Context, e market.Event) error {
	s.heard()
	switch e := e.(type) {
	case *market.Candle:
		s.metrics.received(e.EventTime, e.ReceivedTime)
		if t := s.trackers[e.Series()]; t != nil {
			return t.live(ctx, e)
		}
	case *market.Post:
		changed, err := s.posts.note(e)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", e.Key(), err)
		}
		s.metrics.observed(changed)
		if !changed {
			return nil
		}
	}
	return s.produce(ctx, e)
}

// watch asks REST for candles that are late to close.
func (s *Source) watch(ctx context.Context) {
	for sleep(ctx, time.Second) == nil {
		for _, t := range s.trackers {
			t.check()
		}
	}
}

// produce hands e over to Kafka; what cannot be true goes to the dead letters,
// so that it is seen and the rest goes on.
func (s *Source) produce(ctx context.Context, e market.Event) error {
	r, err := pipeline.NewRecord(e, s.name)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", e.Key(), err)
	}
	if err := e.Validate(); err != nil {
		s.metrics.rejected.Inc()
		r.Partition, r.Offset = -1, -1 // it never was in its topic
		dead := pipeline.DeadLetter{Record: r, Reason: reasonInvalid, Message: err.Error(), By: s.name, Time: time.Now()}
		return s.producer.Produce(ctx, dead.Encode(), s.acknowledged(nil))
	}
	return s.producer.Produce(ctx, r, s.acknowledged(e))
}

func (s *Source) acknowledged(e market.Event) func(error) {
	handed := time.Now()
	return func(err error) {
		if err != nil {
			s.fail(fmt.Errorf("appending to Kafka: %w", err))
		}
		s.metrics.acknowledged(e, handed, err)
	}
}
