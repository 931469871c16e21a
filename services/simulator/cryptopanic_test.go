package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const newsPath = "/api/v1/posts/?auth_token=secret"

// posts reads a page, and its posts as they are shown.
func posts(t testing.TB, s *Simulator, path string) (panicPage, []panicPost) {
	t.Helper()
	a := get(t, s, path)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	var page panicPage
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		t.Fatal(err)
	}
	var all []panicPost
	for _, raw := range page.Results {
		var p panicPost
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		all = append(all, p)
	}
	return page, all
}

// walk reads all pages by their next, and returns the ids.
func walk(t testing.TB, s *Simulator, path string) (ids []int64) {
	t.Helper()
	for number := 1; ; number++ {
		page, all := posts(t, s, path)
		for _, p := range all {
			ids = append(ids, p.ID)
		}
		if (page.Previous == nil) != (number == 1) {
			t.Errorf("page %d: previous %v", number, page.Previous)
		}
		if page.Next == nil {
			if page.Count != len(ids) {
				t.Errorf("%d posts, count says %d", len(ids), page.Count)
			}
			return ids
		}
		next, err := url.Parse(*page.Next)
		if err != nil || next.Host != s.Addr() || next.Query().Get("auth_token") != "secret" || next.Query().Get("page") != fmt.Sprint(number+1) {
			t.Fatalf("next is %s", *page.Next)
		}
		path = next.RequestURI()
	}
}

