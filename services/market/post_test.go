package market_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

// fullPost is a post with every field given.
func fullPost() *market.Post {
	return &market.Post{
		Source: "cryptopanic", ID: "20776523", Type: "news", Title: "Bitcoin “rises” & falls", Summary: "A day of both.",
		URL: "https://cryptopanic.com/news/20776523/x", ArticleURL: "https://example.org/a?b=c&d", ImageURL: "https://example.org/i.png",
		Slug: "x", Author: "A. Writer", Publisher: market.Publisher{Title: "Example", Domain: "example.org", Region: "en", Type: "feed", Path: "p"},
		Instruments: []string{"BTC", "XRP"},
		Votes: &market.Votes{Negative: some(int64(0)), Positive: some(int64(1)), Important: some(int64(2)), Liked: some(int64(3)), Disliked: some(int64(4)),
			LOL: some(int64(5)), Toxic: some(int64(6)), Saved: some(int64(7)), Comments: some(int64(8))},
		PanicScore: some(int64(50)), PublishedTime: 1725416820000, CreatedTime: 1725416821000,
		FirstSeenTime: 1725416830000, ObservedTime: 1725420430000, VotesTime: 1725420430000, Origin: market.OriginLive,
	}
}

func posts() *rapid.Generator[*market.Post] {
	return rapid.Custom(func(t *rapid.T) *market.Post {
		clock := rapid.Map(rapid.Int64Range(1230940800000, 4102444799999), func(ms int64) market.Millis { return market.Millis(ms) })
		word := rapid.Map(rapid.StringN(0, 20, 200), func(s string) string { return market.CleanText(s, 200) })
		count := rapid.Ptr(rapid.Int64Min(0), true)
		p := &market.Post{
			Source: rapid.StringMatching(`[a-z]{1,32}`).Draw(t, "source"), ID: "1" + word.Draw(t, "id"), Title: "T" + word.Draw(t, "title"),
			Summary: word.Draw(t, "summary"), URL: word.Draw(t, "url"), Publisher: market.Publisher{Title: word.Draw(t, "publisher")},
			PublishedTime: clock.Draw(t, "published"), FirstSeenTime: clock.Draw(t, "first seen"), ObservedTime: clock.Draw(t, "observed"),
			PanicScore: rapid.Ptr(rapid.Int64Range(0, 100), true).Draw(t, "panic score"),
			Origin:     rapid.SampledFrom([]market.Origin{"live", "backfill", "repair", "archive"}).Draw(t, "origin"),
		}
		if rapid.Bool().Draw(t, "has votes") {
			p.Votes, p.VotesTime = &market.Votes{Negative: count.Draw(t, "negative"), Comments: count.Draw(t, "comments")}, p.ObservedTime
		}
		return p
	})
}

