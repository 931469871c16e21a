package rss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

const (
	fetchTimeout = 30 * time.Second // with the body
	maxBody      = 4 << 20          // bytes, after decompression
	maxRedirects = 5
	// limitedWait is how long a feed is left alone that limits us and does not
	// say for how long; longestWait is where its word is no longer believed.
	limitedWait = time.Minute
	longestWait = 24 * time.Hour
	formats     = "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"
)

// validators are what a server wants to hear again to say "unchanged".
type validators struct{ etag, modified string }

// page is the answer to a fetch. Its body is nil where nothing has changed.
type page struct {
	body       []byte
	url        *url.URL // after redirects: links are relative to it
	validators validators
}

// failure is why a feed could not be read. Its text holds no address.
type failure struct {
	code    string // http_503, timeout, network, cut, body: a change of it is a change of state
	outcome string // label
	cause   string // of pipeline.Causes
	wait    time.Duration
	err     error
}

func (f *failure) Error() string { return f.err.Error() }

// newClient makes an HTTP client that follows a few redirects, also to other
// hosts, as feeds do when they move.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   fetchTimeout,
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("redirected more than %d times", maxRedirects)
			}
			return nil
		},
	}
}

// fetch asks for a feed once. Where v is set the answer may be that nothing has
// changed. Its error is ctx's or a *failure.
func fetch(ctx context.Context, client *http.Client, feed *url.URL, v validators) (page, error) {
	p, err := get(ctx, client, feed, v)
	if err != nil && ctx.Err() != nil {
		return page{}, ctx.Err()
	}
	return p, err
}

func get(ctx context.Context, client *http.Client, feed *url.URL, v validators) (page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, feed.String(), nil)
	if err != nil {
		return page{}, unanswered(err)
	}
	request.Header.Set("User-Agent", "candlestack") // some feeds refuse Go's own
	request.Header.Set("Accept", formats)
	if v.etag != "" {
		request.Header.Set("If-None-Match", v.etag)
	}
	if v.modified != "" {
		request.Header.Set("If-Modified-Since", v.modified)
	}
	response, err := client.Do(request)
	if err != nil {
		return page{}, unanswered(err)
	}
	defer response.Body.Close()
	p := page{url: response.Request.URL, validators: validators{response.Header.Get("ETag"), response.Header.Get("Last-Modified")}}
	switch {
	case response.StatusCode == http.StatusNotModified && v != validators{}:
		p.validators = v
		return p, nil
	case response.StatusCode != http.StatusOK:
		return page{}, refused(response, time.Now())
	}
	p.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil && timedOut(err):
		return page{}, unanswered(err)
	case err != nil:
		return page{}, &failure{code: "cut", outcome: outcomeBroken, cause: pipeline.CauseEOF, err: fmt.Errorf("reading the body: %w", err)}
	case len(p.body) > maxBody:
		return page{}, unreadable(fmt.Errorf("the body is longer than %d bytes", maxBody))
	case len(p.body) == 0:
		return page{}, unreadable(errors.New("the body is empty"))
	}
	return p, nil
}

// unreadable is an answer that is no feed.
func unreadable(err error) *failure {
	return &failure{code: "body", outcome: outcomeBroken, cause: pipeline.CauseProtocol, err: err}
}

// unanswered is a request that got no answer. net/http puts the address into
// its errors, which may hold a secret.
func unanswered(err error) *failure {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	if timedOut(err) {
		return &failure{code: "timeout", outcome: outcomeTimeout, cause: pipeline.CauseTimeout, err: errors.New("no whole answer in time")}
	}
	return &failure{code: "network", outcome: outcomeError, cause: pipeline.CauseRefused, err: err}
}

func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// refused is an answer that is not a 200.
func refused(r *http.Response, now time.Time) *failure {
	f := &failure{
		code: fmt.Sprintf("http_%d", r.StatusCode), outcome: outcomeError, cause: pipeline.CauseRefused,
		err: errors.New(strings.TrimSpace(fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode)))),
	}
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return f
	}
	f.wait = retryAfter(r.Header.Get("Retry-After"), now)
	if f.wait == 0 && r.StatusCode == http.StatusTooManyRequests {
		f.wait = limitedWait
	}
	if f.wait > 0 {
		f.outcome, f.cause = outcomeLimited, pipeline.CauseBan
	}
	return f
}

// retryAfter reads the header, in seconds or as a date; 0 where it says nothing.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, longestWait)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), longestWait)
	}
	return 0
}