// The shape of a post is what is documented: exchanges.md §2.1.
func TestPanicShape(t *testing.T) {
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	page, all := posts(t, s, "/api/free/v1/posts/?auth_token=secret&public=true")
	want := "http://" + s.Addr() + "/api/free/v1/posts/?auth_token=secret&public=true&page=2"
	if page.Count != 200 || page.Previous != nil || page.Next == nil || *page.Next != want || len(all) != 20 {
		t.Errorf("%+v", page)
	}
	names := func(raw json.RawMessage) string {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		var all []string
		for name := range fields {
			all = append(all, name)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	with, without := 0, 0
	for k, raw := range page.Results {
		const usual = "domain id kind published_at slug source title url votes"
		switch got := names(raw); got {
		case "created_at currencies " + usual:
			with++
		case "created_at " + usual:
			without++
		default:
			t.Errorf("fields %s", got)
		}
		p := all[k]
		if link := fmt.Sprintf("http://%s/news/%d/%s?mtm_campaign=API-OFA", s.Addr(), p.ID, p.Slug); p.URL != link {
			t.Errorf("url %s, want %s", p.URL, link)
		}
	}
	if with == 0 || without == 0 {
		t.Errorf("%d posts with currencies, %d without", with, without)
	}
	if _, all := posts(t, s, newsPath+"&metadata=true"); all[0].Metadata == nil || all[0].Metadata.Description == "" {
		t.Errorf("%+v", all[0])
	}
}

// All pages together are the list: nothing twice, nothing lost, 200 at most.
func TestPanicPaging(t *testing.T) {
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	for _, f := range []struct {
		query string
		posts int
	}{
		{"", 200}, {"&filter=hot", 200}, {"&filter=rising&public=true", -1}, {"&currencies=LINK", 200},
		{"&currencies=btc,eth&kind=news", 200}, {"&currencies=NONE", 0}, {"&regions=fr", 0}, {"&page=1&filter=rising&currencies=ADA&kind=media", -1},
	} {
		ids := walk(t, s, newsPath+f.query)
		if f.posts >= 0 && len(ids) != f.posts {
			t.Errorf("%s: %d posts, want %d", f.query, len(ids), f.posts)
		}
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != len(ids) {
			t.Errorf("%s: %d different posts of %d", f.query, n, len(ids))
		}
	}
}

func TestPanicFilters(t *testing.T) {
	now := at("2025-03-05 12:34:56")
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	for _, f := range []struct {
		query string
		right func(p panicPost) bool
	}{
		{"filter=hot", func(p panicPost) bool { return p.Created > stamp(now-day) }},
		{"filter=rising", func(p panicPost) bool { return p.Created > stamp(now-6*hour-minute) }},
		{"filter=bullish", func(p panicPost) bool { return p.Votes.Positive > p.Votes.Negative }},
		{"filter=bearish", func(p panicPost) bool { return p.Votes.Negative > p.Votes.Positive }},
		{"filter=important", func(p panicPost) bool { return p.Votes.Important >= 10 }},
		{"filter=saved", func(p panicPost) bool { return p.Votes.Saved > 0 }},
		{"filter=lol", func(p panicPost) bool { return p.Votes.LOL > 0 }},
		{"kind=media", func(p panicPost) bool { return p.Kind == "media" && p.Source.Type == "media" }},
		{"kind=all&regions=de,fr", func(p panicPost) bool { return p.Source.Region == "de" }},
		{"currencies=eth,SOL", func(p panicPost) bool {
			return slices.ContainsFunc(p.Currencies, func(c panicCurrency) bool { return c.Code == "ETH" || c.Code == "SOL" })
		}},
		{"", func(p panicPost) bool { return p.Created > stamp(now-2*hour) }},
	} {
		_, all := posts(t, s, newsPath+"&"+f.query)
		if len(all) != pageSize {
			t.Errorf("%s: %d posts", f.query, len(all))
		}
		for k, p := range all {
			if !f.right(p) {
				t.Errorf("%s: %+v", f.query, p)
			}
			ranked := strings.HasSuffix(f.query, "hot") || strings.HasSuffix(f.query, "rising")
			if k > 0 && !ranked && p.Published > all[k-1].Published {
				t.Errorf("%s: %s follows %s", f.query, p.Published, all[k-1].Published)
			}
		}
	}
	_, hot := posts(t, s, newsPath+"&filter=hot")
	if hot[0].Votes.Important < 15 {
		t.Errorf("the hottest post has %+v", hot[0].Votes)
	}
}

func TestPanicErrors(t *testing.T) {
	s := newTest(t, Config{})
	codes := strings.Repeat("BTC,", maxCodes) + "ETH"
	for _, f := range []struct {
		path   string
		status int
		body   string
	}{
		{"/api/v1/posts/", 401, `{"status":"api_error","info":"Token not found"}`},
		{"/api/v1/posts/?auth_token=&page=2", 401, `{"status":"api_error","info":"Token not found"}`},
		{newsPath + "&filter=best", 400, `{"status":"api_error","info":"Unknown filter"}`},
		{newsPath + "&kind=blog", 400, `{"status":"api_error","info":"Unknown kind"}`},
		{newsPath + "&currencies=" + codes, 400, `{"status":"api_error","info":"More than 50 currencies"}`},
		{newsPath + "&page=0", 404, "<!DOCTYPE html>"},
		{newsPath + "&page=-9223372036854775808", 404, "<!DOCTYPE html>"},
		{newsPath + "&page=9223372036854775807", 404, "<!DOCTYPE html>"},
		{newsPath + "&page=two", 404, "<!DOCTYPE html>"},
		{newsPath + "&page=11", 404, "<!DOCTYPE html>"},
		{newsPath + "&currencies=NONE&page=2", 404, "<!DOCTYPE html>"},
	} {
		a := get(t, s, f.path)
		html := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
		if a.status != f.status || !strings.HasPrefix(a.body, f.body) || html != (f.status == 404) {
			t.Errorf("%s: %d %s", f.path, a.status, a.body)
		}
	}
}

// The quota is for a calendar month, and 429 does not say when to come again.
func TestQuota(t *testing.T) {
	wall := newWall("2025-03-31 23:59:00")
	s := newTestAt(t, Config{NewsQuota: 2}, wall)
	exhausted := func() {
		t.Helper()
		a := get(t, s, newsPath)
		if a.status != 429 || a.header.Get("Retry-After") != "" || !strings.HasPrefix(a.body, `{"status":"api_error","info":"API monthly quota exceeded`) {
			t.Errorf("%d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	posts(t, s, newsPath)
	get(t, s, "/api/v1/posts/") // without a token it costs nobody
	posts(t, s, newsPath+"&page=2")
	exhausted()
	exhausted()
	get(t, s, "/news/rss") // is free
	want := NewsAccounting{CryptoPanic: 5, RSS: 1, Rejected: 3, Month: "2025-03", Used: 2}
	if d := cmp.Diff(want, s.Accounting().News); d != "" {
		t.Error(d)
	}
	wall.set("2025-04-01 00:00:00")
	posts(t, s, newsPath)
	if got := s.Accounting().News; got.Month != "2025-04" || got.Used != 1 {
		t.Errorf("%+v", got)
	}
}

// News is what the simulated clock has seen: nothing of the future, and the
// same after a restart.
func TestNewsFollowsTheClock(t *testing.T) {
	wall := newWall("2025-03-05 12:00:00")
	s := newTestAt(t, Config{Seed: 3}, wall)
	seen := map[int64]bool{}
	for _, id := range walk(t, s, newsPath) {
		seen[id] = true
	}
	for m := range 60 {
		wall.set(fmt.Sprintf("2025-03-05 12:%02d:%02d", m, m*7%60))
		_, all := posts(t, s, newsPath)
		for _, p := range all {
			seen[p.ID] = true
			if p.Created > stamp(s.Now()) || p.Published >= p.Created {
				t.Fatalf("at %s: %+v", s.Now(), p)
			}
		}
	}
	if len(seen) < 210 {
		t.Errorf("%d posts came in an hour", len(seen)-200)
	}
	again := newTestAt(t, Config{Seed: 3}, wall)
	for _, id := range walk(t, again, newsPath) {
		if !seen[id] {
			t.Errorf("%d was not there before the restart", id)
		}
	}
	text := func(s *Simulator, path string) string {
		return strings.ReplaceAll(get(t, s, path).body, s.Addr(), "HOST")
	}
	for _, path := range []string{newsPath, newsPath + "&filter=hot&page=3", "/news/rss"} {
		if d := cmp.Diff(text(s, path), text(again, path)); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}
