package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// feed shows the same posts in each poll, one a minute.
type feed struct{ shown func(poll int) []*market.Post }

func (*feed) Posts() string { return "feed" }

func (f *feed) Stream(ctx context.Context, emit pipeline.Emit) error {
	for poll := 0; ; poll++ {
		for _, p := range f.shown(poll) {
			if err := emit(ctx, p); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// post is one as a source emits it.
func post(id, title string, likes int64) *market.Post {
	p := &market.Post{Source: "feed", ID: id, Title: title, PublishedTime: 1725416820000, ObservedTime: now(), Origin: market.OriginLive}
	if likes >= 0 {
		p.Votes = &market.Votes{Liked: &likes}
	}
	return p
}

// watch runs the source for some minutes and tells of each post in the log:
// title, votes, and the minutes of first sight, last change and change of votes.
func watch(t *testing.T, log *tape, minutes int, shown func(poll int) []*market.Post) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	loop := engine.NewSource(engine.SourceConfig{}, "feed", &feed{shown}, log, log, func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	go func() { done <- loop.Run(ctx) }()
	time.Sleep(time.Duration(minutes)*time.Minute - time.Second)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	time.Sleep(time.Second)
}

func (k *tape) posts(begin market.Millis) (lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		p := e.(*market.Post)
		likes := "-"
		if p.Votes != nil {
			likes = fmt.Sprintf("%d@%d", *p.Votes.Liked, (p.VotesTime-begin)/minute)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s first %d now %d", p.ID, p.Title, likes, (p.FirstSeenTime-begin)/minute, (p.ObservedTime-begin)/minute))
	}
	return lines
}

// A feed repeats itself: only what is new or changed goes on, a restart repeats
// nothing, and each change says since when the post and its votes are known.
func TestPostsFlowOnceAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * 365 * 10 * time.Hour)
		log, begin := &tape{}, now()
		shown := func(poll int) []*market.Post {
			switch minutes := (now() - begin) / minute; {
			case minutes < 2:
				return []*market.Post{post("a", "A", 1), post("b", "B", -1)}
			case minutes < 3:
				return []*market.Post{post("a", "A", 2), post("b", "B", -1)}
			case minutes < 5: // the first of them after the restart
				return []*market.Post{post("a", "A!", 2), post("b", "B", -1), post("c", "C", 0)}
			default: // back to what was shown before
				return []*market.Post{post("a", "A", 1), post("b", "B", 3)}
			}
		}
		watch(t, log, 3, shown)
		watch(t, log, 1, shown)
		watch(t, log, 3, shown)
		if diff := cmp.Diff([]string{
			"a A 1@0 first 0 now 0",
			"b B - first 0 now 0",
			"a A 2@2 first 0 now 2",
			"a A! 2@2 first 0 now 3",
			"c C 0@3 first 3 now 3",
			"a A 1@5 first 0 now 5",
			"b B 3@5 first 0 now 5",
		}, log.posts(begin)); diff != "" {
			t.Errorf("posts in the log (-want +got):\n%s", diff)
		}
	})
}

// Versions rise also where the clock stands still or steps back.
func TestPostVersionsRise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * 365 * 10 * time.Hour)
		log, begin := &tape{}, now()
		watch(t, log, 3, func(poll int) []*market.Post {
			p := post("a", fmt.Sprint(poll), -1)
			p.ObservedTime = begin - market.Millis(poll)*minute
			return []*market.Post{p}
		})
		var versions []int64
		for _, e := range log.events {
			versions = append(versions, e.Version()-int64(begin))
		}
		if diff := cmp.Diff([]int64{0, 1, 2}, versions); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPostsThatCannotBeTrueDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * 365 * 10 * time.Hour)
		log := &tape{}
		watch(t, log, 2, func(int) []*market.Post { return []*market.Post{post("a", "", 1), post("b", "B", 1)} })
		if len(log.events) != 1 || len(log.dead) != 1 {
			t.Errorf("%d events and %d dead letters; each wanted once", len(log.events), len(log.dead))
		}
	})
}
