package pipelinetest

import (
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func testPostFields(t *testing.T, s pipeline.Sink, read PostReader) {
	all := []*market.Post{Post(0), Bare(0)}
	for i, origin := range []market.Origin{market.OriginBackfill, market.OriginRepair, market.OriginArchive} {
		all = append(all, postWith(Post(1+i), func(p *market.Post) { p.Origin = origin }))
	}
	write(t, s, events(all...)...)
	wantExactly(t, read, all...)
}

func testPostAbsent(t *testing.T, s pipeline.Sink, read PostReader) {
	full := Post(0)
	few := postWith(Post(1), func(p *market.Post) { // as pages of 2018 have it
		p.Votes = &market.Votes{Negative: some(int64(0)), Positive: some(int64(2)), Important: some(int64(0))}
		p.Publisher = market.Publisher{Domain: "example.com"}
	})
	none := postWith(Post(2), func(p *market.Post) { p.Votes = &market.Votes{} }) // told, but without a count
	write(t, s, full, few, none, Bare(0))
	wantExactly(t, read, full, few, none, Bare(0))
	// A newer version takes what it does not say away: it is the newer truth.
	poorer := later(Bare(0), 0, func(p *market.Post) {
		p.Source, p.ID, p.ObservedTime = full.Source, full.ID, full.ObservedTime.Add(time.Second)
	})
	richer := postWith(Post(3), func(p *market.Post) {
		p.Source, p.ID, p.ObservedTime = Bare(0).Source, Bare(0).ID, Bare(0).ObservedTime.Add(time.Second)
		p.FirstSeenTime, p.VotesTime = Bare(0).FirstSeenTime, p.ObservedTime
	})
	write(t, s, poorer, richer)
	poorer.FirstSeenTime = full.FirstSeenTime
	wantPosts(t, read, plain(poorer, few, none, richer), full, few, none, richer)
	// Absent and zero are not the same.
	zero := postWith(few, func(p *market.Post) { p.PanicScore = some(int64(0)) })
	unsaid := postWith(none, func(p *market.Post) { p.PanicScore = nil })
	write(t, s, zero, unsaid)
	wantPosts(t, read, []Stored{{Event: poorer}, {Event: few, Conflict: true}, {Event: none, Conflict: true}, {Event: richer}}, full, few, none, richer)
}

func testPostTexts(t *testing.T, s pipeline.Sink, read PostReader) {
	var all []*market.Post
	for i, text := range []string{
		"比特币突破十万美元", "Биткоин вырос", "بيتكوين يرتفع", "₿ 🚀 👩‍🚀 🇺🇦", "café and cafe\u0301", "zero\u200bwidth \u202eright to left",
		`"quoted" 'single' \ back \n $set {"a": 1} <b>&amp;</b>`, "$title", "a.b.c", " spaces ", "line\nbreak\ttab\r\n", "\uFFFD replaced", "%s %d", "null", "ÿ", "\U0010FFFF",
		strings.Repeat("ü", market.MaxTitle/2),
	} {
		all = append(all, postWith(Post(i), func(p *market.Post) {
			p.Title, p.Summary, p.Slug, p.Publisher.Title = text, text, text[:min(len(text), 4)], text[:min(len(text), 8)]
			p.Slug, p.Publisher.Title = strings.ToValidUTF8(p.Slug, ""), strings.ToValidUTF8(p.Publisher.Title, "")
		}))
	}
	all = append(all, postWith(Post(len(all)), func(p *market.Post) { p.Summary = strings.Repeat("long text ", market.MaxSummary/10) }))
	write(t, s, events(all...)...)
	wantExactly(t, read, all...)
	if e := write(t, s, events(all...)...); e.Updated != 0 {
		t.Errorf("the same texts had effects %+v", e)
	}
	wantExactly(t, read, all...)
}

func testPostNumbers(t *testing.T, s pipeline.Sink, read PostReader) {
	var all []*market.Post
	for i, at := range []market.Millis{
		1230940800000, 4102444799999, // the ends of what is valid
		1711846799999, 1711846800001, 1729994399001, // where summer time begins and ends in Europe
		1456704000000, // 29th of February
	} {
		all = append(all, postWith(Post(i), func(p *market.Post) {
			p.PublishedTime, p.CreatedTime, p.FirstSeenTime, p.ObservedTime, p.VotesTime = at, at, at, at, at
			p.Votes = &market.Votes{Positive: some(int64(1)<<53 + 1), Negative: some(int64(1)<<62 + 1), Comments: some(int64(1) << 31)} // more than a float64 or an int32 holds
			p.PanicScore = some(int64(i))
		}))
	}
	write(t, s, events(all...)...)
	wantExactly(t, read, all...)
}

// testPostKeys has keys that a careless collation would take for one, or for a number.
func testPostKeys(t *testing.T, s pipeline.Sink, read PostReader) {
	all := []*market.Post{Post(0)}
	for _, id := range []string{"abc", "ABC", "äbc", "a\u0308bc", "abc ", " abc", "abc/1740787200000", "1", "01", "1.0", "$abc", "a.b", "https://example.com/?p=1&q=2#x", strings.Repeat("x", 512)} {
		all = append(all, postWith(Post(0), func(p *market.Post) { p.ID = id }))
	}
	all = append(all, postWith(Post(0), func(p *market.Post) { p.Source = "Cryptopanic" }), postWith(Post(0), func(p *market.Post) { p.Source = "rss" }))
	write(t, s, events(all...)...)
	wantExactly(t, read, all...)
}

func testPostEmpty(t *testing.T, s pipeline.Sink, read PostReader) {
	write(t, s)
	wantPosts(t, read, nil)
}
