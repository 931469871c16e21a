package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/store/mysql"
)

// gaps is `candlestack gaps`.
type gaps struct {
	List   gapsList   `cmd:"" help:"Shows holes in table candles, beside what table gaps says of them."`
	Repair gapsRepair `cmd:"" help:"Asks the exchange for missing candles again, through Kafka; confirmed gaps are left alone."`
}

type gapsList struct {
	MySQL mysql.Config `embed:"" prefix:"mysql."`
}

// Run prints a table.
func (c *gapsList) Run(p *process) error {
	holes, err := findHoles(p, c.MySQL)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "EXCHANGE\tINSTRUMENT\tINTERVAL\tFROM\tTO\tMISSING\tSTATE")
	for _, h := range holes {
		state := string(h.State)
		if state == "" {
			state = "unknown"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", h.Series.Exchange, h.Series.Instrument, h.Series.Interval, minutes(h.From), minutes(h.To), h.Missing, state)
	}
	return table.Flush()
}

func minutes(m market.Millis) string { return m.Time().Format(time.RFC3339) }

// findHoles asks the store.
func findHoles(p *process, cfg mysql.Config) ([]mysql.Hole, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	store, err := mysql.New(cfg, p.log, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	holes, err := store.Holes(p.ctx, func(market.Series) bool { return true })
	if err != nil {
		err = fmt.Errorf("looking for holes in the database of --mysql.dsn: %w", err)
	}
	return holes, errors.Join(err, store.Close())
}

type gapsRepair struct {
	service `embed:"" set:"ops_listen="`
	MySQL   mysql.Config   `embed:"" prefix:"mysql."`
	Binance binance.Config `embed:"" prefix:"binance."`
}

// Run repairs what can be repaired and says how much that was.
func (c *gapsRepair) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), within("binance", c.Binance.Validate())); err != nil {
		return err
	}
	holes, err := findHoles(p, c.MySQL)
	if err != nil {
		return err
	}
	var todo []market.Gap
	for _, h := range holes {
		if h.State != market.GapConfirmed && h.Series.Exchange == "binance" {
			todo = append(todo, market.Gap{Exchange: h.Series.Exchange, Instrument: h.Series.Instrument, Interval: h.Series.Interval, FromTime: h.From, ToTime: h.To, Cause: "manual"})
		}
	}
	if len(todo) == 0 {
		fmt.Fprintln(p.stdout, "nothing to repair")
		return nil
	}
	c.Binance.Instruments, c.Binance.Intervals = nil, nil // those of the holes, whatever is followed now
	for _, g := range todo {
		c.Binance.Instruments = append(c.Binance.Instruments, g.Instrument.String())
		c.Binance.Intervals = append(c.Binance.Intervals, string(g.Interval))
	}
	slices.Sort(c.Binance.Instruments)
	slices.Sort(c.Binance.Intervals)
	c.Binance.Instruments, c.Binance.Intervals = slices.Compact(c.Binance.Instruments), slices.Compact(c.Binance.Intervals)
	repair := func(loop *engine.Source, ctx context.Context) error { return loop.Repair(ctx, todo) }
	err = c.source(p, "binance", candleTopics, engine.SourceConfig{}, repair, func(reg prometheus.Registerer) (pipeline.Source, error) {
		return binance.New(c.Binance, p.log, reg)
	})
	if err == nil {
		fmt.Fprintf(p.stdout, "holes asked for again: %d; the sink stores what the exchange has, candlestack gaps list tells\n", len(todo))
	}
	return err
}
