package pipelinetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func testPostRedelivery(t *testing.T, s pipeline.Sink, read PostReader) {
	var all []*market.Post
	for i := range 30 {
		all = append(all, Post(2*i), Bare(i), postVersions(2*i + 1)[2]) // of the last, the older versions never came
	}
	if e := write(t, s, events(all...)...); e.Updated != 0 || e.Unchanged != 0 {
		t.Errorf("new posts had effects %+v", e)
	}
	for range 2 {
		if e := write(t, s, events(all...)...); e.Inserted != 0 || e.Updated != 0 {
			t.Errorf("redelivered posts had effects %+v", e)
		}
	}
	wantExactly(t, read, all...)
	// The same with another origin is no news.
	if e := write(t, s, postWith(all[0], func(p *market.Post) { p.Origin = market.OriginRepair })); e.Inserted != 0 || e.Updated != 0 {
		t.Errorf("a post of another origin had effects %+v", e)
	}
	wantExactly(t, read, all...)
}

// postVersions are four of one post, oldest first: new, voted, retitled, voted.
func postVersions(i int) []*market.Post {
	first := Post(i)
	second := voted(first, time.Second, 1000)
	third := postWith(second, func(p *market.Post) {
		p.ObservedTime, p.Title, p.Summary = first.FirstSeenTime.Add(2*time.Second), "Retitled", ""
	})
	return []*market.Post{first, second, third, voted(third, 3*time.Second, 999)}
}

func testPostOrders(t *testing.T, s pipeline.Sink, read PostReader) {
	var newest, told []*market.Post
	i := 0
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, together := range []bool{true, false} {
			v := postVersions(i)
			a, b, c := v[order[0]], v[order[1]], v[order[2]]
			if together {
				write(t, s, a, b, c)
			} else {
				write(t, s, a)
				write(t, s, b)
				write(t, s, c)
			}
			newest, told = append(newest, v[2]), append(told, v[:3]...)
			i++
		}
	}
	wantPosts(t, read, plain(events(newest...)...), told...)
	// The effects tell an update from what was kept.
	v := postVersions(i)
	if e := write(t, s, v[0]); e.Inserted+e.Kept != 1 {
		t.Errorf("a new post had effects %+v", e)
	}
	if e := write(t, s, v[2]); e.Updated != 1 {
		t.Errorf("a newer version had effects %+v", e)
	}
	if e := write(t, s, v[1]); e.Inserted != 0 || e.Updated != 0 {
		t.Errorf("an older version had effects %+v", e)
	}
}

func testPostConflict(t *testing.T, s pipeline.Sink, read PostReader) {
	kept, calm := Post(0), Bare(1)
	other := postWith(kept, func(p *market.Post) { p.Title = "Something else" })
	write(t, s, kept, calm)
	write(t, s, other, calm)
	conflict := []Stored{{Event: kept, Conflict: true}, {Event: calm}}
	wantPosts(t, read, conflict, kept)
	// The same after redelivery of either, and in one batch.
	for _, batch := range [][]market.Event{{kept}, {other}, {kept, other}, {other, kept}} {
		if e := write(t, s, batch...); e.Inserted != 0 || e.Updated != 0 {
			t.Errorf("redelivery had effects %+v", e)
		}
		wantPosts(t, read, slices.Clone(conflict), kept)
	}
	newer := later(other, time.Second, func(*market.Post) {})
	write(t, s, newer)
	wantPosts(t, read, plain(newer, calm), kept)
	write(t, s, other)
	wantPosts(t, read, plain(newer, calm), kept)
	// Both in the first batch: the first one stands.
	first, second := Post(2), postWith(Post(2), func(p *market.Post) { p.Instruments = nil })
	write(t, s, first, second)
	wantPosts(t, read, []Stored{{Event: newer}, {Event: calm}, {Event: first, Conflict: true}}, kept, first)
	// Two that differ from each other, of which the first is what is stored.
	third, fourth := Post(3), postWith(Post(3), func(p *market.Post) { p.Publisher.Path = "" })
	write(t, s, third)
	write(t, s, third, fourth)
	wantPosts(t, read, []Stored{{Event: newer}, {Event: calm}, {Event: first, Conflict: true}, {Event: third, Conflict: true}}, kept, first, third)
	// Of a post that was seen to change before.
	fifth := postVersions(4)[2]
	write(t, s, fifth)
	write(t, s, postWith(fifth, func(p *market.Post) { p.Title = "Something else" }))
	wantPosts(t, read, []Stored{{Event: newer}, {Event: calm}, {Event: first, Conflict: true}, {Event: third, Conflict: true}, {Event: fifth, Conflict: true}}, kept, first, third, fifth)
}

