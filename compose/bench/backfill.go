package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
)

// What the source takes of a host's weight for the past: its default share, less
// the tenth that it leaves to what is live.
const (
	weightLimit = 6000 // of the simulator, and of Binance
	weightShare = 0.8 * 0.9
)

// benchBackfill fetches a year of three series from the simulator and compares
// what that cost by the simulator's accounting with what the budget allows.
func benchBackfill(ctx context.Context, w *world, f flags) (err error) {
	days := 365
	if f.Quick {
		days = 30
	}
	if err := w.freshTopics(ctx); err != nil {
		return err
	}
	sim, err := simulator.New(simulator.Config{Listen: "127.0.0.1:0", WeightLimit: weightLimit}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sim.Run(serving) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()

	until := time.Now().UTC().Truncate(24 * time.Hour)
	started := time.Now()
	p, err := w.start("source", "binance", "--kafka.brokers", w.kafka, "--rest-url", "http://"+sim.Addr(), "--stream-url", "ws://"+sim.Addr(),
		"--since", until.AddDate(0, 0, -days).Format(time.RFC3339), "--until", until.Format(time.RFC3339))
	if err != nil {
		return err
	}
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("candlestack source: %w\n%s", err, tail(p.log.Bytes()))
		}
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.stop())
	}
	taken := time.Since(started)

	ends, err := w.admin.ListEndOffsets(ctx, market.TopicCandles)
	if err != nil {
		return fmt.Errorf("counting the candles: %w", err)
	}
	var candles int64
	ends.Each(func(o kadm.ListedOffset) { candles += o.Offset })
	a := sim.Accounting()
	var rejected int64
	most := 0
	for _, m := range a.Minutes {
		rejected += m.Rejected
		most = max(most, m.Weight)
	}
	w.report.note("%d days of 1m candles of 3 series, by the real binary from the simulator (in the process of the benchmark) into Kafka; limit %d a minute, of which the source may take %.0f %% for the past", days, weightLimit, weightShare*100)
	w.report.note("the least that it can cost is %d requests of 1000 candles with weight 2; where the machine is slower than the budget, the time is the machine's", 3*(days*1440+999)/1000)
	one := func(name, unit string, v float64, t *target) { w.report.add(name, unit, []float64{v}, t) }
	one("candles in the topic", "", float64(candles), nil)
	one("requests", "", float64(a.Requests), nil)
	one("weight", "", float64(a.Weight), nil)
	one("budget that this needs", "min", float64(a.Weight)/(weightLimit*weightShare), nil)
	one("time taken", "min", taken.Minutes(), nil)
	one("most weight in a minute / allowed", "", float64(most)/(weightLimit*weightShare), worstAtMost(1))
	one("requests rejected, and bans", "", float64(rejected)+float64(len(a.Bans)), worstAtMost(0))
	return nil
}
