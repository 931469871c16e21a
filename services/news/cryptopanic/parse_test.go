package cryptopanic

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
)

// now is when the tests receive.
const now market.Millis = 1793000000000

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func at(t testing.TB, s string) market.Millis {
	t.Helper()
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return market.MillisOf(m)
}

func pointer(n int64) *int64 { return &n }

func TestPage(t *testing.T) {
	live := func(p market.Post) *market.Post {
		p.Source, p.ObservedTime, p.Origin = "cryptopanic", now, market.OriginLive
		return &p
	}
	for _, f := range []struct {
		name string
		want []*market.Post
		bad  int
		last bool
	}{
		{"v2_full.json", []*market.Post{
			live(market.Post{
				ID: "26000001", Type: "media", Title: "Fees fall as blocks grow", Summary: "Median fees fell to 0.4 sat. Miners & users react.",
				URL: "https://cryptopanic.com/news/26000001/Fees-fall-as-blocks-grow", ArticleURL: "https://block.example/fees?ref=1",
				ImageURL: "https://images.example/26000001.png", Slug: "Fees-fall-as-blocks-grow", Author: "A. Writer",
				Publisher:   market.Publisher{Title: "Block & Chain", Region: "en", Domain: "block.example", Type: "feed"},
				Instruments: []string{"BTC", "ETH"}, PanicScore: pointer(42),
				Votes: &market.Votes{
					Negative: pointer(1), Positive: pointer(12), Important: pointer(3), Liked: pointer(4), Disliked: pointer(5),
					LOL: pointer(6), Toxic: pointer(7), Saved: pointer(8), Comments: pointer(9),
				},
				PublishedTime: at(t, "2026-10-31T23:59:59.120Z"), CreatedTime: at(t, "2026-11-01T00:00:02Z"),
			}),
			live(market.Post{
				ID: "26000000", Type: "twitter", Title: "An object as author, a score as text", Summary: "Only the content.", Author: "@someone",
				PanicScore: pointer(7), Votes: &market.Votes{Positive: pointer(3)}, PublishedTime: at(t, "2026-10-31T22:00:00Z"),
			}),
		}, 0, false},
		{"v2_gated.json", []*market.Post{
			live(market.Post{ID: "26000002", Title: "All that a plan may hide is null", PublishedTime: at(t, "2026-11-01T08:00:00Z")}),
			live(market.Post{ID: "26000003", Title: "No member but these", PublishedTime: at(t, "2026-11-01T08:00:01Z"), CreatedTime: at(t, "2026-11-01T08:00:01Z")}),
		}, 0, true},
		{"v1_odd.json", []*market.Post{
			live(market.Post{
				ID: "1", Title: "Good", Summary: "Told <here>", URL: "https://cryptopanic.com/news/1/Good?x=1", ImageURL: "https://images.example/1.png",
				Publisher: market.Publisher{Domain: "only.example"}, Instruments: []string{"ETH", "XRP"}, PublishedTime: at(t, "2025-02-26T11:20:14Z"),
			}),
			live(market.Post{ID: "14", Title: "Last", PublishedTime: at(t, "2025-02-26T11:20:14Z")}),
		}, 12, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			p, err := parsePage(fixture(t, f.name), now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(f.want, p.posts); diff != "" {
				t.Error(diff)
			}
			if len(p.bad) != f.bad || p.last != f.last {
				t.Errorf("%d bad (want %d), last page %t: %v", len(p.bad), f.bad, p.last, p.bad)
			}
		})
	}
}

func TestPagesThatAreNone(t *testing.T) {
	for _, f := range []struct{ name, body string }{
		{"empty", ""},
		{"cut", `{"results":[{"id":1`},
		{"no results", `{"count":0}`},
		{"null results", `{"results":null}`},
		{"an object as results", `{"results":{}}`},
		{"other case", `{"Results":[]}`},
		{"a list", `[]`},
		{"HTML", `<html>`},
		{"more", `{"results":[]}{}`},
	} {
		t.Run(f.name, func(t *testing.T) {
			if p, err := parsePage([]byte(f.body), now); err == nil {
				t.Errorf("%+v", p)
			}
		})
	}
	p, err := parsePage([]byte(`{"results":[]}`), now)
	if err != nil || len(p.posts)+len(p.bad) != 0 || !p.last {
		t.Errorf("an empty page: %+v, %v", p, err)
	}
}

// TestOnePostIsCut: what is too long is cut, an address dropped.
func TestOnePostIsCut(t *testing.T) {
	long := strings.Repeat("ß", 40_000)
	codes := make([]string, 150)
	for i := range codes {
		codes[i] = `{"code":"C` + string(rune('A'+i/26)) + string(rune('A'+i%26)) + `"}`
	}
	body := `{"results":[{"id":1,"title":"` + long + `","body":"` + long + `","slug":"` + long + `","author":"` + long + `","url":"https://x.example/` + long +
		`","published_at":"2025-02-26T11:20:14Z","source":{"title":"` + long + `"},"currencies":[` + strings.Join(codes, ",") + `,{"code":"` + long + "\"}]}\xff]}"
	if _, err := parsePage([]byte(body), now); err == nil {
		t.Error("bytes between values are read")
	}
	body = strings.Replace(body, "}\xff]}", "}]}", 1)
	body = strings.Replace(body, `"title":"ßß`, "\"title\":\"\xff\xffß", 1)
	p, err := parsePage([]byte(body), now)
	if err != nil || len(p.posts) != 1 {
		t.Fatalf("%v %v", err, p.bad)
	}
	post := p.posts[0]
	if len(post.Title) > market.MaxTitle || !strings.HasPrefix(post.Title, "\uFFFD") || len(post.Summary) != market.MaxSummary || post.URL != "" || len(post.Instruments) != market.MaxTags {
		t.Errorf("title %d, summary %d, url %d, %d instruments", len(post.Title), len(post.Summary), len(post.URL), len(post.Instruments))
	}
}

