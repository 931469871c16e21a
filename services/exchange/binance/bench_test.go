package binance

import (
	stdjson "encoding/json"
	"os"
	"testing"
)

// BenchmarkDecodeFrame decodes one kline frame with our decoder and, for the
// ratio, with encoding/json into the same struct. Two structs that differ by
// case alone are no trap for encoding/json where both are declared.
func BenchmarkDecodeFrame(b *testing.B) {
	frame, err := os.ReadFile("testdata/kline_open.json")
	if err != nil {
		b.Fatal(err)
	}
	var m message
	perOp := map[string]float64{}
	measure := func(name string, decode func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(); err != nil {
					b.Fatal(err)
				}
			}
			perOp[name] = float64(b.Elapsed()) / float64(b.N)
			if name == "candlestack" {
				b.ReportMetric(perOp["encoding_json"]/perOp[name], "x_encoding_json")
			}
		})
	}
	measure("encoding_json", func() error {
		m = message{}
		return stdjson.Unmarshal(frame, &m)
	})
	measure("candlestack", func() error {
		_, err := parseFrame(frame, &m)
		return err
	})
}
