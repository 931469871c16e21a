package ledger

import (
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/candlestack/candlestack/services/market"
)

// truth is what a faultless sink makes of records.
type truth struct {
	events map[id]market.Event
	rows   map[id]row
	dead   []place
}

// settle puts a record that lies at p through the faultless sink.
func (s *truth) settle(t *testing.T, r record, p place) {
	t.Helper()
	e, err := r.decode()
	if c, ok := e.(*market.Candle); err != nil || ok && tooLong(c.Volume) {
		s.dead = append(s.dead, p)
		return
	}
	sum, err := hashEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	k := id{e.Kind(), e.Key()}
	old, ok := s.rows[k]
	var first market.Millis
	if p, ok := e.(*market.Post); ok {
		first = p.FirstSeenTime
		if old.firstSeen > 0 {
			first = min(first, old.firstSeen)
		}
		old.firstSeen = first
		s.snap(t, p)
	}
	switch {
	case !ok || e.Version() > old.version:
		s.rows[k] = row{k.kind, k.key, e.Version(), sum, false, first}
		s.events[k] = e
	case e.Version() == old.version && sum != old.hash:
		old.conflict = true
		s.rows[k] = old
	default:
		s.rows[k] = old
	}
}

// snap stores the snapshot of a post's votes, if there is none of that time.
func (s *truth) snap(t *testing.T, p *market.Post) {
	t.Helper()
	k := id{kindSnapshot, snapshotKey(p.Key(), p.VotesTime)}
	if _, ok := s.rows[k]; ok || p.Votes == nil {
		return
	}
	sum, err := hashSnapshot(p)
	if err != nil {
		t.Fatal(err)
	}
	s.rows[k] = row{kind: k.kind, key: k.key, version: int64(p.VotesTime), hash: sum}
	s.events[k] = p
}

func tooLong(d market.Decimal) bool {
	integer, fraction := d.Digits()
	return integer > 20 || fraction > 18
}

func newTruth() *truth { return &truth{events: map[id]market.Event{}, rows: map[id]row{}} }

// honest returns the facts after a run without fault: everything acknowledged,
// stored and committed.
func honest(t *testing.T, n int) *facts { return honestUntil(t, n, math.MaxInt64) }

// honestUntil is honest where the sink has come as far as the offset cut in
// each partition.
func honestUntil(t *testing.T, n int, cut int64) *facts {
	t.Helper()
	f := &facts{committed: map[partition]int64{}}
	s := newTruth()
	letters := map[place]string{}
	ends := map[partition]int64{}
	for _, r := range take(t, 11, n) {
		part := partition{r.Topic, int32(crc32.ChecksumIEEE(r.key) % 2)}
		p := place{part.topic, part.id, ends[part]}
		ends[part]++
		f.entries = append(f.entries, entry{line: r.line, acked: true, place: p})
		if p.offset < cut {
			letters[p] = hashRecord(r.key, r.value, r.headers)
			s.settle(t, r, p)
			f.committed[part] = ends[part]
		}
	}
	f.rows = slices.Collect(maps.Values(s.rows))
	f.entries = withSnapshots(f.entries)
	slices.SortFunc(f.rows, func(a, b row) int { return strings.Compare(string(a.kind)+a.key, string(b.kind)+b.key) })
	for _, p := range s.dead {
		f.letters = append(f.letters, letter{p, letters[p]})
	}
	return f
}

// find returns the position of the first such entry.
func (f *facts) find(t *testing.T, want func(entry) bool) int {
	t.Helper()
	i := slices.IndexFunc(f.entries, want)
	if i < 0 {
		t.Fatal("the history holds no such record")
	}
	return i
}

func (f *facts) rowOf(t *testing.T, e entry) *row {
	t.Helper()
	i := slices.IndexFunc(f.rows, func(r row) bool { return r.kind == e.Kind && r.key == e.Key })
	if i < 0 {
		t.Fatalf("no row of %s", e.Key)
	}
	return &f.rows[i]
}

// remove loses the first row of the kind.
func (f *facts) remove(kind market.Kind) {
	i := slices.IndexFunc(f.rows, func(r row) bool { return r.kind == kind })
	f.rows = slices.Delete(f.rows, i, i+1)
}

