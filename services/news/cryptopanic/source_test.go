package cryptopanic_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
	"github.com/candlestack/candlestack/services/pipeline"
)

var errEnough = errors.New("enough")

// collect streams until n posts came, and returns their ids.
func collect(t *testing.T, s *cryptopanic.Source, n int) (ids []string) {
	t.Helper()
	err := s.Stream(deadline(t), func(_ context.Context, e market.Event) error {
		ids = append(ids, e.(*market.Post).ID)
		if len(ids) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d of %d posts: %v", len(ids), n, err)
	}
	return ids
}

// broken streams until it ends by itself.
func broken(t *testing.T, s *cryptopanic.Source) *pipeline.Disconnected {
	t.Helper()
	err := s.Stream(deadline(t), func(context.Context, market.Event) error { return nil })
	var d *pipeline.Disconnected
	if !errors.As(err, &d) {
		t.Fatalf("Stream returned %v", err)
	}
	return d
}

func idsOf(posts []*market.Post) (ids []string) {
	for _, p := range posts {
		ids = append(ids, p.ID)
	}
	return ids
}

func TestQuery(t *testing.T) {
	f := serve(t, 50)
	cfg := config(f.url)
	cfg.Pages, cfg.Regions = 5, []string{"en", "de"}
	collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 51) // the last is of the next poll
	if n := len(f.asked()); n != 4 {
		t.Fatalf("%d requests for 50 posts and the first again", n)
	}
	for i, q := range f.asked() {
		page := []string{"", "2", "3", ""}[i]
		for name, want := range map[string]string{"auth_token": token, "public": "true", "filter": "hot", "currencies": "BTC,XRP", "regions": "en,de", "metadata": "true", "page": page} {
			if got := q.Get(name); got != want {
				t.Errorf("request %d: %s is %q, want %q", i, name, got, want)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ api, plan, want string }{
		{"v1", "enterprise", "/api/v1/posts/"}, {"v2", "growth", "/api/growth/v2/posts/"}, {"v2", "enterprise", "/api/enterprise/v2/posts/"},
	} {
		f := serve(t, 1)
		path := ""
		f.fail(func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			answer(http.StatusOK, "application/json", `{"results":[{"id":1,"title":"One","published_at":"2026-11-01T00:00:00Z"}]}`)(w, r)
		})
		cfg := config(f.url)
		cfg.API, cfg.Plan, cfg.Filter, cfg.Currencies, cfg.Pages = c.api, c.plan, "", nil, 10
		collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 1)
		if q := f.asked()[0]; path != c.want || q.Has("metadata") != (c.api == "v1") || q.Has("filter") || q.Has("currencies") || q.Has("regions") {
			t.Errorf("%s %s asks for %s with %v", c.api, c.plan, path, q)
		}
	}
}

// TestShift moves the posts between the requests of two pages.
func TestShift(t *testing.T) {
	t.Run("down", func(t *testing.T) { // the last of page 1 becomes the first of page 2
		f := serve(t, 40)
		before := idsOf(f.shows())
		f.shift = func(posts []*market.Post) []*market.Post { return append([]*market.Post{story(41)}, posts...) }
		cfg := config(f.url)
		cfg.Pages = 2
		ids := collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 39+40)
		if !slices.Equal(ids[:39], before[:39]) || !slices.Equal(ids[39:], idsOf(f.shows())[:40]) {
			t.Errorf("got %v", ids)
		}
	})
	t.Run("up", func(t *testing.T) { // the first of page 2 becomes the last of page 1
		f := serve(t, 40)
		before := idsOf(f.shows())
		f.shift = func(posts []*market.Post) []*market.Post { return posts[1:] }
		cfg := config(f.url)
		cfg.Pages = 2
		ids := collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 39+39)
		if slices.Contains(ids[:39], before[20]) || !slices.Equal(ids[39:], before[1:]) {
			t.Errorf("the next poll does not heal it: %v", ids)
		}
	})
}

