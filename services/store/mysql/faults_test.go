package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func candles(n int) (b pipeline.Batch) {
	for i := range n {
		b = append(b, pipelinetest.Candle(i))
	}
	return b
}

// fails writes b and wants that class and one of the codes.
func fails(t *testing.T, s *Sink, b pipeline.Batch, class pipeline.Class, codes ...string) *pipeline.Error {
	t.Helper()
	_, err := s.Write(t.Context(), b)
	var e *pipeline.Error
	if !errors.As(err, &e) {
		t.Fatalf("want %s %v, got %v", class, codes, err)
	}
	if e.Class != class || !slices.Contains(codes, e.Code) {
		t.Fatalf("want %s %v, got %s %s: %v", class, codes, e.Class, e.Code, err)
	}
	return e
}

func works(t *testing.T, s *Sink, b pipeline.Batch) {
	t.Helper()
	if _, err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// rows wants exactly that many.
func (s server) rows(t *testing.T, sink *Sink, n int) {
	t.Helper()
	if got := len(s.stored(t, sink.dsn.DBName)); got != n {
		t.Errorf("want %d rows, got %d", n, got)
	}
}

// blocked returns the connection that waits for a lock with a statement on the
// database. (Table innodb_trx would say it better, but is not refreshed for those who ask often.)
func (a admin) blocked(t *testing.T, database string) (id int64) {
	t.Helper()
	for t.Context().Err() == nil {
		var name string
		var waits int
		if err := a.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &waits); err != nil {
			t.Fatal(err)
		}
		err := a.QueryRow("SELECT id FROM information_schema.processlist WHERE db=? AND info LIKE 'INSERT INTO candles%'", database).Scan(&id)
		if err == nil && waits > 0 {
			return id
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
	}
	t.Fatal("nothing waits for a lock")
	return 0
}

// holding begins a transaction that holds the lock of a row.
func (a admin) holding(t *testing.T, i int) *sql.Tx {
	t.Helper()
	tx, err := a.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	lockRow(t, tx, i)
	return tx
}

func lockRow(t *testing.T, tx *sql.Tx, i int) {
	t.Helper()
	if _, err := tx.Exec("UPDATE candles c SET trades=trades+1 WHERE exchange='binance' AND instrument='BTC-USDT' AND c.interval='1m' AND open_time=?",
		pipelinetest.Candle(i).OpenTime.Time()); err != nil {
		t.Fatal(err)
	}
}

func inBackground(t *testing.T, s *Sink, b pipeline.Batch) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(t.Context(), b)
		done <- err
	}()
	return done
}

func later(b pipeline.Batch) (c pipeline.Batch) {
	for _, e := range b {
		d := *e.(*market.Candle)
		d.EventTime++
		c = append(c, &d)
	}
	return c
}

// F10: a second session locks rows in reverse order.
func TestDeadlockIsTransient(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		works(t, sink, candles(200))
		db := s.admin(t, sink.dsn.DBName)
		tx := db.holding(t, 1)
		for i := 100; i < 200; i++ { // the server ends the transaction that changed less
			lockRow(t, tx, i)
		}
		done := inBackground(t, sink, later(candles(2)))
		s.admin(t, "").blocked(t, sink.dsn.DBName)
		lockRow(t, tx, 0)
		err := <-done
		if class, code := pipeline.ClassOf(err); class != pipeline.Transient || code != "1213" {
			t.Fatalf("want a deadlock, got %s %s: %v", class, code, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		works(t, sink, later(candles(2)))
	})
}

// F10
func TestLockWaitIsTransient(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t, func(c *Config) { c.Connections = 1 })
		works(t, sink, candles(2))
		if _, err := sink.db.Exec("SET innodb_lock_wait_timeout=1"); err != nil {
			t.Fatal(err)
		}
		tx := s.admin(t, sink.dsn.DBName).holding(t, 1)
		fails(t, sink, later(candles(2)), pipeline.Transient, "1205")
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		works(t, sink, later(candles(2)))
	})
}

