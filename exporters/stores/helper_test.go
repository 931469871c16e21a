package stores

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onMySQL runs a test on each server that the environment names, with a database of its own.
func onMySQL(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	for _, name := range []string{"MYSQL", "MARIADB"} {
		t.Run(name, func(t *testing.T) {
			address := os.Getenv("CANDLESTACK_TEST_" + name)
			if address == "" {
				t.Skipf("no %s: set CANDLESTACK_TEST_%s to root@tcp(HOST:PORT)/", name, name)
			}
			f(t, fresh(t, address))
		})
	}
}

// fresh makes an empty database that is dropped at the end.
func fresh(t testing.TB, address string) (dsn string) {
	t.Helper()
	d, err := driver.ParseDSN(address)
	if err != nil {
		t.Fatal(err)
	}
	name := "candlestack_test_" + strings.ToLower(rand.Text()[:10])
	server := connect(t, d.FormatDSN())
	exec(t, server, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	t.Cleanup(func() {
		if _, err := server.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
	})
	d.DBName = name
	return d.FormatDSN()
}

func connect(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func exec(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%.200s: %v", statement, err)
	}
}

// tables makes the schema as the sink does, from its own files.
func tables(t testing.TB, db *sql.DB) {
	t.Helper()
	names, err := filepath.Glob("../../services/store/mysql/migrations/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(text), ";\n") {
			if strings.TrimSpace(statement) != "" {
				exec(t, db, statement)
			}
		}
	}
}

// asker is the inside of the collector at a moment of the test's choice.
func asker(t testing.TB, dsn string, now time.Time) *mysql {
	t.Helper()
	d, err := (&MySQLConfig{DSN: dsn}).parse()
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	y, err := newMySQL(d, 20*time.Second, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := y.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.close)
	y.now = func() time.Time { return now }
	return y
}

// held are metrics as a collector.
type held []prometheus.Metric

func (h held) Describe(chan<- *prometheus.Desc) {}
func (h held) Collect(out chan<- prometheus.Metric) {
	for _, m := range h {
		out <- m
	}
}

// lines are series and values without the common prefix, of one query.
func lines(t testing.TB, q func(context.Context) ([]prometheus.Metric, error)) []string {
	t.Helper()
	metrics, err := q(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return scrape(t, held(metrics))
}

// scrape gathers as Prometheus would, which fails where a series is there twice.
func scrape(t testing.TB, c prometheus.Collector) (all []string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(text.String()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimPrefix(line, "candlestack_store_"))
		}
	}
	slices.Sort(all)
	return all
}

// sorted are the lines of a table in a test.
func sorted(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// with are the lines that begin with one of the names.
func with(all []string, names ...string) (some []string) {
	for _, line := range all {
		name, _, _ := strings.Cut(line, "{")
		if slices.Contains(names, name) {
			some = append(some, line)
		}
	}
	return some
}

// eventually waits for a condition on a slow machine.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// gate is a way to a server that can be closed.
type gate struct {
	address string // ours
	server  string
	mu      sync.Mutex
	open    net.Listener
	conns   []net.Conn
	wg      sync.WaitGroup
}

func newGate(t testing.TB, server string) *gate {
	t.Helper()
	g := &gate{address: "127.0.0.1:0", server: server}
	g.start(t)
	t.Cleanup(g.stop)
	return g
}

func (g *gate) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.address, g.open = l.Addr().String(), l
	g.wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", g.server)
			if err != nil {
				a.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, a, b)
			closed := g.open == nil
			g.mu.Unlock()
			if closed {
				a.Close()
				b.Close()
			}
			g.wg.Go(func() { pipe(a, b) })
			g.wg.Go(func() { pipe(b, a) })
		}
	})
}

func pipe(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	from.Close()
	to.Close()
}

func (g *gate) stop() {
	g.mu.Lock()
	if g.open != nil {
		g.open.Close()
		g.open = nil
	}
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
	g.mu.Unlock()
	g.wg.Wait()
}

// book collects log lines.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// candle writes one.
func candle(t testing.TB, db *sql.DB, exchange, instrument, interval, open string, closed, conflict int) {
	t.Helper()
	exec(t, db, "INSERT INTO candles (exchange,instrument,`interval`,open_time,open,high,low,close,volume,closed,event_time,receive_time,version,origin,conflict) "+
		"VALUES (?,?,?,?,1.50,2,1,1.5,10,?,?,?,1,'live',?)", exchange, instrument, interval, open, closed, open, open, conflict)
}

// minutes writes closed candles of 1m that open in [from, to).
func minutes(t testing.TB, db *sql.DB, instrument, from, to string) {
	t.Helper()
	a, err := time.Parse(time.DateTime, from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := time.Parse(time.DateTime, to)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for at := a; at.Before(b); at = at.Add(time.Minute) {
		s := at.Format(time.DateTime)
		values = append(values, fmt.Sprintf("('binance','%s','1m','%s',1,1,1,1,1,1,'%s','%s',1,'live')", instrument, s, s, s))
	}
	for chunk := range slices.Chunk(values, 2000) {
		exec(t, db, "INSERT INTO candles (exchange,instrument,`interval`,open_time,open,high,low,close,volume,closed,event_time,receive_time,version,origin) VALUES "+strings.Join(chunk, ","))
	}
}

func gap(t testing.TB, db *sql.DB, instrument, interval, from, to, state string) {
	t.Helper()
	exec(t, db, "INSERT INTO gaps (exchange,instrument,`interval`,from_time,to_time,state,cause,changed,version,origin) VALUES ('binance',?,?,?,?,?,'stream',?,1,'live')",
		instrument, interval, from, to, state, to)
}
