package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// load is a cluster of a size.
type load struct {
	brokers, topics, partitions int
	groups, commits             int
}

// loaded makes a cluster with a record in each partition that groups read, and
// a page of it.
func loaded(b testing.TB, l load) *world {
	w := newWorld(b, l.brokers, func(c *snapshot.Config) { c.Refresh.BrokerTimeout = time.Second }) // the default
	ctx := b.Context()
	var topics []string
	for i := range l.topics {
		topics = append(topics, fmt.Sprintf("topic-%03d", i))
	}
	if _, err := w.admin.CreateTopics(ctx, int32(l.partitions), int16(l.brokers), nil, topics...); err != nil {
		b.Fatal(err)
	}
	for i := range l.topics * l.partitions {
		w.client.Produce(ctx, &kgo.Record{Topic: topics[i/l.partitions], Partition: int32(i % l.partitions), Value: []byte("a")}, nil)
		w.client.Produce(ctx, &kgo.Record{Topic: topics[i/l.partitions], Partition: int32(i % l.partitions), Value: []byte("b")}, nil)
	}
	if err := w.client.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	for g := range l.groups {
		offsets := kadm.Offsets{}
		for i := range l.commits {
			n := (g*l.commits + i) % (l.topics * l.partitions)
			offsets.AddOffset(topics[n/l.partitions], int32(n%l.partitions), int64(i%3), -1)
		}
		if err := w.admin.CommitAllOffsets(ctx, fmt.Sprintf("group-%04d", g), offsets); err != nil {
			b.Fatal(err)
		}
	}
	return w
}
