package ledger

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/market"
)

// onEachDatabase runs f on a database with the tables of the stack, of this test alone.
func onEachDatabase(t *testing.T, f func(t *testing.T, dsn string, db *sql.DB)) {
	for _, server := range []string{"MYSQL", "MARIADB"} {
		t.Run(server, func(t *testing.T) {
			address := os.Getenv("CANDLESTACK_TEST_" + server)
			if address == "" {
				t.Skipf("CANDLESTACK_TEST_%s is not set: no real server", server)
			}
			dsn, db := tables(t, address)
			f(t, dsn, db)
		})
	}
}

func tables(t *testing.T, address string) (string, *sql.DB) {
	t.Helper()
	cfg, err := mysql.ParseDSN(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MultiStatements = true
	name := fmt.Sprintf("test_ledger_%d", time.Now().UnixNano())
	connect := func(database string) *sql.DB {
		cfg.DBName = database
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return sql.OpenDB(connector)
	}
	server := connect("")
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if _, err := server.Exec("DROP DATABASE " + name); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	db := connect(name)
	t.Cleanup(func() { db.Close() })
	// The very statements that make the tables, read as files: no code is shared.
	files, err := filepath.Glob("../store/mysql/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	for _, file := range files {
		statements, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		execute(t, db, string(statements))
	}
	return cfg.FormatDSN(), db
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) int64 {
	t.Helper()
	result, err := db.ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%.80s: %v", statement, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// store writes the rows of the faultless sink.
func (s *truth) store(t *testing.T, db *sql.DB) {
	t.Helper()
	when := func(m market.Millis) string { return m.Time().Format("2006-01-02 15:04:05.000") }
	maybe := func(d *market.Decimal) any {
		if d == nil {
			return nil
		}
		return d.String()
	}
	for k, e := range s.events {
		switch e := e.(type) {
		case *market.Candle:
			execute(t, db, "INSERT INTO candles ("+candleColumns+") VALUES (?"+strings.Repeat(",?", 18)+")",
				e.Exchange, e.Instrument.String(), string(e.Interval), when(e.OpenTime), e.Open.String(), e.High.String(), e.Low.String(), e.Close.String(),
				e.Volume.String(), maybe(e.QuoteVolume), e.Trades, maybe(e.TakerVolume), maybe(e.TakerQuote), e.Closed, when(e.EventTime),
				when(e.ReceivedTime), string(e.Origin), e.Version(), s.rows[k].conflict)
		case *market.Gap:
			execute(t, db, "INSERT INTO gaps ("+gapColumns+") VALUES (?"+strings.Repeat(",?", 9)+")",
				e.Exchange, e.Instrument.String(), string(e.Interval), when(e.FromTime), when(e.ToTime), string(e.State), e.Cause, when(e.Changed),
				string(e.Origin), e.Version())
		}
	}
}

func TestCheckReadsTablesLettersAndOffsets(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, dsn string, db *sql.DB) {
		c := fakeCluster(t)
		v := newVerdict(t, c, Config{Path: c.produce(t, 2500), Brokers: c.brokers, Topics: c.only(market.KindCandle, market.KindGap), Group: "test", DSN: dsn})
		v.settleAs(func(sink *truth) { sink.store(t, db) })

		// Breaches in the tables, each undone.
		for _, table := range []string{"candles", "gaps"} {
			breach := func(broken, change string) {
				t.Helper()
				execute(t, db, "DROP TABLE IF EXISTS copy")
				execute(t, db, "CREATE TABLE copy AS SELECT * FROM "+table)
				if execute(t, db, change) == 0 {
					t.Fatalf("%s changed nothing", change)
				}
				v.expect(broken)
				execute(t, db, "DELETE FROM "+table)
				execute(t, db, "INSERT INTO "+table+" SELECT * FROM copy")
				v.expect("")
			}
			breach("I1 I3", "DELETE FROM "+table+" WHERE instrument = 'COIN1-USDT'")
			breach("I1", "UPDATE "+table+" SET origin = IF(origin = 'live', 'repair', 'live')")
			breach("I1", "UPDATE "+table+" SET version = version + 1")
			breach("I1 I2 I3", "UPDATE "+table+" SET version = version - 1")
			if table == "candles" {
				breach("I1", "UPDATE candles SET close = close + 0.000000000000000001 WHERE open < 1000 LIMIT 1")
				breach("I1", "UPDATE candles SET quote_volume = 0 WHERE quote_volume IS NULL LIMIT 1")
				breach("I1", "UPDATE candles SET conflict = NOT conflict LIMIT 1")
				breach("I1 I3", "UPDATE candles SET open_time = open_time + INTERVAL 1000 MICROSECOND ORDER BY open_time LIMIT 1")
			}
		}
	})
}

func TestCheckAnswersComparesFiveNumbers(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, dsn string, db *sql.DB) {
		sink := newTruth()
		for _, r := range take(t, 5, 500) {
			sink.settle(t, r, place{})
		}
		sink.store(t, db)
		answers := func(yield func(market.Candle) bool) {
			for _, e := range sink.events {
				if c, ok := e.(*market.Candle); ok && c.Closed && !yield(*c) {
					return
				}
			}
		}
		expect := func(ok bool, part string) {
			t.Helper()
			i, err := CheckAnswers(t.Context(), dsn, answers)
			if err != nil {
				t.Fatal(err)
			}
			if i.OK != ok || !strings.Contains(i.Detail, part) {
				t.Error(i)
			}
		}
		expect(true, "all stored exactly")
		execute(t, db, "UPDATE candles SET volume = volume + 0.000000000000000001 WHERE closed LIMIT 1")
		expect(false, "1: ledger/")
		execute(t, db, "UPDATE candles SET closed = 0 WHERE closed LIMIT 2")
		expect(false, "is missing, or not closed")
	})
}