func TestPlain(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		{"plain", "plain"},
		{`NEO ($NEO) price is up <span class="color-green">20.99%</span>`, "NEO ($NEO) price is up 20.99%"},
		{"use case & DNVGL", "use case & DNVGL"},
		{"a &amp; b &lt;c&gt; &#8217; &nbsp;d", "a & b <c> ’ d"},
		{"&amp;amp;", "&amp;"},
		{"one<br>two<p>three</p>four", "one two three four"},
		{"<b>bo</b>ld", "bold"},
		{"5 < 6 > 4", "5 < 6 > 4"},
		{"fees <b", "fees <b"},
		{"a<script>alert('x')</script>b<style>p{}</style>c", "a b c"},
		{"a<script>alert('x')", "a"},
		{"a<!-- no -->b", "a b"},
		{"<img src=x onerror=y>", ""},
		{" white\n\tspace ", "white space"},
	} {
		if got := plain(text(f.text), 1000); got != f.want {
			t.Errorf("%q is %q, want %q", f.text, got, f.want)
		}
	}
}

func TestLink(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		{"https://x.example/a?b=1&a=2#f", "https://x.example/a?b=1&a=2#f"},
		{" http://x.example ", "http://x.example"},
		{"https://x.example/?auth_token=s", "https://x.example/"},
		{"https://x.example/?a=1&auth_token=s&b=2", "https://x.example/?a=1&b=2"},
		{"https://x.example/?auth%5Ftoken=s", "https://x.example/"},
		{"https://x.example/#auth_token=s", ""},
		{"https://x.example/?u=https://y.example/?auth_token=s", ""},
		{"https://x.example/" + strings.Repeat("a", market.MaxURL), ""},
		{"javascript:alert(1)", ""}, {"//x.example", ""}, {"x.example", ""}, {"", ""}, {"https://", ""}, {"https://x.example/\x00", ""},
	} {
		if got := link(text(f.text)); got != f.want {
			t.Errorf("%q is %q, want %q", f.text, got, f.want)
		}
	}
}

func TestExplain(t *testing.T) {
	at := time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC)
	for _, f := range []struct {
		body, code, message string
		until               time.Time
	}{
		{`{"status":"api_error","info":"API monthly quota exceeded. Upgrade your plan"}`, "api_error", "API monthly quota exceeded. Upgrade your plan", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{`{"status":"x","info":"Daily quota exceeded"}`, "x", "Daily quota exceeded", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{`{"status":"x","info":"Hourly limit exceeded"}`, "x", "Hourly limit exceeded", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{`{"status":"x","info":"Weekly quota exceeded"}`, "x", "Weekly quota exceeded", time.Date(2026, 12, 7, 0, 0, 0, 0, time.UTC)},
		{`{"status":"x","info":"Quota exceeded"}`, "x", "Quota exceeded", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{`{"status":"x","info":"Rate limit exceeded"}`, "x", "Rate limit exceeded", time.Time{}},
		{`{"status":"x","info":"History is limited to one month"}`, "x", "History is limited to one month", time.Time{}},
		{`{"detail":"Invalid token."}`, "detail", "Invalid token.", time.Time{}},
		{`{"status":"api_error"}`, "", "", time.Time{}}, {`{}`, "", "", time.Time{}}, {`[]`, "", "", time.Time{}}, {`<html>`, "", "", time.Time{}}, {``, "", "", time.Time{}},
	} {
		if c := explain([]byte(f.body), at); c.Code != f.code || c.Message != f.message || !c.BannedUntil.Equal(f.until) {
			t.Errorf("%s is %+v", f.body, c)
		}
	}
	mid := time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)
	if c := explain([]byte(`{"info":"daily quota"}`), mid); !c.BannedUntil.Equal(mid.Add(12 * time.Hour)) {
		t.Errorf("daily until %s", c.BannedUntil)
	}
}

func FuzzPage(f *testing.F) {
	for _, name := range []string{"v2_full.json", "v2_gated.json", "v1_odd.json"} {
		f.Add(fixture(f, name))
	}
	f.Add([]byte(`{"results":[{"id":1e2,"title":"&lt;&#0;<p","published_at":"2025-02-26T11:20:14Z","votes":{"positive":1.0},"author":{}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePage(body, now)
		if err != nil && (p.posts != nil || p.bad != nil) {
			t.Errorf("%+v with %v", p, err)
		}
		for _, post := range p.posts {
			filled := *post
			filled.FirstSeenTime, filled.VotesTime = now, now
			if err := filled.Validate(); err != nil {
				t.Error(err)
			}
			for _, u := range []string{post.URL, post.ArticleURL, post.ImageURL} {
				if strings.Contains(u, secretParameter) {
					t.Errorf("%q", u)
				}
			}
			value, err := market.Encode(post)
			if err != nil {
				t.Fatal(err)
			}
			back, err := market.Decode(string(market.KindPost), market.ContractVersion, string(post.Origin), value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(post, back); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("<b>x</b> &amp; <script>y", "https://x.example/?auth_token=1")
	f.Fuzz(func(t *testing.T, s, u string) {
		if got := plain(text(s), 50); len(got) > 50 || !utf8.ValidString(got) || got != market.CleanText(got, 50) && len(got) < 40 {
			t.Errorf("%q", got)
		}
		if got := link(text(u)); strings.Contains(got, secretParameter) {
			t.Errorf("%q", got)
		}
		explain([]byte(s), now.Time())
	})
}
