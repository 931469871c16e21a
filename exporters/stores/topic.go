package stores

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

const (
	// skew is how far the clock of a record may be behind that of an exchange.
	skew = 10 * time.Minute
	// reading bounds the time in which an hour is read, asking the time of a request.
	reading = 2 * time.Minute
	asking  = 10 * time.Second
)

// unfit is a reason why an hour cannot be compared, ever.
type unfit struct{ reason string }

func (u *unfit) Error() string { return u.reason }

// topic reads one topic from a time on, up to where it ended at that moment.
type topic struct {
	name   string
	client *kgo.Client
	admin  *kadm.Client
	ends   map[int32]int64 // what was read reaches up to here
	starts map[int32]int64
}

func (r *reconciler) open() (*topic, error) {
	opts := append(r.opts[:len(r.opts):len(r.opts)],
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // as the sink reads
		kgo.KeepControlRecords(),                     // the end of a partition may be one
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(2<<20), kgo.BrokerMaxReadBytes(32<<20), kgo.MaxConcurrentFetches(1))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing the Kafka client: %w", err)
	}
	return &topic{name: r.topic, client: client, admin: kadm.NewClient(client)}, nil
}

func (t *topic) close() { t.client.Close() }

// version is the newest of one candle.
type version struct {
	series  series
	version int64
	sum     sum
}

// read digests the newest version of each candle that opens in the hour at h.
// The error is *unfit where the topic does not hold all of it any more, or where
// it has more candles than limit.
func (t *topic) read(ctx context.Context, h market.Millis, limit int) (map[series]digest, error) {
	ctx, cancel := context.WithTimeout(ctx, reading)
	defer cancel()
	begin, err := t.begin(ctx, h)
	if err != nil {
		return nil, err
	}
	newest := map[string]version{}
	if len(begin) > 0 {
		t.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{t.name: begin})
	}
	for len(begin) > 0 {
		fetches := t.client.PollRecords(ctx, 10_000)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		for _, failed := range fetches.Errors() {
			return nil, fmt.Errorf("partition %d: %w", failed.Partition, failed.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			record := it.Next()
			end := t.ends[record.Partition]
			if record.Offset < end {
				keep(newest, record, h)
			}
			if record.Offset >= end-1 {
				delete(begin, record.Partition)
			}
		}
		if len(newest) > limit {
			return nil, &unfit{fmt.Sprintf("it has more than %d candles", limit)}
		}
	}
	all := map[series]digest{}
	for _, v := range newest {
		d := all[v.series]
		d.add(v.sum)
		all[v.series] = d
	}
	return all, nil
}

// begin finds for each partition where the hour may begin, if there is anything since.
func (t *topic) begin(ctx context.Context, h market.Millis) (map[int32]kgo.Offset, error) {
	starts, err := t.admin.ListStartOffsets(ctx, t.name)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, err
	}
	ends, err := t.admin.ListCommittedOffsets(ctx, t.name)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	after, err := t.admin.ListOffsetsAfterMilli(ctx, int64(h.Add(-skew)), t.name)
	if err = errors.Join(err, after.Error()); err != nil {
		return nil, err
	}
	begin := map[int32]kgo.Offset{}
	t.ends, t.starts = map[int32]int64{}, map[int32]int64{}
	for partition, end := range ends[t.name] {
		start, _ := starts.Lookup(t.name, partition)
		from, ok := after.Lookup(t.name, partition)
		if !ok {
			return nil, kerr.UnknownTopicOrPartition
		}
		if start.Offset > 0 && from.Offset <= start.Offset {
			return nil, &unfit{"Kafka does not keep all of it any more"}
		}
		t.ends[partition], t.starts[partition] = end.Offset, start.Offset
		if from.Offset < end.Offset {
			begin[partition] = kgo.NewOffset().At(from.Offset)
		}
	}
	if len(t.ends) == 0 {
		return nil, kerr.UnknownTopicOrPartition
	}
	return begin, nil
}

// keep remembers a candle of the hour if none as new is known. What cannot be
// read or true is a dead letter, not a candle.
func keep(newest map[string]version, record *kgo.Record, h market.Millis) {
	header := map[string]string{}
	for _, one := range record.Headers {
		header[one.Key] = string(one.Value)
	}
	event, err := market.Decode(header[market.HeaderKind], header[market.HeaderContract], header[market.HeaderOrigin], record.Value)
	if err != nil {
		return
	}
	c, ok := event.(*market.Candle)
	if !ok || c.OpenTime < h || c.OpenTime >= h+hourly || c.Validate() != nil {
		return
	}
	key := c.Key()
	if known, ok := newest[key]; ok && known.version >= c.Version() {
		return
	}
	newest[key] = version{series{exchange: c.Exchange, instrument: c.Instrument.String(), interval: c.Interval}, c.Version(), sumOf(c)}
}

// passed waits until the group has stored what was read; errBehind if it has not
// within the time.
func (t *topic) passed(ctx context.Context, group string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within+asking)
	defer cancel()
	for deadline := time.Now().Add(within); ; {
		committed, err := t.admin.FetchOffsets(ctx, group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return fmt.Errorf("asking for the offsets of group %s: %w", group, err)
		}
		if t.covered(committed) {
			return nil
		}
		if time.Now().After(deadline) {
			return errBehind
		}
		select {
		case <-ctx.Done():
			return errBehind
		case <-time.After(time.Second):
		}
	}
}

func (t *topic) covered(committed kadm.OffsetResponses) bool {
	for partition, end := range t.ends {
		if o, ok := committed.Lookup(t.name, partition); end > t.starts[partition] && (!ok || o.Err != nil || o.At < end) {
			return false
		}
	}
	return true
}