// TestFailures: each has a cause, a text and a wait that spares the quota.
func TestFailures(t *testing.T) {
	now := time.Now().UTC()
	day := now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	month := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	json, html := "application/json", "text/html"
	for _, c := range []struct {
		name  string
		fault http.HandlerFunc
		cause string
		text  string
		after time.Duration // at least
		most  time.Duration
	}{
		{"bad token", answer(401, json, `{"detail":"Invalid token."}`), "refused", "Invalid token.", 5 * time.Minute, 5 * time.Minute},
		{"bad token, HTML", answer(401, html, "<html>no</html>"), "refused", "the token is wrong", 5 * time.Minute, 5 * time.Minute},
		{"plan", answer(403, json, `{"status":"api_error","info":"Your plan has no access"}`), "refused", "Your plan has no access", 5 * time.Minute, 5 * time.Minute},
		{"wall", answer(403, html, "<html>Just a moment...</html>"), "refused", "let this address in", 5 * time.Minute, 5 * time.Minute},
		{"no such page", answer(404, html, "<html>"), "refused", "404", 30 * time.Second, 30 * time.Second},
		{"gateway", answer(502, html, "<html>"), "refused", "502", 30 * time.Second, 30 * time.Second},
		{"too many, seconds", answer(429, json, `{"status":"api_error","info":"Slow down"}`, "Retry-After", "900"), "ban", "Slow down", 899 * time.Second, 15 * time.Minute},
		{"too many, nothing said", answer(429, json, `{}`), "ban", "429", 58 * time.Second, time.Minute},
		{"month", answer(429, json, `{"status":"api_error","info":"API monthly quota exceeded"}`), "ban", "monthly quota", time.Until(month) - time.Minute, time.Until(month)},
		{"day", answer(429, json, `{"status":"api_error","info":"API daily quota exceeded"}`), "ban", "daily quota", time.Until(day) - time.Minute, time.Until(day)},
		{"month, with 403", answer(403, json, `{"status":"api_error","info":"API monthly quota exceeded"}`), "ban", "monthly quota", time.Until(month) - time.Minute, time.Until(month)},
		{"month, with 200", answer(200, json, `{"status":"api_error","info":"API monthly quota exceeded"}`), "ban", "monthly quota", time.Until(month) - time.Minute, time.Until(month)},
		{"a page with 200", answer(200, html, "<html>Maintenance</html>"), "protocol", "HTML", 30 * time.Second, 30 * time.Second},
		{"no JSON", answer(200, json, `{"results":[`), "protocol", "decoding", 30 * time.Second, 30 * time.Second},
		{"all posts bad", answer(200, json, `{"results":[{"id":1},{"id":2}]}`), "protocol", "none of 2", 30 * time.Second, 30 * time.Second},
		{"elsewhere", answer(302, json, "", "Location", "http://elsewhere.example/"), "eof", "another host", 30 * time.Second, 30 * time.Second},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "eof", "EOF", 30 * time.Second, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, 3)
			f.fail(c.fault)
			cfg := config(f.url)
			cfg.Interval = time.Hour
			d := broken(t, newSource(t, cfg, quiet, prometheus.NewRegistry()))
			if d.Cause != c.cause || !strings.Contains(d.Error(), c.text) || d.RetryAfter < c.after || d.RetryAfter > c.most {
				t.Errorf("%v, again after %s; want %s with %q after %s", d, d.RetryAfter, c.cause, c.text, c.after)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	d := broken(t, newSource(t, config("http://127.0.0.1:1"), quiet, prometheus.NewRegistry()))
	if d.Cause != pipeline.CauseEOF || d.RetryAfter != 30*time.Second {
		t.Errorf("%v after %s", d, d.RetryAfter)
	}
}

// TestOutageSparesTheQuota: waits double up to the interval.
func TestOutageSparesTheQuota(t *testing.T) {
	f := serve(t, 2)
	cfg := config(f.url)
	cfg.Interval = 3 * time.Minute
	s := newSource(t, cfg, quiet, prometheus.NewRegistry())
	bad := answer(500, "text/html", "<html>")
	f.fail(bad, bad, bad, bad, bad)
	var waits []time.Duration
	for range 5 {
		waits = append(waits, broken(t, s).RetryAfter)
	}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute, 3 * time.Minute}
	if !slices.Equal(waits, want) {
		t.Errorf("waits are %v, want %v", waits, want)
	}
}

