// Package rest is HTTP with a budget and bans: what every exchange that counts
// requests has in common. One Client speaks to one host. It waits while the
// minute's weight is spent, sends nothing while the host has banned us, and
// returns every failure as a *pipeline.Error that holds no query, because other
// venues carry secrets there.
package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Config is how to speak to one host. Adapters fill it; it has no flags of its own.
type Config struct {
	URL      string        // base: scheme, host and perhaps a path
	Limit    int           // weight that the host allows a minute
	Share    float64       // of it that we use, in (0, 1]
	StateDir string        // keeps a ban over restarts; empty: not kept
	Timeout  time.Duration // of one request with its body
	MaxBody  int64         // bytes, after decompression
	Routes   []string      // that will be asked for: labels of the metrics
	// Used reads the weight that the host has counted in this minute; nil where
	// the host does not tell.
	Used func(http.Header) (weight int, ok bool)
	// Explain reads the venue's own error from a body that is not a 200's; nil
	// where there is none.
	Explain func(body []byte) Complaint
	// Blocked is a word of advice for 403 and 451.
	Blocked string
}

// Complaint is a venue's own error.
type Complaint struct {
	Code        string // -1121
	Message     string
	BannedUntil time.Time // zero: not said
}

// Request is one GET.
type Request struct {
	Route  string // path below Config.URL
	Query  url.Values
	Weight int
	// Urgent requests may use the last tenth of the budget, so that a long
	// back-fill does not starve what is live.
	Urgent bool
}

// Reply is a 200.
type Reply struct {
	Body           []byte
	Sent, Received time.Time // our clock
	Date           time.Time // the host's clock, whole seconds; zero where it does not say
}

// Client speaks to one host. Its methods may be called concurrently.
type Client struct {
	cfg     Config
	base    *url.URL
	http    *http.Client
	budget  *budget
	ban     *ban
	metrics *metrics
}

// New makes a client. The error is a *pipeline.ConfigError where StateDir cannot be written.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("%.100q is not the URL of a host", cfg.URL)
	}
	ban, err := newBan(base.Host, cfg.StateDir, log)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base, budget: &budget{limit: cfg.Limit, share: cfg.Share}, ban: ban}
	if c.metrics, err = newMetrics(reg, base.Host, cfg.Routes, c); err != nil {
		return nil, fmt.Errorf("registering metrics of %s: %w", base.Host, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8 // the default of 2 would dial again and again in a back-fill
	c.http = &http.Client{Transport: transport, CheckRedirect: sameHost}
	return c, nil
}

var errElsewhere = errors.New("redirected to another host")

func sameHost(r *http.Request, via []*http.Request) error {
	if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme || len(via) > 3 {
		return errElsewhere
	}
	return nil
}

// Close lets go of idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Host is the label of this client's metrics.
func (c *Client) Host() string { return c.base.Host }

// SetLimit replaces Config.Limit by what the host says of itself.
func (c *Client) SetLimit(weight int) { c.budget.setLimit(weight) }

// Budget is the weight used in this minute and the host's limit.
func (c *Client) Budget() (used, limit int) { return c.budget.state(time.Now()) }

// Get waits for the budget and sends r. Every error but ctx's is a
// *pipeline.Error; its Code is http_<status>, the venue's own code for a 400,
// timeout, network, body or banned. The chain of a ban, new or old, holds a
// *pipeline.Disconnected with RetryAfter; under an old one nothing is sent.
func (c *Client) Get(ctx context.Context, r Request) (Reply, error) {
	if err := c.banned(); err != nil {
		return Reply{}, err
	}
	if err := c.budget.take(ctx, r.Weight, r.Urgent); err != nil {
		return Reply{}, err
	}
	if err := c.banned(); err != nil { // since we waited
		return Reply{}, err
	}
	sent := time.Now()
	reply, err := c.send(ctx, r)
	c.metrics.observe(r.Route, outcome(err), time.Since(sent))
	if err != nil {
		if ctx.Err() != nil {
			return Reply{}, ctx.Err()
		}
		var e *pipeline.Error
		if errors.As(err, &e) {
			e.Err = fmt.Errorf("GET %s%s: %w", c.base.Host, r.Route, e.Err)
		}
		return Reply{}, err
	}
	return reply, nil
}

func (c *Client) send(ctx context.Context, r Request) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	u := c.base.JoinPath(r.Route)
	u.RawQuery = r.Query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Reply{}, failed("network", unwrapURL(err))
	}
	request.Header.Set("User-Agent", "candlestack")
	reply := Reply{Sent: time.Now()}
	response, err := c.http.Do(request)
	if err != nil {
		return Reply{}, failed(networkCode(err), unwrapURL(err))
	}
	defer response.Body.Close()
	if c.cfg.Used != nil {
		if used, ok := c.cfg.Used(response.Header); ok {
			c.budget.correct(used, reply.Sent, time.Now())
		}
	}
	reply.Body, err = io.ReadAll(io.LimitReader(response.Body, c.cfg.MaxBody+1))
	reply.Received = time.Now()
	reply.Date, _ = http.ParseTime(response.Header.Get("Date"))
	if response.StatusCode != http.StatusOK {
		return Reply{}, c.refused(response, reply.Body)
	}
	switch {
	case err != nil && networkCode(err) == "timeout":
		return Reply{}, failed("timeout", fmt.Errorf("reading the body: %w", unwrapURL(err)))
	case err != nil: // cut short, or gzip that ends early
		return Reply{}, &pipeline.Error{Class: pipeline.Transient, Code: "body", Err: fmt.Errorf("reading the body: %w", unwrapURL(err))}
	case int64(len(reply.Body)) > c.cfg.MaxBody:
		return Reply{}, failed("body", fmt.Errorf("the body is longer than %d bytes", c.cfg.MaxBody))
	case isHTML(reply.Body):
		return Reply{}, failed("body", errors.New("the body is an HTML page"))
	}
	return reply, nil
}

// refused turns an answer that is not a 200 into an error, and into a ban where
// it is one.
func (c *Client) refused(response *http.Response, body []byte) error {
	var complaint Complaint
	if c.cfg.Explain != nil && !isHTML(body) {
		complaint = c.cfg.Explain(body)
	}
	status, code := response.StatusCode, fmt.Sprintf("http_%d", response.StatusCode)
	text := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if complaint.Message != "" {
		text += fmt.Sprintf(": %s (%s)", complaint.Message, complaint.Code)
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusTeapot:
		until := banEnd(status, response.Header.Get("Retry-After"), complaint.BannedUntil, time.Now())
		c.ban.set(until, text)
		return banError(code, text, until)
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		if c.cfg.Blocked != "" {
			text += "; " + c.cfg.Blocked
		}
	case http.StatusBadRequest:
		if complaint.Code != "" {
			code = complaint.Code
		}
	}
	return failed(code, errors.New(text))
}

func (c *Client) banned() error {
	until, reason := c.ban.state()
	if until.IsZero() {
		return nil
	}
	return banError("banned", fmt.Sprintf("%s: nothing is sent until %s, after %s", c.base.Host, until.UTC().Format(time.RFC3339), reason), until)
}

func banError(code, text string, until time.Time) error {
	return failed(code, &pipeline.Disconnected{Cause: "ban", RetryAfter: max(time.Until(until), time.Second), Err: errors.New(text)})
}

func failed(code string, err error) *pipeline.Error {
	return &pipeline.Error{Class: pipeline.Environment, Code: code, Err: err}
}

func networkCode(err error) string {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	return "network"
}

// unwrapURL drops the URL with its query from the errors of net/http.
func unwrapURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func isHTML(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) }
