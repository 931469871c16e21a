package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/store/mysql"
)

const (
	connections = 4   // to the store, the sink's default
	batchRows   = 500 // in a statement, the sink's default
	chunkRows   = 240_000
)

// cost of one backlog.
type cost struct {
	rate  float64 // rows/s
	cpu   float64 // CPU-seconds of the client a million rows
	store float64 // CPU-seconds of the store a million rows
	peak  float64 // MiB
	batch float64 // records in a batch, on average
}

// benchSink compares the sink with the plainest client in three cases: first on
// CPUs that store and client share, then with the store on CPUs of its own, as
// on a machine of its own, so that the store is the limit and not the client.
func benchSink(ctx context.Context, w *world, f flags) error {
	w.report.note("%d rows of %d series in %d partitions, preloaded; the real binary with %d connections and batches of %d rows at most, a process of its own", f.Rows, partitions*seriesOf, partitions, connections, batchRows)
	w.report.note("ceiling: prepared statements of the sink's own SQL with %d rows each, sorted by key as the sink's are, from %d connections; the arguments are made while the clock stands, %d rows at a time", batchRows, connections, chunkRows)
	w.report.note("the sink's clock runs from the assignment of the partitions to the last durable offset, seen every 50 ms; afterwards both tables must hold the same")
	w.report.note("shared: store, Kafka and client share all CPUs and use them up, so the ratio can be no better than that of the CPU they need together, the last line of each case")
	if err := w.cases(ctx, "shared, ", f); err != nil {
		return err
	}
	back, shares, err := w.split(ctx)
	if err != nil {
		w.report.note("split: not measured: %v", err)
		return nil
	}
	w.report.note("split: CPUs of %s", shares)
	return errors.Join(w.cases(ctx, "split, ", f), back())
}

