package stores

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// aMonday is the now of the tests: the last candle of 1m that is due opened at 12:32.
var aMonday = time.Date(2026, 11, 16, 12, 34, 30, 0, time.UTC)

// world writes a table of which each number is known by hand.
func world(t *testing.T, db *sql.DB) {
	// BTC has the whole week, but for the following.
	minutes(t, db, "BTC-USDT", "2026-11-08 00:00:00", "2026-11-16 12:34:00")
	remove := func(from, to string) {
		exec(t, db, "DELETE FROM candles WHERE instrument='BTC-USDT' AND open_time>=? AND open_time<?", from, to)
	}
	remove("2026-11-16 12:00:00", "2026-11-16 12:05:00") // in the hour: 5, of which 3 are the exchange's
	gap(t, db, "BTC-USDT", "1m", "2026-11-16 12:00:00", "2026-11-16 12:03:00", "confirmed")
	gap(t, db, "BTC-USDT", "1m", "2026-11-16 12:03:00", "2026-11-16 12:05:00", "open")
	remove("2026-11-16 01:00:00", "2026-11-16 01:10:00") // in the day: 10
	gap(t, db, "BTC-USDT", "1m", "2026-11-16 01:00:00", "2026-11-16 01:10:00", "open")
	remove("2026-11-12 00:00:00", "2026-11-12 00:20:00") // in the week: 20, and the exchange is said to lack 30
	gap(t, db, "BTC-USDT", "1m", "2026-11-12 00:00:00", "2026-11-12 00:30:00", "confirmed")
	gap(t, db, "BTC-USDT", "1m", "2026-11-12 00:10:00", "2026-11-12 00:20:00.000", "repaired") // within it, and no matter
	gap(t, db, "BTC-USDT", "1m", "2026-11-01 00:00:00", "2026-11-02 00:00:00", "confirmed")    // before it
	exec(t, db, "UPDATE candles SET closed=0 WHERE instrument='BTC-USDT' AND open_time IN ('2026-11-16 12:32:00','2026-11-16 12:33:00')")
	candle(t, db, "binance", "BTC-USDT", "1m", "2026-11-16 12:00:30", 1, 0) // off the grid, in a confirmed gap
	candle(t, db, "binance", "BTC-USDT", "1m", "2026-11-16 12:20:00.001", 1, 1)
	exec(t, db, "UPDATE candles SET conflict=1 WHERE instrument='BTC-USDT' AND open_time='2026-11-09 00:00:00'")
	// ETH is twenty minutes old; SOL had an exchange that was closed; XRP begins now; DOT is all open.
	minutes(t, db, "ETH-USDT", "2026-11-16 12:13:00", "2026-11-16 12:33:00")
	candle(t, db, "binance", "SOL-USDT", "1m", "2026-11-16 10:00:00", 1, 0)
	gap(t, db, "SOL-USDT", "1m", "2026-11-16 10:01:00", "2026-11-16 13:00:00", "confirmed")
	candle(t, db, "binance", "XRP-USDT", "1m", "2026-11-16 12:33:00", 1, 0)
	candle(t, db, "binance", "DOT-USDT", "1m", "2026-11-16 12:33:00", 0, 0)
	// Long intervals. The week of Monday the 9th is the only whole one.
	for day := 1; day <= 16; day++ {
		closed := 1
		if day == 16 {
			closed = 0
		}
		candle(t, db, "binance", "BTC-USDT", "1d", fmt.Sprintf("2026-11-%02d", day), closed, 0)
	}
	candle(t, db, "binance", "BTC-USDT", "1w", "2026-11-02", 1, 0)
	candle(t, db, "binance", "BTC-USDT", "1w", "2026-11-10", 1, 0) // a Tuesday
	candle(t, db, "binance", "BTC-USDT", "1M", "2026-10-01", 1, 0)
	candle(t, db, "binance", "BTC-USDT", "1M", "2026-11-02", 0, 0)
	candle(t, db, "binance", "BTC-USDT", "3d", "2026-11-09", 1, 0)
	candle(t, db, "kraken", "BTC-USDT", "2m", "2026-11-06", 1, 0) // an interval that nobody knows
}

