package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func TestConformance(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		pipelinetest.Sink(t, func(t *testing.T) (pipeline.Sink, pipelinetest.Reader) {
			sink := s.prepared(t)
			return sink, func(t *testing.T) []pipelinetest.Stored { return s.stored(t, sink.dsn.DBName) }
		})
	})
}

// A correction takes its own flag: then the later of two deliveries of a version wins.
func TestOverwriteEqual(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		wrong := pipelinetest.Candle(0)
		right := *wrong
		right.Close = right.Low
		works(t, sink, pipeline.Batch{wrong, &right}) // a conflict
		correct := s.sinkOn(t, sink.dsn.DBName, func(c *Config) { c.OverwriteEqual = true })
		older := *wrong
		older.EventTime--
		works(t, correct, pipeline.Batch{wrong, &right, &older})
		want := []pipelinetest.Stored{{Event: &right}}
		if diff := cmp.Diff(want, s.stored(t, sink.dsn.DBName), cmp.Comparer(func(a, b market.Decimal) bool { return a == b })); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

// Every way in which an effect can come about, in one statement.
func TestEffects(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		works(t, sink, candles(6))
		batch := later(candles(2))                     // updated
		batch = append(batch, candles(9)[2:]...)       // unchanged 2 to 5, inserted 6 to 8
		batch = append(batch, candles(1)[0], batch[3]) // older and repeated: unchanged
		conflict := *pipelinetest.Candle(4)            // updated: its flag
		conflict.Close = conflict.Low
		batch = append(batch, &conflict)
		got, err := sink.Write(t.Context(), batch)
		if want := (pipeline.Effects{Inserted: 3, Updated: 3, Unchanged: 6}); err != nil || got != want {
			t.Errorf("want %+v, got %+v, %v", want, got, err)
		}
	})
}
