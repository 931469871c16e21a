package simulator

import (
	"encoding/xml"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"
)

func feed(t testing.TB, body string) rssFeed {
	t.Helper()
	var f rssFeed
	if err := xml.Unmarshal([]byte(body), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// The feed is the newest fifty posts, and their links lead to pages.
func TestRSS(t *testing.T) {
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	a := get(t, s, "/news/rss")
	f := feed(t, a.body)
	if a.status != 200 || a.header.Get("Content-Type") != "application/rss+xml; charset=utf-8" || f.Version != "2.0" || len(f.Channel.Items) != 50 {
		t.Fatalf("%d %v: %d items", a.status, a.header, len(f.Channel.Items))
	}
	_, newest := posts(t, s, newsPath)
	ids, before := map[string]bool{}, time.Now()
	for k, item := range f.Channel.Items {
		at, err := time.Parse(time.RFC1123Z, item.Published)
		if err != nil || at.After(before) || at.After(s.Now().Time()) {
			t.Errorf("published %s, %v", item.Published, err)
		}
		before = at
		ids[item.GUID.ID] = true
		if !strings.HasPrefix(item.Description, "<p>") || item.GUID.Permanent {
			t.Errorf("%+v", item)
		}
		if k >= len(newest) {
			continue
		}
		p := newest[k]
		if item.Title != p.Title || stamp(s.Now()) < p.Created || item.Link+"?mtm_campaign=API-OFA" != p.URL || len(item.Categories) != len(p.Currencies) {
			t.Errorf("%+v is not %+v", item, p)
		}
		page := get(t, s, strings.TrimPrefix(item.Link, "http://"+s.Addr()))
		if page.status != 200 || !strings.Contains(page.body, "<h1>"+html.EscapeString(item.Title)+"</h1>") || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", item.Link, page.status, page.body)
		}
	}
	if len(ids) != 50 {
		t.Errorf("%d ids", len(ids))
	}
	for _, path := range []string{"/news/1/x", "/news/-1/x", "/news/x/x", "/news/9223372036854775807/x", "/news/999999999999/x"} {
		if a := get(t, s, path); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// Who has the feed is told so, until it changes.
func TestRSSConditional(t *testing.T) {
	wall := newWall("2025-03-05 12:34:56")
	s := newTestAt(t, Config{}, wall)
	ask := func(header, value string) (int, http.Header) {
		t.Helper()
		q, err := http.NewRequest("GET", "http://"+s.Addr()+"/news/rss", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set(header, value)
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode, r.Header
	}
	first := get(t, s, "/news/rss")
	tag, date := first.header.Get("ETag"), first.header.Get("Last-Modified")
	if _, err := http.ParseTime(date); err != nil || len(tag) != 18 {
		t.Fatalf("ETag %s, Last-Modified %s", tag, date)
	}
	for _, f := range []struct {
		header, value string
		status        int
	}{
		{"If-None-Match", tag, 304}, {"If-None-Match", `"x", W/` + tag, 304}, {"If-None-Match", `*`, 304}, {"If-None-Match", `"x"`, 200},
		{"If-Modified-Since", date, 304}, {"If-Modified-Since", "Tue, 04 Mar 2025 12:00:00 GMT", 200}, {"If-Modified-Since", "yesterday", 200},
	} {
		status, header := ask(f.header, f.value)
		if status != f.status || header.Get("ETag") != tag {
			t.Errorf("%s: %s gives %d with %s", f.header, f.value, status, header.Get("ETag"))
		}
	}
	if got := s.Accounting().News; got.NotModified != 4 || got.RSS != 8 {
		t.Errorf("%+v", got)
	}
	wall.set("2025-03-05 13:34:56")
	if status, header := ask("If-None-Match", tag); status != 200 || header.Get("ETag") == tag || header.Get("Last-Modified") == date {
		t.Errorf("an hour later: %d %v", status, header)
	}
	if status, _ := ask("If-Modified-Since", date); status != 200 {
		t.Errorf("an hour later: %d", status)
	}
}
