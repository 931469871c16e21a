// Package market is the ground of the house: the events that flow through the
// stack, their numbers, clocks and names, and their form on the wire between
// services. It knows nothing of exchanges, Kafka or stores.
package market

import (
	"fmt"
	"strings"
	"time"
)

// Millis is an instant in milliseconds since the Unix epoch, UTC: the
// resolution of every clock that the stack keeps. Zero means unknown.
type Millis int64

// MillisOf truncates t to the millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns m as a UTC time.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Add moves m by d.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Sub returns m - n.
func (m Millis) Sub(n Millis) time.Duration { return time.Duration(m-n) * time.Millisecond }

// String is RFC 3339 in UTC with milliseconds.
func (m Millis) String() string { return m.Time().Format("2006-01-02T15:04:05.000Z") }

// Instrument is a pair that is traded, in canonical spelling: BTC-USDT. The
// spelling of a venue never leaves that venue's package.
type Instrument struct{ Base, Quote string }

// ParseInstrument reads BASE-QUOTE, upper-case letters and digits, each 1 to 20 long.
func ParseInstrument(s string) (Instrument, error) {
	base, quote, ok := strings.Cut(s, "-")
	if !ok || !symbol(base) || !symbol(quote) {
		return Instrument{}, fmt.Errorf("instrument %q is not of the form BTC-USDT", s)
	}
	return Instrument{Base: base, Quote: quote}, nil
}

func symbol(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 20
}

// String is the canonical text, BTC-USDT; empty for the zero value.
func (i Instrument) String() string {
	if i == (Instrument{}) {
		return ""
	}
	return i.Base + "-" + i.Quote
}

// MarshalText writes the canonical text.
func (i Instrument) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the canonical text.
func (i *Instrument) UnmarshalText(b []byte) (err error) {
	*i, err = ParseInstrument(string(b))
	return err
}

// Series is one line of candles: what is ordered, resumed and repaired together.
type Series struct {
	Exchange   string
	Instrument Instrument
	Interval   Interval
}

// Key is the record key of the series in Kafka: binance/BTC-USDT/1m.
func (s Series) Key() string {
	return s.Exchange + "/" + s.Instrument.String() + "/" + string(s.Interval)
}

func (s Series) validate() error {
	switch {
	case s.Exchange == "" || len(s.Exchange) > 32:
		return fmt.Errorf("exchange %.40q is not 1 to 32 bytes long", s.Exchange)
	case !symbol(s.Instrument.Base) || !symbol(s.Instrument.Quote):
		return fmt.Errorf("instrument %.60q is not of the form BTC-USDT", s.Instrument.String())
	case !s.Interval.Valid():
		return fmt.Errorf("interval %.20q is unknown", string(s.Interval))
	}
	return nil
}

// Kind names a sort of event; it stands in a record's header.
type Kind string

// Kinds of events.
const (
	KindCandle Kind = "candle"
	KindGap    Kind = "gap"
	KindPost   Kind = "post"
)

// Topics of the stack. DeadLetterTopic names the companion of each.
const (
	TopicCandles = "market.candles"
	TopicGaps    = "market.gaps"
	TopicPosts   = "news.posts"
)

// Topic is where events of the kind are kept; empty for an unknown kind.
func (k Kind) Topic() string {
	switch k {
	case KindCandle:
		return TopicCandles
	case KindGap:
		return TopicGaps
	case KindPost:
		return TopicPosts
	}
	return ""
}

// DeadLetterTopic names the topic that takes what could not be stored from topic.
func DeadLetterTopic(topic string) string { return topic + ".dead" }

// Origin tells how an event came to be known. Latency is measured on live ones only.
type Origin string

// Origins of events.
const (
	OriginLive     Origin = "live"     // pushed by the exchange
	OriginBackfill Origin = "backfill" // asked for at start, up to now
	OriginRepair   Origin = "repair"   // asked for to close a gap
	OriginArchive  Origin = "archive"  // asked for between fixed dates; no resume point
)

// Valid tells whether o is one of the origins above.
func (o Origin) Valid() bool {
	switch o {
	case OriginLive, OriginBackfill, OriginRepair, OriginArchive:
		return true
	}
	return false
}

// Event is anything that flows from a source to a store.
type Event interface {
	// Kind selects the topic and the decoder.
	Kind() Kind
	// PartitionKey orders: events with the same key keep their order.
	PartitionKey() string
	// Key is the natural key: one row or document in a store.
	Key() string
	// Version orders events of one natural key. A store keeps the greatest.
	Version() int64
	// Clocks returns the venue's time of the event and our time of receiving it.
	Clocks() (event, received Millis)
	// From tells how the event came to be known.
	From() Origin
	// Validate names the field and the value of what cannot be true.
	Validate() error
}

// earliest is 2009-01-03, the first block of Bitcoin: no market event is older.
const earliest Millis = 1230940800000

// latest is 2100-01-01.
const latest Millis = 4102444800000

func validClock(field string, m Millis) error {
	if m < earliest || m >= latest {
		return fmt.Errorf("%s %d is not a time in ms between 2009 and 2100", field, int64(m))
	}
	return nil
}
