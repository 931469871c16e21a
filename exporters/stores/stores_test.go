package stores

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const canary = "s3cret-canary"

// parse reads flags as the command does: kong asks Validate itself.
func parse(t testing.TB, args ...string) (c Config, err error) {
	t.Helper()
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return c, err
}

func defaults(t testing.TB, args ...string) Config {
	t.Helper()
	c, err := parse(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigNamesEveryProblemAndNoSecret(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "dsn"), filepath.Join(dir, "empty")
	for name, text := range map[string]string{file: "u:" + canary + "@tcp(127.0.0.1:3306)/market\n", empty: "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(args []string, problems ...string) {
		t.Helper()
		_, err := parse(t, args...)
		var got []string
		if err != nil {
			got = strings.Split(err.Error(), "\n")
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error tells the password: %v", err)
			}
		}
		if len(got) != len(problems) {
			t.Fatalf("%q: want %d problems, got %q", args, len(problems), got)
		}
		for i, p := range problems {
			if !strings.Contains(got[i], p) {
				t.Errorf("%q: want %q, got %q", args, p, got[i])
			}
		}
	}
	f(nil)
	f([]string{"--mysql.dsn-file", file})
	f([]string{"--mysql.dsn", "u:" + canary + "@tcp(127.0.0.1:3306)/market", "--mongodb.uri", "mongodb://u:" + canary + "@h/?authSource=admin"})
	f([]string{"--mysql.dsn", "u:" + canary + "@tcp(h:1)/m", "--mysql.dsn-file", file}, `--mysql.dsn-file "`+file+`": stands beside --mysql.dsn`)
	f([]string{"--mysql.dsn-file", empty}, `--mysql.dsn-file "`+empty+`": is empty`)
	f([]string{"--mysql.dsn-file", dir + "/none"}, "no such file")
	f([]string{"--mysql.dsn", canary}, `--mysql.dsn "(hidden)": is not of the form`)
	f([]string{"--mysql.dsn", "u:" + canary + "@tcp(h:3306)/"}, `--mysql.dsn "u@tcp(h:3306)/": names no database`)
	f([]string{"--mysql.dsn", "u:" + canary + "@tcp(h:77777)/m"}, `port "77777" is not 1 to 65535`)
	f([]string{"--mongodb.uri", "mongodb://u:" + canary + "@h/?nonsense"}, `--mongodb.uri "(hidden)"`)
	f([]string{"--mongodb.uri", "mongodb+srv://u:" + canary + "@h/"}, "mongodb+srv")
	f([]string{"--mysql.group", "", "--mongodb.database", "a.b", "--stores.interval", "1ms", "--stores.slow-interval", "25h", "--stores.timeout", "0s"},
		`--mysql.group ""`, `--mongodb.database "a.b"`, `--stores.interval "1ms": is not 1s to 24h`, `--stores.slow-interval "25h0m0s"`, `--stores.timeout "0s"`)
	f([]string{"--stores.interval", "2m"}, `--stores.slow-interval "1m0s": is not 2m0s to 24h`)
}

func TestMetricsHaveTheFormOfPrometheus(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	m.begin("mysql", "newest")
	descs := make(chan *prometheus.Desc, 100)
	m.describe(descs)
	close(descs)
	var one held
	for d := range descs {
		if strings.Contains(d.String(), "_total") {
			one = append(one, prometheus.MustNewConstMetric(d, prometheus.CounterValue, 1, labelsOf(d)...))
			continue
		}
		one = append(one, gauge(d, 1, labelsOf(d)...))
	}
	if len(one) < 18 {
		t.Fatalf("only %d families", len(one))
	}
	if err := reg.Register(one); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// labelsOf gives each label of d the value x.
func labelsOf(d *prometheus.Desc) (values []string) {
	for n := range 6 {
		if _, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, 1, values...); err == nil {
			return values
		}
		values = append(values, "x"+strings.Repeat("x", n))
	}
	return nil
}

