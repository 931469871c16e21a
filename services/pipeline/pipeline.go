// Package pipeline holds the contracts between the engine and the adapters:
// what a source pushes, what a sink takes, and how either says what went wrong.
// An adapter owns its wire and nothing else; retry, batching, order, commits,
// dead letters and gap repair are the engine's.
package pipeline

import (
	"context"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// Emit hands an event to the engine. It blocks while the engine cannot take
// more; that is the back-pressure. Its error is a reason to return.
type Emit func(ctx context.Context, e market.Event) error

// Source is an exchange or a feed.
type Source interface {
	// Stream pushes live events until the connection is over, and says why; it
	// does not reconnect, the engine calls it again. It returns ctx.Err() when
	// ctx ends. Emit may be called from one goroutine at a time.
	Stream(ctx context.Context, emit Emit) error
}

// History is the power of a Source to read the past.
type History interface {
	// Series lists what the source was configured to follow.
	Series() []market.Series
	// History emits the closed candles of a series with from <= open time < to,
	// ascending, with the origin given. What the exchange has with an open time
	// before whole has been emitted, also where err is not nil; whole <= to. So a
	// hole before whole is a hole at the exchange; after it, nobody knows yet.
	History(ctx context.Context, s market.Series, from, to market.Millis, origin market.Origin, emit Emit) (whole market.Millis, err error)
	// Now is the exchange's clock.
	Now(ctx context.Context) (market.Millis, error)
}

// Feed is the power of a Source of posts to show the same posts again and again:
// the engine lets through what is new or has changed.
type Feed interface {
	// Posts is the Source field of all its posts.
	Posts() string
}

// Batch holds events of ONE partition in offset order, all valid.
type Batch []market.Event

// Effects counts what a write did to the store. A store that cannot tell
// inserted from unchanged counts both as Kept.
type Effects struct {
	Inserted, Updated, Unchanged, Kept int
}

// Add sums.
func (e Effects) Add(f Effects) Effects {
	return Effects{e.Inserted + f.Inserted, e.Updated + f.Updated, e.Unchanged + f.Unchanged, e.Kept + f.Kept}
}

// Sink is a store.
type Sink interface {
	// Write makes the batch durable, idempotent by natural key and guarded by
	// version: a stored row changes only for a strictly greater version. On an
	// error any part of the batch may have been written. Errors that are not an
	// *Error count as Environment. Write is called by several goroutines at once.
	Write(ctx context.Context, b Batch) (Effects, error)
}

// Preparer is the power to get the other side ready before the first event:
// check the instruments, migrate the schema. A *ConfigError is the user's word
// and final; any other error is the world's, and the engine asks again.
type Preparer interface {
	Prepare(ctx context.Context) error
}

// Examiner is the power to examine the other side for `candlestack doctor`.
// It changes nothing and returns within the deadline of ctx.
type Examiner interface {
	Examine(ctx context.Context) []Finding
}

// Finding is one line of doctor.
type Finding struct {
	Subject string // mysql version, binance clock, …
	Detail  string // what was found, for people
	OK      bool
}

// Closer is the power to let go of connections.
type Closer interface{ Close() error }

// Record is an event in its Kafka form.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time // of producing
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one header of a record. Names may repeat.
type Header struct {
	Name  string
	Value []byte
}

// Header returns the last header of that name, as readers of Kafka do.
func (r *Record) Header(name string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Name == name {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// NewRecord encodes e for its topic; source says who produces it.
func NewRecord(e market.Event, source string) (Record, error) {
	value, err := market.Encode(e)
	if err != nil {
		return Record{}, err
	}
	return Record{
		Topic: e.Kind().Topic(),
		Key:   []byte(e.PartitionKey()),
		Value: value,
		Headers: []Header{
			{market.HeaderKind, []byte(e.Kind())},
			{market.HeaderContract, []byte(market.ContractVersion)},
			{market.HeaderOrigin, []byte(e.From())},
			{market.HeaderSource, []byte(source)},
		},
	}, nil
}

// Event decodes and validates r.
func (r *Record) Event() (market.Event, error) {
	e, err := market.Decode(r.Header(market.HeaderKind), r.Header(market.HeaderContract), r.Header(market.HeaderOrigin), r.Value)
	if err != nil {
		return nil, err
	}
	return e, e.Validate()
}
