package pipelinetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Snapshot is a stored state of a post's votes.
type Snapshot struct {
	Post        string // key of the post
	Source      string
	Instruments []string
	Time        market.Millis // Post.VotesTime
	Votes       market.Votes
}

// PostReader reads back all that a store of posts holds, in any order.
type PostReader func(t *testing.T) ([]Stored, []Snapshot)

// SinkPosts is the suite that every store of posts passes. open returns a sink on
// an empty store, prepared, and closes it at the end of t.
func SinkPosts(t *testing.T, open func(t *testing.T) (pipeline.Sink, PostReader)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s pipeline.Sink, read PostReader)
	}{
		{"every field comes back", testPostFields},
		{"what the source does not give is absent", testPostAbsent},
		{"texts are exact", testPostTexts},
		{"times and counts are exact", testPostNumbers},
		{"keys are told apart", testPostKeys},
		{"an empty batch is fine", testPostEmpty},
		{"redelivery changes nothing", testPostRedelivery},
		{"the newest version wins in any order", testPostOrders},
		{"an equal version with other values is a conflict", testPostConflict},
		{"the first observation never moves later", testPostFirstSeen},
		{"each state of the votes is kept once", testSnapshots},
		{"any delivery ends as one after the other", testPostAnyDelivery},
		{"poison harms no neighbour", testPostPoison},
		{"writers of the same keys", testPostConcurrent},
		{"a cancelled context ends a write", testPostCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink, read := open(t)
			c.test(t, sink, read)
		})
	}
}

func some[T any](v T) *T { return &v }

// Post returns the i-th valid post, with every field given.
func Post(i int) *market.Post {
	seen := start.Add(time.Duration(i) * time.Minute)
	return &market.Post{
		Source: "cryptopanic", ID: fmt.Sprint(24690000 + i), Type: "news",
		Title: fmt.Sprintf("Bitcoin rises for the %d. time", i), Summary: "What it says, in a few words.",
		URL: fmt.Sprintf("https://cryptopanic.com/news/%d/x", i), ArticleURL: "https://tokenist.com/x?a=1&b=2", ImageURL: "https://tokenist.com/x.png",
		Slug: "Bitcoin-rises", Author: "A. Writer",
		Publisher:   market.Publisher{Title: "Tokenist", Domain: "tokenist.com", Region: "en", Type: "feed", Path: "/rss"},
		Instruments: []string{"BTC", "ETH"},
		Votes: &market.Votes{Negative: some(int64(1)), Positive: some(int64(20 + i)), Important: some(int64(3)), Liked: some(int64(4)), Disliked: some(int64(0)),
			LOL: some(int64(5)), Toxic: some(int64(6)), Saved: some(int64(7)), Comments: some(int64(8))},
		PanicScore: some(int64(42)), PublishedTime: seen - 90_001, CreatedTime: seen - 60_002,
		FirstSeenTime: seen, ObservedTime: seen, VotesTime: seen, Origin: market.OriginLive,
	}
}

// Bare returns the i-th valid post of a feed that gives the least.
func Bare(i int) *market.Post {
	seen := start.Add(time.Duration(i) * time.Minute)
	return &market.Post{Source: "rss", ID: fmt.Sprintf("https://example.com/%d", i), Title: "News", PublishedTime: seen, FirstSeenTime: seen, ObservedTime: seen, Origin: market.OriginLive}
}

func postWith(p *market.Post, change func(p *market.Post)) *market.Post {
	q := *p
	change(&q)
	return &q
}

// later is p as it was seen to change d after its first observation.
func later(p *market.Post, d time.Duration, change func(p *market.Post)) *market.Post {
	return postWith(p, func(q *market.Post) {
		q.ObservedTime = p.FirstSeenTime.Add(d)
		change(q)
	})
}

// voted is p after a change of its votes.
func voted(p *market.Post, d time.Duration, positive int64) *market.Post {
	return later(p, d, func(q *market.Post) {
		votes := *p.Votes
		votes.Positive = &positive
		q.Votes, q.VotesTime = &votes, q.ObservedTime
	})
}

