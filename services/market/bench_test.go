package market_test

import (
	"testing"

	"github.com/candlestack/candlestack/services/market"
)

// BenchmarkDecodeCandle is what a sink pays for each record beside the write.
func BenchmarkDecodeCandle(b *testing.B) {
	value, err := market.Encode(fullCandle())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := market.Decode("candle", "1", "live", value)
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
