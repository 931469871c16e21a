package snapshot

import (
	"cmp"
	"slices"
	"time"
)

// looks is how many looks the history remembers: at the usual 15 seconds, a
// quarter of an hour. What was read last before that is found by asking Kafka.
const looks = 64

// history tells when a record was appended, by its offset. For what was appended
// while we looked it knows between which two looks; for older records it asks
// brokers for the first offset at a time, and narrows down from answer to answer.
// All times are milliseconds since 1970.
type history struct {
	times  []int64
	topics map[string]*topicHistory
}

type topicHistory struct {
	id    [16]byte
	parts []partHistory
}

// partHistory holds the end offset at each of the times, -1 where it is not known.
type partHistory struct {
	ends   []int64
	points []point // by offset
}

// point is an answer to a question for a time: records below offset are older
// than before, and the record at offset is of ms.
type point struct{ offset, ms, before int64 }

// add remembers the end offsets of a look.
func (h *history) add(now int64, topics []Topic) {
	if len(h.times) == looks {
		h.times = slices.Delete(h.times, 0, 1)
		for _, t := range h.topics {
			for i := range t.parts {
				t.parts[i].ends = slices.Delete(t.parts[i].ends, 0, 1)
			}
		}
	}
	h.times = append(h.times, now)
	before := h.topics
	h.topics = make(map[string]*topicHistory, len(topics))
	for i := range topics {
		topic := &topics[i]
		t := before[topic.Name]
		if t == nil || t.id != topic.ID { // of a topic made anew, nothing is true any more
			t = &topicHistory{id: topic.ID}
		}
		h.topics[topic.Name] = t
		for _, p := range topic.Partitions {
			for int(p.ID) >= len(t.parts) && len(t.parts) < len(topic.Partitions) {
				t.parts = append(t.parts, partHistory{})
			}
			if int(p.ID) < len(t.parts) {
				t.parts[p.ID].add(len(h.times), p.End)
			}
		}
	}
}

// add appends the end offset of the newest of n looks.
func (p *partHistory) add(n int, end int64) {
	if p.ends == nil {
		p.ends = make([]int64, 0, looks)
	}
	for len(p.ends) < n-1 {
		p.ends = append(p.ends, -1)
	}
	if end >= 0 && slices.ContainsFunc(p.ends, func(e int64) bool { return e > end }) { // truncated
		for i := range p.ends {
			p.ends[i] = -1
		}
		p.points = nil
	}
	p.ends = append(p.ends, end)
}

func (h *history) part(topic string, id int32) *partHistory {
	t := h.topics[topic]
	if t == nil || int(id) >= len(t.parts) {
		return nil
	}
	return &t.parts[id]
}

// bracket is what is known of the time of a record.
type bracket struct {
	low, high             int64 // appended at low or later, before or at high
	lowOffset, highOffset int64 // the records at low and beyond high
	points                bool  // it rests on answers, so asking can narrow it
	unknown               bool  // low is not known
}

// settled is when more asking is not worth while: at a second, or a hundredth of the age.
func (b bracket) settled(now int64) bool {
	return !b.points || !b.unknown && b.high-b.low <= max(1000, (now-b.low)/100)
}

// when is the likely time of the record at offset.
func (b bracket) when(offset int64) time.Time {
	ms := b.low
	if n := b.highOffset - b.lowOffset; n > 0 && !(b.points && offset == b.lowOffset) {
		share := float64(offset-b.lowOffset) / float64(n)
		if !b.points { // the record at the end of the earlier look came after it
			share = (float64(offset-b.lowOffset) + 0.5) / float64(n)
		}
		ms += int64(share * float64(b.high-b.low))
	}
	return time.UnixMilli(ms)
}

// find tells what is known of the record at offset, which must be below the
// newest end offset.
func (h *history) find(p *partHistory, offset int64) (b bracket, ok bool) {
	later := -1
	for i := len(p.ends) - 1; i >= 0; i-- {
		switch e := p.ends[i]; {
		case e < 0:
		case e > offset:
			later = i
		case later < 0: // beyond the newest end
			return bracket{}, false
		default:
			return bracket{low: h.times[i], lowOffset: e, high: h.times[later], highOffset: p.ends[later]}, true
		}
	}
	if later < 0 {
		return bracket{}, false
	}
	b = bracket{points: true, unknown: true, high: h.times[later], highOffset: p.ends[later]}
	for _, q := range p.points {
		if q.offset <= offset {
			if !b.unknown && q.ms < b.low { // clocks of producers went back
				continue
			}
			b.low, b.lowOffset, b.unknown = q.ms, q.offset, false
		} else if q.before <= b.high {
			b.high, b.highOffset = q.before, q.offset
			break
		}
	}
	if !b.unknown && b.lowOffset == offset {
		b.high = b.low
	}
	if b.high < b.low {
		b.high = b.low
	}
	return b, true
}

// question is the time to ask a broker for, to narrow b for the record at offset.
func (b bracket) question(offset int64, round int) int64 {
	if b.unknown {
		return 0 // the answer is the oldest record
	}
	q := b.low + (b.high-b.low)/2
	if n := b.highOffset - b.lowOffset; round%2 == 0 && n > 0 {
		q = b.low + int64(float64(b.high-b.low)*float64(offset-b.lowOffset)/float64(n))
	}
	return min(max(q, b.low+1), b.high)
}

// learn takes the answer to a question: the first record of that time or later
// is at offset and of ms; offset -1 is that there is none.
func (p *partHistory) learn(question, offset, ms int64) {
	if offset < 0 {
		i := slices.IndexFunc(p.ends, func(e int64) bool { return e >= 0 })
		if i < 0 || question == 0 {
			return
		}
		offset, ms = slices.Max(p.ends), question
	}
	i, found := slices.BinarySearchFunc(p.points, offset, func(q point, o int64) int { return cmp.Compare(q.offset, o) })
	if found {
		p.points[i].before = min(p.points[i].before, question)
		return
	}
	p.points = slices.Insert(p.points, i, point{offset: offset, ms: ms, before: question})
}

// keep forgets all answers but those next to the offsets that somebody stands at.
func (p *partHistory) keep(offsets []int64) {
	kept := p.points[:0]
	for i, q := range p.points {
		needed := slices.ContainsFunc(offsets, func(o int64) bool {
			if q.offset <= o {
				return i+1 == len(p.points) || p.points[i+1].offset > o
			}
			return i == 0 || p.points[i-1].offset <= o
		})
		if needed {
			kept = append(kept, q)
		}
	}
	p.points = kept
}
