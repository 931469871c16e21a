package cryptopanic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/wire/rest"
)

const (
	requestsPerMinute = 300 // no limit is documented; the quota is below it
	requestTimeout    = 30 * time.Second
	maxBody           = 8 << 20
)

// Waits after a failure: they double from the first to the interval, so that an
// outage does not spend the quota. The service renews its answers each 30 s
// (exchanges.md §2.3); a token is replaced by people.
const (
	failureWait = 30 * time.Second
	refusedWait = 5 * time.Minute
)

const blocked = "the plan may not allow this, or the service does not let this address in"

// Source is CryptoPanic. It is a pipeline.Source with Feed, Examiner and Closer;
// Examine may be called beside Stream.
type Source struct {
	cfg      Config
	log      *slog.Logger
	rest     *rest.Client
	quota    *quota
	metrics  *metrics
	token    atomic.Pointer[string] // the last that was read: it must not be seen
	failures int                    // polls in sequence, of Stream alone
	resumed  bool                   // the wait for what a former process asked is over, of Stream alone
}

var (
	_ pipeline.Source   = (*Source)(nil)
	_ pipeline.Feed     = (*Source)(nil)
	_ pipeline.Examiner = (*Source)(nil)
	_ pipeline.Closer   = (*Source)(nil)
)

// New makes a source. It connects to nothing yet. Errors are those of
// Config.Validate, or a *pipeline.ConfigError for a state folder that cannot be written.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, log: log}
	if s.rest, err = rest.New(rest.Config{
		URL: cfg.URL, Limit: requestsPerMinute, Share: 1, StateDir: cfg.StateDir,
		Timeout: requestTimeout, MaxBody: maxBody, Routes: []string{cfg.route()}, Explain: s.explain, Blocked: blocked,
	}, log, reg); err != nil {
		return nil, err
	}
	s.quota = newQuota(cfg.Quota, u.Host, cfg.StateDir, log)
	if s.metrics, err = newMetrics(reg, s.quota); err != nil {
		return nil, fmt.Errorf("registering metrics of %s: %w", source, err)
	}
	if month := int(31 * 24 * time.Hour / cfg.Interval * time.Duration(cfg.Pages)); cfg.Quota > 0 && month > cfg.Quota {
		log.Warn("the quota will not last for a month: raise the interval or read fewer pages", "quota", cfg.Quota, "requests", month)
	}
	return s, nil
}

// Posts is the name of the feed.
func (s *Source) Posts() string { return source }

// Close lets go of idle connections.
func (s *Source) Close() error { return s.rest.Close() }

// Stream polls at once and then each interval, and emits all posts that it sees;
// the interval also counts from the last poll of a former process, where the
// state is kept. It ends with ctx.Err(), the error of emit, or a
// *pipeline.Disconnected that says when to ask again.
func (s *Source) Stream(ctx context.Context, emit pipeline.Emit) error {
	for {
		if err := s.await(ctx); err != nil {
			return err
		}
		s.quota.poll(time.Now())
		if err := s.poll(ctx, emit); err != nil {
			var d *pipeline.Disconnected
			if errors.As(err, &d) {
				s.quota.poll(time.Time{})
			}
			return err
		}
		s.failures = 0
		s.metrics.polled.SetToCurrentTime()
	}
}

