package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/simulator"
)

// news is `lab news`. A feed has no history: what was seen, and when, only a
// watcher knows. So the simulator's clock and ours walk through the past
// together, and all else is the pipeline's own: the feed's wire format and its
// reader, the engine that lets changes through, Kafka.
type news struct {
	span  `embed:""`
	Kafka kafka.Config `embed:"" prefix:"kafka."`
	Seed  int64        `help:"Which market the simulator makes." default:"1"`
}

// Run sends all of it, or says that it is there already: watched a second time,
// the same posts would look as if they had changed.
func (c *news) Run(ctx context.Context, stdout io.Writer) error {
	if err := errors.Join(c.validate(), c.Kafka.Validate()); err != nil {
		return err
	}
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	admin, err := kafka.NewAdmin(c.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	from, to := c.millis()
	known := 0
	if err := admin.RecallPosts(ctx, feed, func(p *market.Post) {
		if p.PublishedTime >= from && p.PublishedTime < to {
			known++
		}
	}); err != nil {
		return fmt.Errorf("reading topic %s: %w", market.TopicPosts, err)
	}
	if known > 0 {
		fmt.Fprintf(stdout, "the news is there: %d records of it\n", known)
		return nil
	}
	w := &watcher{from: from, to: to, stdout: stdout}
	w.clock.Store(int64(from))
	sim, err := simulator.NewAt(simulator.Config{Listen: "127.0.0.1:0", Seed: c.Seed}, log, prometheus.NewRegistry(), w.now)
	if err != nil {
		return err
	}
	w.url = "http://" + sim.Addr() + "/api/v1/posts/?auth_token=lab"
	producer, err := kafka.NewProducer(c.Kafka, func(string, string) {}, log, reg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.done = cancel
	served := make(chan error, 1)
	go func() { served <- sim.Run(ctx) }()
	err = engine.NewSource(engine.SourceConfig{}, feed, w, producer, admin, func(string, string) {}, log, reg).Run(ctx)
	cancel()
	within, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer stop()
	if lost := producer.Close(within); lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d records were not acknowledged", lost))
	}
	if w.err != nil {
		err = errors.Join(err, fmt.Errorf("%w; empty topic %s before the next try", w.err, market.TopicPosts))
	}
	return errors.Join(err, <-served)
}

const (
	feed   = "cryptopanic"
	step   = market.Millis(time.Minute / time.Millisecond) // as often as the watcher looks at what is new
	review = 30 * step                                     // and as often at what is much voted for
)

// watcher is a source that reads the feed as `source cryptopanic` does, on a
// clock of its own.
type watcher struct {
	from, to market.Millis
	url      string
	clock    atomic.Int64 // ms since 1970
	stdout   io.Writer
	done     func()
	err      error // that ended the walk
}

func (w *watcher) now() time.Time { return market.Millis(w.clock.Load()).Time() }

// Posts is the name of the feed.
func (w *watcher) Posts() string { return feed }

// Stream watches until the end of the span, and then ends the run.
func (w *watcher) Stream(ctx context.Context, emit pipeline.Emit) error {
	defer w.done()
	w.err = w.walk(ctx, emit)
	return w.err
}

func (w *watcher) walk(ctx context.Context, emit pipeline.Emit) error {
	for at := w.from + step; at <= w.to+step; at += step { // what came in the last minute too
		w.clock.Store(int64(at))
		pages := []string{"&page=1"}
		if at%review == 0 {
			pages = append(pages, "&filter=hot&page=1", "&filter=hot&page=2")
		}
		for _, page := range pages {
			if err := w.read(ctx, w.url+page, at, emit); err != nil {
				return err
			}
		}
		if at%(market.Millis(24*time.Hour/time.Millisecond)) == 0 {
			fmt.Fprintf(w.stdout, "news until %s\n", at)
		}
	}
	return nil
}

func (w *watcher) read(ctx context.Context, url string, at market.Millis, emit pipeline.Emit) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("the simulator answers %s", reply.Status)
	}
	if err != nil {
		return err
	}
	posts, err := cryptopanic.Parse(body, at)
	if err != nil {
		return err
	}
	for _, p := range posts {
		if p.PublishedTime < w.from {
			continue // seen too late to know when it came
		}
		p.Origin = market.OriginArchive
		if err := emit(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
