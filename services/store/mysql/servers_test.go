package mysql

import (
	"crypto/rand"
	"database/sql"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	mysql "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real one, known only through the environment.
type server struct {
	name    string
	dsn     *mysql.Config // without a database
	control string        // a command that takes start, stop or kill
}

// onServers runs a test on every real server that is there.
func onServers(t *testing.T, f func(t *testing.T, s server)) {
	for _, name := range []string{"mysql", "mariadb"} {
		t.Run(name, func(t *testing.T) { f(t, findServer(t, name)) })
	}
}

func findServer(t testing.TB, name string) server {
	t.Helper()
	variable := "CANDLESTACK_TEST_" + strings.ToUpper(name)
	dsn := os.Getenv(variable)
	if dsn == "" {
		t.Skipf("no real %s: set %s", name, variable)
	}
	parsed, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	parsed.Logger = &mysql.NopLogger{}
	return server{name: name, dsn: parsed, control: os.Getenv(variable + "_CONTROL")}
}

// do controls the server's process.
func (s server) do(t *testing.T, action string) {
	t.Helper()
	if s.control == "" {
		t.Skipf("no way to %s this %s: set CANDLESTACK_TEST_%s_CONTROL", action, s.name, strings.ToUpper(s.name))
	}
	words := append(strings.Fields(s.control), action)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	if action != "start" {
		t.Cleanup(func() { s.do(t, "start") }) // also where the test fails in between: others want the server
	}
}

// fresh returns the name of a database that does not exist; it is dropped at the end.
func (s server) fresh(t testing.TB) string {
	name := "candlestack_test_" + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() { s.admin(t, "").exec(t, "DROP DATABASE IF EXISTS "+name) })
	return name
}

// admin is a connection beside the sink's, with the rights of the test.
type admin struct{ *sql.DB }

func (s server) admin(t testing.TB, database string) admin {
	t.Helper()
	dsn := s.dsn.Clone()
	dsn.DBName = database
	dsn.ParseTime = true
	dsn.ReadTimeout = time.Minute // a test that hangs tells where
	db, err := open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return admin{db}
}

func (a admin) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := a.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (a admin) value(t testing.TB, query string, args ...any) (v string) {
	t.Helper()
	if err := a.QueryRow(query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// sink returns one on a database of its own, not yet prepared.
func (s server) sink(t testing.TB, change ...func(*Config)) *Sink {
	t.Helper()
	return s.sinkOn(t, s.fresh(t), change...)
}

func (s server) sinkOn(t testing.TB, database string, change ...func(*Config)) *Sink {
	t.Helper()
	dsn := s.dsn.Clone()
	dsn.DBName = database
	c := Config{DSN: dsn.FormatDSN(), Connections: 4, Timeout: 20 * time.Second}
	for _, f := range change {
		f(&c)
	}
	sink, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

func (s server) prepared(t testing.TB, change ...func(*Config)) *Sink {
	t.Helper()
	sink := s.sink(t, change...)
	if err := sink.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sink
}

// stored reads both tables with a connection that shares no setting with the sink's.
func (s server) stored(t *testing.T, database string) (all []pipelinetest.Stored) {
	t.Helper()
	db := s.admin(t, database)
	rows, err := db.Query("SELECT exchange, instrument, `interval`, open_time, open, high, low, close, volume, quote_volume, trades, " +
		"taker_volume, taker_quote_volume, closed, event_time, receive_time, origin, version, conflict FROM candles")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c market.Candle
		var instrument string
		var opened, event, received time.Time
		var number [5]string
		var optional [3]sql.NullString
		var version int64
		var conflict bool
		err := rows.Scan(&c.Exchange, &instrument, &c.Interval, &opened, &number[0], &number[1], &number[2], &number[3], &number[4], &optional[0], &c.Trades,
			&optional[1], &optional[2], &c.Closed, &event, &received, &c.Origin, &version, &conflict)
		if err != nil {
			t.Fatal(err)
		}
		c.Instrument = parse(t, market.ParseInstrument, instrument)
		c.OpenTime, c.EventTime, c.ReceivedTime = market.MillisOf(opened), market.MillisOf(event), market.MillisOf(received)
		for i, d := range []*market.Decimal{&c.Open, &c.High, &c.Low, &c.Close, &c.Volume} {
			*d = parse(t, market.ParseDecimal, number[i])
		}
		for i, d := range []**market.Decimal{&c.QuoteVolume, &c.TakerVolume, &c.TakerQuote} {
			if optional[i].Valid {
				v := parse(t, market.ParseDecimal, optional[i].String)
				*d = &v
			}
		}
		if version != c.Version() {
			t.Errorf("%s: column version is %d, not %d", c.Key(), version, c.Version())
		}
		all = append(all, pipelinetest.Stored{Event: &c, Conflict: conflict})
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return append(all, s.storedGaps(t, db)...)
}

func (s server) storedGaps(t *testing.T, db admin) (all []pipelinetest.Stored) {
	t.Helper()
	rows, err := db.Query("SELECT exchange, instrument, `interval`, from_time, to_time, state, cause, changed, origin, version FROM gaps")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var g market.Gap
		var instrument string
		var from, to, changed time.Time
		var version int64
		if err := rows.Scan(&g.Exchange, &instrument, &g.Interval, &from, &to, &g.State, &g.Cause, &changed, &g.Origin, &version); err != nil {
			t.Fatal(err)
		}
		g.Instrument = parse(t, market.ParseInstrument, instrument)
		g.FromTime, g.ToTime, g.Changed = market.MillisOf(from), market.MillisOf(to), market.MillisOf(changed)
		if version != g.Version() {
			t.Errorf("%s: column version is %d, not %d", g.Key(), version, g.Version())
		}
		all = append(all, pipelinetest.Stored{Event: &g})
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func parse[V any](t *testing.T, f func(string) (V, error), s string) V {
	t.Helper()
	v, err := f(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
