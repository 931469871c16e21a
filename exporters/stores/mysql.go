package stores

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
)

// maxSeries bounds the labels of what is shown of candles.
const maxSeries = 1000

// mysql asks MySQL and MariaDB. Its questions go by the primary key (exchange,
// instrument, interval, open time); only totals reads all rows, a series at a time.
type mysql struct {
	dsn       *driver.Config
	connector sqldriver.Connector
	timeout   time.Duration
	m         *metrics
	now       func() time.Time
	db        *sql.DB
}

func newMySQL(dsn *driver.Config, timeout time.Duration, m *metrics) (*mysql, error) {
	dsn, err := settleMySQL(dsn, timeout)
	if err != nil {
		return nil, fmt.Errorf("preparing the DSN: %w", err)
	}
	c, err := driver.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("preparing the DSN: %w", err)
	}
	return &mysql{dsn: dsn, connector: &connector{c, timeout}, timeout: timeout, m: m, now: time.Now}, nil
}

// connector asks the server to end queries that outlive their deadline: it would
// otherwise go on with what nobody waits for.
type connector struct {
	sqldriver.Connector
	timeout time.Duration
}

// limits are read by each server in its own comments. MySQL's statistics of
// tables would else be those of a day ago.
const limits = "SET /*!80000 SESSION max_execution_time=%d, SESSION information_schema_stats_expiry=0, */ /*M! SESSION max_statement_time=%f, */ @candlestack_limits=1"