// F8
func TestKilledConnectionIsTransient(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		for _, how := range []string{"KILL", "KILL QUERY"} {
			sink := s.prepared(t)
			works(t, sink, candles(10))
			tx := s.admin(t, sink.dsn.DBName).holding(t, 7)
			done := inBackground(t, sink, later(candles(20)))
			db := s.admin(t, "")
			db.exec(t, fmt.Sprintf("%s %d", how, db.blocked(t, sink.dsn.DBName)))
			if class, code := pipeline.ClassOf(<-done); class != pipeline.Transient {
				t.Errorf("%s is %s %s", how, class, code)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			works(t, sink, later(candles(20)))
			s.rows(t, sink, 20)
		}
	})
}

// F10: a write that waits for a lock ends with its context.
func TestWaitingWriteIsCancelled(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		works(t, sink, candles(2))
		s.admin(t, sink.dsn.DBName).holding(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := sink.Write(ctx, later(candles(2)))
			done <- err
		}()
		s.admin(t, "").blocked(t, sink.dsn.DBName)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("want %v, got %v", context.Canceled, err)
		}
	})
}

// user makes one with rights on the tables of a database only, and a sink of it.
func (s server) user(t *testing.T, database string) (name string, sink *Sink) {
	t.Helper()
	db := s.admin(t, "")
	name = "'" + strings.TrimPrefix(database, "candlestack_test_") + "'@'%'"
	db.exec(t, "CREATE USER "+name+" IDENTIFIED BY 'geheim-3141'")
	t.Cleanup(func() { s.admin(t, "").exec(t, "DROP USER IF EXISTS "+name) })
	for _, table := range []string{"candles", "gaps", "schema_migrations"} {
		db.exec(t, "GRANT SELECT, INSERT, UPDATE ON "+database+"."+table+" TO "+name)
	}
	limited := server{name: s.name, dsn: s.dsn.Clone()}
	limited.dsn.User, limited.dsn.Passwd = strings.Trim(strings.Split(name, "@")[0], "'"), "geheim-3141"
	return name, limited.sinkOn(t, database)
}

// F11
func TestReadOnlyAndRightsAreEnvironment(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		database := s.prepared(t).dsn.DBName
		name, sink := s.user(t, database)
		if err := sink.Prepare(t.Context()); err != nil {
			t.Fatalf("a user who may write but not create cannot use a schema that is up to date: %v", err)
		}
		works(t, sink, candles(3))
		db := s.admin(t, "")

		db.exec(t, "SET GLOBAL read_only=1")
		t.Cleanup(func() { s.admin(t, "").exec(t, "SET GLOBAL read_only=0") })
		fails(t, sink, candles(4), pipeline.Environment, "1290", "1836")
		db.exec(t, "SET GLOBAL read_only=0")
		works(t, sink, candles(4))

		db.exec(t, "REVOKE INSERT ON "+database+".candles FROM "+name)
		fails(t, sink, candles(5), pipeline.Environment, "1142")
		db.exec(t, "GRANT INSERT ON "+database+".candles TO "+name)
		works(t, sink, candles(5))

		db.exec(t, "ALTER USER "+name+" IDENTIFIED BY 'other'")
		sink.db.SetMaxIdleConns(0) // connect again
		if e := fails(t, sink, candles(6), pipeline.Environment, "1045"); strings.Contains(e.Error(), "geheim") {
			t.Errorf("the error tells the password: %v", e)
		}
		db.exec(t, "ALTER USER "+name+" IDENTIFIED BY 'geheim-3141'")
		works(t, sink, candles(6))
		s.rows(t, sink, 6)
	})
}