func TestPostValidate(t *testing.T) {
	long := strings.Repeat("x", 60)
	for problem, change := range map[string]func(p *market.Post){
		"": func(*market.Post) {},
		`source "" is not 1 to 32 bytes without a slash`:                             func(p *market.Post) { p.Source = "" },
		`source "a/b" is not 1 to 32 bytes without a slash`:                          func(p *market.Post) { p.Source = "a/b" },
		`id "" is not 1 to 512 bytes long`:                                           func(p *market.Post) { p.ID = "" },
		`id "` + long + `" is not 1 to 512 bytes long`:                               func(p *market.Post) { p.ID = strings.Repeat("x", 513) },
		`title of "20776523" is empty`:                                               func(p *market.Post) { p.Title = "" },
		`title "` + long + `" is longer than 2048 bytes, no UTF-8 or holds a NUL`:    func(p *market.Post) { p.Title = strings.Repeat("x", 2049) },
		`summary "` + long + `" is longer than 32768 bytes, no UTF-8 or holds a NUL`: func(p *market.Post) { p.Summary = strings.Repeat("x", 32769) },
		`author "\xff" is longer than 512 bytes, no UTF-8 or holds a NUL`:            func(p *market.Post) { p.Author = "\xff" },
		`id "a\x00" is longer than 512 bytes, no UTF-8 or holds a NUL`:               func(p *market.Post) { p.ID = "a\x00" },
		`instruments "btc" is not a currency like BTC`:                               func(p *market.Post) { p.Instruments = []string{"btc"} },
		`instruments "" is not a currency like BTC`:                                  func(p *market.Post) { p.Instruments = []string{""} },
		`instruments "XRP,BTC" is not in order, each once`:                           func(p *market.Post) { p.Instruments = []string{"XRP", "BTC"} },
		`instruments "BTC,BTC" is not in order, each once`:                           func(p *market.Post) { p.Instruments = []string{"BTC", "BTC"} },
		`instruments of "20776523" are 101, more than 100`:                           func(p *market.Post) { p.Instruments = make([]string, 101) },
		`votes.lol -1 is negative`:                                                   func(p *market.Post) { p.Votes.LOL = some(int64(-1)) },
		`votes_time 0 is not a time in ms between 2009 and 2100`:                     func(p *market.Post) { p.VotesTime = 0 },
		`published_time 0 is not a time in ms between 2009 and 2100`:                 func(p *market.Post) { p.PublishedTime = 0 },
		`first_seen_time 0 is not a time in ms between 2009 and 2100`:                func(p *market.Post) { p.FirstSeenTime = 0 },
		`observed_time -5 is not a time in ms between 2009 and 2100`:                 func(p *market.Post) { p.ObservedTime = -5 },
		`created_time 7 is not a time in ms between 2009 and 2100`:                   func(p *market.Post) { p.CreatedTime = 7 },
		`origin "" is unknown`:                                                       func(p *market.Post) { p.Origin = "" },
	} {
		p := fullPost()
		change(p)
		wants(t, p.Validate(), problem)
	}
	bare := &market.Post{Source: "rss", ID: "x", Title: "T", PublishedTime: 1725416820000, FirstSeenTime: 1725416820000, ObservedTime: 1725416820000, Origin: market.OriginLive}
	wants(t, bare.Validate(), "")
}

func TestPostPrints(t *testing.T) {
	all, votes, err := fullPost().Prints()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		what            string
		change          func(p *market.Post)
		sameAll, sameVs bool
	}{
		{"nothing", func(*market.Post) {}, true, true},
		{"our clocks", func(p *market.Post) { p.FirstSeenTime, p.ObservedTime, p.VotesTime = 1, 2, 3 }, true, true},
		{"the title", func(p *market.Post) { p.Title += "!" }, false, true},
		{"an absent score", func(p *market.Post) { p.PanicScore = nil }, false, true},
		{"a vote", func(p *market.Post) { *p.Votes.Toxic++ }, false, false},
		{"no votes", func(p *market.Post) { p.Votes = nil }, false, false},
	} {
		p := fullPost()
		f.change(p)
		a, v, err := p.Prints()
		if err != nil {
			t.Fatal(err)
		}
		if (a == all) != f.sameAll || (v == votes) != f.sameVs {
			t.Errorf("%s: same at all: %t, same votes: %t", f.what, a == all, v == votes)
		}
	}
}

func TestPostNames(t *testing.T) {
	p := fullPost()
	event, received := p.Clocks()
	for _, f := range []struct{ what, got, want string }{
		{"kind", string(p.Kind()), "post"},
		{"topic", p.Kind().Topic(), "news.posts"},
		{"key", p.Key(), "cryptopanic/20776523"},
		{"partition key", p.PartitionKey(), "cryptopanic/20776523"},
		{"event time", event.String(), p.ObservedTime.String()},
		{"receive time", received.String(), p.ObservedTime.String()},
	} {
		if f.got != f.want {
			t.Errorf("%s is %q, want %q", f.what, f.got, f.want)
		}
	}
}

func TestCleanText(t *testing.T) {
	for _, f := range []struct {
		text string
		max  int
		want string
	}{
		{" a\n\tb  c ", 10, "a b c"},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"aé", 2, "a"},
		{"é", 1, ""},
		{"a\xffb", 10, "a\uFFFDb"},
		{"a\x00b\u0007c\u0085d", 10, "abc d"},
		{"", 0, ""},
	} {
		if got := market.CleanText(f.text, f.max); got != f.want {
			t.Errorf("CleanText(%q, %d) = %q, want %q", f.text, f.max, got, f.want)
		}
	}
}
