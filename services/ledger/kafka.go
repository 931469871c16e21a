package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// letter is a dead letter of a record that the ledger sent.
type letter struct {
	place        // of the original, as the letter says
	hash  string // of the original
}

// Names of a dead letter's headers, those of Kafka Connect (KIP-298). Written
// here once more on purpose: the witness reads letters as any other tool would.
const (
	deadTopic     = "__connect.errors.topic"
	deadPartition = "__connect.errors.partition"
	deadOffset    = "__connect.errors.offset"
)

var deadPrefixes = []string{"__connect.errors.", "candlestack-dead-"}

// readLetters returns all letters of the topics' dead-letter topics whose key is
// one of the ledger's. A topic that does not exist holds none.
func readLetters(ctx context.Context, admin *kadm.Client, brokers []string, topics map[market.Kind]string) ([]letter, error) {
	var names []string
	for _, topic := range topics {
		names = append(names, market.DeadLetterTopic(topic))
	}
	ends, err := existing(admin.ListEndOffsets(ctx, names...))
	if err != nil {
		return nil, fmt.Errorf("listing dead letters: %w", err)
	}
	starts, err := existing(admin.ListStartOffsets(ctx, names...))
	if err != nil {
		return nil, fmt.Errorf("listing dead letters: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	left := 0 // partitions
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if !ok || start.Offset >= end.Offset {
			return
		}
		if from[end.Topic] == nil {
			from[end.Topic] = map[int32]kgo.Offset{}
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
		left++
	})
	if left == 0 {
		return nil, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(from))
	if err != nil {
		return nil, fmt.Errorf("reading dead letters: %w", err)
	}
	defer client.Close()
	var letters []letter
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading dead letters: %w", err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			end, _ := ends.Lookup(r.Topic, r.Partition)
			if r.Offset == end.Offset-1 {
				left--
			}
			if r.Offset < end.Offset && strings.HasPrefix(string(r.Key), exchange+"/") {
				l, err := readLetter(r)
				if err != nil {
					return nil, err
				}
				letters = append(letters, l)
			}
		}
	}
	return letters, nil
}

// existing forgives that a topic does not exist.
func existing(offsets kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err != nil {
		return nil, err
	}
	for topic, partitions := range offsets {
		for _, o := range partitions {
			if errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
				delete(offsets, topic)
			}
		}
	}
	return offsets, offsets.Error()
}

func readLetter(r *kgo.Record) (letter, error) {
	last := map[string]string{} // a letter that died twice tells of the last time
	var own []kgo.RecordHeader
headers:
	for _, h := range r.Headers {
		for _, prefix := range deadPrefixes {
			if strings.HasPrefix(h.Key, prefix) {
				last[h.Key] = string(h.Value)
				continue headers
			}
		}
		own = append(own, h)
	}
	partition, err := strconv.ParseInt(last[deadPartition], 10, 32)
	if err != nil {
		return letter{}, fmt.Errorf("reading dead letter %s/%d@%d: header %s: %w", r.Topic, r.Partition, r.Offset, deadPartition, err)
	}
	offset, err := strconv.ParseInt(last[deadOffset], 10, 64)
	if err != nil {
		return letter{}, fmt.Errorf("reading dead letter %s/%d@%d: header %s: %w", r.Topic, r.Partition, r.Offset, deadOffset, err)
	}
	return letter{place{last[deadTopic], int32(partition), offset}, hashRecord(r.Key, r.Value, own)}, nil
}

// partition is one of a topic.
type partition struct {
	topic string
	id    int32
}

// readCommitted returns the group's committed offsets: the next record to read.
// A partition without one is absent, as are all of a group that never was.
func readCommitted(ctx context.Context, admin *kadm.Client, group string) (map[partition]int64, error) {
	offsets, err := admin.FetchOffsets(ctx, group)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("reading the committed offsets of %s: %w", group, err)
	}
	committed := map[partition]int64{}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			committed[partition{o.Topic, o.Partition}] = o.At
		}
	})
	return committed, nil
}
