package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/candlestack/candlestack/services/market"
)

// Headers of a dead letter, named as Kafka Connect names them, so that its
// tools read ours (KIP-298). The letter keeps the original's key, value and headers.
const (
	HeaderDeadTopic     = "__connect.errors.topic"
	HeaderDeadPartition = "__connect.errors.partition"
	HeaderDeadOffset    = "__connect.errors.offset"
	HeaderDeadMessage   = "__connect.errors.exception.message"
	HeaderDeadReason    = "candlestack-dead-reason" // decode, contract, invalid, or the store's code
	HeaderDeadBy        = "candlestack-dead-by"     // who gave up: a consumer group or a source
	HeaderDeadTime      = "candlestack-dead-time"   // RFC 3339
)

const deadPrefix, deadPrefixOwn = "__connect.errors.", "candlestack-dead-"

// DeadLetter is a record that could not be stored, and why.
type DeadLetter struct {
	Record  Record // the original; Topic, Partition and Offset say where it came from
	Reason  string
	Message string
	By      string
	Time    time.Time
}

// maxMessage keeps a store's error, which may quote the row, from growing the letter.
const maxMessage = 1000

// Encode returns the record for the dead-letter topic.
func (d *DeadLetter) Encode() Record {
	r := d.Record
	r.Topic = market.DeadLetterTopic(d.Record.Topic)
	r.Partition, r.Offset = -1, -1
	r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)],
		Header{HeaderDeadTopic, []byte(d.Record.Topic)},
		Header{HeaderDeadPartition, strconv.AppendInt(nil, int64(d.Record.Partition), 10)},
		Header{HeaderDeadOffset, strconv.AppendInt(nil, d.Record.Offset, 10)},
		Header{HeaderDeadMessage, []byte(truncate(d.Message))},
		Header{HeaderDeadReason, []byte(d.Reason)},
		Header{HeaderDeadBy, []byte(d.By)},
		Header{HeaderDeadTime, []byte(d.Time.UTC().Format(time.RFC3339Nano))},
	)
	return r
}

func truncate(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// DecodeDeadLetter is the inverse of Encode: the original's own headers come
// back without those that tell of its death. A letter that died twice tells of
// the last time.
func DecodeDeadLetter(r Record) (DeadLetter, error) {
	partition, err := strconv.ParseInt(r.Header(HeaderDeadPartition), 10, 32)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("record %s/%d@%d is no dead letter: header %s: %w", r.Topic, r.Partition, r.Offset, HeaderDeadPartition, err)
	}
	offset, err := strconv.ParseInt(r.Header(HeaderDeadOffset), 10, 64)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("record %s/%d@%d is no dead letter: header %s: %w", r.Topic, r.Partition, r.Offset, HeaderDeadOffset, err)
	}
	if r.Header(HeaderDeadTopic) == "" {
		return DeadLetter{}, fmt.Errorf("record %s/%d@%d is no dead letter: header %s is empty", r.Topic, r.Partition, r.Offset, HeaderDeadTopic)
	}
	d := DeadLetter{
		Record:  r,
		Reason:  r.Header(HeaderDeadReason),
		Message: r.Header(HeaderDeadMessage),
		By:      r.Header(HeaderDeadBy),
	}
	d.Time, _ = time.Parse(time.RFC3339Nano, r.Header(HeaderDeadTime)) // absent in letters of other tools
	d.Record.Topic = r.Header(HeaderDeadTopic)
	d.Record.Partition, d.Record.Offset = int32(partition), offset
	d.Record.Headers = nil
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Name, deadPrefix) && !strings.HasPrefix(h.Name, deadPrefixOwn) {
			d.Record.Headers = append(d.Record.Headers, h)
		}
	}
	return d, nil
}