func TestMySQLAgainstHandMadeTruth(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		db := connect(t, dsn)
		tables(t, db)
		world(t, db)
		y := asker(t, dsn, aMonday)

		at := func(text string) string {
			when, err := time.Parse("2006-01-02 15:04:05", text)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(float64(when.Unix()))
		}
		newest := func(instrument, interval, end string) string {
			return fmt.Sprintf(`newest_closed_candle_timestamp_seconds{exchange="binance",instrument="%s",interval="%s"} %s`, instrument, interval, at(end))
		}
		want := []string{
			newest("BTC-USDT", "1m", "2026-11-16 12:32:00"), // 12:31 is the newest that is closed
			newest("ETH-USDT", "1m", "2026-11-16 12:33:00"),
			newest("SOL-USDT", "1m", "2026-11-16 10:01:00"),
			newest("XRP-USDT", "1m", "2026-11-16 12:34:00"),
			newest("BTC-USDT", "1d", "2026-11-16 00:00:00"),
			newest("BTC-USDT", "1w", "2026-11-17 00:00:00"),
			newest("BTC-USDT", "1M", "2026-11-01 00:00:00"),
			newest("BTC-USDT", "3d", "2026-11-12 00:00:00"),
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, lines(t, y.newest)); diff != "" {
			t.Errorf("newest: -want +got\n%s", diff)
		}

		// due and present by instrument, interval and window.
		var figures []string
		for _, f := range []struct {
			instrument, interval, window string
			due, present                 int
		}{
			{"BTC-USDT", "1m", "hour", 57, 54},       // 60 less 3; missing: 12:03, 12:04, and 12:32 is open
			{"BTC-USDT", "1m", "day", 1437, 1424},    // missing: 3 and 10
			{"BTC-USDT", "1m", "week", 10057, 10044}, // less 3 and 20: of the 30 that were said to lack, 10 are there
			{"ETH-USDT", "1m", "hour", 20, 20},
			{"ETH-USDT", "1m", "day", 20, 20},
			{"ETH-USDT", "1m", "week", 20, 20},
			{"SOL-USDT", "1m", "hour", 0, 0},
			{"SOL-USDT", "1m", "day", 1, 1},
			{"SOL-USDT", "1m", "week", 1, 1},
			{"BTC-USDT", "1d", "day", 1, 1},
			{"BTC-USDT", "1d", "week", 7, 7},
			{"BTC-USDT", "1w", "week", 1, 0}, // there is one, but of a Tuesday
			{"BTC-USDT", "3d", "week", 2, 1},
		} {
			labels := fmt.Sprintf(`{exchange="binance",instrument="%s",interval="%s",window="%s"}`, f.instrument, f.interval, f.window)
			ratio := 1.0
			if f.due > 0 {
				ratio = float64(f.present) / float64(f.due)
			}
			figures = append(figures, fmt.Sprintf("due_candles%s %d", labels, f.due), fmt.Sprintf("present_candles%s %d", labels, f.present),
				fmt.Sprintf("completeness_ratio%s %v", labels, ratio))
		}
		slices.Sort(figures)
		if diff := cmp.Diff(figures, lines(t, y.completeness)); diff != "" {
			t.Errorf("completeness: -want +got\n%s", diff)
		}

		totals := lines(t, y.totals)
		if diff := cmp.Diff(sorted(`
			misaligned_candles{exchange="binance",instrument="BTC-USDT",interval="1M"} 1
			misaligned_candles{exchange="binance",instrument="BTC-USDT",interval="1d"} 0
			misaligned_candles{exchange="binance",instrument="BTC-USDT",interval="1m"} 2
			misaligned_candles{exchange="binance",instrument="BTC-USDT",interval="1w"} 1
			misaligned_candles{exchange="binance",instrument="BTC-USDT",interval="3d"} 0
			misaligned_candles{exchange="binance",instrument="DOT-USDT",interval="1m"} 0
			misaligned_candles{exchange="binance",instrument="ETH-USDT",interval="1m"} 0
			misaligned_candles{exchange="binance",instrument="SOL-USDT",interval="1m"} 0
			misaligned_candles{exchange="binance",instrument="XRP-USDT",interval="1m"} 0
		`), with(totals, "misaligned_candles")); diff != "" {
			t.Errorf("misaligned: -want +got\n%s", diff)
		}
		btc := 8*1440 + 12*60 + 34 - 5 - 10 - 20 + 2
		for _, line := range []string{
			`conflicting_candles{exchange="binance",instrument="BTC-USDT",interval="1m"} 2`,
			`conflicting_candles{exchange="binance",instrument="ETH-USDT",interval="1m"} 0`,
			fmt.Sprintf(`candles{exchange="binance",instrument="BTC-USDT",interval="1m"} %d`, btc),
			`candles{exchange="binance",instrument="DOT-USDT",interval="1m"} 1`,
			fmt.Sprintf(`rows{store="mysql",table="candles"} %d`, btc+20+1+1+1+16+2+2+1),
		} {
			if !slices.Contains(totals, line) {
				t.Errorf("totals lack %s:\n%s", line, strings.Join(totals, "\n"))
			}
		}

		if diff := cmp.Diff(sorted(`
			gaps{exchange="binance",instrument="BTC-USDT",interval="1m",state="confirmed"} 3
			gaps{exchange="binance",instrument="BTC-USDT",interval="1m",state="open"} 2
			gaps{exchange="binance",instrument="BTC-USDT",interval="1m",state="repaired"} 1
			gaps{exchange="binance",instrument="SOL-USDT",interval="1m",state="confirmed"} 1
			gaps{exchange="binance",instrument="SOL-USDT",interval="1m",state="open"} 0
			gaps{exchange="binance",instrument="SOL-USDT",interval="1m",state="repaired"} 0
			rows{store="mysql",table="gaps"} 7
		`), lines(t, y.gaps)); diff != "" {
			t.Errorf("gaps: -want +got\n%s", diff)
		}

		sizes := lines(t, y.tables)
		if len(sizes) != 4 {
			t.Errorf("sizes of two tables have four series, got\n%s", strings.Join(sizes, "\n"))
		}
		if slices.Contains(sizes, `table_bytes{part="data",store="mysql",table="candles"} 0`) {
			t.Error("a table with rows has no bytes")
		}
	})
}

