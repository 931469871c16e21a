package snapshot

import (
	"sort"
	"testing"

	"pgregory.net/rapid"
)

// Whatever a partition was given and when, and however often we looked, a record
// was appended when we say, within what we say; and asking ends.
func TestHistoryTellsWhenARecordWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A log with a time for each record, the first part from before we looked.
		const begin = 1_700_000_000_000
		steps := rapid.SliceOfN(rapid.Int64Range(0, 5_000_000), 1, 300).Draw(t, "steps")
		var appended []int64
		at := int64(begin)
		for _, s := range steps {
			at += s
			appended = append(appended, at)
		}
		start := rapid.Int64Range(0, int64(len(appended)-1)).Draw(t, "start")
		endAt := func(ms int64) int64 { // records appended before ms
			return int64(sort.Search(len(appended), func(i int) bool { return appended[i] >= ms }))
		}
		now := appended[rapid.IntRange(0, len(appended)-1).Draw(t, "began")] + 1
		h := &history{}
		for range rapid.IntRange(1, 2*looks).Draw(t, "looks") {
			now += rapid.Int64Range(1, 2_000_000).Draw(t, "interval")
			h.add(now, []Topic{{Name: "orders", Partitions: []Partition{{End: max(start, endAt(now))}}}})
		}
		p := h.part("orders", 0)
		offset := rapid.Int64Range(start, int64(len(appended)-1)).Draw(t, "offset")
		for round := 0; ; round++ {
			b, ok := h.find(p, offset)
			if !ok {
				if offset < endAt(now) {
					t.Fatalf("nothing is known of record %d below the end %d", offset, endAt(now))
				}
				return
			}
			if !b.unknown {
				if appended[offset] < b.low || appended[offset] > b.high {
					t.Fatalf("record %d was appended at %d, not in %d to %d", offset, appended[offset], b.low, b.high)
				}
				if ms := b.when(offset).UnixMilli(); ms < b.low || ms > b.high {
					t.Fatalf("the answer %d is not in %d to %d", ms, b.low, b.high)
				}
			}
			if b.settled(now) {
				return
			}
			if round > 80 {
				t.Fatalf("not settled after %d questions: %+v", round, b)
			}
			q := b.question(offset, round)
			first := max(start, endAt(q)) // the broker's answer: the first record of q or later
			if first < int64(len(appended)) {
				p.learn(q, first, appended[first])
			} else {
				p.learn(q, -1, -1)
			}
			if rapid.Bool().Draw(t, "forget") {
				p.keep([]int64{offset})
			}
		}
	})
}

func TestHistoryForgetsWhatWasCutOffOrMadeAnew(t *testing.T) {
	h := &history{}
	look := func(now, end int64, id byte) *partHistory {
		h.add(now, []Topic{{Name: "orders", ID: [16]byte{id}, Partitions: []Partition{{End: end}}}})
		return h.part("orders", 0)
	}
	look(1000, 5, 1)
	p := look(2000, 9, 1)
	p.learn(0, 0, 500)
	if b, ok := h.find(p, 6); !ok || b.low != 1000 || b.high != 2000 {
		t.Errorf("before: %+v", b)
	}
	p = look(3000, 7, 1) // cut off
	if b, ok := h.find(p, 6); !ok || !b.unknown || len(p.points) != 0 {
		t.Errorf("after a cut: %+v, %v", b, p.points)
	}
	look(4000, 8, 1)
	p = look(5000, 8, 2) // made anew
	if b, ok := h.find(p, 7); !ok || !b.unknown {
		t.Errorf("made anew: %+v", b)
	}
	look(6000, -1, 2) // its leader did not answer
	p = look(7000, 9, 2)
	if b, ok := h.find(p, 8); !ok || b.low != 5000 || b.high != 7000 {
		t.Errorf("across a gap: %+v", b)
	}
	h.add(8000, nil)
	if h.part("orders", 0) != nil {
		t.Error("a topic that is gone is remembered")
	}
}