func TestEachBreachIsNoticed(t *testing.T) {
	f := func(what string, broken string, plant func(f *facts)) {
		t.Helper()
		facts := honest(t, 2000)
		plant(facts)
		var got []string
		for _, i := range []Invariant{facts.nothingLost(), facts.nothingOlder(), facts.committedIsDurable()} {
			if !i.OK {
				got = append(got, i.Name[:2])
			}
		}
		if strings.Join(got, " ") != broken {
			t.Errorf("%s: broken are %v, want %s", what, got, broken)
			t.Log(facts.nothingLost(), facts.nothingOlder(), facts.committedIsDurable())
		}
	}
	good := func(e entry) bool { return e.Poison == "" && e.Kind == market.KindCandle }
	post := func(e entry) bool { return e.Poison == "" && e.Kind == market.KindPost }
	poison := func(e entry) bool { return e.Poison != "" }
	nothingCommitted := func(f *facts) { f.committed = nil }

	f("no breach", "", func(*facts) {})
	f("nothing committed, all durable", "", nothingCommitted)
	f("missing row", "I1 I3", func(f *facts) { f.rows = f.rows[1:] })
	f("missing row, not committed", "I1", func(f *facts) { nothingCommitted(f); f.rows = f.rows[1:] })
	f("row that nobody sent", "I1", func(f *facts) {
		f.rows = append(f.rows, row{kind: market.KindCandle, key: "ledger/X-Y/1m/1", version: 1})
	})
	f("other values", "I1", func(f *facts) { f.rows[0].hash = "0" })
	f("version that nobody sent", "I1", func(f *facts) { f.rows[0].version++ })
	f("older version", "I2 I3", func(facts *facts) {
		i := facts.find(t, func(e entry) bool { return good(e) && facts.rowOf(t, e).version > e.Version })
		*facts.rowOf(t, facts.entries[i]) = row{kind: facts.entries[i].Kind, key: facts.entries[i].Key, version: facts.entries[i].Version, hash: facts.entries[i].Hash}
	})
	f("two rows of a key", "I2", func(f *facts) { f.rows = append(f.rows, f.rows[0]) })
	for _, kind := range []market.Kind{market.KindCandle, market.KindPost} {
		f("conflict that is not marked", "I1", func(f *facts) {
			i := slices.IndexFunc(f.rows, func(r row) bool { return r.conflict && r.kind == kind })
			f.rows[i].conflict = false
		})
		f("conflict that is none", "I1", func(f *facts) {
			i := slices.IndexFunc(f.rows, func(r row) bool { return !r.conflict && r.kind == kind })
			f.rows[i].conflict = true
		})
	}
	f("missing post", "I1 I3", func(f *facts) { f.remove(market.KindPost) })
	f("older version of a post", "I2 I3", func(facts *facts) {
		i := facts.find(t, func(e entry) bool { return post(e) && facts.rowOf(t, e).version > e.Version })
		r := facts.rowOf(t, facts.entries[i])
		r.version, r.hash, r.conflict = facts.entries[i].Version, facts.entries[i].Hash, false
	})
	f("first sight moved later", "I2 I3", func(facts *facts) {
		i := facts.find(t, func(e entry) bool { return post(e) && facts.rowOf(t, e).firstSeen < e.FirstSeen })
		facts.rowOf(t, facts.entries[i]).firstSeen = facts.entries[i].FirstSeen
	})
	f("first sight moved later, not committed", "I2", func(facts *facts) {
		nothingCommitted(facts)
		i := facts.find(t, func(e entry) bool { return post(e) && facts.rowOf(t, e).firstSeen < e.FirstSeen })
		facts.rowOf(t, facts.entries[i]).firstSeen = facts.entries[i].FirstSeen
	})
	f("first sight that nobody had", "I1", func(facts *facts) { facts.rowOf(t, facts.entries[facts.find(t, post)]).firstSeen-- })
	f("missing snapshot", "I1 I3", func(f *facts) { f.remove(kindSnapshot) })
	f("missing snapshot, not committed", "I1", func(f *facts) { nothingCommitted(f); f.remove(kindSnapshot) })
	f("snapshot that nobody claims", "I1", func(f *facts) {
		f.rows = append(f.rows, row{kind: kindSnapshot, key: "ledger/1/2", version: 2, hash: "0"})
	})
	f("snapshot with other votes", "I1", func(facts *facts) {
		i := facts.find(t, func(e entry) bool { return e.Kind == kindSnapshot })
		facts.rowOf(t, facts.entries[i]).hash = "0"
	})
	f("snapshot of the second of two in conflict", "I1", func(facts *facts) {
		i := facts.find(t, func(e entry) bool { return e.Kind == kindSnapshot && facts.rowOf(t, e).hash != e.Hash })
		facts.rowOf(t, facts.entries[i]).hash = facts.entries[i].Hash
	})
	f("lost dead letter", "I1 I3", func(f *facts) { f.letters = f.letters[1:] })
	f("dead letter twice", "", func(f *facts) { f.letters = append(f.letters, f.letters[0]) })
	f("dead letter with other bytes", "I1", func(f *facts) { f.letters[0].hash = "0" })
	f("dead letter that nobody sent", "I1", func(f *facts) { f.letters = append(f.letters, letter{place{"t", 0, 1e9}, "0"}) })
	f("dead letter of a good event", "I1", func(facts *facts) {
		e := facts.entries[facts.find(t, good)]
		facts.letters = append(facts.letters, letter{e.place, e.Hash})
	})
	f("sent and not acknowledged, arrived", "", func(facts *facts) {
		for _, which := range []func(entry) bool{good, poison, post} {
			arrived := facts.entries[facts.find(t, which)].place
			for i := range facts.entries { // with the snapshot that it brings
				if facts.entries[i].place == arrived {
					facts.entries[i].acked, facts.entries[i].place = false, place{}
				}
			}
		}
	})
	f("sent and not acknowledged, did not arrive", "", func(f *facts) {
		f.entries = append(f.entries, entry{line: line{Kind: market.KindCandle, Key: "ledger/A-B/1m/1", Version: 1, Hash: "1"}},
			entry{line: line{Kind: market.KindCandle, Poison: "empty", Hash: "2"}},
			entry{line: line{Kind: market.KindPost, Key: "ledger/1", Version: 1, Hash: "1", FirstSeen: 1}},
			entry{line: line{Kind: kindSnapshot, Key: "ledger/1/1", Version: 1, Hash: "1"}})
	})
}