// wantPosts compares the posts, and the snapshots with those that the events tell of.
func wantPosts(t *testing.T, read PostReader, stored []Stored, told ...*market.Post) {
	t.Helper()
	got, snapshots := read(t)
	byKey := func(a, b Stored) int { return compareKeys(a.Event, b.Event) }
	slices.SortFunc(got, byKey)
	slices.SortFunc(stored, byKey)
	if diff := cmp.Diff(stored, got); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	slices.SortFunc(snapshots, compareSnapshots)
	if diff := cmp.Diff(snapshotsOf(told...), snapshots); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
}

func compareSnapshots(a, b Snapshot) int {
	if c := strings.Compare(a.Post, b.Post); c != 0 {
		return c
	}
	return int(a.Time - b.Time)
}

// snapshotsOf are those of the events, each once, in order.
func snapshotsOf(told ...*market.Post) (all []Snapshot) {
	for _, p := range told {
		if p.Votes != nil {
			all = append(all, Snapshot{Post: p.Key(), Source: p.Source, Instruments: p.Instruments, Time: p.VotesTime, Votes: *p.Votes})
		}
	}
	slices.SortStableFunc(all, compareSnapshots)
	return slices.CompactFunc(all, func(a, b Snapshot) bool { return compareSnapshots(a, b) == 0 })
}

// wantExactly wants the posts as they are, and the snapshots of their votes.
func wantExactly(t *testing.T, read PostReader, posts ...*market.Post) {
	t.Helper()
	wantPosts(t, read, plain(events(posts...)...), posts...)
}

func events(posts ...*market.Post) []market.Event {
	all := make([]market.Event, len(posts))
	for i, p := range posts {
		all[i] = p
	}
	return all
}

// testPostPoison writes what no store, or hardly any, can take, as the engine would.
func testPostPoison(t *testing.T, s pipeline.Sink, read PostReader) {
	var posts []*market.Post
	for i := range 10 {
		posts = append(posts, Post(i))
	}
	posts[4] = postWith(posts[4], func(p *market.Post) { p.Summary = strings.Repeat("far too long ", 3<<19) })
	posts[7] = postWith(posts[7], func(p *market.Post) { p.Title = "not UTF-8: \xff\xfe" })
	dead := writeAround(t, s, events(posts...))
	var rest []*market.Post
	for i, p := range posts {
		isDead := slices.Contains(dead, market.Event(p))
		if isDead && i != 4 && i != 7 {
			t.Errorf("%s is called poison", p.Key())
		}
		if !isDead {
			rest = append(rest, p)
		}
	}
	got, snapshots := read(t)
	for i, stored := range got { // not compared with cmp: it would print all of it
		if p := stored.Event.(*market.Post); !slices.ContainsFunc(rest, func(q *market.Post) bool { return cmp.Equal(p, q) }) {
			t.Errorf("stored %d, %s, is not what was written", i, p.Key())
		}
	}
	if len(got) != len(rest) {
		t.Errorf("want %d posts, got %d", len(rest), len(got))
	}
	for _, post := range rest {
		if !slices.ContainsFunc(snapshots, func(s Snapshot) bool { return s.Post == post.Key() }) {
			t.Errorf("%s has no snapshot", post.Key())
		}
	}
}

// testPostConcurrent has writers of the same keys, as after a rebalance, each with
// versions of its own, from the first insert on.
func testPostConcurrent(t *testing.T, s pipeline.Sink, read PostReader) {
	const writers, rounds, posts = 6, 8, 20
	var group sync.WaitGroup
	var told []*market.Post
	begin := make(chan struct{})
	for w := range writers {
		var all []*market.Post
		for i := range posts {
			for r := range rounds {
				all = append(all, voted(Post(i), time.Duration(1+r*writers+w)*time.Second, int64(r*writers+w)))
			}
		}
		told = append(told, all...)
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			<-begin
			for batch := range slices.Chunk(all, 16) {
				for {
					_, err := s.Write(t.Context(), events(batch...))
					if class, _ := pipeline.ClassOf(err); err != nil && class == pipeline.Transient {
						continue
					}
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
					break
				}
			}
		})
	}
	close(begin)
	group.Wait()
	var newest []Stored
	for i := range posts {
		newest = append(newest, Stored{Event: voted(Post(i), writers*rounds*time.Second, writers*rounds-1)})
	}
	wantPosts(t, read, newest, told...)
}

func testPostCancelled(t *testing.T, s pipeline.Sink, read PostReader) {
	writeCancelled(t, s, Post(0))
	wantExactly(t, read, Post(0))
}
