package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// tellEvery is the time between two lines about a history that is being sent.
const tellEvery = 15 * time.Second

// fill waits until the history of a run with an end is sent, and says how far it
// is: two years take minutes.
func (s *Source) fill(ctx context.Context) error {
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		s.repairs.Wait()
	}()
	every := time.NewTicker(tellEvery)
	defer every.Stop()
	for {
		select {
		case <-filled:
			return ctx.Err()
		case <-every.C:
			s.log.Info("filling", "source", s.name, "done", fmt.Sprintf("%.0f%%", 100*s.filled()))
		}
	}
}

// filled is the share of the history that is handed to the producer.
func (s *Source) filled() (share float64) {
	until := market.MillisOf(s.cfg.Until)
	for _, t := range s.trackers {
		if at := market.Millis(t.reached.Load()); at > t.begun && until > t.begun {
			share += min(1, float64(at-t.begun)/float64(until-t.begun)) / float64(len(s.trackers))
		}
	}
	return share
}
