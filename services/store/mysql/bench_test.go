package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// BenchmarkWrite sends the same rows through the sink and through the plainest
// client there is: one prepared multi-row upsert of the same SQL, arguments boxed
// row by row. They take turns, so both see the same machine.
//
//	go test ./services/store/mysql -run '^$' -bench Write -benchtime 40x
func BenchmarkWrite(b *testing.B) {
	for _, name := range []string{"mysql", "mariadb"} {
		for _, rows := range []int{500, 1000, 2000, 5000} {
			for _, what := range []string{"fresh", "changed", "same"} {
				b.Run(fmt.Sprintf("%s/%d/%s", name, rows, what), func(b *testing.B) {
					benchmarkWrite(b, findServer(b, name), rows, what)
				})
			}
		}
	}
}

func benchmarkWrite(b *testing.B, s server, rows int, what string) {
	one := func(c *Config) { c.Connections = 1 }
	ours, theirs := s.prepared(b, one), s.prepared(b, one)
	plain := newPlainClient(b, theirs, min(rows, maxPlaceholders/plainColumns))
	batch := func(i int, later market.Millis) pipeline.Batch {
		batch := make(pipeline.Batch, rows)
		for k := range batch {
			c := pipelinetest.Candle(i*rows + k)
			c.EventTime += later
			batch[k] = c
		}
		return batch
	}
	later := market.Millis(0)
	if what != "fresh" {
		for i := range b.N {
			if _, err := ours.Write(b.Context(), batch(i, 0)); err != nil {
				b.Fatal(err)
			}
			plain.write(b, batch(i, 0))
		}
	}
	if what == "changed" {
		later = 1
	}
	var spent [2]time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		events := batch(i, later)
		for turn := range 2 { // who begins changes
			started, who := time.Now(), (i+turn)%2
			if who == 1 {
				plain.write(b, events)
			} else if _, err := ours.Write(b.Context(), events); err != nil {
				b.Fatal(err)
			}
			spent[who] += time.Since(started)
		}
	}
	n := float64(b.N * rows)
	b.ReportMetric(n/spent[0].Seconds(), "rows/s")
	b.ReportMetric(n/spent[1].Seconds(), "plain-rows/s")
	b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "ratio")
}

const (
	plainColumns    = 19
	maxPlaceholders = 65535
)

type plainClient struct {
	sink *Sink
	size int
	stmt map[int]func(args ...any) error
}

func newPlainClient(b *testing.B, s *Sink, size int) *plainClient {
	return &plainClient{s, size, map[int]func(args ...any) error{}}
}

func (p *plainClient) write(b *testing.B, events pipeline.Batch) {
	b.Helper()
	for len(events) > 0 {
		n := min(p.size, len(events))
		if p.stmt[n] == nil {
			row := "(" + strings.Repeat("?,", plainColumns-1) + "?)"
			stmt, err := p.sink.db.Prepare(p.sink.candles.head + row + strings.Repeat(","+row, n-1) + p.sink.candles.tail)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { stmt.Close() })
			p.stmt[n] = func(args ...any) error { _, err := stmt.Exec(args...); return err }
		}
		args := make([]any, 0, n*plainColumns)
		for _, e := range events[:n] {
			c := e.(*market.Candle)
			args = append(args, c.Exchange, c.Instrument.String(), string(c.Interval), c.OpenTime.Time(),
				c.Open.String(), c.High.String(), c.Low.String(), c.Close.String(), c.Volume.String(), c.QuoteVolume.String(), *c.Trades, c.TakerVolume.String(), c.TakerQuote.String(),
				c.Closed, c.EventTime.Time(), c.ReceivedTime.Time(), string(c.Origin), false, c.Version())
		}
		if err := p.stmt[n](args...); err != nil {
			b.Fatal(err)
		}
		events = events[n:]
	}
}
