package pipelinetest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// FeedWorld is a source of posts under test and the feed that it asks. The
// source polls each second or so, at once when Stream is called for the first
// time; the feed shows two posts at least, and changes only by Change.
type FeedWorld struct {
	Source pipeline.Source
	// Posts is the truth: all that the feed shows now, each post once. Our clocks
	// (first seen, observed, votes) are not compared.
	Posts func() []*market.Post
	// Change changes votes or title of one post, or more where it is a new moment
	// of the feed.
	Change func(t *testing.T)
	// Break makes the next request fail.
	Break func(t *testing.T)
}

// Feed is the suite that every source of posts passes. start makes a world that
// ends, feed and all, with t: nothing of it may run on.
func Feed(t *testing.T, start func(t *testing.T) FeedWorld) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, w *FeedWorld)
	}{
		{"the feed has one name", testFeedName},
		{"each post comes once a poll and is true", testFeedLive},
		{"a change is seen", testFeedChange},
		{"a stream ends with its context", testFeedEnds},
		{"a stream ends while it waits", testFeedEndsWaiting},
		{"an error of emit ends the stream", testFeedEmitError},
		{"a blocked emit holds the stream", testFeedBackPressure},
		{"a failure at the first poll says why", testFeedRefused},
		{"a failure later says why", testFeedBroken},
		{"a stream can be opened again", testFeedAgain},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after the world's own clean-up
			w := start(t)
			if len(w.Posts()) < 2 {
				t.Fatalf("a world with %d posts, too few to tell anything", len(w.Posts()))
			}
			if feedName(&w) == "" {
				t.Fatal("the source is no pipeline.Feed with a name: all posts would be new at each poll")
			}
			c.test(t, &w)
			if closer, ok := w.Source.(pipeline.Closer); ok {
				if err := closer.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
		})
	}
}

// feedName is what the source says of itself.
func feedName(w *FeedWorld) string {
	if feed, ok := w.Source.(pipeline.Feed); ok {
		return feed.Posts()
	}
	return ""
}

// post is e as a post that is valid once the engine has filled in our clocks.
func post(t *testing.T, w *FeedWorld, e market.Event) *market.Post {
	t.Helper()
	p, ok := e.(*market.Post)
	if !ok {
		t.Errorf("%T is no post", e)
		return &market.Post{}
	}
	now, filled := market.MillisOf(time.Now()), *p
	filled.FirstSeenTime = p.ObservedTime
	if p.Votes != nil {
		filled.VotesTime = p.ObservedTime
	}
	switch {
	case p.Source != feedName(w):
		t.Errorf("%s is not of the source %s", p.Key(), feedName(w))
	case p.From() != market.OriginLive:
		t.Errorf("%s has the origin %q", p.Key(), p.From())
	case p.FirstSeenTime != 0 || p.VotesTime != 0:
		t.Errorf("%s has clocks that are the engine's: first seen %d, votes %d", p.Key(), p.FirstSeenTime, p.VotesTime)
	case p.ObservedTime > now || now.Sub(p.ObservedTime) > patience:
		t.Errorf("%s was observed at %s, now is %s", p.Key(), p.ObservedTime, now)
	case filled.Validate() != nil:
		t.Errorf("%s: %v", p.Key(), filled.Validate())
	}
	return p
}

// alike tells whether two posts say the same, our clocks aside.
func alike(t *testing.T, a, b *market.Post) bool {
	t.Helper()
	first, _, err := a.Prints()
	second, _, err2 := b.Prints()
	if err := errors.Join(err, err2); err != nil {
		t.Error(err)
	}
	return first == second
}

// shown compares p with what the feed shows.
func shown(t *testing.T, posts []*market.Post, p *market.Post) {
	t.Helper()
	i := slices.IndexFunc(posts, func(q *market.Post) bool { return q.Key() == p.Key() })
	if i < 0 {
		t.Errorf("%s is a post that the feed does not show", p.Key())
	} else if !alike(t, p, posts[i]) {
		got, _ := market.Encode(p)
		want, _ := market.Encode(posts[i])
		t.Errorf("%s is\n%s, the feed shows\n%s", p.Key(), got, want)
	}
}

func testFeedName(t *testing.T, w *FeedWorld) {
	name := feedName(w)
	if err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if again := feedName(w); again != name {
		t.Errorf("the feed was %q and is %q", name, again)
	}
}