// TestBanIsHonoured: under a ban nothing is sent, and nothing is counted.
func TestBanIsHonoured(t *testing.T) {
	f := serve(t, 3)
	f.fail(answer(429, "application/json", `{}`, "Retry-After", "600"))
	reg := prometheus.NewRegistry()
	cfg := config(f.url)
	cfg.StateDir = t.TempDir()
	s := newSource(t, cfg, quiet, reg)
	for range 3 {
		if d := broken(t, s); d.Cause != pipeline.CauseBan || d.RetryAfter < 9*time.Minute {
			t.Errorf("%v after %s", d, d.RetryAfter)
		}
	}
	again := newSource(t, cfg, quiet, prometheus.NewRegistry())
	if d := broken(t, again); d.Cause != pipeline.CauseBan || d.RetryAfter < 9*time.Minute {
		t.Errorf("after a restart: %v after %s", d, d.RetryAfter)
	}
	if used := value(t, reg, "candlestack_cryptopanic_quota_used_requests"); len(f.asked()) != 1 || used != 1 {
		t.Errorf("%d requests, %g counted", len(f.asked()), used)
	}
}

// TestQuota: no request beyond it, also after a restart.
func TestQuota(t *testing.T) {
	f := serve(t, 2)
	cfg := config(f.url)
	cfg.Quota, cfg.StateDir = 3, t.TempDir()
	reg := prometheus.NewRegistry()
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	if d := broken(t, newSource(t, cfg, quiet, reg)); d.Cause != pipeline.CauseBan || !strings.Contains(d.Error(), "3 requests") || time.Until(month)-d.RetryAfter > time.Minute || d.RetryAfter > time.Until(month)+time.Minute {
		t.Errorf("%v after %s", d, d.RetryAfter)
	}
	if d := broken(t, newSource(t, cfg, quiet, prometheus.NewRegistry())); d.Cause != pipeline.CauseBan {
		t.Errorf("after a restart: %v", d)
	}
	if used, limit := value(t, reg, "candlestack_cryptopanic_quota_used_requests"), value(t, reg, "candlestack_cryptopanic_quota_limit_requests"); len(f.asked()) != 3 || used != 3 || limit != 3 {
		t.Errorf("%d requests, %g of %g counted", len(f.asked()), used, limit)
	}
	if value(t, reg, "candlestack_cryptopanic_last_poll_timestamp_seconds") < float64(now.Unix()) {
		t.Error("the last poll is not told")
	}
	files, err := filepath.Glob(filepath.Join(cfg.StateDir, "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v in the folder", files, err)
	}
}

// TestExhaustedOutlivesTheProcess: what the service says of its quota holds for
// longer than a ban of the REST client.
func TestExhaustedOutlivesTheProcess(t *testing.T) {
	f := serve(t, 2)
	f.fail(answer(429, "application/json", `{"status":"api_error","info":"API monthly quota exceeded"}`))
	cfg := config(f.url)
	cfg.StateDir = t.TempDir()
	first := broken(t, newSource(t, cfg, quiet, prometheus.NewRegistry()))
	bans, err := filepath.Glob(filepath.Join(cfg.StateDir, "ban-*"))
	if err != nil || len(bans) != 1 {
		t.Fatalf("%v %v", bans, err)
	}
	if err := os.Remove(bans[0]); err != nil { // it ends after three days
		t.Fatal(err)
	}
	second := broken(t, newSource(t, cfg, quiet, prometheus.NewRegistry()))
	if len(f.asked()) != 1 || first.RetryAfter-second.RetryAfter > time.Minute || !strings.Contains(second.Error(), "monthly quota exceeded") {
		t.Errorf("%d requests; %v, then %v after %s", len(f.asked()), first, second, second.RetryAfter)
	}
}

func TestQuotaThatWillNotLast(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		pages    int
		quota    int
		warns    bool
	}{{time.Hour, 1, 100, true}, {time.Hour, 1, 744, false}, {time.Hour, 2, 744, true}, {8 * time.Hour, 1, 100, false}, {time.Second, 10, 0, false}} {
		cfg := config("http://127.0.0.1:1")
		cfg.Interval, cfg.Pages, cfg.Quota = c.interval, c.pages, c.quota
		log, said := record()
		newSource(t, cfg, log, prometheus.NewRegistry())
		if got := strings.Contains(said(), "will not last"); got != c.warns {
			t.Errorf("%+v: warned %t", c, got)
		}
	}
}