// testPostFirstSeen has a source that forgot a post and took it for new: it was
// not first seen then.
func testPostFirstSeen(t *testing.T, s pipeline.Sink, read PostReader) {
	first := Bare(0)
	forgot := later(first, time.Hour, func(p *market.Post) { p.FirstSeenTime, p.Title = p.ObservedTime, "Retitled" })
	remembered := postWith(forgot, func(p *market.Post) { p.FirstSeenTime = first.FirstSeenTime })
	write(t, s, first)
	write(t, s, forgot)
	wantExactly(t, read, remembered)
	// The other way round, alone and in one batch, and for an equal version.
	again := func(i int) (a, b, c *market.Post) {
		key := func(p *market.Post) *market.Post { return postWith(p, func(p *market.Post) { p.ID = fmt.Sprint(i) }) }
		return key(first), key(forgot), key(remembered)
	}
	_, b1, c1 := again(1)
	a1, _, _ := again(1)
	write(t, s, b1)
	if e := write(t, s, a1); e.Inserted != 0 {
		t.Errorf("an older version had effects %+v", e)
	}
	a2, b2, c2 := again(2)
	write(t, s, b2, a2)
	_, b3, c3 := again(3)
	write(t, s, b3)
	write(t, s, c3)
	write(t, s, b3)
	// One that came between is forgotten too: what is told is later than what is known.
	a4, _, c4 := again(4)
	write(t, s, a4)
	write(t, s, postWith(c4, func(p *market.Post) { p.FirstSeenTime++ }))
	wantExactly(t, read, remembered, c1, c2, c3, c4)
}

func testSnapshots(t *testing.T, s pipeline.Sink, read PostReader) {
	v := postVersions(0)
	write(t, s, events(v...)...)
	wantPosts(t, read, plain(v[3]), v...) // three snapshots: the title is no vote
	for _, p := range []*market.Post{v[3], v[0], v[2], v[1]} {
		write(t, s, p)
	}
	wantPosts(t, read, plain(v[3]), v...)
	// Votes that fell back to what they were are a state of their own.
	back := voted(v[0], time.Minute, *v[1].Votes.Positive)
	write(t, s, back, Bare(1))
	wantPosts(t, read, plain(back, Bare(1)), append(v, back)...)
	// A post that lost its votes keeps its snapshots.
	lost := later(back, time.Hour, func(p *market.Post) { p.Votes, p.VotesTime = nil, 0 })
	write(t, s, lost)
	wantPosts(t, read, plain(lost, Bare(1)), append(v, back)...)
}

// testPostAnyDelivery holds a store to the simplest model: one event after the other.
func testPostAnyDelivery(t *testing.T, s pipeline.Sink, read PostReader) {
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		mine := fmt.Sprintf("run%d-", run) // a store is emptied once only
		model := map[string]*Stored{}
		var told []*market.Post
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			var batch []*market.Post
			for range rapid.IntRange(1, 8).Draw(r, "events") {
				key := rapid.IntRange(0, 2).Draw(r, "key")
				p := postWith(postVersions(key)[rapid.IntRange(0, 3).Draw(r, "version")], func(p *market.Post) {
					p.ID = mine + fmt.Sprint(key)
					p.FirstSeenTime -= market.Millis(rapid.IntRange(0, 2).Draw(r, "first seen"))
					if rapid.IntRange(0, 3).Draw(r, "values") == 0 {
						p.Author = ""
					}
				})
				batch, told = append(batch, p), append(told, p)
				deliver(model, p)
			}
			if _, err := s.Write(t.Context(), events(batch...)); err != nil {
				r.Fatal(err)
			}
		}
		stored, snapshots := read(t)
		for _, got := range stored {
			p := got.Event.(*market.Post)
			if p.ID[:min(len(p.ID), len(mine))] != mine {
				continue
			}
			if diff := cmp.Diff(model[p.Key()], &got); diff != "" {
				r.Fatalf("stored (-want +got):\n%s", diff)
			}
			delete(model, p.Key())
		}
		for key := range model {
			r.Fatalf("%s is not stored", key)
		}
		snapshots = slices.DeleteFunc(snapshots, func(s Snapshot) bool {
			return !slices.ContainsFunc(told, func(p *market.Post) bool { return p.Key() == s.Post })
		})
		slices.SortFunc(snapshots, compareSnapshots)
		if diff := cmp.Diff(snapshotsOf(told...), snapshots); diff != "" {
			r.Fatalf("snapshots (-want +got):\n%s", diff)
		}
	})
}

// deliver is what a store does with one event.
func deliver(model map[string]*Stored, p *market.Post) {
	row := model[p.Key()]
	if row == nil {
		model[p.Key()] = &Stored{Event: p}
		return
	}
	stored := row.Event.(*market.Post)
	first := min(p.FirstSeenTime, stored.FirstSeenTime)
	a, _, _ := p.Prints()
	b, _, _ := stored.Prints()
	switch {
	case p.Version() > stored.Version():
		stored, row.Conflict = p, false
	case p.Version() == stored.Version() && a != b:
		row.Conflict = true
	}
	row.Event = postWith(stored, func(p *market.Post) { p.FirstSeenTime = first })
}
