package command_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/ledger"
)

// control runs the command that starts, stops or kills a real server.
func control(t *testing.T, server, order string) {
	t.Helper()
	command := os.Getenv("CANDLESTACK_TEST_" + server + "_CONTROL")
	if out, err := exec.Command("/bin/sh", "-c", command+" "+order).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", command, order, err, out)
	}
	if order != "start" {
		t.Cleanup(func() { control(t, server, "start") }) // also where the test fails in between: others want the server
	}
}

// outage is one thing that goes wrong while the pipeline runs, and its repair.
type outage struct {
	name    string
	control string // the server that must be stopped, if any
	flags   []string
	hurt    func(w *world, s *service)
	// class of the retries that must be seen; empty: none need be.
	class string
}

const (
	maxPoll  = 10 * time.Second
	noWorker = "max.poll.interval.ms=10000"
)

var outages = []outage{
	{
		name: "store stopped for longer than max.poll.interval.ms", control: "MYSQL", class: "environment",
		flags: []string{"--kafka.config", noWorker},
		hurt: func(w *world, s *service) {
			var before float64
			w.eventually("the first rebalance is counted", func() bool {
				before = s.metric("candlestack_kafka_client_rebalances_total")
				return before > 0
			})
			control(w.t, "MYSQL", "stop")
			w.eventually("partitions are paused", func() bool { return s.metric("candlestack_sink_paused_partitions") > 0 })
			time.Sleep(maxPoll + 2*time.Second)
			if s.metric("candlestack_sink_paused_partitions") == 0 {
				w.t.Error("no partition is paused while the store is down")
			}
			control(w.t, "MYSQL", "start")
			w.recovers(s)
			if after := s.metric("candlestack_kafka_client_rebalances_total"); after != before {
				w.t.Errorf("%v rebalances during the outage: the member was thrown out", after-before)
			}
		},
	},
	{
		name: "store killed", control: "MYSQL",
		hurt: func(w *world, s *service) {
			control(w.t, "MYSQL", "kill")
			control(w.t, "MYSQL", "start")
			w.recovers(s)
		},
	},
	{
		name: "store read-only", class: "environment",
		hurt: func(w *world, s *service) {
			w.root("SET GLOBAL read_only = 1")
			w.eventually("the sink waits", func() bool { return s.metric("candlestack_sink_retries_total", "class", "environment") > 3 })
			w.root("SET GLOBAL read_only = 0")
			w.recovers(s)
		},
	},
	{
		name: "table gone and restored", class: "environment",
		hurt: func(w *world, s *service) {
			w.root("RENAME TABLE " + w.database + ".candles TO " + w.database + ".away")
			w.eventually("the sink waits", func() bool { return s.metric("candlestack_sink_retries_total", "class", "environment") > 3 })
			w.root("RENAME TABLE " + w.database + ".away TO " + w.database + ".candles")
			w.recovers(s)
		},
	},
	{
		name: "rights taken and given back", class: "environment",
		hurt: func(w *world, s *service) {
			w.root("REVOKE INSERT ON " + w.database + ".* FROM " + w.user)
			w.cut()
			w.eventually("the sink waits", func() bool { return s.metric("candlestack_sink_retries_total", "class", "environment") > 3 })
			w.root("GRANT INSERT ON " + w.database + ".* TO " + w.user)
			w.recovers(s)
		},
	},
	{
		name: "connections cut in mid-batch",
		hurt: func(w *world, s *service) {
			for range 10 {
				w.cut()
				time.Sleep(100 * time.Millisecond)
			}
			w.recovers(s)
		},
	},
	{
		name: "deadlocks", class: "transient",
		hurt: func(w *world, s *service) {
			for tries := 0; s.metric("candlestack_sink_retries_total", "class", "transient") == 0; tries++ {
				if tries == 100 {
					w.t.Fatal("no deadlock came about")
				}
				w.contend()
			}
			w.recovers(s)
		},
	},
	{
		name: "broker restarted", control: "KAFKA",
		hurt: func(w *world, s *service) {
			control(w.t, "KAFKA", "stop")
			w.eventually("the sink is not ready", func() bool { return strings.Contains(s.ready(), "kafka") })
			control(w.t, "KAFKA", "start")
			w.recovers(s)
		},
	},
	{
		name: "broker killed", control: "KAFKA",
		hurt: func(w *world, s *service) {
			control(w.t, "KAFKA", "kill")
			control(w.t, "KAFKA", "start")
			w.recovers(s)
		},
	},
}

// TestOutages breaks real servers under the running pipeline. Whatever happens,
// the sink goes on by itself and the ledger finds every promise kept; poison
// lies in the middle of batches all the while.
func TestOutages(t *testing.T) {
	if testing.Short() {
		t.Skip("outages take minutes: not with -short")
	}
	if os.Getenv("CANDLESTACK_TEST_MYSQL") == "" || os.Getenv("CANDLESTACK_TEST_KAFKA") == "" {
		t.Skip("outages need real servers: set CANDLESTACK_TEST_KAFKA and CANDLESTACK_TEST_MYSQL")
	}
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			if o.control != "" && os.Getenv("CANDLESTACK_TEST_"+o.control+"_CONTROL") == "" {
				t.Skipf("no way to stop the server: set CANDLESTACK_TEST_%s_CONTROL", o.control)
			}
			w := newWorld(t)
			w.store("CANDLESTACK_TEST_MYSQL")
			w.asUser()
			w.endure(o, w.sink, ledger.Config{Topics: ledger.DefaultTopics(), Group: "candlestack-mysql", DSN: w.dsn})
		})
	}
}