func TestWithoutAddressNothingIsAsked(t *testing.T) {
	s, err := New(defaults(t), nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if got := scrape(t, s); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// running starts the collector and stops it at the end.
func running(t *testing.T, cfg Config, kafka []kgo.Opt, log *slog.Logger) *Stores {
	t.Helper()
	s, err := New(cfg, kafka, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func valueOf(t testing.TB, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func has(t *testing.T, s *Stores, line string) func() bool {
	return func() bool { return slices.Contains(scrape(t, s), line) }
}

// A store that goes takes its series with it, says so once, and leaves the other
// one alone; both ways.
func TestStoreThatGoesAndReturns(t *testing.T) {
	uri := mongoURI(t)
	onMySQL(t, func(t *testing.T, dsn string) {
		tables(t, connect(t, dsn))
		candle(t, connect(t, dsn), "binance", "BTC-USDT", "1m", "2026-11-16 12:30:00", 1, 0)
		d, err := driver.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		sqlGate := newGate(t, d.Addr)
		d.Addr = sqlGate.address
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		mongoGate := newGate(t, u.Host)
		u.Host = mongoGate.address
		posts := freshMongo(t, uri)
		for _, name := range []string{"posts", "vote_snapshots"} {
			if err := posts.CreateCollection(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		cfg := defaults(t, "--stores.interval=1s", "--stores.slow-interval=1s", "--stores.timeout=2s", "--mongodb.database="+posts.Name())
		cfg.MySQL.DSN, cfg.MongoDB.URI = d.FormatDSN(), u.String()
		var log book
		s := running(t, cfg, nil, log.logger())

		mysqlRows, mongoRows := `rows{store="mysql",table="candles"} 1`, `rows{store="mongodb",table="posts"} 0`
		both := func() {
			t.Helper()
			eventually(t, "both answer", func() bool {
				all := scrape(t, s)
				return slices.Contains(all, mysqlRows) && slices.Contains(all, mongoRows) && slices.Contains(all, `up{store="mysql"} 1`) && slices.Contains(all, `up{store="mongodb"} 1`)
			})
		}
		both()
		if log.String() != "" {
			t.Errorf("well is silent, but: %s", log.String())
		}
		onlyUp := func(store, other string) {
			t.Helper()
			eventually(t, store+" has up alone", func() bool {
				var rest []string
				all := scrape(t, s)
				for _, line := range all {
					if line != other && !strings.Contains(line, `store="mongodb"`) != (store == "mongodb") {
						rest = append(rest, line)
					}
				}
				return slices.Equal(rest, []string{`up{store="` + store + `"} 0`}) && slices.Contains(all, other)
			})
		}
		sqlGate.stop()
		onlyUp("mysql", mongoRows)
		sqlGate.start(t)
		both()
		mongoGate.stop()
		onlyUp("mongodb", mysqlRows)
		mongoGate.start(t)
		both()
		for _, line := range []string{`msg="store is away" store=mysql`, `msg="store is back" store=mysql`, `msg="store is away" store=mongodb`, `msg="store is back" store=mongodb`} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%s: %d times", line, n)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 4 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		if n := valueOf(t, s.m.errors.WithLabelValues("mysql", ping, "connection")); n == 0 {
			t.Error("no error of the connection was counted")
		}
	})
}

// A query whose table is missing says so once and leaves the others alone.
func TestTableThatIsMissing(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		db := connect(t, dsn)
		tables(t, db)
		exec(t, db, "DROP TABLE gaps")
		cfg := defaults(t, "--stores.interval=1s", "--stores.slow-interval=1s")
		cfg.MySQL.DSN = dsn
		var log book
		s := running(t, cfg, nil, log.logger())
		eventually(t, "candles are counted", has(t, s, `rows{store="mysql",table="candles"} 0`))
		eventually(t, "the gaps fail twice", func() bool { return valueOf(t, s.m.errors.WithLabelValues("mysql", "gaps", "missing")) >= 2 })
		if got := with(scrape(t, s), "gaps"); len(got) != 0 {
			t.Errorf("got %q", got)
		}
		exec(t, db, "CREATE TABLE gaps (exchange VARCHAR(32), instrument VARCHAR(41), `interval` VARCHAR(3), from_time DATETIME(3), to_time DATETIME(3), state VARCHAR(9))")
		eventually(t, "the gaps are counted", has(t, s, `rows{store="mysql",table="gaps"} 0`))
		eventually(t, "completeness works again", func() bool { return strings.Count(log.String(), "again") == 2 })
		if n := strings.Count(log.String(), "query=gaps"); n != 2 {
			t.Errorf("want two lines about the query gaps, got %d:\n%s", n, log.String())
		}
	})
}

// A query that takes too long ends on the server as well.
func TestDeadlineEndsAQueryOnTheServer(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		y := asker(t, dsn, aMonday)
		y.timeout = time.Minute
		y.connector.(*connector).timeout = 200 * time.Millisecond
		err := y.rows(t.Context(), func(*sql.Rows) error { return nil },
			"SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c WHERE a.column_name<b.column_name AND b.column_name<c.column_name")
		if reason(err) != "timeout" {
			t.Errorf("got %v, reason %s", err, reason(err))
		}
	})
}

func TestReasons(t *testing.T) {
	for want, err := range map[string]error{
		"missing": &driver.MySQLError{Number: 1146}, "denied": &driver.MySQLError{Number: 1045}, "timeout": context.DeadlineExceeded,
		"connection": driver.ErrInvalidConn, "other": errors.New("else"),
	} {
		if diff := cmp.Diff(want, reason(err)); diff != "" {
			t.Error(diff)
		}
	}
}
