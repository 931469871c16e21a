package rss

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// fetchesAtOnce keeps one slow feed from holding up all others.
const fetchesAtOnce = 4

// Source follows feeds. It is a pipeline.Source with Feed, Examiner and Closer.
type Source struct {
	cfg     Config
	log     *slog.Logger
	client  *http.Client
	feeds   []*feed
	metrics *metrics
}

// feed is one feed and what is known of it. Only Stream changes it.
type feed struct {
	url   *url.URL
	label string
	// validators and ids are of the last good fetch of this stream.
	validators validators
	ids        map[string]bool
	problem    *failure  // why it is not read now, nil when it is
	rest       time.Time // it wants to hear nothing before
}

var (
	_ pipeline.Source   = (*Source)(nil)
	_ pipeline.Feed     = (*Source)(nil)
	_ pipeline.Examiner = (*Source)(nil)
	_ pipeline.Closer   = (*Source)(nil)
)

// New makes a source. It connects to nothing yet. Errors are those of
// Config.Validate.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, log: log, client: newClient()}
	var addresses []*url.URL
	for _, text := range cfg.Feeds {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, u)
	}
	for i, label := range labels(addresses) {
		s.feeds = append(s.feeds, &feed{url: addresses[i], label: label})
	}
	var err error
	if s.metrics, err = newMetrics(reg, s.feeds); err != nil {
		return nil, fmt.Errorf("registering metrics of rss: %w", err)
	}
	return s, nil
}

// Posts is the Source field of all posts.
func (s *Source) Posts() string { return source }

// Close lets go of idle connections.
func (s *Source) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Stream asks all feeds at once and then once an interval, and emits what they
// show, a round oldest first. A feed that fails is asked again at its next turn.
// Stream ends with ctx.Err(), the error of emit, or a *pipeline.Disconnected
// when all feeds failed in one round.
func (s *Source) Stream(ctx context.Context, emit pipeline.Emit) error {
	for _, f := range s.feeds {
		// A stream shows all posts once, or nobody would see that it works again.
		f.validators, f.ids = validators{}, nil
	}
	turn := time.NewTicker(s.cfg.Interval)
	defer turn.Stop()
	for {
		posts, err := s.round(ctx)
		if err != nil {
			return err
		}
		for _, p := range posts {
			if err := emit(ctx, p); err != nil {
				return err
			}
		}
		select {
		case <-turn.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer is what one feed gave in a round; both nil where nothing has changed.
type answer struct {
	page     page
	contents *contents
	err      error // ctx's or a *failure
}

// round asks every feed that may be asked. Its posts have one time of observing:
// the end of the round, as they are sorted across feeds.
func (s *Source) round(ctx context.Context) ([]*market.Post, error) {
	answers := make([]answer, len(s.feeds))
	slots := make(chan struct{}, fetchesAtOnce)
	var all sync.WaitGroup
	for i, f := range s.feeds {
		if time.Now().Before(f.rest) {
			answers[i].err = f.problem
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[i] = s.ask(ctx, f, f.validators)
			s.metrics.fetched(f.label, answers[i].outcome())
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var posts []*market.Post
	for i, a := range answers {
		s.note(s.feeds[i], a)
		if a.contents != nil {
			posts = append(posts, s.own(i, a.contents.posts)...)
		}
	}
	oldestFirst(posts)
	now := market.MillisOf(time.Now())
	for _, p := range posts {
		p.ObservedTime = now
	}
	return posts, s.disconnected()
}

// ask fetches and reads a feed.
func (s *Source) ask(ctx context.Context, f *feed, v validators) answer {
	p, err := fetch(ctx, s.client, f.url, v)
	if err != nil || p.body == nil {
		return answer{page: p, err: err}
	}
	c, err := parse(p.body, f.url, p.url, time.Now())
	if err != nil {
		return answer{err: unreadable(err)}
	}
	p.body = nil
	return answer{page: p, contents: c}
}

func (a *answer) outcome() string {
	var f *failure
	switch {
	case errors.As(a.err, &f):
		return f.outcome
	case a.err != nil:
		return outcomeError // our own end
	case a.contents == nil:
		return outcomeUnchanged
	}
	return outcomeOK
}

// note keeps what an answer says of the feed, and tells of a change of its state.
func (s *Source) note(f *feed, a answer) {
	before := f.problem
	f.problem = nil
	var failed *failure
	switch {
	case errors.As(a.err, &failed):
		f.problem = failed
		if failed.wait > 0 && failed != before {
			f.rest = time.Now().Add(failed.wait)
		}
		if before == nil || before.code != failed.code {
			s.log.Warn("feed cannot be read", "feed", f.label, "error", failed)
		}
		return
	case before != nil:
		s.log.Info("feed is read again", "feed", f.label)
	}
	f.validators = a.page.validators
	if a.contents != nil {
		s.metrics.leftOut.WithLabelValues(f.label).Add(float64(a.contents.leftOut))
	}
}

// own drops the posts that a feed before the i-th shows as well: feeds of one
// host share ids, and a post must not change its publisher at every turn.
func (s *Source) own(i int, posts []*market.Post) []*market.Post {
	ids := map[string]bool{}
	for _, p := range posts {
		ids[p.ID] = true
	}
	s.feeds[i].ids = ids
	return slices.DeleteFunc(posts, func(p *market.Post) bool {
		return slices.ContainsFunc(s.feeds[:i], func(f *feed) bool { return f.ids[p.ID] })
	})
}

// disconnected is an error where no feed can be read.
func (s *Source) disconnected() error {
	first := s.feeds[0].problem
	wait := pipeline.Disconnected{RetryAfter: longestWait}
	for _, f := range s.feeds {
		if f.problem == nil {
			return nil
		}
		wait.RetryAfter = min(wait.RetryAfter, max(time.Until(f.rest), 0))
	}
	wait.Cause = first.cause
	wait.Err = fmt.Errorf("%s: %w", s.feeds[0].label, first)
	if n := len(s.feeds); n > 1 {
		wait.Err = fmt.Errorf("none of %d feeds can be read, the first: %w", n, wait.Err)
	}
	return &wait
}

// Examine fetches each feed once.
func (s *Source) Examine(ctx context.Context) []pipeline.Finding {
	found := make([]pipeline.Finding, len(s.feeds))
	var all sync.WaitGroup
	for i, f := range s.feeds {
		all.Go(func() {
			started := time.Now()
			a := s.ask(ctx, f, validators{})
			found[i] = pipeline.Finding{Subject: "rss " + f.label, OK: a.err == nil, Detail: a.detail(f, time.Since(started))}
		})
	}
	all.Wait()
	return found
}

func (a *answer) detail(f *feed, took time.Duration) string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case len(a.contents.posts) == 0:
		return "has no items"
	}
	newest := a.contents.posts[len(a.contents.posts)-1].PublishedTime.String()
	text := fmt.Sprintf("%d items, the newest of %s, in %s", a.contents.items, newest, took.Round(time.Millisecond))
	if a.contents.undated > 0 {
		text += fmt.Sprintf("; %d without a date", a.contents.undated)
	}
	if a.page.url.Host != f.url.Host {
		text += "; redirected to " + a.page.url.Host
	}
	return text
}
