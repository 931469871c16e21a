package rss

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a host of feeds. It answers each path by its handler and remembers
// what it was asked.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	asked    []*http.Request
}

func newSite(t testing.TB) *site {
	s := &site{handlers: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		handler := s.handlers[r.URL.Path]
		s.mu.Unlock()
		if handler == nil {
			http.NotFound(w, r)
			return
		}
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// on sets what a path answers and returns its address.
func (s *site) on(path string, handler http.HandlerFunc) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[path] = handler
	return s.URL + path
}

func (s *site) requests(path string) (asked []*http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if r.URL.Path == path {
			asked = append(asked, r)
		}
	}
	return asked
}

// shows answers with a feed that has these items, a minute apart.
func shows(title string, items ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<rss version="2.0"><channel><title>%s</title>`, title)
		for i, item := range items {
			at := noon.AddDate(-6, 0, 0).Add(-time.Duration(i) * time.Minute)
			fmt.Fprintf(w, `<item><guid>%s</guid><title>%s</title><pubDate>%s</pubDate></item>`, item, item, at.Format(time.RFC1123Z))
		}
		fmt.Fprint(w, `</channel></rss>`)
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// follow makes a source that is closed when the test ends.
func follow(t testing.TB, feeds ...string) (*Source, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
	s, err := New(Config{Feeds: feeds, Interval: time.Second}, slog.New(slog.NewTextHandler(log, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, reg, log
}

// asks runs a round and returns the titles of its posts.
func asks(t testing.TB, s *Source) []string {
	t.Helper()
	posts, err := s.round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return titles(posts)
}

func titles(posts []*market.Post) (titles []string) {
	for _, p := range posts {
		titles = append(titles, p.Title)
	}
	return titles
}

func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// series returns the values of a metric by its labels, sorted by name.
func series(t testing.TB, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

const fetches = "candlestack_rss_fetches_total"

func TestUnchangedFeedSaysSo(t *testing.T) {
	h := newSite(t)
	feed := shows("t", "new", "old")
	address := h.on("/feed", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `W/"1"` && r.Header.Get("If-Modified-Since") == "yesterday" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `W/"1"`)
		w.Header().Set("Last-Modified", "yesterday")
		feed(w, r)
	})
	s, reg, log := follow(t, address)
	same(t, asks(t, s), "old", "new")
	for range 2 {
		same(t, asks(t, s))
	}
	host := s.feeds[0].label
	want := map[string]float64{host + " ok": 1, host + " unchanged": 2, host + " error": 0, host + " limited": 0, host + " timeout": 0, host + " unreadable": 0}
	if diff := cmp.Diff(want, series(t, reg, fetches)); diff != "" {
		t.Error(diff)
	}
	// A new stream shows all posts once, or the engine would not see that it works.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	enough := errors.New("enough")
	if err := s.Stream(ctx, func(context.Context, market.Event) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("all is well, but the log says %s", log)
	}
}

func TestRequest(t *testing.T) {
	h := newSite(t)
	s, _, _ := follow(t, h.on("/feed", shows("t", "a")))
	asks(t, s)
	r := h.requests("/feed")[0]
	if r.Header.Get("User-Agent") != "candlestack" || !strings.Contains(r.Header.Get("Accept"), "application/rss+xml") || r.Header.Get("Accept-Encoding") != "gzip" {
		t.Errorf("%v", r.Header)
	}
}

func TestGzip(t *testing.T) {
	h := newSite(t)
	packed := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, body)
			z.Close()
		}
	}
	good := h.on("/good", packed(`<rss><channel><title>t</title><item><title>a</title></item></channel></rss>`))
	bomb := h.on("/bomb", packed(strings.Repeat(" ", maxBody+1)))
	s, _, log := follow(t, good, bomb)
	same(t, asks(t, s), "a")
	if !strings.Contains(log.String(), "longer than") {
		t.Errorf("the log says %s", log)
	}
}

func TestRedirects(t *testing.T) {
	h, elsewhere := newSite(t), newSite(t)
	hops := func(w http.ResponseWriter, r *http.Request) {
		switch n := r.URL.Query().Get("n"); n {
		case "":
			http.Redirect(w, r, elsewhere.URL+"/deep/feed", http.StatusMovedPermanently)
		default:
			http.Redirect(w, r, "/hop?n="+n[1:], http.StatusFound)
		}
	}
	h.on("/hop", hops)
	elsewhere.on("/deep/feed", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<rss><channel><title>t</title><item><title>a</title><link>post</link></item></channel></rss>`)
	})
	s, _, log := follow(t, h.URL+"/hop?n=xxxx", h.URL+"/hop?n=xxxxx")
	posts, err := s.round(t.Context())
	if err != nil || len(posts) != 1 {
		t.Fatalf("%d posts, %v", len(posts), err)
	}
	if p, host := posts[0], strings.TrimPrefix(h.URL, "http://"); p.URL != elsewhere.URL+"/deep/post" || !strings.HasPrefix(p.ID, host+"/") {
		t.Errorf("%s has the address %s", p.ID, p.URL)
	}
	if !strings.Contains(log.String(), "redirected more than 5 times") || strings.Contains(log.String(), "n=x") {
		t.Errorf("the log says %s", log)
	}
}

