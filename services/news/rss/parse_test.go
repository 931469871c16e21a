package rss

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

// noon is the clock of these tests.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(t testing.TB, text string) market.Millis {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return market.MillisOf(at)
}

func link(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// read parses a fixture as the feed of an address.
func read(t testing.TB, file, from string) *contents {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(body, link(t, from), link(t, from), noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.posts {
		valid(t, p)
	}
	return c
}

// valid checks a post as the engine does once it has filled in our clocks.
func valid(t testing.TB, p *market.Post) {
	t.Helper()
	q := *p
	q.FirstSeenTime = q.ObservedTime
	if err := q.Validate(); err != nil {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	magazine := market.Publisher{Title: "Bitcoin Magazine - News & Analysis", Domain: "magazine.example", Region: "en", Type: "feed"}
	block := market.Publisher{Title: "Kette & Block", Domain: "kette.example", Region: "de", Type: "feed"}
	wire := market.Publisher{Title: "JSON Wire", Domain: "wire.example", Region: "fr", Type: "feed"}
	for _, f := range []struct {
		file, from string
		want       []*market.Post
	}{
		{"rss2.xml", "https://www.magazine.example/feed", []*market.Post{
			{ID: "www.magazine.example/https://magazine.example/podcast/7", Title: "A Podcast", URL: "https://magazine.example/podcast/7",
				ImageURL: "https://cdn.magazine.example/pod.jpg", Publisher: magazine, Instruments: []string{"ETH"}, PublishedTime: at(t, "2026-11-18T22:00:00Z")},
			{ID: "www.magazine.example/102", Title: "Spot ETFs Take In $300M of BTC, Ripple’s Token Lags", Summary: "Flows & more flows into (ADA) products",
				URL: "https://www.magazine.example/markets/etfs", ImageURL: "https://cdn.magazine.example/etf.png", Author: "The Desk", Publisher: magazine,
				Instruments: []string{"ADA", "BTC", "XRP"}, PublishedTime: at(t, "2026-11-21T03:15:00Z")},
			{ID: "www.magazine.example/https://magazine.example/?p=101", Title: "Miners Sell Hardware as “Hash Price” Falls",
				Summary: "Rigs go for half the price… More & more.", URL: "https://magazine.example/business/miners-sell?page=2",
				ImageURL: "https://www.magazine.example/images/rig.jpg", Author: "Ada Writer", Publisher: magazine, PublishedTime: at(t, "2026-11-21T10:30:00Z")},
		}},
		{"atom.xml", "https://kette.example/atom.xml", []*market.Post{
			{ID: "kette.example/tag:kette.example,2026:2", Title: "Nur geändert", Summary: "Kurz.", URL: "https://kette.example/posts/2",
				Publisher: block, PublishedTime: at(t, "2026-11-20T10:00:00Z")},
			{ID: "kette.example/tag:kette.example,2026:1", Title: "Solana steigt", Summary: "Der Kurs von SOL/USDT", URL: "https://kette.example/posts/solana#top",
				ImageURL: "https://kette.example/s.webp", Author: "Anna, Bert", Publisher: block, Instruments: []string{"SOL"}, PublishedTime: at(t, "2026-11-21T08:00:00.5Z")},
		}},
		{"rdf.xml", "https://old.example/rss", []*market.Post{
			{ID: "old.example/https://old.example/1", Title: "Ethereum Classic forks", Summary: "No ETHod here: a method.", URL: "https://old.example/1", Author: "Olaf",
				Publisher:   market.Publisher{Title: "Old News", Domain: "old.example", Region: "en", Type: "feed"},
				Instruments: []string{"ETC"}, PublishedTime: at(t, "2026-11-19T06:00:00Z")},
		}},
		{"feed.json", "https://wire.example/feed.json", []*market.Post{
			{ID: "wire.example/8", Title: "Un message sans titre, mais $SOL", Summary: "Un message sans titre, mais $SOL", URL: "https://wire.example/8",
				ImageURL: "https://wire.example/8.png", Publisher: wire, Instruments: []string{"SOL"}, PublishedTime: undated},
			{ID: "wire.example/7", Title: "Le bitcoin monte", Summary: "Une ligne", URL: "https://wire.example/7", ImageURL: "https://wire.example/7.png",
				Author: "Zoé", Publisher: wire, Instruments: []string{"BTC"}, PublishedTime: at(t, "2026-11-20T23:00:00Z")},
		}},
		{"latin1.xml", "https://cafe.example/rss", []*market.Post{
			{ID: "cafe.example/https://cafe.example/1", Title: "Überweisung à la carte: 5 £ in Ether", Summary: "déjà vu", URL: "https://cafe.example/1",
				Publisher:   market.Publisher{Title: "Café Crypto", Domain: "cafe.example", Type: "feed"},
				Instruments: []string{"ETH"}, PublishedTime: at(t, "2026-11-20T09:05:00Z")},
		}},
		{"escaped.xml", "http://127.0.0.1:8080/rss", []*market.Post{
			{ID: "127.0.0.1:8080/1", Title: "Ripple’s \"win\" & more", Summary: "One Two Three", Publisher: market.Publisher{Title: "Twice & more", Domain: "127.0.0.1", Type: "feed"},
				Instruments: []string{"XRP"}, PublishedTime: at(t, "2026-11-21T01:00:00Z")},
			{ID: "127.0.0.1:8080/2", Title: "Is 2 < 3 & AT&T > 1?", Summary: "halfbold next bitcoin", Publisher: market.Publisher{Title: "Twice & more", Domain: "127.0.0.1", Type: "feed"},
				ImageURL: "", Instruments: []string{"BTC"}, PublishedTime: at(t, "2026-11-21T02:00:00Z")},
		}},
	} {
		t.Run(f.file, func(t *testing.T) {
			for _, p := range f.want {
				p.Source, p.Type, p.Origin, p.ObservedTime = "rss", "news", market.OriginLive, market.MillisOf(noon)
			}
			if diff := cmp.Diff(f.want, read(t, f.file, f.from).posts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestItemsLeftOut(t *testing.T) {
	if c := read(t, "rss2.xml", "https://a.example/"); c.items != 5 || c.leftOut != 1 || len(c.posts) != 3 {
		t.Errorf("%d items, %d left out, %d posts", c.items, c.leftOut, len(c.posts))
	}
	var body strings.Builder
	body.WriteString(`<rss><channel><title>t</title>`)
	for i := range maxItems + 10 {
		when := noon.Add(-time.Duration(i) * time.Minute).Format(time.RFC1123)
		body.WriteString(`<item><title>` + when + `</title><guid>` + when + `</guid><pubDate>` + when + `</pubDate></item>`)
	}
	body.WriteString(`</channel></rss>`)
	u := link(t, "https://a.example/")
	c, err := parse([]byte(body.String()), u, u, noon)
	if err != nil {
		t.Fatal(err)
	}
	if c.leftOut != 10 || len(c.posts) != maxItems || c.posts[maxItems-1].PublishedTime != market.MillisOf(noon) {
		t.Errorf("%d left out, %d posts, the newest of %s", c.leftOut, len(c.posts), c.posts[len(c.posts)-1].PublishedTime)
	}
}

// TestOrder: of posts with one date the first of the feed is the newest.
func TestOrder(t *testing.T) {
	u := link(t, "https://a.example/")
	c, err := parse([]byte(`<rss><channel><item><title>b</title></item><item><title>a</title></item></channel></rss>`), u, u, noon)
	if err != nil {
		t.Fatal(err)
	}
	same(t, titles(c.posts), "a", "b")
}

func TestPlain(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		{"", ""}, {"plain", "plain"}, {"1 < 2 & 3", "1 < 2 & 3"}, {"AT&T", "AT&T"},
		{"&lt;b&gt;twice&lt;br/&gt;&lt;a href=&quot;x&quot;&gt;escaped", "twice escaped"}, {"&amp;amp;#8217;", "’"}, {"&lt;BTC&gt;", "<BTC>"},
		{"<p>a</p><p>b</p>", "a b"}, {"half<b>bold</b>", "halfbold"}, {"a<br/>b", "a b"},
		{"a<script>if (x < y) { z() }</script>b", "a b"}, {"a<style>", "a"}, {"a<!-- c -->b", "ab"}, {"<![CDATA[a]]>", "a"},
		{"cut <a href=", "cut"}, {"soft\u00ADhyphen", "softhyphen"},
	} {
		if got := market.CleanText(plain(f.text), 1000); got != f.want {
			t.Errorf("%q: %q, want %q", f.text, got, f.want)
		}
	}
}

func TestFooter(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		{"A text. The post Title appeared first on Bitcoin Magazine.", "A text. "},
		{"A text. The post Title first appeared on Bitcoin Magazine.\n", "A text. "},
		{"The post office appeared. All is well", "The post office appeared. All is well"},
		{"The post " + strings.Repeat("x", 2000) + " appeared first on X", "The post " + strings.Repeat("x", 2000) + " appeared first on X"},
	} {
		if got := withoutFooter(f.text); got != f.want {
			t.Errorf("%.60q: %.60q, want %.60q", f.text, got, f.want)
		}
	}
}

// TestDates: a date that cannot be true gives way, and what is taken does not
// depend on when we ask, so that a restart changes nothing.
func TestDates(t *testing.T) {
	want := map[string]market.Millis{
		"rfc822": at(t, "2026-11-20T18:00:00Z"), "none": undated, "in the address": at(t, "2026-11-05T00:00:00Z"), "future": undated,
		"future, but updated": at(t, "2026-11-18T00:00:00Z"), "before bitcoin": undated, "nonsense": undated, "seconds": at(t, "2026-11-21T00:00:00Z"),
		"zone twice": at(t, "2026-11-20T23:00:00Z"), "german": at(t, "2026-11-21T00:00:00Z"),
	}
	got := map[string]market.Millis{}
	c := read(t, "dates.xml", "https://dates.example/rss")
	for _, p := range c.posts {
		got[strings.TrimPrefix(p.ID, "dates.example/")] = p.PublishedTime
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.undated != 4 {
		t.Errorf("%d without a date", c.undated)
	}
	body, err := os.ReadFile("testdata/dates.xml")
	if err != nil {
		t.Fatal(err)
	}
	u := link(t, "https://dates.example/rss")
	later, err := parse(body, u, u, noon.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range later.posts {
		id := strings.TrimPrefix(p.ID, "dates.example/")
		if id == "future" {
			want[id] = at(t, "2026-11-21T12:00:01Z") // came true
		}
		if p.PublishedTime != want[id] {
			t.Errorf("%s: a day later %s, want %s", id, p.PublishedTime, want[id])
		}
	}
}

func TestReadDate(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		{"Sat, 21 Nov 2026 10:00:00 JST", "2026-11-21T01:00:00Z"},
		{"Sat, 21 Nov 2026 10:00:00 kst", "2026-11-21T01:00:00Z"},
		{"Sat, 21 Nov 2026 10:00:00 IST", "2026-11-21T04:30:00Z"},
		{"Sat, 21 Nov 2026 10:00:00 MSK", "2026-11-21T07:00:00Z"},
		{"Sat, 21 Nov 2026 10:00:00 EDT", "2026-11-21T14:00:00Z"},
		{"Sat, 21 Nov 2026 10:00:00 +0000 GMT", "2026-11-21T10:00:00Z"},
		{"Sat, 1 Sept 2018 10:00:00 +0200", "2018-09-01T08:00:00Z"},
		{"Samedi, 21 Nov 2026 10:00 AEDT", "2026-11-20T23:00:00Z"},
		{"21 Nov 26 10:00 UT", "2026-11-21T10:00:00Z"},
		{"November 21, 2026 10:00:00 PST", "2026-11-21T18:00:00Z"},
		{"2026-11-21 10:00:00 HKT", "2026-11-21T02:00:00Z"},
		{"1795219200123", "2026-11-21T00:00:00.123Z"},
		{"", ""}, {"soon", ""}, {"20261121", ""}, {"21 Nov", ""}, {"2026-11-21T10:00:00Z", ""}, {"30 Feb 2026 10:00:00 GMT", ""},
	} {
		got, ok := readDate(f.text)
		if ok != (f.want != "") || ok && market.MillisOf(got) != at(t, f.want) {
			t.Errorf("%q: %s, %t; want %s", f.text, got.UTC(), ok, f.want)
		}
	}
}

func TestIdentity(t *testing.T) {
	long := strings.Repeat("x", 299)
	hash := func(s string) string { return fmt.Sprintf("h/sha256:%x", sha256.Sum256([]byte(s))) }
	for _, f := range []struct{ guid, link, title, want string }{
		{"1", "l", "t", "h/1"},
		{" a\n b ", "l", "t", "h/a b"},
		{"", "https://h/1", "t", "h/https://h/1"},
		{long[:298], "l", "t", "h/" + long[:298]},
		{long, "l", "t", hash(long)},
		{"", long, "t", hash(long)},
		{"", "", "t", hash("t")},
	} {
		if got := identity("h", f.guid, f.link, f.title); got != f.want {
			t.Errorf("%.20q, %.20q: %q, want %q", f.guid, f.link, got, f.want)
		}
	}
}

func TestAddress(t *testing.T) {
	base := link(t, "https://a.example/news/feed")
	for _, f := range []struct{ text, want string }{
		{"https://b.example/x", "https://b.example/x"},
		{" //b.example/x ", "https://b.example/x"},
		{"x?utm_source=rss&a=1&UTM_Medium=feed&b=%20#c", "https://a.example/news/x?a=1&b=%20#c"},
		{"/x?utm_source=rss", "https://a.example/x"},
		{"", ""}, {"javascript:alert(1)", ""}, {"data:image/png;base64,AA", ""}, {"mailto:a@b.example", ""}, {"https://", ""}, {"http://[::1", ""},
		{"/" + strings.Repeat("x", market.MaxURL), ""},
	} {
		if got := address(base, f.text, market.MaxURL); got != f.want {
			t.Errorf("%.40q: %q, want %q", f.text, got, f.want)
		}
	}
}

func TestNoFeed(t *testing.T) {
	for _, f := range []struct{ name, body, want string }{
		{"a page", " <!DOCTYPE html><html><body>Checking your browser</body></html>", "HTML page"},
		{"a text", "hello", "neither"},
		{"other XML", "<opml><body/></opml>", "neither"},
		{"truncated RSS", "<rss><channel><title>t</title><item><title>x</ti", "reading the feed"},
		{"truncated JSON", `{"version":"https://jsonfeed.org/version/1","items":[{"id":"1"`, "reading the feed"},
		{"an unknown charset", `<?xml version="1.0" encoding="nonsense"?><rss><channel/></rss>`, "reading the feed"},
		{"too deep", "<rss><channel>" + strings.Repeat("<a:b>", 1<<19), "nested deeper"},
		{"too much", "<rss><channel>" + strings.Repeat("<a:b/>", 1<<17), "more than"},
	} {
		t.Run(f.name, func(t *testing.T) {
			u := link(t, "https://a.example/")
			if _, err := parse([]byte(f.body), u, u, noon); err == nil || !strings.Contains(err.Error(), f.want) {
				t.Errorf("got %v, want one with %q", err, f.want)
			}
		})
	}
}

// FuzzParse: whatever a feed sends, what is emitted is valid, each id once, and
// the same the next time.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	u := link(f, "https://a.example/feed")
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parse(body, u, u, noon)
		if err != nil {
			return
		}
		again, err := parse(bytes.Clone(body), u, u, noon.Add(time.Second))
		if err != nil || len(again.posts) != len(c.posts) || len(c.posts) > maxItems {
			t.Fatalf("%d posts, then %v", len(c.posts), err)
		}
		ids := map[string]bool{}
		for i, p := range c.posts {
			valid(t, p)
			if ids[p.ID] {
				t.Errorf("%s came twice", p.ID)
			}
			ids[p.ID] = true
			if p.PublishedTime > p.ObservedTime || i > 0 && p.PublishedTime < c.posts[i-1].PublishedTime {
				t.Errorf("%s was published at %s", p.ID, p.PublishedTime)
			}
		}
	})
}
