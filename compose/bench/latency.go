package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

const (
	eventsPerSecond = 1000
	pollEvery       = 3 * time.Millisecond
)

// benchLatency measures from the moment when an event was to be appended to the
// first query of another connection that sees its row. The schedule stands before
// the first event (open loop): a stall delays all that was due in it.
func benchLatency(ctx context.Context, w *world, f flags) (err error) {
	length := 30 * time.Second
	if f.Quick {
		length = 5 * time.Second
	}
	database, err := w.database(ctx, "latency")
	if err != nil {
		return err
	}
	p, err := w.startSink(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	events := int(length.Seconds()) * eventsPerSecond
	warm := eventsPerSecond // the first second opens connections and is not counted
	watch, err := w.watch(ctx, database, warm+events)
	if err != nil {
		return err
	}
	defer watch.close()
	if err := w.schedule(ctx, watch, warm+events); err != nil {
		return err
	}
	if err := watch.wait(ctx); err != nil {
		return err
	}
	var late []float64
	for i := warm; i < warm+events; i++ {
		late = append(late, watch.seen[i].Sub(watch.due[i]).Seconds()*1000)
	}
	w.report.note("%d events/s for %s over %d series in %d partitions, each a new row; due times are fixed in advance, and a late append counts as latency", eventsPerSecond, length, partitions*seriesOf, partitions)
	w.report.note("visible: the first SELECT of another connection that shows the row; it asks for the newest open time of each series every %s, so a value is too high by %s and the query at most; a query took %s at the median, %s at p99",
		pollEvery, pollEvery, watch.query(50), watch.query(99))
	w.report.add("p50", "ms", []float64{percentile(late, 50)}, nil)
	w.report.add("p99", "ms", []float64{percentile(late, 99)}, below(100))
	w.report.add("max", "ms", []float64{percentile(late, 100)}, nil)
	return nil
}

// startSink starts a sink on empty topics and returns when it has its partitions.
func (w *world) startSink(ctx context.Context, database string) (*process, error) {
	if err := w.freshTopics(ctx); err != nil {
		return nil, err
	}
	p, err := w.start("sink", "mysql", "--kafka.brokers", w.kafka, "--kafka.group", fmt.Sprintf("bench-%d", time.Now().UnixNano()), "--mysql.dsn", w.dsnOf(database))
	if err != nil {
		return nil, err
	}
	if err := every(ctx, 20*time.Millisecond, func() (bool, error) {
		s, err := p.scrape(ctx)
		if errors.Is(err, errNotUp) {
			return false, nil
		}
		_, assigned := s.sum("candlestack_sink_durable_offset", "topic", market.TopicCandles)
		return assigned == partitions, err
	}); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// schedule appends candles 0 to n, each at its time.
func (w *world) schedule(ctx context.Context, watch *watcher, n int) error {
	client, err := w.producer(kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, n)
	for i := range records {
		c, err := candle(i, 0)
		if err != nil {
			return err
		}
		if records[i], err = record(c, partitionOf(i)); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var failed error
	start := time.Now().Add(100 * time.Millisecond)
	for i := range records {
		watch.due[i] = start.Add(time.Duration(i) * time.Second / eventsPerSecond)
	}
	for i, r := range records {
		if d := time.Until(watch.due[i]); d > 0 {
			time.Sleep(d)
		}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = err
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// watcher sees rows come. Within a series they come in order, so the newest open
// time tells of all before it.
type watcher struct {
	due, seen []time.Time
	queries   []float64 // ms
	next      map[string]int
	left      int
	db        *sql.DB
	conn      *sql.Conn
	ended     chan error
	cancel    context.CancelFunc
}

func (w *world) watch(ctx context.Context, database string, n int) (*watcher, error) {
	db, err := w.open(database)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	v := &watcher{due: make([]time.Time, n), seen: make([]time.Time, n), next: map[string]int{}, left: n, db: db, conn: conn, ended: make(chan error, 1), cancel: cancel}
	for s := range partitions * seriesOf {
		v.next[instrument(s).String()] = s
	}
	go func() { v.ended <- every(ctx, pollEvery, func() (bool, error) { return v.look(ctx) }) }()
	return v, nil
}

// look is one query. By the primary key the server jumps from series to series.
func (v *watcher) look(ctx context.Context) (bool, error) {
	asked := time.Now()
	rows, err := v.conn.QueryContext(ctx, "SELECT instrument, TIMESTAMPDIFF(SECOND, '1970-01-01', MAX(open_time)) FROM candles GROUP BY exchange, instrument, `interval`")
	if err != nil {
		return false, err
	}
	defer rows.Close()
	newest := map[string]market.Millis{}
	for rows.Next() {
		var name string
		var at int64
		if err := rows.Scan(&name, &at); err != nil {
			return false, err
		}
		newest[name] = market.Millis(at * 1000)
	}
	if err := rows.Err(); err != nil {
		return false, err
	}
	now := time.Now()
	v.queries = append(v.queries, now.Sub(asked).Seconds()*1000)
	for name, at := range newest {
		for i := v.next[name]; i < len(v.seen) && openTime(i) <= at; i += partitions * seriesOf {
			v.seen[i], v.next[name] = now, i+partitions*seriesOf
			v.left--
		}
	}
	return v.left == 0, nil
}

// wait returns when all rows were seen.
func (v *watcher) wait(ctx context.Context) error {
	select {
	case err := <-v.ended:
		v.ended <- err
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("%d rows did not come within a minute", v.left)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *watcher) query(p float64) string {
	return strings.TrimSpace(number(percentile(v.queries, p)) + " ms")
}

func (v *watcher) close() {
	v.cancel()
	<-v.ended //nolint:errcheck // it was told to end
	v.conn.Close()
	v.db.Close()
}