func TestEmptyTablesAreZeroAndMissingOnesAbsent(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		y := asker(t, dsn, aMonday)
		for _, q := range []func(context.Context) ([]prometheus.Metric, error){y.newest, y.completeness, y.totals, y.gaps} {
			if out, err := q(t.Context()); err == nil || len(out) != 0 || reason(err) != "missing" {
				t.Errorf("without tables: got %d series and error %v, reason %s", len(out), err, reason(err))
			}
		}
		if got := lines(t, y.tables); len(got) != 0 {
			t.Errorf("sizes of what is not there: %q", got)
		}
		tables(t, connect(t, dsn))
		if diff := cmp.Diff([]string{`rows{store="mysql",table="candles"} 0`}, lines(t, y.totals)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{`rows{store="mysql",table="gaps"} 0`}, lines(t, y.gaps)); diff != "" {
			t.Error(diff)
		}
		if got := append(lines(t, y.newest), lines(t, y.completeness)...); len(got) != 0 {
			t.Errorf("series of no candles: %q", got)
		}
	})
}

// The server itself counts the rows that it touched.
func TestOnlyTotalsReadEveryRow(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		db := connect(t, dsn)
		tables(t, db)
		const rows = 60000
		for _, instrument := range []string{"BTC-USDT", "ETH-USDT"} {
			minutes(t, db, instrument, "2026-10-26 17:00:00", "2026-11-16 13:00:00")
		}
		exec(t, db, "ANALYZE TABLE candles")
		y := asker(t, dsn, aMonday)
		y.db.SetMaxOpenConns(1) // the count is a session's
		const week = 2 * 7 * 1440
		for _, f := range []struct {
			name        string
			q           func(context.Context) ([]prometheus.Metric, error)
			least, most int
		}{{"newest", y.newest, 1, 200}, {"gaps", y.gaps, 0, 200}, {"completeness", y.completeness, week, week + 400}, {"totals", y.totals, rows - 2000, rows + 400}} {
			exec(t, y.db, "FLUSH STATUS")
			lines(t, f.q)
			read := 0
			err := y.rows(t.Context(), func(r *sql.Rows) error {
				var name string
				var n int
				err := r.Scan(&name, &n)
				read += n
				return err
			}, "SHOW SESSION STATUS LIKE 'Handler_read%'")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d rows read of %d", f.name, read, rows)
			if read < f.least || read > f.most {
				t.Errorf("%s read %d rows, not %d to %d", f.name, read, f.least, f.most)
			}
		}
		plan := ""
		if err := y.rows(t.Context(), func(r *sql.Rows) error {
			columns, err := r.Columns()
			if err != nil {
				return err
			}
			values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err = r.Scan(into...)
			for _, v := range values {
				plan += v.String + " "
			}
			plan += "\n"
			return err
		}, "EXPLAIN "+listSeries, maxSeries); err != nil {
			t.Fatal(err)
		}
		t.Log(plan)
		if !strings.Contains(plan, "group-by") && !strings.Contains(plan, "skip scan for grouping") {
			t.Errorf("the list of series is not made by jumping in the key:\n%s", plan)
		}
	})
}

func TestUserMayOnlyRead(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		db := connect(t, dsn)
		tables(t, db)
		candle(t, db, "binance", "BTC-USDT", "1m", "2026-11-16 12:30:00", 1, 0)
		d, err := driver.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		user := d.DBName[len(d.DBName)-10:]
		exec(t, db, "CREATE USER '"+user+"'@'%' IDENTIFIED BY 'reads'")
		t.Cleanup(func() { exec(t, db, "DROP USER '"+user+"'@'%'") })
		exec(t, db, "GRANT SELECT ON "+d.DBName+".* TO '"+user+"'@'%'")
		d.User, d.Passwd = user, "reads"
		y := asker(t, d.FormatDSN(), aMonday)
		for _, q := range []func(context.Context) ([]prometheus.Metric, error){y.newest, y.completeness, y.totals, y.gaps, y.tables} {
			lines(t, q)
		}
		if got := len(lines(t, y.tables)); got != 4 {
			t.Errorf("the sizes have %d series, not 4", got)
		}
		exec(t, db, "REVOKE SELECT ON "+d.DBName+".* FROM '"+user+"'@'%'")
		if _, err := asker(t, d.FormatDSN(), aMonday).newest(t.Context()); reason(err) != "denied" {
			t.Errorf("without the right: %v, reason %s", err, reason(err))
		}
	})
}