// TestRestartWaits: a crash loop must not poll at each start, and says what it
// waits for; after a failure there is nothing to wait for.
func TestRestartWaits(t *testing.T) {
	f := serve(t, 2)
	cfg := config(f.url)
	cfg.Interval, cfg.StateDir = time.Hour, t.TempDir()
	collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 2)

	log, said := record()
	ctx, cancel := context.WithCancel(deadline(t))
	done := make(chan error)
	s := newSource(t, cfg, log, prometheus.NewRegistry())
	go func() {
		done <- s.Stream(ctx, func(context.Context, market.Event) error { return errEnough })
	}()
	for !strings.Contains(said(), "less than an interval ago") {
		select {
		case err := <-done:
			t.Fatalf("Stream ended: %v", err)
		case <-time.After(10 * time.Millisecond): // asks again
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(f.asked()) != 1 {
		t.Errorf("%v, %d requests", err, len(f.asked()))
	}

	cfg.Interval = time.Second // a new setting counts at once
	f.fail(answer(500, "text/html", "<html>"))
	broken(t, newSource(t, cfg, quiet, prometheus.NewRegistry()))
	cfg.Interval = time.Hour
	collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 2)
}

// TestBadPosts: a bad post is counted and costs no other.
func TestBadPosts(t *testing.T) {
	f := serve(t, 2)
	f.fail(answer(200, "application/json", `{"results":[{"id":1,"title":"One","published_at":"2026-11-01T00:00:00Z"},{"id":2},null]}`))
	reg := prometheus.NewRegistry()
	collect(t, newSource(t, config(f.url), quiet, reg), 1)
	if n := value(t, reg, "candlestack_cryptopanic_unreadable_posts_total"); n != 2 {
		t.Errorf("%g counted", n)
	}
}

// TestTokenIsReplaced: a new token in the file is used without a restart.
func TestTokenIsReplaced(t *testing.T) {
	f := serve(t, 2)
	cfg := config(f.url)
	cfg.Token, cfg.TokenFile = "", filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(cfg.TokenFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old-token")
	s := newSource(t, cfg, quiet, prometheus.NewRegistry())
	if d := broken(t, s); !strings.Contains(d.Error(), "401") {
		t.Error(d)
	}
	if err := os.Remove(cfg.TokenFile); err != nil {
		t.Fatal(err)
	}
	if d := broken(t, s); !strings.Contains(d.Error(), "--token-file") || d.Cause != pipeline.CauseRefused {
		t.Error(d)
	}
	write(token + "\n")
	collect(t, s, 2)
}

func TestExamine(t *testing.T) {
	f := serve(t, 3)
	cfg := config(f.url)
	cfg.Quota, cfg.Interval, cfg.StateDir = 2, time.Hour, t.TempDir()
	examine := func() (lines string, ok bool) {
		ok = true
		for _, found := range newSource(t, cfg, quiet, prometheus.NewRegistry()).Examine(deadline(t)) {
			lines += found.Subject + ": " + found.Detail + "\n"
			ok = ok && found.OK
		}
		return lines, ok
	}
	if lines, ok := examine(); !ok || !strings.Contains(lines, "3 posts") || !strings.Contains(lines, "1 of 2 requests") {
		t.Error(lines)
	}
	collect(t, newSource(t, cfg, quiet, prometheus.NewRegistry()), 3)
	if lines, ok := examine(); ok || !strings.Contains(lines, "not asked again") || !strings.Contains(lines, "2 of 2 requests") {
		t.Error(lines)
	}
	cfg.StateDir, cfg.Quota = "", 0
	f.fail(answer(401, "application/json", `{"detail":"Invalid token."}`))
	if lines, ok := examine(); ok || !strings.Contains(lines, "401") || !strings.Contains(lines, "1 requests in this month") {
		t.Error(lines)
	}
	if n := len(f.asked()); n != 3 {
		t.Errorf("%d requests", n)
	}
}
