package cryptopanic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const token = "0123456789abcdef0123456789abcdef01234567"

// pageSize is that of v1.
const pageSize = 20

// feed is a service that speaks v1.
type feed struct {
	url string

	mu       sync.Mutex
	posts    []*market.Post
	requests []url.Values
	faults   []http.HandlerFunc // one a request, before posts are shown
	shift    func([]*market.Post) []*market.Post
}

// serve shows posts, the newest first, until the test ends.
func serve(t *testing.T, posts int) *feed {
	f := &feed{}
	for i := range posts {
		f.posts = append(f.posts, story(posts-i))
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// story is the post of that number.
func story(n int) *market.Post {
	count := func(v int64) *int64 { return &v }
	published := market.MillisOf(time.Date(2026, 11, 1, 0, n, 0, 0, time.UTC))
	p := &market.Post{
		Source: "cryptopanic", ID: strconv.Itoa(20_000_000 + n), Type: "news", Title: fmt.Sprintf("Story %d: \"bulls\" & <bears>", n),
		URL: fmt.Sprintf("https://cryptopanic.com/news/%d/story?mtm_campaign=API-OFA", n), Slug: fmt.Sprint("story-", n),
		Publisher: market.Publisher{Title: "tokenist", Domain: "tokenist.com", Region: "en", Type: "feed"},
		Votes: &market.Votes{
			Negative: count(0), Positive: count(int64(n)), Important: count(1), Liked: count(2), Disliked: count(0),
			LOL: count(0), Toxic: count(0), Saved: count(3), Comments: count(4),
		},
		PublishedTime: published, CreatedTime: published + 1000, Origin: market.OriginLive,
	}
	if n%2 == 0 {
		p.Instruments = []string{"BTC", "ETH"}
	}
	return p
}

// wire is p as v1 shows it. A post without currencies has no such member.
func wire(p *market.Post) map[string]any {
	votes := map[string]any{}
	for _, c := range p.Votes.Counts() {
		votes[c.Name] = c.Value
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;")
	id, err := strconv.Atoi(p.ID)
	if err != nil {
		panic(err)
	}
	m := map[string]any{
		"kind": p.Type, "domain": p.Publisher.Domain, "title": escape.Replace(p.Title), "slug": p.Slug, "id": id, "url": p.URL,
		"source":       map[string]any{"title": p.Publisher.Title, "region": p.Publisher.Region, "domain": p.Publisher.Domain, "path": nil, "type": p.Publisher.Type},
		"published_at": p.PublishedTime.Time().Format(time.RFC3339), "created_at": p.CreatedTime.Time().Format(time.RFC3339), "votes": votes,
	}
	if len(p.Instruments) > 0 {
		var currencies []any
		for _, code := range slices.Backward(p.Instruments) {
			currencies = append(currencies, map[string]any{"code": code, "title": code, "slug": code, "url": "https://cryptopanic.com/news/" + code})
		}
		m["currencies"] = currencies
	}
	return m
}

func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.URL.Query())
	if len(f.faults) > 0 {
		fault := f.faults[0]
		f.faults = f.faults[1:]
		fault(w, r)
		return
	}
	if r.URL.Path != "/api/v1/posts/" || r.URL.Query().Get("auth_token") != token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"detail":"Invalid token."}`)
		return
	}
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		number = 1
	}
	from := min((number-1)*pageSize, len(f.posts))
	to := min(from+pageSize, len(f.posts))
	answer := map[string]any{"count": min(len(f.posts), 200), "next": nil, "previous": nil, "results": []any{}}
	for _, p := range f.posts[from:to] {
		answer["results"] = append(answer["results"].([]any), wire(p))
	}
	if to < len(f.posts) {
		answer["next"] = fmt.Sprintf("%s/api/v1/posts/?auth_token=%s&public=true&page=%d", f.url, token, number+1)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(err)
	}
	if f.shift != nil {
		f.posts = f.shift(f.posts)
		f.shift = nil
	}
}

// shows is the truth.
func (f *feed) shows() []*market.Post {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.posts)
}

// vote changes the votes of the first post.
func (f *feed) vote() {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, votes := *f.posts[0], *f.posts[0].Votes
	more := *votes.Positive + 1
	votes.Positive, p.Votes = &more, &votes
	f.posts[0] = &p
}

// fail lets the next requests end so.
func (f *feed) fail(faults ...http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

// asked are the queries of all requests.
func (f *feed) asked() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// answer is a fault that says something.
func answer(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// config is the usual one.
func config(url string) cryptopanic.Config {
	return cryptopanic.Config{URL: url, Token: token, API: "v1", Plan: "growth", Filter: "hot", Currencies: []string{"BTC", "XRP"}, Interval: time.Second, Pages: 1}
}

// newSource makes a source that is closed when the test ends.
func newSource(t testing.TB, cfg cryptopanic.Config, log *slog.Logger, reg prometheus.Registerer) *cryptopanic.Source {
	t.Helper()
	s, err := cryptopanic.New(cfg, log, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// value sums the series of a metric.
func value(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