func TestCommittedIsDurableAtEveryOffset(t *testing.T) {
	for cut := range int64(100) {
		facts := honestUntil(t, 300, cut)
		if i := facts.committedIsDurable(); !i.OK {
			t.Fatalf("at offset %d: %s", cut, i)
		}
		for _, e := range facts.entries {
			if e.offset != cut {
				continue
			}
			durable := func(e entry) bool {
				return slices.ContainsFunc(facts.rows, func(r row) bool {
					return e.Poison == "" && r.kind == e.Kind && r.key == e.Key && r.version >= e.Version && r.firstSeen <= e.FirstSeen
				})
			}
			superseded := !slices.ContainsFunc(facts.entries, func(o entry) bool { return o.place == e.place && !durable(o) })
			part := partition{e.topic, e.partition}
			facts.committed[part]++
			if i := facts.committedIsDurable(); i.OK != superseded {
				t.Fatalf("%s is committed, superseded %t: %s", e.place, superseded, i)
			}
			facts.committed[part]--
		}
	}
}

func TestInvariantIsOneLine(t *testing.T) {
	facts := honest(t, 300)
	facts.rows = nil
	text := facts.nothingLost().String()
	if strings.Contains(text, "\n") || !strings.HasPrefix(text, "I1 nothing lost, nothing invented: BROKEN: ") || strings.Count(text, "is missing") != tell {
		t.Error(text)
	}
	if got, want := (Invariant{"I2 x", true, "3 rows"}).String(), "I2 x: ok: 3 rows"; got != want {
		t.Errorf("got %s", got)
	}
}
