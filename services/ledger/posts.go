package ledger

import (
	"fmt"
	"strings"

	"github.com/candlestack/candlestack/services/market"
)

// oneForgotten: one version in so many comes from a source that forgot its past,
// and takes the post for new.
const oneForgotten = 15

// story is a post that its feed shows again and again, each time with other votes,
// another title or both. Its clocks are what the engine makes of them: the first
// observation, the last change of all, the last change of the votes.
func (h *history) story(t *track) []market.Event {
	first := h.post(t)
	versions := []market.Event{first}
	for last := first; h.rng.IntN(5) > 0; {
		p := *last
		p.ObservedTime += market.Millis(1 + h.rng.IntN(10_000))
		p.Origin = h.origin()
		turn := h.rng.IntN(3)
		if turn != 0 {
			p.Title = h.text(market.MaxTitle)
			p.Instruments = h.currencies(t)
		}
		if turn != 1 {
			h.vote(&p)
		}
		if h.one(oneForgotten) {
			p.FirstSeenTime = p.ObservedTime
			if p.Votes != nil {
				p.VotesTime = p.ObservedTime
			}
		}
		versions = append(versions, &p)
		last = &p
	}
	return h.disorder(t, versions, func(e market.Event) market.Event {
		twin := *e.(*market.Post)
		twin.Title = "!" + twin.Title[1:]
		h.vote(&twin)
		return &twin
	})
}

// post is one as a feed shows it first.
func (h *history) post(t *track) *market.Post {
	base := t.Instrument.Base
	p := &market.Post{
		Source: exchange, ID: fmt.Sprintf("%s-%d", base, t.next), Title: h.text(market.MaxTitle), Instruments: h.currencies(t),
		PublishedTime: t.next - market.Millis(h.rng.IntN(1e8)), FirstSeenTime: t.next, ObservedTime: t.next, Origin: h.origin(),
	}
	if h.one(2) { // as a feed of RSS has it
		p.ID = fmt.Sprintf("https://%s.example/$set/%d?a=b&c=%%20#é", strings.ToLower(base), t.next)
	}
	if !h.one(4) { // else a source that gives little
		score := h.rng.Int64N(101)
		p.Type, p.Summary, p.Slug, p.Author, p.PanicScore = "media", h.text(market.MaxSummary), "a-slug", "\u202eA. Ψ", &score
		p.URL, p.ArticleURL, p.ImageURL = "https://feed.example/1", "https://paper.example/1", "https://paper.example/1.png"
		p.Publisher = market.Publisher{Title: "The Paper", Domain: "paper.example", Region: "en", Type: "feed", Path: "/"}
		p.CreatedTime = p.PublishedTime + market.Millis(h.rng.IntN(1e6))
	}
	h.vote(p)
	return p
}

// text makes up a text; now and then it is as long as it may be.
func (h *history) text(max int) string {
	s := fmt.Sprintf("$%d.%d \u20bf rises\t \"%d\" <b>\U0001f680\\", h.rng.IntN(1e5), h.rng.IntN(100), h.rng.IntN(1e9))
	if h.one(200) {
		s += strings.Repeat(" to the moon", max/8)[:max-len(s)]
	}
	return s
}

func (h *history) currencies(t *track) []string {
	switch h.rng.IntN(3) {
	case 0:
		return nil
	case 1:
		return []string{t.Instrument.Base}
	}
	return []string{"BTC", t.Instrument.Base, "ÆTHER"} //nolint:misspell // a code beyond ASCII
}

// vote gives p other votes, or none.
func (h *history) vote(p *market.Post) {
	p.Votes, p.VotesTime = nil, 0
	if h.one(8) {
		return
	}
	p.Votes, p.VotesTime = &market.Votes{}, p.ObservedTime
	for _, count := range []**int64{
		&p.Votes.Negative, &p.Votes.Positive, &p.Votes.Important, &p.Votes.Liked, &p.Votes.Disliked,
		&p.Votes.LOL, &p.Votes.Toxic, &p.Votes.Saved, &p.Votes.Comments,
	} {
		if n := h.rng.Int64N(1 << 40); !h.one(4) { // else a count that the source does not give
			*count = &n
		}
	}
}

// postPoisons are posts that say what no post may.
var postPoisons = []poison{
	{"no title", bend(func(p *market.Post) { p.Title = "" })},
	{"long title", bend(func(p *market.Post) { p.Title = strings.Repeat("x", market.MaxTitle+1) })},
	{"long id", bend(func(p *market.Post) { p.ID = strings.Repeat("x", 513) })},
	{"slash in source", bend(func(p *market.Post) { p.Source = "led/ger" })},
	{"negative count", bend(func(p *market.Post) { n := int64(-1); p.Votes, p.VotesTime = &market.Votes{Saved: &n}, p.ObservedTime })},
	{"votes without a time", bend(func(p *market.Post) { p.Votes, p.VotesTime = &market.Votes{}, 0 })},
	{"currencies out of order", bend(func(p *market.Post) { p.Instruments = []string{"ETH", "BTC"} })},
	{"currency in small letters", bend(func(p *market.Post) { p.Instruments = []string{"btc"} })},
	{"never seen", bend(func(p *market.Post) { p.FirstSeenTime = 0 })},
	{"observed in a far future", bend(func(p *market.Post) { p.ObservedTime = 7258118400000 })},
}

// bend changes what the post of a record says.
func bend(change func(p *market.Post)) func(r *record) {
	return func(r *record) {
		e, err := market.Decode(string(market.KindPost), market.ContractVersion, string(market.OriginLive), r.value)
		if err == nil {
			change(e.(*market.Post))
			r.value, err = market.Encode(e)
		}
		if err != nil {
			panic(err) // it was encoded a moment ago
		}
	}
}

// kindSnapshot is the book's own name for a snapshot of votes. There is one for
// each time at which votes of a post were first observed; it never changes.
const kindSnapshot market.Kind = "snapshot of votes"

// tell fills in what the book says of a post alone.
func (l *line) tell(p *market.Post) (err error) {
	l.FirstSeen = p.FirstSeenTime
	if p.Votes != nil {
		l.VotesTime = p.VotesTime
		l.Votes, err = hashSnapshot(p)
	}
	return err
}

// hashSnapshot tells apart snapshots by all that a store keeps of them.
func hashSnapshot(p *market.Post) (string, error) {
	return hashEvent(&market.Post{Source: p.Source, ID: p.ID, Instruments: p.Instruments, Votes: p.Votes, VotesTime: p.VotesTime})
}

// snapshotKey is the _id of the snapshot of a post's votes.
func snapshotKey(post string, at market.Millis) string { return fmt.Sprintf("%s/%d", post, at) }

// withSnapshots adds to the entries of good posts those of the snapshots that they
// bring: whatever is promised of events is promised of them.
func withSnapshots(entries []entry) []entry {
	all := entries[:len(entries):len(entries)]
	for _, e := range entries {
		if e.Votes != "" {
			s := e
			s.line = line{Sent: e.Sent, Kind: kindSnapshot, Topic: e.Topic, Key: snapshotKey(e.Key, e.VotesTime), Version: int64(e.VotesTime), Hash: e.Votes}
			all = append(all, s)
		}
	}
	return all
}
