// Package engine is the two loops, Source -> Kafka and Kafka -> Sink, and all
// policy: retry, back-off, batching, order, dead letters, commits, gap repair.
// It knows adapters by the contracts of package pipeline and Kafka by the
// interfaces below, which package kafka implements.
package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Partition is one partition of a topic.
type Partition struct {
	Topic string
	ID    int32
}

// ErrNotOwned says that a partition was revoked in the meantime: nothing to worry about.
var ErrNotOwned = errors.New("partition is not owned any more")

// Consumer is a member of a consumer group.
type Consumer interface {
	// Run joins the group, and calls h from one goroutine until ctx ends; then it
	// revokes what it holds, commits and leaves.
	Run(ctx context.Context, h Handler) error
	// Pause stops the records of p. Those already on their way may still come.
	Pause(p Partition) error
	// Resume goes on with the record at offset.
	Resume(p Partition, offset int64) error
	// Store marks all records before next as done; the group's offset follows
	// within a second, and at once on revocation. ErrNotOwned is expected.
	Store(p Partition, next int64) error
}

// Handler is called by a Consumer.
type Handler interface {
	// Assigned tells the offset at which each partition will be read.
	Assigned(starts map[Partition]int64)
	// Revoked returns, in bounded time, when no write for p is in flight. The
	// consumer then commits what was stored.
	Revoked(p []Partition)
	// Lost means that the partitions have another owner already.
	Lost(p []Partition)
	// Record may block for a second; longer is pausing.
	Record(r pipeline.Record)
}

// Producer appends records to Kafka.
type Producer interface {
	// Produce hands r over and blocks while the queue is full. Where it returns
	// nil, done is called once, from another goroutine: with nil when all in-sync
	// replicas have the record, else with an error that is final.
	Produce(ctx context.Context, r pipeline.Record, done func(error)) error
}

// Memory is what the log knows of earlier runs of a source.
type Memory interface {
	// Recall returns the open time of the newest closed candle of each series,
	// archive events aside, and the gaps whose last state is open.
	Recall(ctx context.Context, series []market.Series) (newest map[market.Series]market.Millis, open []market.Gap, err error)
	// RecallPosts calls each with all that the log holds of a source's posts, in no
	// order, older versions among them.
	RecallPosts(ctx context.Context, source string, each func(*market.Post)) error
}

// Report takes the state of a part: an empty problem is well. Only changes are told to people.
type Report func(part, problem string)

// Starting is the problem of a part that has not been tried yet: not ready, and
// no news.
const Starting = "starting"

// backoff doubles from low to high, with jitter so that those who failed
// together do not come back together.
type backoff struct {
	low, high, now time.Duration
}

func (b *backoff) next() time.Duration {
	b.now = min(max(b.now*2, b.low), b.high)
	return b.now/2 + rand.N(b.now/2+1)
}

func (b *backoff) reset() { b.now = 0 }

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare asks a Preparer until the world answers; the user's mistakes are final.
func prepare(ctx context.Context, adapter any, part string, report Report) error {
	p, ok := adapter.(pipeline.Preparer)
	if !ok {
		return nil
	}
	report(part, Starting)
	wait := backoff{low: 200 * time.Millisecond, high: 3 * time.Second}
	for {
		err := p.Prepare(ctx)
		var mistake *pipeline.ConfigError
		switch {
		case err == nil:
			report(part, "")
			return nil
		case errors.As(err, &mistake) || ctx.Err() != nil:
			return err
		}
		report(part, err.Error())
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// produceSync waits for the acknowledgement.
func produceSync(ctx context.Context, p Producer, r pipeline.Record) error {
	acknowledged := make(chan error, 1)
	if err := p.Produce(ctx, r, func(err error) { acknowledged <- err }); err != nil {
		return err
	}
	select {
	case err := <-acknowledged:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
