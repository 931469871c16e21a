package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// counted is a partition as those who write to it know it: what was begun, and
// what was acknowledged.
type counted struct {
	produced, producing   atomic.Int64
	committed, committing atomic.Int64
}

// Under load, lag is never negative, and lies within what producers and readers
// knew before and after the look.
func TestLagEqualsTheModelUnderLoad(t *testing.T) {
	long := 60 * time.Second
	if testing.Short() {
		long = 5 * time.Second
	}
	w := newWorld(t, 3)
	const partitions = 6
	w.create(t, "orders", partitions, nil)
	model := make([]counted, partitions)
	ctx, stop := context.WithTimeout(t.Context(), long)
	defer stop()
	var all sync.WaitGroup
	for i := range int32(partitions) {
		m := &model[i]
		all.Go(func() {
			for ctx.Err() == nil {
				batch := make([]*kgo.Record, 1+time.Now().UnixNano()%20)
				for j := range batch {
					batch[j] = &kgo.Record{Topic: "orders", Partition: i, Value: []byte("v")}
				}
				m.producing.Add(int64(len(batch)))
				if err := w.client.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
					t.Error(err)
					return
				}
				m.produced.Add(int64(len(batch)))
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				// As close to the end as can be: here a wrong order of reading shows.
				n := m.produced.Load()
				m.committing.Store(n)
				offsets := kadm.Offsets{}
				offsets.AddOffset("orders", i, n, -1)
				if err := w.admin.CommitAllOffsets(t.Context(), fmt.Sprintf("reader-%d", i), offsets); err != nil {
					t.Error(err)
					return
				}
				m.committed.Store(n)
			}
		})
	}
	looks, seen := 0, 0
	for ctx.Err() == nil {
		least, most := make([]int64, partitions), make([]int64, partitions)
		for i := range model {
			least[i], most[i] = model[i].produced.Load(), model[i].committed.Load()
		}
		w.look(t)
		looks++
		for i := range model {
			least[i] -= model[i].committing.Load()
			most[i] = model[i].producing.Load() - most[i]
		}
		s := w.snapshots.Current()
		for _, g := range s.Groups {
			for _, topic := range g.Topics {
				for _, c := range topic.Commits {
					seen++
					// Not clamped, as the page is.
					lag := s.Topics[0].Partitions[c.Partition].End - c.Offset
					if lag < 0 || lag < least[c.Partition] || lag > most[c.Partition] {
						t.Errorf("look %d, partition %d: lag %d is not in %d to %d", looks, c.Partition, lag, least[c.Partition], most[c.Partition])
					}
					if !c.Oldest.IsZero() && c.Oldest.After(s.Time) {
						t.Errorf("look %d, partition %d: the oldest record is of the future, %s after %s", looks, c.Partition, c.Oldest, s.Time)
					}
				}
			}
		}
	}
	all.Wait()
	if looks < 10 || seen < 10*partitions {
		t.Errorf("only %d looks at %d commits", looks, seen)
	}
	t.Logf("%d looks at %d commits", looks, seen)
}