// TestFailures: each failure has its outcome, its cause, and what the host wants.
func TestFailures(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "<rss><channel>")
	}
	slow := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<rss><channel>")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	for _, f := range []struct {
		name           string
		handler        http.HandlerFunc
		outcome, cause string
		least, most    time.Duration
		text           string
	}{
		{"missing", status(404), "error", "refused", 0, 0, "404 Not Found"},
		{"forbidden", status(403), "error", "refused", 0, 0, "403 Forbidden"},
		{"broken", status(500), "error", "refused", 0, 0, "500"},
		{"down", status(503), "error", "refused", 0, 0, "503"},
		{"unchanged since never", status(304), "error", "refused", 0, 0, "304"},
		{"down for a while", status(503, "Retry-After", "120"), "limited", "ban", 119 * time.Second, 2 * time.Minute, "503"},
		{"limited", status(429), "limited", "ban", 59 * time.Second, time.Minute, "429"},
		{"limited until", status(429, "Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat)), "limited", "ban", 110 * time.Minute, 2 * time.Hour, "429"},
		{"limited for years", status(429, "Retry-After", "999999999"), "limited", "ban", longestWait - time.Minute, longestWait, "429"},
		{"truncated", cut, "unreadable", "eof", 0, 0, "reading the body"},
		{"slow", slow, "timeout", "timeout", 0, 0, "in time"},
		{"empty", status(200), "unreadable", "protocol", 0, 0, "empty"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Are you human?</html>") }, "unreadable", "protocol", 0, 0, "HTML"},
		{"half a feed", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<rss><channel><item>") }, "unreadable", "protocol", 0, 0, "XML"},
		{"hung up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "error", "refused", 0, 0, "EOF"},
	} {
		t.Run(f.name, func(t *testing.T) {
			h := newSite(t)
			s, reg, _ := follow(t, h.on("/feed", f.handler)+"?token=secret")
			if f.name == "slow" {
				s.client.Timeout = 200 * time.Millisecond
			}
			_, err := s.round(t.Context())
			var d *pipeline.Disconnected
			if !errors.As(err, &d) || d.Cause != f.cause || d.RetryAfter < f.least || d.RetryAfter > f.most {
				t.Fatalf("got %v (%+v)", err, d)
			}
			if !strings.Contains(err.Error(), f.text) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want one with %q", err, f.text)
			}
			if got := series(t, reg, fetches)[s.feeds[0].label+" "+f.outcome]; got != 1 {
				t.Errorf("%v of the outcome %s", got, f.outcome)
			}
			if got := series(t, reg, "candlestack_rss_last_success_timestamp_seconds")[s.feeds[0].label]; got != 0 {
				t.Errorf("a success at %v", got)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	h := newSite(t)
	s, _, _ := follow(t, h.URL+"/feed?token=secret")
	h.Close()
	_, err := s.round(t.Context())
	var d *pipeline.Disconnected
	if !errors.As(err, &d) || d.Cause != pipeline.CauseRefused || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// TestOneFeedFails: the others go on, and the log has one line for each change.
func TestOneFeedFails(t *testing.T) {
	h := newSite(t)
	bad := h.on("/bad", status(500))
	s, reg, log := follow(t, bad, h.on("/good", shows("t", "a")))
	host := strings.TrimPrefix(h.URL, "http://")
	for range 3 {
		same(t, asks(t, s), "a")
	}
	h.on("/bad", status(404))
	same(t, asks(t, s), "a")
	h.on("/bad", shows("t", "b"))
	for range 2 {
		same(t, asks(t, s), "b", "a")
	}
	var lines []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=")
		lines = append(lines, strings.TrimSpace(line))
	}
	want := []string{
		`WARN msg="feed cannot be read" feed=` + host + `/bad error="500 Internal Server Error"`,
		`WARN msg="feed cannot be read" feed=` + host + `/bad error="404 Not Found"`,
		`INFO msg="feed is read again" feed=` + host + `/bad`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if got := series(t, reg, "candlestack_rss_last_success_timestamp_seconds"); got[host+"/bad"] == 0 || got[host+"/good"] == 0 {
		t.Errorf("last successes: %v", got)
	}
}

// TestLimitedFeedIsLeftAlone, also by the next stream, while the others go on.
func TestLimitedFeedIsLeftAlone(t *testing.T) {
	h := newSite(t)
	s, _, _ := follow(t, h.on("/good", shows("t", "a")), h.on("/limited", status(429, "Retry-After", "3600")))
	for range 3 {
		same(t, asks(t, s), "a")
	}
	if n := len(h.requests("/limited")); n != 1 {
		t.Errorf("asked %d times", n)
	}
	h.on("/good", status(500))
	if _, err := s.round(t.Context()); pause(err) != 0 {
		t.Errorf("one feed may be asked at once, but %v", err)
	}
	h.on("/good", status(503, "Retry-After", "60"))
	if _, err := s.round(t.Context()); pause(err) < 59*time.Second || pause(err) > time.Minute {
		t.Errorf("one feed may be asked in a minute, but %v in %s", err, pause(err))
	}
	h.on("/limited", shows("t", "b"))
	s.feeds[1].rest = time.Now()
	same(t, asks(t, s), "b")
}

func pause(err error) time.Duration {
	var d *pipeline.Disconnected
	if !errors.As(err, &d) {
		return -1
	}
	return d.RetryAfter
}

// TestFeedsOfOneHost: a post that two of them show is the first one's, also
// while that one is unchanged or fails, or it would change at every turn.
func TestFeedsOfOneHost(t *testing.T) {
	h := newSite(t)
	all := shows("All", "b", "a")
	first := h.on("/all", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"1"`)
		all(w, r)
	})
	s, _, _ := follow(t, first, h.on("/bitcoin", shows("Bitcoin", "c", "b")))
	for range 2 {
		posts, err := s.round(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range posts {
			if want := map[string]string{"a": "All", "b": "All", "c": "Bitcoin"}[p.Title]; p.Publisher.Title != want {
				t.Errorf("%s is of %s, want %s", p.Title, p.Publisher.Title, want)
			}
		}
	}
	h.on("/all", status(500))
	same(t, asks(t, s), "c")
	h.on("/all", shows("All", "a"))
	same(t, asks(t, s), "b", "a", "c")
}

func TestStreamEmitsOldestFirst(t *testing.T) {
	h := newSite(t)
	s, _, _ := follow(t, h.on("/1", shows("t", "3", "1")), h.on("/2", shows("t", "4", "2")))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var posts []*market.Post
	err := s.Stream(ctx, func(_ context.Context, e market.Event) error {
		posts = append(posts, e.(*market.Post))
		if len(posts) == 8 { // two rounds
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	same(t, titles(posts), "1", "2", "3", "4", "1", "2", "3", "4")
	if posts[0].ObservedTime != posts[3].ObservedTime || posts[0].ObservedTime >= posts[4].ObservedTime {
		t.Error("a round has not one time of observing")
	}
}

func TestExamine(t *testing.T) {
	h, elsewhere := newSite(t), newSite(t)
	dated := elsewhere.on("/dates", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<rss><channel><item><title>a</title><pubDate>Fri, 20 Nov 2020 10:00:00 GMT</pubDate></item><item><title>b</title></item></channel></rss>`)
	})
	s, _, log := follow(t,
		h.on("/moved", http.RedirectHandler(dated, http.StatusFound).ServeHTTP)+"?token=secret",
		h.on("/empty", shows("t")), h.on("/gone", status(410)))
	found := s.Examine(t.Context())
	host := strings.TrimPrefix(h.URL, "http://")
	for i, want := range []pipeline.Finding{
		{Subject: "rss " + host + "/moved", OK: true, Detail: "2 items, the newest of 2020-11-20T10:00:00.000Z"},
		{Subject: "rss " + host + "/empty", OK: true, Detail: "has no items"},
		{Subject: "rss " + host + "/gone", Detail: "410 Gone"},
	} {
		if f := found[i]; f.Subject != want.Subject || f.OK != want.OK || !strings.HasPrefix(f.Detail, want.Detail) {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	if d := found[0].Detail; !strings.HasSuffix(d, "redirected to "+strings.TrimPrefix(elsewhere.URL, "http://")) || !strings.Contains(d, "; 1 without a date") {
		t.Errorf("%s", d)
	}
	if log.Len() > 0 {
		t.Errorf("findings are returned, not logged: %s", log)
	}
}

func TestLabels(t *testing.T) {
	var feeds []*url.URL
	for _, text := range []string{"https://a.example/x?token=1", "https://b.example/x", "https://b.example/y", "https://c.example/x?q=1", "https://c.example/x?q=2"} {
		feeds = append(feeds, link(t, text))
	}
	same(t, labels(feeds), "a.example", "b.example/x", "b.example/y", "c.example/x#4", "c.example/x#5")
}