// F13: a schema that somebody changed.
func TestSchemaDrift(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		db := s.admin(t, sink.dsn.DBName)
		environment := func(change, back, code string) {
			t.Helper()
			db.exec(t, change)
			fails(t, sink, candles(3), pipeline.Environment, code)
			db.exec(t, back)
			works(t, sink, candles(3))
		}
		environment("RENAME TABLE candles TO away", "RENAME TABLE away TO candles", "1146")
		environment("ALTER TABLE candles RENAME COLUMN volume TO amount", "ALTER TABLE candles RENAME COLUMN amount TO volume", "1054")
		environment("ALTER TABLE candles ADD COLUMN foreign_one INT NOT NULL", "ALTER TABLE candles DROP COLUMN foreign_one", "1364")

		batch := candles(10)
		change := func(i int, f func(c *market.Candle)) {
			c := *pipelinetest.Candle(i)
			f(&c)
			batch[i] = &c
		}
		big, _ := market.ParseDecimal("123456")
		change(4, func(c *market.Candle) { c.High = big })
		change(5, func(c *market.Candle) { c.Exchange = "somewhere else" })
		change(6, func(c *market.Candle) { c.QuoteVolume = nil })
		poison := func(alter, back string, items []int, codes ...string) {
			t.Helper()
			db.exec(t, "DELETE FROM candles")
			db.exec(t, alter)
			if e := fails(t, sink, batch, pipeline.Poison, codes...); !slices.Equal(e.Items, items) {
				t.Errorf("%s: want items %v, got %v: %v", alter, items, e.Items, e)
			}
			db.exec(t, back)
		}
		poison("ALTER TABLE candles MODIFY high DECIMAL(7,2) NOT NULL", "ALTER TABLE candles MODIFY high DECIMAL(38,18) NOT NULL", []int{4}, "1264")
		poison("ALTER TABLE candles MODIFY exchange VARCHAR(9) NOT NULL", "ALTER TABLE candles MODIFY exchange VARCHAR(32) NOT NULL", []int{5}, "1406")
		poison("ALTER TABLE candles MODIFY quote_volume DECIMAL(38,18) NOT NULL", "ALTER TABLE candles MODIFY quote_volume DECIMAL(38,18) NULL", nil, "1048")
		poison("ALTER TABLE candles ADD CONSTRAINT cheap CHECK (high < 100000)", "ALTER TABLE candles DROP CONSTRAINT cheap", nil, "3819", "4025")
		poison("ALTER TABLE candles MODIFY origin ENUM('archive') NOT NULL", "ALTER TABLE candles MODIFY origin VARCHAR(8) NOT NULL", []int{0}, "1265")
		works(t, sink, batch)
		s.rows(t, sink, 10)

		// A narrower scale rounds without an error, so it is looked for at the start.
		db.exec(t, "ALTER TABLE candles MODIFY close DECIMAL(22,2) NOT NULL")
		if err := sink.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "candles.close is decimal(22,2)") {
			t.Errorf("a narrowed column is not noticed: %v", err)
		}
	})
}

// F14
func TestSplitByPacket(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		const rows = 6000
		sink := s.prepared(t)
		db := s.admin(t, "")
		before := db.value(t, "SELECT @@GLOBAL.max_allowed_packet")
		t.Cleanup(func() { s.admin(t, "").exec(t, "SET GLOBAL max_allowed_packet="+before) })
		db.exec(t, "SET GLOBAL max_allowed_packet=1048576")
		sink.db.SetMaxIdleConns(0) // connections of now have the new limit

		// The sink learns of it by an error, and splits.
		fails(t, sink, candles(rows), pipeline.Transient, codePacket, "1153")
		for {
			effects, err := sink.Write(t.Context(), candles(rows))
			if class, _ := pipeline.ClassOf(err); err != nil && class == pipeline.Transient {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := effects.Inserted + effects.Unchanged; n != rows || effects.Updated != 0 {
				t.Errorf("effects %+v", effects)
			}
			break
		}
		s.rows(t, sink, rows)

		// One that starts now asks for it.
		next := s.sinkOn(t, sink.dsn.DBName)
		if err := next.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		works(t, next, later(candles(rows)))
		s.rows(t, next, rows)
	})
}
