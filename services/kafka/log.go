package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// offsets are by topic and partition.
type offsets = map[string]map[int32]int64

// scan reads the records in [from, to) of each partition and calls f with each;
// partitions interleave, order within one is kept.
func (a *Admin) scan(ctx context.Context, from, to offsets, f func(*pipeline.Record) error) error {
	starts := map[string]map[int32]kgo.Offset{}
	left := 0
	for topic, parts := range to {
		starts[topic] = map[int32]kgo.Offset{}
		for p, end := range parts {
			if from[topic][p] < end {
				starts[topic][p] = kgo.NewOffset().At(from[topic][p])
				left++
			}
		}
	}
	if left == 0 {
		return nil
	}
	client, err := kgo.NewClient(append(slices.Clone(a.opts), kgo.ConsumePartitions(starts), kgo.KeepControlRecords(), kgo.FetchMaxBytes(8<<20))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("reading %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
		var stopped error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			end, wanted := to[p.Topic][p.Partition]
			if !wanted {
				return
			}
			for _, r := range p.Records {
				if stopped != nil || r.Offset >= end {
					break
				}
				if !r.Attrs.IsControl() {
					stopped = f(fromKgo(r))
				}
			}
			if n := len(p.Records); n > 0 && p.Records[n-1].Offset >= end-1 {
				delete(to[p.Topic], p.Partition)
				client.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
				left--
			}
		})
		if stopped != nil {
			return stopped
		}
	}
	return nil
}

func fromKgo(r *kgo.Record) *pipeline.Record {
	record := &pipeline.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, pipeline.Header{Name: h.Key, Value: h.Value})
	}
	return record
}

// byPartition is a copy of listed offsets, or the first error among them.
func byPartition(listed kadm.ListedOffsets, err error) (offsets, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing offsets: %w", err)
	}
	m := offsets{}
	listed.Each(func(o kadm.ListedOffset) {
		if m[o.Topic] == nil {
			m[o.Topic] = map[int32]int64{}
		}
		m[o.Topic][o.Partition] = o.Offset
	})
	return m, nil
}

func clone(o offsets) offsets {
	c := offsets{}
	for topic, parts := range o {
		c[topic] = maps.Clone(parts)
	}
	return c
}

// steps are how far back Recall looks, by the time of producing, before it reads
// the topic from its beginning.
var steps = []time.Duration{10 * time.Minute, 2 * time.Hour, 24 * time.Hour}