// TestOutagesOfMongoDB does so to the store of the news.
func TestOutagesOfMongoDB(t *testing.T) {
	if testing.Short() {
		t.Skip("outages take minutes: not with -short")
	}
	if os.Getenv("CANDLESTACK_TEST_MONGODB_CONTROL") == "" {
		t.Skip("no way to stop the server: set CANDLESTACK_TEST_MONGODB and CANDLESTACK_TEST_MONGODB_CONTROL")
	}
	for _, order := range []string{"stop", "kill"} {
		t.Run("store "+order, func(t *testing.T) {
			w := newWorld(t)
			w.documents()
			w.endure(outage{class: "environment", hurt: func(w *world, s *service) {
				control(t, "MONGODB", order)
				w.eventually("the sink says that the store is away", func() bool { return strings.Contains(s.ready(), "store") })
				control(t, "MONGODB", "start")
				w.recovers(s)
			}}, w.newsSink, ledger.Config{Topics: ledger.NewsTopics(), Group: "candlestack-mongodb", MongoURI: w.uri, MongoDatabase: w.news.Name()})
		})
	}
}

// endure runs a producer that keeps a ledger and the sink, lets the outage
// happen, and compares the books.
func (w *world) endure(o outage, run func(args ...string) *service, cfg ledger.Config) {
	cfg.Path, cfg.Brokers = filepath.Join(w.t.TempDir(), "ledger"), []string{w.kafka}
	producer, err := ledger.NewProducer(ledger.ProducerConfig{Path: cfg.Path, Brokers: cfg.Brokers, Topics: cfg.Topics, Seed: 1, Series: 12, Rate: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	produced := make(chan error, 1)
	go func() { produced <- producer.Run(ctx) }()
	sink := run(append([]string{"--batch.rows", "200"}, o.flags...)...)
	w.recovers(sink)
	o.hurt(w, sink)
	cancel()
	if err := <-produced; err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the sink has caught up", func() bool {
		behind, err := ledger.Behind(context.Background(), cfg)
		return err == nil && behind == 0
	})
	if o.class != "" && sink.metric("candlestack_sink_retries_total", "class", o.class) == 0 {
		w.t.Errorf("no retry of class %s was counted", o.class)
	}
	if sink.metric("candlestack_sink_paused_partitions") != 0 {
		w.t.Error("partitions stay paused")
	}
	sink.stop()
	invariants, err := ledger.Check(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range invariants {
		w.t.Log(i)
		if !i.OK {
			w.t.Fail()
		}
	}
}

// recovers waits until the sink stores again, and says how long that took.
func (w *world) recovers(s *service) {
	w.t.Helper()
	begin := time.Now()
	from := s.metric("candlestack_sink_durable_offset")
	w.eventually("the sink stores", func() bool { return s.metric("candlestack_sink_durable_offset") > from && s.ready() == "" })
	w.t.Logf("stores again after %.1f s", time.Since(begin).Seconds())
}

// asUser lets the pipeline work as an ordinary user, whom read_only binds.
func (w *world) asUser() {
	w.t.Helper()
	cfg, err := driver.ParseDSN(w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	w.database = cfg.DBName
	base := *cfg
	base.DBName = ""
	w.base = base.FormatDSN()
	name := fmt.Sprintf("u%d", time.Now().UnixNano())
	w.user = "'" + name + "'@'%'"
	w.root("CREATE DATABASE " + cfg.DBName)
	w.root("CREATE USER " + w.user + " IDENTIFIED BY 'secret'")
	w.root("GRANT ALL ON " + cfg.DBName + ".* TO " + w.user)
	w.t.Cleanup(func() {
		w.commands.Wait()
		w.root("DROP USER " + w.user)
	})
	cfg.User, cfg.Passwd = name, "secret"
	w.dsn, w.name = cfg.FormatDSN(), name
}

// root runs a statement with all rights.
func (w *world) root(statement string) {
	w.t.Helper()
	db, err := sql.Open("mysql", w.base)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// cut ends every connection of the pipeline's user.
func (w *world) cut() {
	w.t.Helper()
	db, err := sql.Open("mysql", w.base)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT id FROM information_schema.processlist WHERE user = ?", w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		db.Exec(fmt.Sprintf("KILL %d", id)) // it may be gone
	}
}

// contend locks rows against the order of the sink, which locks by key.
func (w *world) contend() {
	w.t.Helper()
	db, err := sql.Open("mysql", w.base)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	defer tx.Rollback()
	// It changes rows, which makes it the heavier one: the server gives up the sink's.
	// write_time is the one column that nobody compares.
	update := "UPDATE " + w.database + ".candles SET write_time = write_time + INTERVAL 1 SECOND WHERE exchange = 'ledger' AND instrument "
	var middle string
	if err := tx.QueryRow("SELECT MAX(instrument) FROM (SELECT instrument FROM " + w.database + ".candles GROUP BY instrument ORDER BY instrument LIMIT 6) low").Scan(&middle); err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec(update+"> ?", middle); err != nil {
		return // this time we were given up
	}
	time.Sleep(200 * time.Millisecond) // for batches to begin in the lower half and wait for the upper
	tx.Exec(update+"<= ?", middle)     // one of the two is given up
}
