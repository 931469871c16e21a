package simulator

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/candlestack/candlestack/services/market"
)

// story is what a feed shows of a post.
type story struct {
	id                int64
	kind              string // news, media
	title, slug, text string
	publisher         publisher
	coins             []coin
	published         market.Millis
	created           market.Millis // when the feed took it up: it is not shown before
	changed           market.Millis // when its texts last changed
	votes             votes
	link              string // of a recorded post; else it is /news/ID/SLUG of ours
	raw               []byte // a recorded post as CryptoPanic served it
	rank              int64  // in a list that is not by time
}

// selection of stories, as CryptoPanic's parameters have it. Empty is all.
type selection struct {
	filter     string // one of filters
	currencies []string
	kind       string
	regions    []string
	limit      int
}

// news is where stories come from: a seed, or a recording.
type news interface {
	// stories that are shown at a time, at most limit: the newest first, or the
	// first by rank.
	stories(want selection, now market.Millis) []story
	// story of an id, as it reads at a time; false if it is not there yet.
	story(id int64, now market.Millis) (story, bool)
	// count is how many posts are published in [from, to), and how many of them
	// are about each currency.
	count(from, to market.Millis) (all int, about map[string]int)
}

const (
	oldestNews = 7 * day // stories that are older are in no list
	hotNews    = day
	risingNews = 6 * hour
)

// filters and what they ask of a story. All but hot and rising, which rank, are
// guesses at what CryptoPanic calls significant.
var filters = map[string]func(v *votes) bool{
	"":          func(*votes) bool { return true },
	"hot":       func(*votes) bool { return true },
	"rising":    func(*votes) bool { return true },
	"bullish":   func(v *votes) bool { return v[votePositive] > v[voteNegative] },
	"bearish":   func(v *votes) bool { return v[voteNegative] > v[votePositive] },
	"important": func(v *votes) bool { return v[voteImportant] >= 10 },
	"saved":     func(v *votes) bool { return v[voteSaved] > 0 },
	"lol":       func(v *votes) bool { return v[voteLOL] > 0 },
}

// newsroom is the seeded news. Its only state is the posts that faults inserted.
type newsroom struct {
	desks []desk // by number
	mu    sync.Mutex
	extra []post
}

// newNewsroom has a desk for each of coins, one for what is about none, and one
// for each further currency as far as the numbers reach.
func newNewsroom(seed int64, currencies []string) *newsroom {
	all := []coin{{daily: generalDaily}}
	all = append(all, coins[:]...)
	for _, code := range currencies {
		if len(all) < breakingDesk && !slices.ContainsFunc(all, func(c coin) bool { return c.code == code }) {
			all = append(all, coin{code, code, strings.ToLower(code), otherDaily})
		}
	}
	r := &newsroom{}
	for number, c := range all {
		r.desks = append(r.desks, newDesk(seed, c, int64(number)))
	}
	return r
}

// desk about a currency, nil if there is none.
func (r *newsroom) desk(code string) *desk {
	for k := range r.desks {
		if r.desks[k].code == code {
			return &r.desks[k]
		}
	}
	return nil
}

func (r *newsroom) stories(want selection, now market.Millis) (all []story) {
	keep, limit, oldest := filters[want.filter], want.limit, now-oldestNews
	switch want.filter {
	case "hot":
		limit, oldest = breakingDesk*int(dayMinutes), now-hotNews
	case "rising":
		limit, oldest = breakingDesk*int(dayMinutes), now-risingNews
	}
	oldest = max(oldest, genesis)
	for m := int64(now / minute); market.Millis(m)*minute >= oldest && len(all) < limit; m-- {
		posts := r.minute(m)
		slices.SortFunc(posts, func(a, b post) int {
			return cmp.Or(cmp.Compare(b.published(), a.published()), cmp.Compare(b.id, a.id))
		})
		for _, p := range posts {
			if p.created() > now || !want.about(p.about()) {
				continue
			}
			if s := p.story(now); want.by(&s) && keep(&s.votes) {
				s.rank = p.rank(want.filter, now)
				all = append(all, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b story) int { return cmp.Compare(b.rank, a.rank) })
	return all[:min(len(all), want.limit)]
}

// rank in a list that is not by time: hot is by votes, which weigh less with
// age; rising by votes for the time since. It changes by the minute only, so
// that pages that are read one after the other fit together.
func (p *post) rank(filter string, now market.Millis) int64 {
	now -= now % minute
	v := p.votes(now)
	switch filter {
	case "hot":
		return v.sum() * int64(hotNews+p.created()-now)
	case "rising":
		return v.sum() * int64(day) / int64(max(now-p.created(), minute))
	}
	return 0
}

func (s *selection) about(coins []coin) bool {
	return len(s.currencies) == 0 ||
		slices.ContainsFunc(coins, func(c coin) bool { return slices.Contains(s.currencies, c.code) })
}

func (s *selection) by(one *story) bool {
	return (s.kind == "" || s.kind == one.kind) && (len(s.regions) == 0 || slices.Contains(s.regions, one.publisher.region))
}

// minute is the posts that were published in minute m, inserted ones included.
func (r *newsroom) minute(m int64) (posts []post) {
	for k := range r.desks {
		if p, ok := r.desks[k].post(m); ok {
			posts = append(posts, p)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.extra {
		if p.minute == m {
			posts = append(posts, p)
		}
	}
	return posts
}

func (r *newsroom) story(id int64, now market.Millis) (story, bool) {
	if id < 0 {
		return story{}, false
	}
	for _, p := range r.minute(id/deskSpan + int64(genesis/minute)) {
		if p.id == id && p.created() <= now {
			return p.story(now), true
		}
	}
	return story{}, false
}

// count looks at the seeded posts alone.
func (r *newsroom) count(from, to market.Millis) (all int, about map[string]int) {
	about = make(map[string]int)
	for m := int64(max(from, genesis) / minute); market.Millis(m)*minute < to; m++ {
		for k := range r.desks {
			p, ok := r.desks[k].post(m)
			if !ok || p.published() < from || p.published() >= to {
				continue
			}
			all++
			for _, c := range p.about() {
				about[c.code]++
			}
		}
	}
	return all, about
}

// effects are the posts about a currency, published in [from, to), that move
// its price.
func (r *newsroom) effects(i market.Instrument, from, to market.Millis) (all []Effect) {
	d := r.desk(i.Base)
	if d == nil {
		return nil
	}
	const slot = market.Millis(effectSlot) * minute
	for k := int64(max(from, genesis) / slot); market.Millis(k)*slot < to; k++ {
		m, percent, ok := d.effect(k)
		if !ok {
			continue
		}
		p, _ := d.post(m)
		if at := p.published(); at >= max(from, genesis) && at < to {
			all = append(all, Effect{ID: p.id, Time: at, Instrument: i, Percent: int(percent)})
		}
	}
	return all
}

const maxExtra = 100

// interrupt publishes a post about no coin at once, before all others, so that
// all pages of a list without currencies shift by one. At most ten a minute; the
// newest hundred are kept.
func (r *newsroom) interrupt(now market.Millis) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := int64(now / minute)
	number := int64(breakingDesk)
	for _, p := range r.extra {
		if p.minute == m {
			number++
		}
	}
	if number >= deskSpan {
		return
	}
	d := &r.desks[0]
	if len(r.extra) == maxExtra {
		r.extra = slices.Delete(r.extra, 0, 1)
	}
	r.extra = append(r.extra, post{
		desk: d, id: postID(m, number), minute: m, dice: hashOf(d.key, forBreaking, m*deskSpan+number),
		breaking: true, second: int64(now % minute / 1000),
	})
}
