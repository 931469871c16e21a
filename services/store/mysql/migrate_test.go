package mysql

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/candlestack/candlestack/services/pipeline"
)

func TestPrepareAtOnce(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		database := s.fresh(t)
		var group sync.WaitGroup
		for range 6 {
			sink := s.sinkOn(t, database)
			group.Go(func() {
				if err := sink.Prepare(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		all, err := readMigrations(migrations)
		if err != nil {
			t.Fatal(err)
		}
		var versions []int
		rows, err := s.admin(t, database).Query("SELECT version FROM schema_migrations ORDER BY version")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var v int
			if err := rows.Scan(&v); err != nil {
				t.Fatal(err)
			}
			versions = append(versions, v)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if len(versions) != len(all) || !slices.IsSorted(versions) {
			t.Errorf("applied %v of %d migrations", versions, len(all))
		}
	})
}

// A migration that ended in the middle is applied again, and data stays.
func TestPrepareAgainAfterCrash(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		works(t, sink, candles(3))
		db := s.admin(t, sink.dsn.DBName)
		for _, change := range []string{"DELETE FROM schema_migrations", "DROP TABLE schema_migrations", "DROP VIEW Bitcoin"} {
			db.exec(t, "DELETE FROM schema_migrations")
			db.exec(t, change)
			if err := sink.Prepare(t.Context()); err != nil {
				t.Fatalf("after %s: %v", change, err)
			}
		}
		if n := db.value(t, "SELECT COUNT(*) FROM Bitcoin"); n != "3" {
			t.Errorf("view Bitcoin has %s rows, want 3", n)
		}
	})
}

func TestPrepareRefusesNewerSchema(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		s.admin(t, sink.dsn.DBName).exec(t, "INSERT INTO schema_migrations VALUES (999,'from the future',UTC_TIMESTAMP(3))")
		err := sink.Prepare(t.Context())
		var final *pipeline.ConfigError
		if !errors.As(err, &final) || !strings.Contains(err.Error(), "999") || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line that names 999, got %v", err)
		}
	})
}

func TestPrepareTellsTheUsersWordFromTheWorld(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		database := s.prepared(t).dsn.DBName
		_, limited := s.user(t, database)
		const secret = "hunter2-canary"
		try := func(what, text string, final bool, change func(s *server)) {
			t.Helper()
			other := server{name: s.name, dsn: s.dsn.Clone()}
			change(&other)
			err := other.sinkOn(t, database).Prepare(t.Context())
			var config *pipeline.ConfigError
			if err == nil || errors.As(err, &config) != final || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %v", what, err)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "geheim")) {
				t.Errorf("%s: the error tells the password: %v", what, err)
			}
		}
		try("wrong password", "--mysql.dsn", true, func(s *server) { s.dsn.User, s.dsn.Passwd = limited.dsn.User, secret })
		try("wrong user", "--mysql.dsn", true, func(s *server) { s.dsn.User, s.dsn.Passwd = "nobody-here", secret })
		try("unknown variable", "--mysql.dsn", true, func(s *server) { s.dsn.Params = map[string]string{"no_such_variable": "1"} })
		try("nobody listens", "connecting to", false, func(s *server) { s.dsn.Addr, s.dsn.Passwd = "127.0.0.1:1", secret })
		try("unknown host", "connecting to", false, func(s *server) { s.dsn.Addr, s.dsn.Passwd = "no-such-host.invalid:3306", secret })

		limited.dsn.DBName = s.fresh(t)
		err := server{name: s.name, dsn: limited.dsn}.sinkOn(t, limited.dsn.DBName).Prepare(t.Context())
		var config *pipeline.ConfigError
		if !errors.As(err, &config) {
			t.Errorf("a database that this user may not create: %v", err)
		}
	})
}

func TestMigrationsAreNumbered(t *testing.T) {
	f := func(ok bool, names ...string) {
		t.Helper()
		dir := fstest.MapFS{}
		for _, n := range names {
			dir["migrations/"+n] = &fstest.MapFile{Data: []byte("SELECT 1;\nSELECT ';';\n")}
		}
		all, err := readMigrations(dir)
		if (err == nil) != ok {
			t.Errorf("%v: %v", names, err)
		}
		for _, m := range all {
			if len(m.statements) != 2 {
				t.Errorf("%v has statements %q", m.name, m.statements)
			}
		}
	}
	f(true, "0001_a.sql", "0002_b.sql")
	f(false, "0001_a.sql", "0003_b.sql")
	f(false, "0000_a.sql")
	f(false, "a.sql")
}
