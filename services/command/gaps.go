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

// span is a stretch of time; a zero end is open.
type span struct {
	Since time.Time `help:"Only holes that end after this time (RFC 3339): a history of fixed dates leaves a hole up to the present that nobody wants filled." placeholder:"TIME"`
	Until time.Time `help:"Only holes that begin before this time (RFC 3339)." placeholder:"TIME"`
}

// Validate reports a span that holds nothing.
func (s span) Validate() error {
	if !s.Since.IsZero() && !s.Until.IsZero() && !s.Until.After(s.Since) {
		return &pipeline.ConfigError{Field: "--until", Value: s.Until.Format(time.RFC3339), Err: errors.New("must be after --since")}
	}
	return nil
}

// cut returns the part of a stretch that lies within, and whether there is one.
func (s span) cut(from, to market.Millis) (market.Millis, market.Millis, bool) {
	if !s.Since.IsZero() {
		from = max(from, market.MillisOf(s.Since))
	}
	if !s.Until.IsZero() {
		to = min(to, market.MillisOf(s.Until))
	}
	return from, to, from < to
}

type gapsList struct {
	Span  span         `embed:""`
	MySQL mysql.Config `embed:"" prefix:"mysql."`
}

// Run prints a table.
func (c *gapsList) Run(p *process) error {
	if err := c.Span.Validate(); err != nil {
		return err
	}
	holes, err := findHoles(p, c.MySQL)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "EXCHANGE\tINSTRUMENT\tINTERVAL\tFROM\tTO\tMISSING\tSTATE")
	for _, h := range holes {
		if _, _, within := c.Span.cut(h.From, h.To); !within {
			continue
		}
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
	Span    span           `embed:""`
	MySQL   mysql.Config   `embed:"" prefix:"mysql."`
	Binance binance.Config `embed:"" prefix:"binance."`
}

// Run repairs what can be repaired and says how much that was.
func (c *gapsRepair) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Span.Validate(), c.Kafka.Validate(), within("binance", c.Binance.Validate())); err != nil {
		return err
	}
	holes, err := findHoles(p, c.MySQL)
	if err != nil {
		return err
	}
	var todo []market.Gap
	for _, h := range holes {
		from, to, within := c.Span.cut(h.From, h.To)
		if within && h.State != market.GapConfirmed && h.Series.Exchange == "binance" {
			todo = append(todo, market.Gap{Exchange: h.Series.Exchange, Instrument: h.Series.Instrument, Interval: h.Series.Interval, FromTime: from, ToTime: to, Cause: "manual"})
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