// await waits until the next poll is due.
func (s *Source) await(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	pause := s.quota.pause(s.cfg.Interval, time.Now())
	if pause > 0 && !s.resumed {
		s.log.Info("the feed was asked less than an interval ago", "next_poll", time.Now().Add(pause).UTC())
	}
	s.resumed = true
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poll reads the pages, newest posts first. A post that moves to the next page
// meanwhile comes twice, and counts once; one that moves to the page before is
// seen by the next poll, which costs less than to read the pages again.
func (s *Source) poll(ctx context.Context, emit pipeline.Emit) error {
	seen, bad := map[string]bool{}, 0
	for number := 1; number <= s.cfg.Pages; number++ {
		p, _, err := s.page(ctx, number)
		if err != nil {
			return s.disconnected(ctx, err)
		}
		bad += len(p.bad)
		for _, post := range p.posts {
			if seen[post.ID] {
				continue
			}
			seen[post.ID] = true
			if err := emit(ctx, post); err != nil {
				return err
			}
		}
		if p.last {
			break
		}
	}
	if len(seen) == 0 && bad > 0 {
		return s.disconnected(ctx, unreadable(fmt.Errorf("none of %d posts can be read", bad)))
	}
	return nil
}

// page asks for one page. Its errors are those of rest.Client.Get, and may hold
// the token until they went through hide.
func (s *Source) page(ctx context.Context, number int) (page, time.Duration, error) {
	token, err := s.cfg.token()
	if err != nil {
		return page{}, 0, err
	}
	s.token.Store(&token)
	if err := s.quota.take(time.Now()); err != nil {
		return page{}, 0, err
	}
	reply, err := s.rest.Get(ctx, rest.Request{Route: s.cfg.route(), Query: s.cfg.query(token, number), Weight: 1, Urgent: true})
	if err != nil {
		if _, code := pipeline.ClassOf(err); code == "banned" {
			s.quota.giveBack(time.Now())
		}
		return page{}, 0, err
	}
	p, err := parsePage(reply.Body, market.MillisOf(reply.Received))
	if err != nil {
		if c := s.explain(reply.Body); c.Message != "" {
			err = fmt.Errorf("%w; the service says: %s (%s)", err, c.Message, c.Code)
		}
		return page{}, 0, unreadable(err)
	}
	s.metrics.badPosts.Add(float64(len(p.bad)))
	for _, err := range p.bad {
		s.log.Debug("leaving out a post that cannot be read", "page", number, "error", s.hide(err))
	}
	return p, reply.Received.Sub(reply.Sent), nil
}

// unreadable is an answer that no longer has the documented form.
func unreadable(err error) error {
	return &pipeline.Error{Class: pipeline.Environment, Code: "body", Err: err}
}

// explain reads the service's error for rest, which logs and keeps its message.
func (s *Source) explain(body []byte) rest.Complaint {
	c := explain([]byte(s.redact(string(body))), time.Now())
	if !c.BannedUntil.IsZero() {
		s.quota.close(c.BannedUntil, "the service says: "+c.Message)
	}
	return c
}

// disconnected gives a failure its cause and its wait.
func (s *Source) disconnected(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	end := &pipeline.Disconnected{Cause: pipeline.CauseRefused, RetryAfter: s.backoff(failureWait)}
	var d *pipeline.Disconnected
	_, code := pipeline.ClassOf(err)
	switch {
	case errors.As(err, &d):
		end.Cause, end.RetryAfter = d.Cause, max(d.RetryAfter, end.RetryAfter)
	case code == "http_401":
		end.RetryAfter = s.backoff(refusedWait)
		err = fmt.Errorf("%w; the token is wrong or has ended: replace it", err)
	case code == "http_403":
		end.RetryAfter = s.backoff(refusedWait)
	case code == "timeout":
		end.Cause = pipeline.CauseTimeout
	case code == "network":
		end.Cause = pipeline.CauseEOF
	case code == "body":
		end.Cause = pipeline.CauseProtocol
	}
	if wait := s.quota.wait(time.Now()); wait > 0 {
		end.Cause, end.RetryAfter = pipeline.CauseBan, max(wait, end.RetryAfter)
	}
	s.failures++
	end.Err = s.hide(err)
	return end
}

// backoff doubles with each failure, up to the interval.
func (s *Source) backoff(first time.Duration) time.Duration {
	return min(first<<min(s.failures, 10), max(s.cfg.Interval, first))
}

// hide keeps the token out of an error: a redirect that cannot be read is quoted
// by net/http.
func (s *Source) hide(err error) error {
	if said := err.Error(); s.redact(said) != said {
		return errors.New(s.redact(said))
	}
	return err
}

func (s *Source) redact(said string) string {
	if token := s.token.Load(); token != nil {
		return strings.ReplaceAll(said, *token, hidden)
	}
	return said
}

// Examine asks for the first page, which costs a request of the quota, unless
// a poll has done so within the interval.
func (s *Source) Examine(ctx context.Context) []pipeline.Finding {
	finding := func(subject string, ok bool, format string, args ...any) pipeline.Finding {
		return pipeline.Finding{Subject: source + " " + subject, OK: ok, Detail: fmt.Sprintf(format, args...)}
	}
	var posts pipeline.Finding
	if pause := s.quota.pause(s.cfg.Interval, time.Now()); pause > 0 {
		posts = finding("posts", true, "polled %s ago, so not asked again: it would cost a request", (s.cfg.Interval - pause).Round(time.Second))
	} else if p, took, err := s.page(ctx, 1); err != nil {
		posts = finding("posts", false, "%v", s.hide(err))
	} else {
		posts = finding("posts", true, "%s answers in %s with %d posts, %d of them unreadable; it cost a request",
			s.rest.Host(), took.Round(time.Millisecond), len(p.posts)+len(p.bad), len(p.bad))
	}
	used := s.quota.usage(time.Now())
	if s.cfg.Quota == 0 {
		return []pipeline.Finding{posts, finding("quota", true, "%d requests in this month, as far as they were counted", used)}
	}
	return []pipeline.Finding{posts, finding("quota", used < s.cfg.Quota, "%d of %d requests used in this month", used, s.cfg.Quota)}
}
