// Package ledger is the witness of what is promised of delivery (design §4.1,
// §4.3; delivery.md §9). A Producer writes events of its own into Kafka and
// keeps book of what was acknowledged; Check compares the book with what a store
// holds, the dead letters and the committed offsets. It knows the ground and plain
// clients only: had it code of the stores or the engine, both could be wrong alike.
//
// All that it writes is of the exchange or the feed "ledger", and it looks at
// nothing else; so it can share topics, tables and collections with a real source.
package ledger

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// exchange is the name under which the ledger writes: Exchange of candles and gaps,
// Source of posts, and its word in HeaderSource.
const exchange = "ledger"

// DefaultTopics are the stack's topics of candles and gaps, for Config and
// ProducerConfig.
func DefaultTopics() map[market.Kind]string {
	return map[market.Kind]string{
		market.KindCandle: market.KindCandle.Topic(),
		market.KindGap:    market.KindGap.Topic(),
	}
}

// NewsTopics is the stack's topic of posts, likewise.
func NewsTopics() map[market.Kind]string {
	return map[market.Kind]string{market.KindPost: market.KindPost.Topic()}
}

// line is one line of the book's file, as JSON: first that a record will be
// sent, later that it was acknowledged. What has no second line may have arrived
// or not, and both are right.
type line struct {
	Sent    int64       `json:"sent,omitempty"` // number of the record, from 1
	Kind    market.Kind `json:"kind,omitempty"`
	Topic   string      `json:"topic,omitempty"`
	Key     string      `json:"key,omitempty"` // natural key
	Version int64       `json:"version,omitempty"`
	Hash    string      `json:"hash,omitempty"`   // of the values; of a poison, of its bytes
	Poison  string      `json:"poison,omitempty"` // what is wrong with it; empty: good

	// Of a post.
	FirstSeen market.Millis `json:"first_seen,omitempty"`
	VotesTime market.Millis `json:"votes_time,omitempty"` // 0: no votes
	Votes     string        `json:"votes,omitempty"`      // hash of the snapshot of the votes

	Acked     int64 `json:"acked,omitempty"` // the number again
	Partition int32 `json:"partition,omitempty"`
	Offset    int64 `json:"offset,omitempty"`
}

// book is the file that is written. Errors stick and come back from sync.
type book struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	err  error
}

// openBook makes a new file: a book belongs to one run.
func openBook(path string) (*book, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	return &book{file: file, out: bufio.NewWriter(file)}, nil
}

func (b *book) write(l line) {
	text, err := json.Marshal(l)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		_, err = b.out.Write(append(text, '\n'))
	}
	b.err = errors.Join(b.err, err)
}

// sync returns once all lines are on the disk.
func (b *book) sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = b.out.Flush()
	}
	if b.err == nil {
		b.err = b.file.Sync()
	}
	return b.err
}

func (b *book) close() error { return errors.Join(b.sync(), b.file.Close()) }

// entry is all that the book says of a record.
type entry struct {
	line       // its first
	acked bool // place counts
	place      // where it lies
}

// place is where a record lies in Kafka.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d@%d", p.topic, p.partition, p.offset) }

// readBook reads a file that openBook made. A last line without its end is one
// that was cut off while it was written: it does not count.
func readBook(path string) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	defer file.Close()
	var entries []entry
	in := bufio.NewReader(file)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		var l line
		if err == nil {
			err = json.Unmarshal(text, &l)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the ledger: %w", err)
		case l.Sent == int64(len(entries))+1:
			entries = append(entries, entry{line: l})
		case l.Acked >= 1 && l.Acked <= int64(len(entries)):
			e := &entries[l.Acked-1]
			e.acked, e.place = true, place{e.Topic, l.Partition, l.Offset}
		default:
			return nil, fmt.Errorf("reading the ledger: %.200s follows record %d", text, len(entries))
		}
	}
}

// hashEvent tells events apart by all that a store keeps of one version of them.
func hashEvent(e market.Event) (string, error) {
	if p, ok := e.(*market.Post); ok {
		version := *p
		version.FirstSeenTime = 0 // is of all versions
		e = &version
	}
	value, err := market.Encode(e)
	if err != nil {
		return "", err
	}
	return hash(value, []byte(e.From())), nil
}

// hashRecord tells records apart by key, value and headers.
func hashRecord(key, value []byte, headers []kgo.RecordHeader) string {
	parts := [][]byte{key, value}
	for _, h := range headers {
		parts = append(parts, []byte(h.Key), h.Value)
	}
	return hash(parts...)
}

func hash(parts ...[]byte) string {
	h := fnv.New128a()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
