package market

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Names of record headers. Values are UTF-8 text.
const (
	HeaderKind     = "candlestack-kind"     // candle, gap, …
	HeaderContract = "candlestack-contract" // version of the wire form, ContractVersion
	HeaderOrigin   = "candlestack-origin"   // live, backfill, repair, archive
	HeaderSource   = "candlestack-source"   // who produced: binance, ledger, …
)

// ContractVersion is the version of the wire form that this code writes. Added
// fields do not change it; readers ignore what they do not know.
const ContractVersion = "1"

// ErrContract is the cause where a record's headers are not ones that this code reads.
var ErrContract = errors.New("contract")

// Encode writes the value of e's record: JSON, times as integers in ms,
// numbers as strings. Kind and origin go into headers.
func Encode(e Event) ([]byte, error) { return json.Marshal(e) }

// Decode reads a record's value. The error is ErrContract for headers that are
// missing or unknown. It does not validate: see Event.Validate. The event may
// share memory with value, which must not change any more.
func Decode(kind, contract, origin string, value []byte) (Event, error) {
	if contract != ContractVersion {
		return nil, fmt.Errorf("%w: header %s is %.20q, not %q", ErrContract, HeaderContract, contract, ContractVersion)
	}
	switch Kind(kind) {
	case KindCandle:
		if c, ok := decodeCandle(value, Origin(origin)); ok {
			return c, nil
		}
		return decode(value, &Candle{Origin: Origin(origin)})
	case KindGap:
		return decode(value, &Gap{Origin: Origin(origin)})
	case KindPost:
		return decode(value, &Post{Origin: Origin(origin)})
	}
	return nil, fmt.Errorf("%w: header %s %.20q is unknown", ErrContract, HeaderKind, kind)
}

func decode(value []byte, into Event) (Event, error) {
	if err := json.Unmarshal(value, into); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", into.Kind(), err)
	}
	return into, nil
}