// cases goes through the three cases. Each run has two databases, one for sink
// and one for client.
func (w *world) cases(ctx context.Context, how string, f flags) error {
	databases := make([][2]string, f.Runs)
	for run := range databases {
		for side, name := range []string{"sink", "ceiling"} {
			database, err := w.database(ctx, fmt.Sprintf("%s_%d", name, run))
			if err != nil {
				return err
			}
			if err := w.migrate(ctx, database); err != nil {
				return err
			}
			databases[run][side] = database
		}
	}
	for _, c := range []struct {
		name    string
		edition int
		load    bool // the topic, before
	}{{"fresh keys", 0, true}, {"every row changed", 1, true}, {"every row the same", 1, false}} {
		if c.load {
			if err := w.preload(ctx, f.Rows, c.edition); err != nil {
				return err
			}
		}
		if err := w.compare(ctx, how+c.name, f.Rows, c.edition, databases); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// compare measures one case, with sink and ceiling in alternating order.
func (w *world) compare(ctx context.Context, name string, rows, edition int, databases [][2]string) error {
	var sinks, ceilings []cost
	for run, pair := range databases {
		sides := []func() error{
			func() error {
				c, err := w.consume(ctx, rows, pair[0])
				sinks = append(sinks, c)
				return err
			},
			func() error {
				c, err := w.ceiling(ctx, rows, edition, pair[1])
				ceilings = append(ceilings, c)
				return err
			},
		}
		if run%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
		if err := w.same(ctx, rows, pair); err != nil {
			return err
		}
		w.report.progress("%s, run %d: sink %.0f rows/s (batches of %.0f), ceiling %.0f rows/s, load %s", name, run+1, sinks[run].rate, sinks[run].batch, ceilings[run].rate, loadAverage())
	}
	of := func(costs []cost, value func(cost) float64) []float64 {
		values := make([]float64, len(costs))
		for i, c := range costs {
			values[i] = value(c)
		}
		return values
	}
	rate := func(c cost) float64 { return c.rate }
	w.report.add(name+": sink", "rows/s", of(sinks, rate), nil)
	w.report.add(name+": ceiling", "rows/s", of(ceilings, rate), nil)
	w.report.add(name+": sink / ceiling", "", ratios(of(sinks, rate), of(ceilings, rate)), atLeast(0.9))
	const perMillion = "s a million rows"
	cpu, store := func(c cost) float64 { return c.cpu }, func(c cost) float64 { return c.store }
	w.report.add(name+": CPU of the sink", perMillion, of(sinks, cpu), nil)
	w.report.add(name+": CPU of the ceiling's client", perMillion, of(ceilings, cpu), nil)
	if w.pid != "" {
		w.report.add(name+": CPU of the store under the sink", perMillion, of(sinks, store), nil)
		w.report.add(name+": CPU of the store under the ceiling", perMillion, of(ceilings, store), nil)
		both := func(c cost) float64 { return c.cpu + c.store }
		w.report.add(name+": ceiling / sink by CPU, store included", "", ratios(of(ceilings, both), of(sinks, both)), nil)
	}
	w.report.add(name+": peak memory of the sink", "MiB", of(sinks, func(c cost) float64 { return c.peak }), worstAtMost(64))
	return nil
}

// consume lets the real binary store the backlog.
func (w *world) consume(ctx context.Context, rows int, database string) (c cost, err error) {
	p, err := w.start("sink", "mysql", "--kafka.brokers", w.kafka, "--kafka.group", fmt.Sprintf("bench-%d", time.Now().UnixNano()),
		"--mysql.dsn", w.dsnOf(database), "--mysql.connections", strconv.Itoa(connections), "--batch.rows", strconv.Itoa(batchRows))
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var begun time.Time
	var cpu, store float64
	err = every(ctx, 5*time.Millisecond, func() (bool, error) { // nothing is disturbed yet
		s, err := p.scrape(ctx)
		if errors.Is(err, errNotUp) {
			return false, nil
		}
		_, assigned := s.sum("candlestack_sink_durable_offset", "topic", market.TopicCandles)
		if err != nil || assigned < partitions {
			return false, err
		}
		begun, store = time.Now(), w.storeCPU()
		cpu, _ = s.sum("process_cpu_seconds_total")
		return true, nil
	})
	if err != nil {
		return c, err
	}
	err = every(ctx, 50*time.Millisecond, func() (bool, error) {
		s, err := p.scrape(ctx)
		if durable, _ := s.sum("candlestack_sink_durable_offset", "topic", market.TopicCandles); err != nil || durable < float64(rows) {
			return false, err
		}
		c.rate = float64(rows) / time.Since(begun).Seconds()
		used, _ := s.sum("process_cpu_seconds_total")
		c.cpu = (used - cpu) / float64(rows) * 1e6
		c.store = (w.storeCPU() - store) / float64(rows) * 1e6
		batches := s["candlestack_sink_batch_records"].GetMetric()[0].GetHistogram()
		c.batch = batches.GetSampleSum() / float64(batches.GetSampleCount())
		return true, nil
	})
	if err != nil {
		return c, err
	}
	c.peak, err = p.peak()
	return c, err
}

// migrate makes the tables.
func (w *world) migrate(ctx context.Context, database string) error {
	s, err := mysql.New(mysql.Config{DSN: w.dsnOf(database), Connections: 1, Timeout: 20 * time.Second}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return errors.Join(s.Prepare(ctx), s.Close())
}

// ceiling sends the same rows by prepared statements.
func (w *world) ceiling(ctx context.Context, rows, edition int, database string) (c cost, err error) {
	db, err := w.open(database)
	if err != nil {
		return c, err
	}
	defer db.Close()
	statements := map[int]*[connections]*sql.Stmt{} // by rows
	var conns [connections]*sql.Conn
	for i := range conns {
		if conns[i], err = db.Conn(ctx); err != nil {
			return c, err
		}
		defer conns[i].Close()
	}
	prepare := func(n int) error {
		if statements[n] != nil {
			return nil
		}
		statements[n] = &[connections]*sql.Stmt{}
		for i, conn := range conns {
			stmt, err := conn.PrepareContext(ctx, mysql.PreparedUpsert(n)) //nolint:sqlclosecheck // it lives as long as its connection
			if err != nil {
				return fmt.Errorf("preparing %d rows: %w", n, err)
			}
			statements[n][i] = stmt
		}
		return nil
	}
	var spent time.Duration
	for from := 0; from < rows; from += chunkRows {
		batches, err := arguments(from, min(from+chunkRows, rows), edition)
		if err != nil {
			return c, err
		}
		for _, b := range batches {
			if err := prepare(len(b) / columns); err != nil {
				return c, err
			}
		}
		started, cpu, store := time.Now(), ownCPU(), w.storeCPU()
		if err := send(ctx, batches, statements); err != nil {
			return c, err
		}
		spent += time.Since(started)
		c.cpu += (ownCPU() - cpu) / float64(rows) * 1e6
		c.store += (w.storeCPU() - store) / float64(rows) * 1e6
	}
	c.rate = float64(rows) / spent.Seconds()
	return c, nil
}

// ownCPU is what this process has used, in CPU-seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// send works batches off on all connections.
func send(ctx context.Context, batches [][]any, statements map[int]*[connections]*sql.Stmt) error {
	queue := make(chan []any, len(batches))
	for _, b := range batches {
		queue <- b
	}
	close(queue)
	var wait sync.WaitGroup
	var problems [connections]error
	for i := range connections {
		wait.Go(func() {
			for b := range queue {
				if _, err := statements[len(b)/columns][i].ExecContext(ctx, b...); err != nil {
					problems[i] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(problems[:]...)
}

const columns = 19 // of an upsert

// arguments of the statements for rows [from, to): batches of one partition, as
// a sink has them, round about the partitions.
func arguments(from, to, edition int) ([][]any, error) {
	var open [partitions][]*market.Candle
	var batches [][]any
	flush := func(p int32) {
		if len(open[p]) > 0 {
			batches = append(batches, boxed(open[p]))
			open[p] = open[p][:0]
		}
	}
	for i := from; i < to; i++ {
		c, err := candle(i, edition)
		if err != nil {
			return nil, err
		}
		p := partitionOf(i)
		if open[p] = append(open[p], c); len(open[p]) == batchRows {
			flush(p)
		}
	}
	for p := range int32(partitions) {
		flush(p)
	}
	return batches, nil
}

func boxed(candles []*market.Candle) []any {
	slices.SortFunc(candles, func(a, b *market.Candle) int {
		if a.Instrument != b.Instrument {
			if a.Instrument.Base < b.Instrument.Base {
				return -1
			}
			return 1
		}
		return int(a.OpenTime - b.OpenTime)
	})
	args := make([]any, 0, len(candles)*columns)
	for _, c := range candles {
		args = append(args, c.Exchange, c.Instrument.String(), string(c.Interval), c.OpenTime.Time(),
			c.Open.String(), c.High.String(), c.Low.String(), c.Close.String(), c.Volume.String(), c.QuoteVolume.String(), *c.Trades, c.TakerVolume.String(), c.TakerQuote.String(),
			c.Closed, c.EventTime.Time(), c.ReceivedTime.Time(), string(c.Origin), false, c.Version())
	}
	return args
}

// same checks that both tables hold all rows and the same: fast and wrong counts for nothing.
func (w *world) same(ctx context.Context, rows int, databases [2]string) error {
	var sums [2]string
	for i, database := range databases {
		var n int
		if err := w.db.QueryRowContext(ctx, "SELECT COUNT(*), CONCAT_WS(' ', COUNT(*), SUM(open), SUM(high), SUM(low), SUM(close), SUM(volume), SUM(quote_volume), SUM(trades), SUM(version), SUM(conflict)) FROM "+database+".candles").Scan(&n, &sums[i]); err != nil {
			return fmt.Errorf("summing up: %w", err)
		}
		if n != rows {
			return fmt.Errorf("%s has %d rows, not %d", database, n, rows)
		}
	}
	if sums[0] != sums[1] {
		return fmt.Errorf("sink and ceiling differ: %s and %s", sums[0], sums[1])
	}
	return nil
}