// testFeedLive watches two polls: whatever comes before a post comes again is
// one poll, and must be all that the feed shows.
func testFeedLive(t *testing.T, w *FeedWorld) {
	posts := w.Posts()
	last := map[string]market.Millis{} // observed, by key
	poll := map[string]bool{}
	polls := 0
	var newest market.Millis
	var busy atomic.Int32
	err := w.Source.Stream(deadline(t), func(_ context.Context, e market.Event) error {
		defer busy.Add(-1)
		if busy.Add(1) > 1 {
			t.Error("two events at once")
		}
		p := post(t, w, e)
		shown(t, posts, p)
		if poll[p.Key()] {
			t.Errorf("%s came again after %d of %d posts of one poll", p.Key(), len(poll), len(posts))
		}
		if p.ObservedTime < newest || p.ObservedTime <= last[p.Key()] {
			t.Errorf("%s was observed at %s, the post before it at %s, itself before at %s", p.Key(), p.ObservedTime, newest, last[p.Key()])
		}
		newest, last[p.Key()], poll[p.Key()] = p.ObservedTime, p.ObservedTime, true
		if len(poll) == len(posts) {
			clear(poll)
			polls++
		}
		if polls == 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d polls and %d of %d posts: %v", polls, len(poll), len(posts), err)
	}
}

func testFeedChange(t *testing.T, w *FeedWorld) {
	before := w.Posts()
	var after []*market.Post // what is new or differs once the feed has changed
	events := 0
	err := w.Source.Stream(deadline(t), func(_ context.Context, e market.Event) error {
		p := post(t, w, e)
		if events++; events <= len(before) {
			shown(t, before, p)
		}
		if events == len(before) {
			w.Change(t)
			for _, q := range w.Posts() {
				if !slices.ContainsFunc(before, func(r *market.Post) bool { return alike(t, q, r) }) {
					after = append(after, q)
				}
			}
			if len(after) == 0 {
				t.Error("Change changed nothing")
				return errEnough
			}
			return nil
		}
		after = slices.DeleteFunc(after, func(q *market.Post) bool { return alike(t, p, q) })
		if events > len(before) && len(after) == 0 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d events, with %d changes not seen: %v", events, len(after), err)
	}
}

func testFeedEnds(t *testing.T, w *FeedWorld) {
	ctx, cancel := context.WithCancel(deadline(t))
	err := w.Source.Stream(ctx, func(context.Context, market.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Stream returned %v, not the error of its context", err)
	}
	if err := w.Source.Stream(ctx, func(context.Context, market.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Stream with a context that has ended returned %v", err)
	}
}

// testFeedEndsWaiting ends the context a moment after a poll.
func testFeedEndsWaiting(t *testing.T, w *FeedWorld) {
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	posts, events := len(w.Posts()), 0
	err := w.Source.Stream(ctx, func(context.Context, market.Event) error {
		if events++; events == posts {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || events < posts {
		t.Errorf("Stream returned %v after %d of %d posts, not the error of its context", err, events, posts)
	}
}

func testFeedEmitError(t *testing.T, w *FeedWorld) {
	events := 0
	err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { events++; return errEnough })
	if !errors.Is(err, errEnough) || events != 1 {
		t.Errorf("Stream returned %v after %d events, not the error of the first emit", err, events)
	}
}

// testFeedBackPressure holds the first event for longer than a poll takes, and
// then ends the context.
func testFeedBackPressure(t *testing.T, w *FeedWorld) {
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	var events atomic.Int32
	err := w.Source.Stream(ctx, func(ctx context.Context, _ market.Event) error {
		if events.Add(1) == 1 {
			time.AfterFunc(1500*time.Millisecond, cancel)
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if n := events.Load(); !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("Stream returned %v after %d events; one was blocked until the context ended", err, n)
	}
}

// because checks that err is an end that says why.
func because(t *testing.T, err error) {
	t.Helper()
	var d *pipeline.Disconnected
	if !errors.As(err, &d) || !slices.Contains(pipeline.Causes(), d.Cause) {
		t.Fatalf("Stream returned %v, not a Disconnected with one of the causes", err)
	}
	if d.RetryAfter < 0 {
		t.Errorf("RetryAfter is %s", d.RetryAfter)
	}
}

func testFeedRefused(t *testing.T, w *FeedWorld) {
	w.Break(t)
	because(t, w.Source.Stream(deadline(t), func(context.Context, market.Event) error { return nil }))
	if err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Errorf("Stream after a failure: %v", err)
	}
}

func testFeedBroken(t *testing.T, w *FeedWorld) {
	posts, events := len(w.Posts()), 0
	because(t, w.Source.Stream(deadline(t), func(context.Context, market.Event) error {
		if events++; events == posts {
			w.Break(t)
		}
		return nil
	}))
	if events < posts {
		t.Errorf("%d of %d posts came before the failure", events, posts)
	}
}

func testFeedAgain(t *testing.T, w *FeedWorld) {
	for range 2 {
		if err := w.Source.Stream(deadline(t), func(context.Context, market.Event) error { return errEnough }); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
	}
}