func (c *connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(sqldriver.ExecerContext)
	if !ok {
		return conn, nil
	}
	_, err = execer.ExecContext(ctx, fmt.Sprintf(limits, c.timeout.Milliseconds(), c.timeout.Seconds()), nil)
	if said := (*driver.MySQLError)(nil); err != nil && !errors.As(err, &said) { // a server without such limits still answers
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c *connector) Driver() sqldriver.Driver { return c.Connector.Driver() }

func (y *mysql) open() error {
	y.db = sql.OpenDB(y.connector)
	y.db.SetMaxOpenConns(4)
	y.db.SetMaxIdleConns(4)
	return nil
}

// close waits for nothing: its queries have ended with their context.
func (y *mysql) close() { _ = y.db.Close() }

func (y *mysql) ping(ctx context.Context) error { return y.db.PingContext(ctx) }

// rows calls scan for each row of an answer.
func (y *mysql) rows(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, y.timeout)
	defer cancel()
	rows, err := y.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// series is a line of candles as it is stored.
type series struct {
	exchange, instrument string
	interval             market.Interval
	first                market.Millis // open time of the first candle stored
}

func (s *series) labels(more ...string) []string {
	return append([]string{s.exchange, s.instrument, string(s.interval)}, more...)
}

// ofSeries selects the rows of one; its arguments are those of key.
const ofSeries = "exchange=? AND instrument=? AND `interval`=?"

func (s *series) key(more ...any) []any {
	return append([]any{s.exchange, s.instrument, string(s.interval)}, more...)
}

// listSeries jumps from series to series in the primary key: a few rows each.
const listSeries = "SELECT exchange, instrument, `interval`, MIN(open_time) FROM candles GROUP BY exchange, instrument, `interval` LIMIT ?"

// list returns the series that are shown.
func (y *mysql) list(ctx context.Context) (all []series, err error) {
	dropped := 0
	err = y.rows(ctx, func(r *sql.Rows) error {
		var s series
		var first time.Time
		if err := r.Scan(&s.exchange, &s.instrument, &s.interval, &first); err != nil {
			return err
		}
		if len(all) == maxSeries || !s.interval.Valid() {
			dropped++
			return nil
		}
		s.first = market.MillisOf(first)
		all = append(all, s)
		return nil
	}, listSeries, 2*maxSeries)
	if err != nil {
		return nil, fmt.Errorf("listing series: %w", err)
	}
	y.m.dropped.Set(float64(dropped))
	return all, nil
}

// together is how many parts one statement has.
const together = 50

// part is a SELECT whose first column is its number, and its arguments.
type part struct {
	query string
	args  []any
}

// parts asks many small questions with few statements.
func (y *mysql) parts(ctx context.Context, scan func(*sql.Rows) error, all []part) error {
	for some := range slices.Chunk(all, together) {
		var queries []string
		var args []any
		for _, p := range some {
			queries = append(queries, "SELECT * FROM ("+p.query+") p") // not every server takes bare parentheses
			args = append(args, p.args...)
		}
		if err := y.rows(ctx, scan, strings.Join(queries, " UNION ALL "), args...); err != nil {
			return err
		}
	}
	return nil
}

// newest reads each series backwards from its end, to the first closed candle.
func (y *mysql) newest(ctx context.Context) (out []prometheus.Metric, err error) {
	all, err := y.list(ctx)
	if err != nil {
		return nil, err
	}
	parts := make([]part, len(all))
	for i, s := range all {
		parts[i] = part{fmt.Sprintf("SELECT %d, open_time FROM candles WHERE ", i) + ofSeries + " AND closed ORDER BY open_time DESC LIMIT 1", s.key()}
	}
	err = y.parts(ctx, func(r *sql.Rows) error {
		var i int
		var open time.Time
		if err := r.Scan(&i, &open); err != nil {
			return err
		}
		s := all[i]
		out = append(out, gauge(y.m.newestCandle, seconds(s.interval.Next(market.MillisOf(open))), s.labels()...))
		return nil
	}, parts)
	if err != nil {
		return nil, fmt.Errorf("looking for the newest candles: %w", err)
	}
	return out, nil
}

// totals reads every row, which is why it is asked seldom.
func (y *mysql) totals(ctx context.Context) (out []prometheus.Metric, err error) {
	all, err := y.list(ctx)
	if err != nil {
		return nil, err
	}
	sum := int64(0)
	for _, s := range all {
		var rows, conflicts, misaligned int64
		err := y.rows(ctx, func(r *sql.Rows) error { return r.Scan(&rows, &conflicts, &misaligned) },
			"SELECT COUNT(*), COUNT(CASE WHEN conflict THEN 1 END), COUNT(CASE WHEN NOT "+aligned(s.interval)+" THEN 1 END) FROM candles WHERE "+ofSeries, s.key()...)
		if err != nil {
			return nil, fmt.Errorf("counting %s %s %s: %w", s.exchange, s.instrument, s.interval, err)
		}
		sum += rows
		out = append(out,
			gauge(y.m.candles, float64(rows), s.labels()...),
			gauge(y.m.conflicts, float64(conflicts), s.labels()...),
			gauge(y.m.misaligned, float64(misaligned), s.labels()...))
	}
	return append(out, gauge(y.m.rows, float64(sum), "mysql", "candles")), nil
}

// aligned is the condition that an open time lies on the interval's grid: by
// calendar for months, from a Monday for weeks, else from multiples since 1970.
func aligned(i market.Interval) string {
	begin := "1970-01-01"
	switch i {
	case "1M":
		return "(open_time=CAST(DATE_FORMAT(open_time,'%Y-%m-01') AS DATETIME(3)))"
	case "1w":
		begin = "1970-01-05"
	}
	length := time.Duration(i.Next(0)) * time.Millisecond
	return fmt.Sprintf("(TIMESTAMPDIFF(MICROSECOND,'%s',open_time) MOD %d = 0)", begin, length.Microseconds())
}

// gaps counts stretches by state. The table is small: it has a row for each
// interruption, not for each candle.
func (y *mysql) gaps(ctx context.Context) (out []prometheus.Metric, err error) {
	states := []market.GapState{market.GapOpen, market.GapRepaired, market.GapConfirmed}
	counts := map[series]map[market.GapState]int64{}
	sum := int64(0)
	err = y.rows(ctx, func(r *sql.Rows) error {
		var s series
		var state market.GapState
		var n int64
		if err := r.Scan(&s.exchange, &s.instrument, &s.interval, &state, &n); err != nil {
			return err
		}
		sum += n
		if counts[s] == nil {
			if len(counts) == maxSeries || !s.interval.Valid() {
				return nil
			}
			counts[s] = map[market.GapState]int64{}
		}
		counts[s][state] += n
		return nil
	}, "SELECT exchange, instrument, `interval`, state, COUNT(*) FROM gaps GROUP BY exchange, instrument, `interval`, state")
	if err != nil {
		return nil, fmt.Errorf("counting gaps: %w", err)
	}
	for s, byState := range counts {
		for _, state := range states {
			out = append(out, gauge(y.m.gaps, float64(byState[state]), s.labels(string(state))...))
		}
	}
	return append(out, gauge(y.m.rows, float64(sum), "mysql", "gaps")), nil
}

// tables asks for our tables alone: a view has no size.
func (y *mysql) tables(ctx context.Context) (out []prometheus.Metric, err error) {
	err = y.rows(ctx, func(r *sql.Rows) error {
		var table string
		var data, index sql.NullInt64
		if err := r.Scan(&table, &data, &index); err != nil {
			return err
		}
		out = append(out,
			gauge(y.m.tableBytes, float64(data.Int64), "mysql", table, "data"),
			gauge(y.m.tableBytes, float64(index.Int64), "mysql", table, "index"))
		return nil
	}, "SELECT table_name, data_length, index_length FROM information_schema.tables WHERE table_schema=? AND table_name IN ('candles','gaps') AND table_type='BASE TABLE'", y.dsn.DBName)
	if err != nil {
		return nil, fmt.Errorf("asking for the size of tables: %w", err)
	}
	return out, nil
}
