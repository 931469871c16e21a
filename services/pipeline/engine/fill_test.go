package engine

import (
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// TestFilled: a quarter of one series and all of another, which begins later.
func TestFilled(t *testing.T) {
	first, second := &tracker{begun: 1000}, &tracker{begun: 3000}
	s := &Source{cfg: SourceConfig{Until: time.UnixMilli(5000)}, trackers: map[market.Series]*tracker{{Interval: "1m"}: first, {Interval: "1h"}: second}}
	if got := s.filled(); got != 0 {
		t.Errorf("nothing is fetched, and %v is told", got)
	}
	first.reached.Store(2000)
	second.reached.Store(6000) // the last candle may end after Until
	if got := s.filled(); got != 0.625 {
		t.Errorf("want 0.625, got %v", got)
	}
}
