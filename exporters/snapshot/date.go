package snapshot

import (
	"context"
	"slices"
	"sync"
)

// Rounds of questions for times. The first looks ask more, so that lag in
// seconds is there soon after a start.
const (
	roundsFirst = 8
	roundsUsual = 1
)

// place is a partition that somebody reads.
type place struct {
	topic     string
	partition int32
}

// date finds when the oldest record that is left to read was appended, for all
// commits of all groups, asking brokers where the history does not reach.
func (l *look) date(ctx context.Context, topics []Topic) {
	defer l.timed(phaseTimes)()
	ends := make(map[place]*Partition)
	for i := range topics {
		for j := range topics[i].Partitions {
			p := &topics[i].Partitions[j]
			ends[place{topics[i].Name, p.ID}] = p
		}
	}
	now := l.now.UnixMilli()
	// wanted are the offsets of a partition that the history of looks does not reach.
	wanted := map[place][]int64{}
	l.unread(ends, func(at place, offset int64, _ *Commit) {
		if h := l.history.part(at.topic, at.partition); h != nil {
			if b, ok := l.history.find(h, offset); ok && b.points && !slices.Contains(wanted[at], offset) {
				wanted[at] = append(wanted[at], offset)
			}
		}
	})
	rounds := roundsUsual
	if len(l.history.times) == 1 {
		rounds = roundsFirst
	}
	for round := range rounds {
		if !l.narrow(ctx, topics, wanted, now, round) {
			break
		}
	}
	for i := range topics {
		for j := range topics[i].Partitions {
			at := place{topics[i].Name, topics[i].Partitions[j].ID}
			if h := l.history.part(at.topic, at.partition); h != nil && len(h.points) > 0 {
				h.keep(wanted[at])
			}
		}
	}
	l.unread(ends, func(at place, offset int64, c *Commit) {
		h := l.history.part(at.topic, at.partition)
		if h == nil {
			return
		}
		if b, ok := l.history.find(h, offset); ok && !b.unknown {
			c.Oldest, c.Known = b.when(offset), true
		}
	})
}

// unread gives f the offset of the oldest record that each commit leaves to
// read. A commit that leaves none is known to be without lag.
func (l *look) unread(ends map[place]*Partition, f func(at place, offset int64, c *Commit)) {
	for _, g := range l.Snapshotter.groups {
		for i := range g.Topics {
			for j := range g.Topics[i].Commits {
				c := &g.Topics[i].Commits[j]
				at := place{g.Topics[i].Name, c.Partition}
				p := ends[at]
				if p == nil || p.End < 0 {
					continue
				}
				offset := max(c.Offset, p.Start)
				if offset >= p.End {
					c.Known = true
					continue
				}
				f(at, offset, c)
			}
		}
	}
}

// narrow asks, for every partition where it is worth while, for the time of the
// offset that is known least, and tells whether there was any.
func (l *look) narrow(ctx context.Context, topics []Topic, wanted map[place][]int64, now int64, round int) bool {
	questions := map[place]int64{}
	for at, offsets := range wanted {
		h := l.history.part(at.topic, at.partition)
		widest := int64(-1)
		for _, offset := range offsets {
			b, ok := l.history.find(h, offset)
			if !ok || b.settled(now) {
				continue
			}
			width := b.high - b.low // of an unknown low, the whole time since 1970
			if width > widest {
				widest, questions[at] = width, b.question(offset, round)
			}
		}
	}
	if len(questions) == 0 {
		return false
	}
	var mu sync.Mutex
	l.offsets(ctx, topics, func(t *Topic, p *Partition) (int64, bool) {
		ms, ok := questions[place{t.Name, p.ID}]
		return ms, ok
	}, func(t *Topic, p *Partition, offset, ms int64) {
		mu.Lock()
		defer mu.Unlock()
		l.history.part(t.Name, p.ID).learn(questions[place{t.Name, p.ID}], offset, ms)
	})
	return true
}
