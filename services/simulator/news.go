package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// NewsAccounting is what clients of the feeds cost.
type NewsAccounting struct {
	CryptoPanic int64  `json:"cryptopanic"`  // requests to its API, rejected ones included
	RSS         int64  `json:"rss"`          // requests to the RSS feed
	NotModified int64  `json:"not_modified"` // answers of the RSS feed without a body, 304
	Rejected    int64  `json:"rejected"`     // answers with 401, 403 or 429, of both
	Month       string `json:"month"`        // calendar month, UTC and by the real clock, of Used: 2026-11
	Used        int64  `json:"used"`         // requests to CryptoPanic in Month that count for the quota
}

// newsdesk is what the feeds remember of their clients.
type newsdesk struct {
	wall  func() time.Time
	quota int // requests a month, 0: no end

	mu     sync.Mutex
	totals NewsAccounting
	broken int // posts that bad_post broke so far
}

// asked and answered account for a request to a feed.
func (d *newsdesk) asked(feed string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch feed {
	case feedCryptoPanic:
		d.totals.CryptoPanic++
	case feedRSS:
		d.totals.RSS++
	}
}

func (d *newsdesk) answered(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch status {
	case http.StatusNotModified:
		d.totals.NotModified++
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		d.totals.Rejected++
	}
}

// spend takes one request of the month's quota; false if none is left.
func (d *newsdesk) spend() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if month := d.wall().UTC().Format("2006-01"); month != d.totals.Month {
		d.totals.Month, d.totals.Used = month, 0
	}
	if d.quota > 0 && d.totals.Used >= int64(d.quota) {
		return false
	}
	d.totals.Used++
	return true
}

// next numbers the posts that bad_post breaks.
func (d *newsdesk) next() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken++
	return d.broken - 1
}

func (d *newsdesk) accounting() NewsAccounting {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.totals
}

// paper is an answer of a news route.
type paper struct {
	status   int
	mime     string
	body     []byte
	feed     bool      // has an ETag, and may be answered with 304
	modified time.Time // of a feed
}

const (
	mimeJSON = "application/json"
	mimeHTML = "text/html; charset=utf-8"
)

// newsRoute is a route beside the exchange.
type newsRoute struct {
	feed, path string
	answer     func(*http.Request) paper
}

// Names of the news routes, for metrics and, of the feeds, for faults.
const (
	feedCryptoPanic = "cryptopanic"
	feedRSS         = "rss"
	postPage        = "post"
)

func (s *Simulator) newsRoutes() []newsRoute {
	return []newsRoute{
		{feedCryptoPanic, "/api/v1/posts/{$}", s.panicPosts},
		{feedCryptoPanic, "/api/free/v1/posts/{$}", s.panicPosts},
		{feedRSS, "/news/rss", s.rss},
		{postPage, "/news/{id}/{slug}", s.postPage},
	}
}

// serveNews wraps a route: faults strike, then it is answered.
func (s *Simulator) serveNews(r newsRoute) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		s.newsdesk.asked(r.feed)
		out := &recorder{w, func(status int) {
			s.newsdesk.answered(status)
			s.metrics.requests.WithLabelValues(r.feed, strconv.Itoa(status)).Inc()
		}}
		if !s.failNews(out, q, r) {
			deliver(out, q, r.answer(q))
		}
	}
}

// recorder tells of the status before the client can know it.
type recorder struct {
	http.ResponseWriter
	note func(status int)
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	r.note(status)
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func deliver(w http.ResponseWriter, q *http.Request, p paper) {
	w.Header().Set("Content-Type", p.mime)
	if p.feed {
		sum := sha256.Sum256(p.body)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
		http.ServeContent(w, q, "", p.modified, bytes.NewReader(p.body))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // the client is gone: nobody to tell
}

// failNews lets the faults strike that are due for a request to a feed; true if
// one answered. What they look like is exchanges.md §2.3.
func (s *Simulator) failNews(w http.ResponseWriter, q *http.Request, r newsRoute) bool {
	if r.feed == postPage {
		return false
	}
	due := func(kind string) *active { return s.dueNews(r.feed, kind) }
	if a := due(faultSlow); a != nil && !late(q, a) {
		return true
	}
	if a := due(fault429); a != nil {
		if a.Delay > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(a.Delay))))
		}
		deliver(w, q, apiFailure(http.StatusTooManyRequests, "Too many requests"))
		return true
	}
	switch {
	case r.feed == feedCryptoPanic && due(faultQuota) != nil:
		deliver(w, q, quotaExceeded())
	case due(fault5xx) != nil:
		deliver(w, q, paper{status: http.StatusServiceUnavailable, mime: mimeHTML, body: []byte(maintenancePage)})
	case due(fault403) != nil:
		deliver(w, q, paper{status: http.StatusForbidden, mime: mimeHTML, body: []byte(firewallPage)})
	case due(faultHTML) != nil:
		deliver(w, q, paper{status: http.StatusOK, mime: mimeHTML, body: []byte(maintenancePage)})
	case due(faultTruncatedBody) != nil:
		p := r.answer(q)
		cut(w, p.mime, p.body)
	default:
		return false
	}
	return true
}

// dueNews uses a fault for a feed, and counts it.
func (s *Simulator) dueNews(feed, kind string) *active {
	a := s.faults.takeNews(feed, kind)
	if a != nil {
		s.metrics.faults.WithLabelValues(kind).Inc()
	}
	return a
}

func notFound() paper {
	return paper{status: http.StatusNotFound, mime: mimeHTML,
		body: []byte("<!DOCTYPE html><html><head><title>Not found</title></head><body><h1>404</h1></body></html>")}
}

// href is the address of a story where we are known as host.
func (s *story) href(host string) string {
	if s.link != "" {
		return s.link
	}
	return fmt.Sprintf("http://%s/news/%d/%s", host, s.id, s.slug)
}

// postPage is what a post's link leads to.
func (s *Simulator) postPage(q *http.Request) paper {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil {
		return notFound()
	}
	one, ok := s.news.story(id, s.clock.now())
	if !ok {
		return notFound()
	}
	body := fmt.Appendf(nil, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%[1]s</title></head>\n"+
		"<body><h1>%[1]s</h1>\n<p><time>%[2]s</time>, %[3]s</p>\n<p>%[4]s</p>\n<p>Invented news of a simulator.</p></body></html>\n",
		html.EscapeString(one.title), stamp(one.published), html.EscapeString(one.publisher.title), html.EscapeString(one.text))
	return paper{status: http.StatusOK, mime: mimeHTML, body: body}
}

// stamp is a time as CryptoPanic writes it: whole seconds.
func stamp(m market.Millis) string { return m.Time().Format("2006-01-02T15:04:05Z") }
