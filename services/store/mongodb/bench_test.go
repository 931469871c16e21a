package mongodb

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// BenchmarkWrite measures the sink against two loops around the driver, by turns in
// one run: unordered bulks of inserts for the snapshots, where posts have votes, and
// of replacements with upsert for the posts. The plainest one has no guard, so it
// would let an older version win; the guarded one lets a newer version stand, and
// takes every duplicate for one. fresh: new posts. changed: each is there with an
// older version. same: each is there already, as after a restart.
func BenchmarkWrite(b *testing.B) {
	s := findServer(b)
	for _, feed := range []string{"votes", "plain"} {
		for _, rows := range []int{100, 500, 1000} {
			for _, what := range []string{"fresh", "changed", "same"} {
				b.Run(fmt.Sprintf("%s/%d/%s", feed, rows, what), func(b *testing.B) { benchmarkWrite(b, s, feed, rows, what) })
			}
		}
	}
}

func benchmarkWrite(b *testing.B, s server, feed string, rows int, what string) {
	one := func(c *Config) { c.Connections = 1 }
	var sinks [3]*Sink
	for i := range sinks {
		sinks[i] = s.prepared(b, one)
	}
	write := func(who int, events pipeline.Batch) {
		if who > 0 {
			plainWrite(b, sinks[who], events, who == 2)
		} else if _, err := sinks[who].Write(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	batch := func(i int, later market.Millis) pipeline.Batch {
		batch := make(pipeline.Batch, rows)
		for k := range batch {
			p := pipelinetest.Post(i*rows + k)
			p.ObservedTime, p.VotesTime = p.ObservedTime+later, p.VotesTime+later // first seen earlier: a change
			if feed == "plain" {
				p.Votes, p.VotesTime = nil, 0
			}
			batch[k] = p
		}
		return batch
	}
	later := market.Millis(0)
	if what != "fresh" {
		for i := range b.N {
			for who := range sinks {
				write(who, batch(i, 0))
			}
		}
	}
	if what == "changed" {
		later = 1
	}
	var spent [3][]time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		events := batch(i, later)
		for turn := range sinks { // who begins changes
			started, who := time.Now(), (i+turn)%len(sinks)
			write(who, events)
			spent[who] = append(spent[who], time.Since(started))
		}
	}
	// Medians: a server that tidies up in between would decide it otherwise.
	median := func(who int) float64 {
		slices.Sort(spent[who])
		return spent[who][b.N/2].Seconds()
	}
	b.ReportMetric(float64(rows)/median(0), "posts/s")
	b.ReportMetric(median(1)/median(0), "ratio-plain")
	b.ReportMetric(median(2)/median(0), "ratio-guarded")
}

// plainWrite uses the sink's connection and collections, and nothing else of it.
func plainWrite(b *testing.B, s *Sink, events pipeline.Batch, guarded bool) {
	b.Helper()
	var snapshots []any
	models := make([]mongo.WriteModel, 0, len(events))
	for _, e := range events {
		p := e.(*market.Post)
		if p.Votes != nil {
			snapshots = append(snapshots, newSnapshot(p))
		}
		filter := bson.D{{Key: "_id", Value: p.Key()}}
		if guarded {
			filter = append(filter, bson.E{Key: "version", Value: bson.D{{Key: "$lt", Value: p.Version()}}})
		}
		models = append(models, mongo.NewReplaceOneModel().SetFilter(filter).SetReplacement(newDocument(p, p.FirstSeenTime, false)).SetUpsert(true))
	}
	if len(snapshots) > 0 {
		if _, err := s.snapshots.InsertMany(b.Context(), snapshots, options.InsertMany().SetOrdered(false)); err != nil && !mongo.IsDuplicateKeyError(err) {
			b.Fatal(err)
		}
	}
	if _, err := s.posts.BulkWrite(b.Context(), models, options.BulkWrite().SetOrdered(false)); err != nil && !(guarded && mongo.IsDuplicateKeyError(err)) {
		b.Fatal(err)
	}
}
