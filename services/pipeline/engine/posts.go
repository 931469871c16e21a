package engine

import (
	"cmp"
	"maps"
	"slices"

	"github.com/candlestack/candlestack/services/market"
)

// notebook remembers the last state of each post of a feed, so that only what is
// new or has changed flows on, also after a restart.
type notebook struct {
	notes map[string]*note
	turn  int64 // counts observations
}

type note struct {
	all, votes                     market.Print
	firstSeen, observed, votesTime market.Millis
	turn                           int64 // of the last observation
}

// maxNotes bounds the memory to some 30 MB; the posts not seen for longest are
// forgotten, and new if they come back.
const maxNotes = 100_000

// recall takes one version of a post from the log.
func (n *notebook) recall(p *market.Post) {
	all, votes, err := p.Prints()
	if known := n.notes[p.Key()]; err != nil || known != nil && known.observed >= p.ObservedTime {
		return
	}
	n.keep(p, all, votes)
}

// note tells whether p is new or says something new, and then fills in our
// clocks. Versions of one post rise also where our clock steps back.
func (n *notebook) note(p *market.Post) (changed bool, err error) {
	all, votes, err := p.Prints()
	if err != nil {
		return false, err
	}
	known := n.notes[p.Key()]
	if known != nil && known.all == all {
		n.turn++
		known.turn = n.turn
		return false, nil
	}
	p.FirstSeenTime = p.ObservedTime
	if known != nil {
		p.FirstSeenTime = known.firstSeen
		p.ObservedTime = max(p.ObservedTime, known.observed+1)
	}
	switch {
	case p.Votes == nil:
		p.VotesTime = 0
	case known != nil && known.votes == votes:
		p.VotesTime = known.votesTime
	default:
		p.VotesTime = p.ObservedTime
	}
	n.keep(p, all, votes)
	return true, nil
}

func (n *notebook) keep(p *market.Post, all, votes market.Print) {
	if n.notes == nil {
		n.notes = map[string]*note{}
	}
	n.turn++
	n.notes[p.Key()] = &note{all, votes, p.FirstSeenTime, p.ObservedTime, p.VotesTime, n.turn}
	if len(n.notes) > maxNotes {
		oldest := slices.SortedFunc(maps.Keys(n.notes), func(a, b string) int { return cmp.Compare(n.notes[a].turn, n.notes[b].turn) })
		for _, key := range oldest[:maxNotes/10] {
			delete(n.notes, key)
		}
	}
}
