package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What the faults of feeds look like; they hit what they are aimed at, and
// nothing else.
func TestNewsFaults(t *testing.T) {
	s := newTest(t, Config{})
	paths := map[string]string{feedCryptoPanic: newsPath, feedRSS: "/news/rss", targetExchange: onePage}
	for _, f := range []struct {
		fault      Fault
		status     int
		retryAfter string
		body       string
	}{
		{Fault{Kind: "429", Target: "cryptopanic"}, 429, "", `{"status":"api_error","info":"Too many requests"}`},
		{Fault{Kind: "429", Target: "rss", Delay: 6.5}, 429, "7", `{"status":"api_error"`},
		{Fault{Kind: "5xx", Target: "rss"}, 503, "", "<!DOCTYPE html>"},
		{Fault{Kind: "403", Target: "news"}, 403, "", "<html>"},
		{Fault{Kind: "html", Target: "cryptopanic"}, 200, "", "<!DOCTYPE html>"},
		{Fault{Kind: "slow", Target: "cryptopanic", Delay: 0.001}, 200, "", `{"count":200`},
		{Fault{Kind: "quota"}, 429, "", `{"status":"api_error","info":"API monthly quota exceeded`},
		{Fault{Kind: "5xx", Target: "exchange"}, 503, "", `{"code":-1008,`},
		{Fault{Kind: "5xx"}, 503, "", `{"code":-1008,`},
	} {
		t.Run(f.fault.Kind+" "+f.fault.Target, func(t *testing.T) {
			f.fault.Count = 2
			inject(t, s, f.fault)
			f.fault = s.faults.active()[0] // its target is known now
			hit := 0
			for target, path := range paths {
				if target != f.fault.Target && (f.fault.Target != targetNews || target == targetExchange || f.fault.Kind == "quota" && target == feedRSS) {
					if a := get(t, s, path); a.status != 200 || strings.HasPrefix(a.body, "<!") {
						t.Errorf("%s: %d %s", target, a.status, a.body)
					}
					continue
				}
				for ; hit < 2; hit++ {
					a := get(t, s, path)
					if a.status != f.status || a.header.Get("Retry-After") != f.retryAfter || !strings.HasPrefix(a.body, f.body) {
						t.Errorf("%s: %d, Retry-After %q, %s", target, a.status, a.header.Get("Retry-After"), a.body)
					}
				}
			}
			if left := s.faults.active(); hit != 2 || len(left) != 0 {
				t.Errorf("hit %d times, left: %v", hit, left)
			}
			for target, path := range paths {
				if a := get(t, s, path); a.status != 200 {
					t.Errorf("%s afterwards: %d", target, a.status)
				}
			}
		})
	}
	for _, path := range []string{newsPath, "/news/rss"} {
		inject(t, s, Fault{Kind: "truncated_body", Target: "news"})
		r, err := http.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 || r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d: %v after %s", path, r.StatusCode, err, body)
		}
	}
	_, all := posts(t, s, newsPath)
	inject(t, s, Fault{Kind: "403", Target: "news"})
	if a := get(t, s, strings.TrimPrefix(all[0].URL, "http://"+s.Addr())); a.status != 200 {
		t.Errorf("a fault of the feeds hit the page of a post: %d", a.status)
	}
}

// A post that comes in between two pages shifts all that follow: the last post
// of a page is the first of the next, and stays where it then is.
func TestShift(t *testing.T) {
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	for _, list := range []string{newsPath, newsPath + "&filter=hot"} {
		old := walk(t, s, list)
		_, first := posts(t, s, list)
		inject(t, s, Fault{Kind: "shift"})
		posts(t, s, list) // the first page is not where it strikes
		_, second := posts(t, s, list+"&page=2")
		_, third := posts(t, s, list+"&page=3")
		if second[0].ID != first[19].ID || third[0].ID != old[39] {
			t.Errorf("page 2 begins with %d, want %d; page 3 with %d, want %d", second[0].ID, first[19].ID, third[0].ID, old[39])
		}
		now := walk(t, s, list)
		if len(now) != 200 || now[0] == old[0] || now[1] != old[0] || now[199] != old[198] {
			t.Errorf("%s: the first are %v, were %v", list, now[:3], old[:3])
		}
		_, all := posts(t, s, list)
		if a := get(t, s, strings.TrimPrefix(all[0].URL, "http://"+s.Addr())); a.status != 200 || len(all[0].Currencies) != 0 {
			t.Errorf("%d %+v", a.status, all[0])
		}
		if feed(t, get(t, s, "/news/rss").body).Channel.Items[0].Title != all[0].Title && !strings.Contains(list, "hot") {
			t.Error("the feed does not begin with the inserted post")
		}
	}
	for range 3 * maxExtra { // it is bounded
		s.newsroom.interrupt(s.Now())
	}
	if n := len(s.newsroom.extra); n > 10 {
		t.Errorf("%d posts were inserted in one minute", n)
	}
}

// Each time another field of one post is broken, the rest of the page is well.
func TestBadPost(t *testing.T) {
	s := newTestAt(t, Config{}, newWall("2025-03-05 12:34:56"))
	good, _ := posts(t, s, newsPath)
	inject(t, s, Fault{Kind: "bad_post", Target: "cryptopanic", Count: len(breaks)})
	for _, b := range breaks {
		var page panicPage
		if err := json.Unmarshal([]byte(get(t, s, newsPath).body), &page); err != nil {
			t.Fatal(err)
		}
		for k, raw := range page.Results {
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(raw, &fields); err != nil {
				t.Fatal(err)
			}
			if k == pageSize/2 {
				if string(fields[b.field]) != b.value {
					t.Errorf("%s is %s, want %s", b.field, fields[b.field], b.value)
				}
			} else if string(raw) != string(good.Results[k]) {
				t.Errorf("%d: %s, want %s", k, raw, good.Results[k])
			}
		}
	}
	posts(t, s, newsPath)
	inject(t, s, Fault{Kind: "bad_post", Target: "rss"})
	bad := 0
	for _, item := range feed(t, get(t, s, "/news/rss").body).Channel.Items {
		if item.Published == "yesterday" {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("%d bad posts", bad)
	}
}