// Recall implements engine.Memory. It reads backwards in growing steps until
// each series has been met, so a restart reads minutes of the log and only a new
// series costs the whole.
func (a *Admin) Recall(ctx context.Context, series []market.Series) (map[market.Series]market.Millis, []market.Gap, error) {
	wanted := map[market.Series]*market.Millis{} // the newest, not under a key of the log's: that holds the memory of a batch
	for _, s := range series {
		wanted[s] = new(market.Millis)
	}
	met := 0
	begin, err := byPartition(a.admin.ListStartOffsets(ctx, market.TopicCandles))
	if err != nil {
		return nil, nil, err
	}
	end, err := byPartition(a.admin.ListEndOffsets(ctx, market.TopicCandles))
	if err != nil {
		return nil, nil, err
	}
	for step := 0; step <= len(steps) && met < len(wanted); step++ {
		from := begin
		if step < len(steps) {
			if from, err = byPartition(a.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-steps[step]).UnixMilli(), market.TopicCandles)); err != nil {
				return nil, nil, err
			}
		}
		err := a.scan(ctx, from, clone(end), func(r *pipeline.Record) error {
			if e, err := r.Event(); err == nil {
				if c, ok := e.(*market.Candle); ok && c.Closed && c.Origin != market.OriginArchive && wanted[c.Series()] != nil {
					at := wanted[c.Series()]
					if *at == 0 {
						met++
					}
					*at = max(*at, c.OpenTime)
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("looking for the newest candles: %w", err)
		}
		end = from
	}
	newest := map[market.Series]market.Millis{}
	for s, at := range wanted {
		if *at != 0 {
			newest[s] = *at
		}
	}
	gaps, err := a.openGaps(ctx, wanted)
	return newest, gaps, err
}

// openGaps reads what the gap topic says last of each gap.
func (a *Admin) openGaps(ctx context.Context, wanted map[market.Series]*market.Millis) ([]market.Gap, error) {
	last := map[string]*market.Gap{}
	err := a.ReadAll(ctx, func(r *pipeline.Record) error {
		if e, err := r.Event(); err == nil {
			if g, ok := e.(*market.Gap); ok && wanted[g.Series()] != nil && (last[g.Key()] == nil || g.Version() > last[g.Key()].Version()) {
				last[g.Key()] = g
			}
		}
		return nil
	}, market.TopicGaps)
	if err != nil {
		return nil, fmt.Errorf("looking for open gaps: %w", err)
	}
	var open []market.Gap
	for _, key := range slices.Sorted(maps.Keys(last)) {
		if last[key].State == market.GapOpen {
			open = append(open, *last[key])
		}
	}
	return open, nil
}

// RecallPosts implements engine.Memory. It reads the whole topic: posts are few.
func (a *Admin) RecallPosts(ctx context.Context, source string, each func(*market.Post)) error {
	err := a.ReadAll(ctx, func(r *pipeline.Record) error {
		if e, err := r.Event(); err == nil {
			if p, ok := e.(*market.Post); ok && p.Source == source {
				each(p)
			}
		}
		return nil
	}, market.TopicPosts)
	if err != nil {
		return fmt.Errorf("looking for posts: %w", err)
	}
	return nil
}

// ReadAll calls f with every record that the topics hold now.
func (a *Admin) ReadAll(ctx context.Context, f func(*pipeline.Record) error, topics ...string) error {
	from, err := byPartition(a.admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return err
	}
	to, err := byPartition(a.admin.ListEndOffsets(ctx, topics...))
	if err != nil {
		return err
	}
	return a.scan(ctx, from, to, f)
}

// ReplayGroup marks how far dead letters were sent again.
const ReplayGroup = "candlestack-deadletter-replay"

// Replayed returns a function that gives the offset, in a partition of a
// dead-letter topic, below which Replay has sent all; 0: nothing yet.
func (a *Admin) Replayed(ctx context.Context) (func(dead string, partition int32) int64, error) {
	committed, err := a.admin.FetchOffsets(ctx, ReplayGroup)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("reading offsets of group %s: %w", ReplayGroup, err)
	}
	return func(dead string, partition int32) int64 {
		if o, ok := committed.Lookup(dead, partition); ok && o.Err == nil {
			return max(o.At, 0)
		}
		return 0
	}, nil
}

// Replay sends each dead letter of topic (the original's name) again that was
// not sent before, by send, which returns when the record is acknowledged, and
// then commits. It returns how many were sent. A crash between the two sends
// some letters twice, which the stores' versions make harmless.
func (a *Admin) Replay(ctx context.Context, topic string, send func(pipeline.Record) error) (sent int, err error) {
	dead := market.DeadLetterTopic(topic)
	from, err := byPartition(a.admin.ListStartOffsets(ctx, dead))
	if err != nil {
		return 0, err
	}
	to, err := byPartition(a.admin.ListEndOffsets(ctx, dead))
	if err != nil {
		return 0, err
	}
	replayed, err := a.Replayed(ctx)
	if err != nil {
		return 0, err
	}
	for p, at := range from[dead] {
		from[dead][p] = max(at, replayed(dead, p))
	}
	done := kadm.Offsets{}
	err = a.scan(ctx, from, to, func(r *pipeline.Record) error {
		letter, err := pipeline.DecodeDeadLetter(*r)
		if err != nil {
			return err
		}
		if err := send(letter.Record); err != nil {
			return fmt.Errorf("sending %s/%d@%d again: %w", dead, r.Partition, r.Offset, err)
		}
		done.AddOffset(dead, r.Partition, r.Offset+1, -1)
		sent++
		return nil
	})
	if len(done) > 0 {
		if commit := a.admin.CommitAllOffsets(ctx, ReplayGroup, done); commit != nil {
			err = errors.Join(err, fmt.Errorf("committing: %w", commit))
		}
	}
	return sent, err
}
