package broker

import (
	"slices"
	"time"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// memory is how long we remember what is gone. A topic that is made anew within
// it goes on counting where the old one ended.
const memory = time.Hour

// counts are counters made of what changes from one look to the next. They begin
// at 0 with the process, and none goes back as long as it is remembered.
type counts struct {
	begun     bool // there was a look before
	seen      map[topicKey]*seenTopic
	totals    map[place]*total
	shrinks   map[int32]int64 // by broker
	expands   map[int32]int64
	elections int64
	unclean   int64
}

// topicKey tells a topic from one of the same name that was deleted.
type topicKey struct {
	id   [16]byte
	name string
}

// place is a topic on the broker that leads it.
type place struct {
	broker int32
	topic  string
}

type total struct {
	messages, bytes int64
	last            time.Time // when there was such a topic
}

type seenTopic struct {
	parts []seenPartition
	last  time.Time
}

// seenPartition is a partition at the last look that could tell.
type seenPartition struct {
	end    int64 // -1: not known
	leader int32
	epoch  int32 // -1: not known
	isr    []int32
	log    seenLog
}

// seenLog is a leader's log when its size was last asked for.
type seenLog struct {
	known            bool
	leader           int32 // none: the log was not there
	at               time.Time
	size, start, end int64
}

func newCounts() *counts {
	return &counts{seen: map[topicKey]*seenTopic{}, totals: map[place]*total{}, shrinks: map[int32]int64{}, expands: map[int32]int64{}}
}

// observe counts what changed since the last look. One that failed tells nothing.
func (c *counts) observe(s *snapshot.Snapshot) {
	if !s.Up {
		return
	}
	brokers := make(map[int32]*snapshot.Broker, len(s.Brokers))
	for i := range s.Brokers {
		brokers[s.Brokers[i].ID] = &s.Brokers[i]
	}
	there := make(map[string]bool, len(s.Topics))
	for i := range s.Topics {
		t := &s.Topics[i]
		there[t.Name] = true
		key := topicKey{t.ID, t.Name}
		seen := c.seen[key]
		if seen == nil {
			seen = &seenTopic{}
			c.seen[key] = seen
		}
		seen.last = s.Time
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.ID < 0 || int(p.ID) >= len(t.Partitions) {
				continue
			}
			for int(p.ID) >= len(seen.parts) {
				seen.parts = append(seen.parts, c.first())
			}
			c.partition(&seen.parts[p.ID], t, p, brokers[p.Leader])
		}
	}
	c.begun = true
	for at, t := range c.totals {
		if there[at.topic] {
			t.last = s.Time
		} else if s.Time.Sub(t.last) > memory {
			delete(c.totals, at)
		}
	}
	for key, t := range c.seen {
		if s.Time.Sub(t.last) > memory {
			delete(c.seen, key)
		}
	}
}

// first is a partition that was not there before: of the first look all are
// unknown, later ones began empty while we watched.
func (c *counts) first() seenPartition {
	if !c.begun {
		return seenPartition{end: -1, epoch: -1}
	}
	return seenPartition{epoch: -1, log: seenLog{known: true, leader: none}}
}

// of is the total of a topic on a broker.
func (c *counts) of(broker int32, topic string) *total {
	at := place{broker, topic}
	if c.totals[at] == nil {
		c.totals[at] = &total{}
	}
	return c.totals[at]
}

func (c *counts) partition(old *seenPartition, t *snapshot.Topic, p *snapshot.Partition, leader *snapshot.Broker) {
	if p.Leader >= 0 {
		total := c.of(p.Leader, t.Name)
		if p.End >= 0 {
			if old.end >= 0 {
				total.messages += max(0, p.End-old.end)
			}
			old.end = p.End
			total.bytes += old.log.grow(leader, p, sizeOf(leader, t, p.ID))
		}
	}
	switch {
	case p.LeaderEpoch < old.epoch: // a broker that trails told it
		return
	case old.epoch >= 0:
		c.elections += int64(p.LeaderEpoch - old.epoch)
		if p.LeaderEpoch > old.epoch && p.Leader < 0 {
			c.elections-- // the last epoch is that of nobody
		}
		if p.Leader >= 0 && p.Leader != old.leader && len(old.isr) > 0 && !slices.Contains(old.isr, p.Leader) {
			c.unclean++
		}
		at := p.Leader
		if at < 0 {
			at = old.leader
		}
		if at >= 0 {
			c.shrinks[at] += number(beyond(old.isr, p.ISR))
			c.expands[at] += number(beyond(p.ISR, old.isr))
		}
	}
	old.epoch, old.isr = p.LeaderEpoch, p.ISR
	if p.Leader >= 0 {
		old.leader = p.Leader
	}
}

// beyond tells whether a has what b has not.
func beyond(a, b []int32) bool {
	return slices.ContainsFunc(a, func(id int32) bool { return !slices.Contains(b, id) })
}

// grow takes a new size of the leader's log, and returns the bytes that came in
// since the last one.
func (l *seenLog) grow(leader *snapshot.Broker, p *snapshot.Partition, size int64) (in int64) {
	if size < 0 || p.Start < 0 || l.leader == p.Leader && l.at.Equal(leader.Logs.Time) {
		return 0
	}
	old := *l
	*l = seenLog{known: true, leader: p.Leader, at: leader.Logs.Time, size: size, start: p.Start, end: p.End}
	switch {
	case !old.known:
		return 0
	case (old.leader == none || old.leader == p.Leader) && old.start == p.Start && size >= old.size:
		return size - old.size
	}
	// Records were deleted, or it is another broker's log: of what came, only the
	// number is known.
	messages := max(0, p.End-old.end)
	if old.end > old.start && old.size > 0 {
		return int64(float64(messages) * float64(old.size) / float64(old.end-old.start))
	}
	if p.End > p.Start {
		return int64(float64(messages) * float64(size) / float64(p.End-p.Start))
	}
	return 0
}
