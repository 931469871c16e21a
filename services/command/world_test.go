package command_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
	"github.com/candlestack/candlestack/services/stack"
)

func TestMain(m *testing.M) {
	for _, setting := range os.Environ() { // a setting of the user's must not change the tests
		name, _, _ := strings.Cut(setting, "=")
		if strings.HasPrefix(name, "CANDLESTACK_") && !strings.HasPrefix(name, "CANDLESTACK_TEST_") && name != "CANDLESTACK_KILLS" {
			os.Unsetenv(name)
		}
	}
	code := m.Run()
	os.RemoveAll(binaryDir)
	os.Exit(code)
}

// world is the servers of one test. Kafka is the one that CANDLESTACK_TEST_KAFKA
// names, with its topics made anew, else kfake; so tests of this package that
// use a world do not run in parallel.
type world struct {
	t        *testing.T
	kafka    string
	real     bool // Kafka is not kfake
	admin    *kadm.Client
	dsn      string
	version  string // of the store
	db       *sql.DB
	uri      string // of MongoDB, see documents
	news     *mongo.Database
	commands sync.WaitGroup

	base, database, user, name string // see asUser
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, kafka: os.Getenv("CANDLESTACK_TEST_KAFKA")}
	w.real = w.kafka != ""
	if !w.real {
		broker, err := stack.StartKafka(t.TempDir(), 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(broker.Close)
		w.kafka = broker.Addr
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka))
	if err != nil {
		t.Fatal(err)
	}
	w.admin = kadm.NewClient(client)
	t.Cleanup(w.admin.Close)
	if w.real {
		w.forget()
	}
	w.run("topics", "apply", "--kafka.brokers", w.kafka)
	t.Cleanup(w.commands.Wait)
	return w
}

// forget deletes what earlier tests left in a Kafka that lives longer than a test.
func (w *world) forget() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	topics, err := w.admin.ListTopics(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var ours []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, "market.") || strings.HasPrefix(name, "news.") {
			ours = append(ours, name)
		}
	}
	if len(ours) > 0 {
		if _, err := w.admin.DeleteTopics(ctx, ours...); err != nil {
			w.t.Fatal(err)
		}
	}
	w.eventually("the topics are gone", func() bool {
		left, err := w.admin.ListTopics(ctx, ours...)
		for _, d := range left {
			if d.Err == nil {
				return false
			}
		}
		return err == nil
	})
	groups, err := w.admin.ListGroups(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range groups.Groups() {
		if strings.HasPrefix(g, "candlestack-") {
			if _, err := w.admin.DeleteGroups(ctx, g); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// store makes a database on the server that the first of the names in the
// environment gives, else on a server of this machine.
func (w *world) store(names ...string) {
	w.t.Helper()
	base := ""
	for _, name := range names {
		if base = os.Getenv(name); base != "" {
			break
		}
	}
	if base == "" {
		server, err := stack.StartMySQL(context.Background(), w.t.TempDir(), false)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() {
			if err := server.Close(); err != nil {
				w.t.Error(err)
			}
		})
		if server.Name == "go-mysql-server" {
			w.t.Skipf("exactness is tested on real servers: set %s or install mariadb-server-core", strings.Join(names, " or "))
		}
		base = server.DSN("")
	}
	cfg, err := driver.ParseDSN(base)
	if err != nil {
		w.t.Fatal(err)
	}
	admin, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := admin.QueryRow("SELECT VERSION()").Scan(&w.version); err != nil {
		w.t.Fatal(err)
	}
	cfg.DBName = fmt.Sprintf("command_%d", time.Now().UnixNano())
	w.dsn = cfg.FormatDSN()
	if w.db, err = sql.Open("mysql", w.dsn); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.commands.Wait()
		w.db.Close()
		if _, err := admin.Exec("DROP DATABASE IF EXISTS " + cfg.DBName); err != nil {
			w.t.Error(err)
		}
		admin.Close()
	})
}

// count asks the database for one number.
func (w *world) count(query string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.db.QueryRow(query, args...).Scan(&n); err != nil {
		return -1 // the table may not be there yet
	}
	return n
}

// eventually waits for a condition, two minutes at most.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// run runs a command to its end, which must be a good one, and returns what it printed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, log bytes.Buffer
	if code := command.Run(ctx, args, &out, &log); code != 0 {
		w.t.Fatalf("candlestack %s: code %d\n%s%s", strings.Join(args, " "), code, &out, &log)
	}
	return out.String()
}

// service is a command that runs until it is stopped.
type service struct {
	world *world
	ops   string
	end   context.CancelFunc
	code  chan int
	log   *logBuffer
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a command beside the test.
func (w *world) start(args ...string) *service {
	w.t.Helper()
	port, err := stack.FreePort()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{world: w, ops: fmt.Sprintf("127.0.0.1:%d", port), end: cancel, code: make(chan int, 1), log: &logBuffer{}}
	w.commands.Go(func() { s.code <- command.Run(ctx, append(args, "--ops.listen", s.ops), io.Discard, s.log) })
	w.t.Cleanup(func() {
		cancel()
		if w.t.Failed() {
			w.t.Logf("log of candlestack %s:\n%s", strings.Join(args[:2], " "), s.log)
		}
	})
	return s
}

// source runs the Binance source on a simulator.
func (w *world) source(sim *simulator.Simulator, args ...string) *service {
	return w.start(append([]string{"source", "binance", "--kafka.brokers", w.kafka, "--rest-url", "http://" + sim.Addr(), "--stream-url", "ws://" + sim.Addr()}, args...)...)
}

// sink runs the MySQL sink. The session time-out is short so that a test that
// kills does not wait for the group.
func (w *world) sink(args ...string) *service {
	return w.start(append([]string{"sink", "mysql", "--kafka.brokers", w.kafka, "--mysql.dsn", w.dsn, "--kafka.config", "session.timeout.ms=6000"}, args...)...)
}

// stop ends the service in order.
func (s *service) stop() {
	s.world.t.Helper()
	s.end()
	select {
	case code := <-s.code:
		if code == 0 {
			return
		}
		s.world.t.Fatalf("code %d after an orderly stop\n%s", code, s.log)
	case <-time.After(time.Minute):
		s.world.t.Fatalf("does not stop\n%s", s.log)
	}
}

// ready is empty when /-/ready says yes, else what it says.
func (s *service) ready() string {
	resp, err := http.Get("http://" + s.ops + "/-/ready")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// metric sums the series of a family whose labels hold the pairs given.
func (s *service) metric(name string, pairs ...string) (total float64) {
	s.world.t.Helper()
	resp, err := http.Get("http://" + s.ops + "/metrics")
	if err != nil {
		return 0 // not up yet
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		s.world.t.Fatal(err)
	}
	for _, m := range families[name].GetMetric() {
		if labelled(m, pairs) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func labelled(m *dto.Metric, pairs []string) bool {
	have := map[string]string{}
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if have[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

// drained tells whether all records of the topics are in MySQL, or dead letters.
func (w *world) drained(topics ...string) bool { return w.drainedBy("candlestack-mysql", topics...) }

func (w *world) drainedBy(group string, topics ...string) bool {
	ctx := context.Background()
	ends, err := w.admin.ListEndOffsets(ctx, topics...)
	if err != nil || ends.Error() != nil {
		return false
	}
	committed, err := w.admin.FetchOffsets(ctx, group)
	if err != nil {
		return false
	}
	done := true
	ends.Each(func(o kadm.ListedOffset) {
		at, ok := committed.Lookup(o.Topic, o.Partition)
		done = done && (o.Offset == 0 || ok && at.At >= o.Offset)
	})
	return done
}

// ends counts the records that the topics have had.
func (w *world) ends(topics ...string) (n int64) {
	w.t.Helper()
	var ends kadm.ListedOffsets
	w.eventually("Kafka tells the ends of topics", func() (ok bool) { // not at once of topics just made
		var err error
		ends, err = w.admin.ListEndOffsets(context.Background(), topics...)
		return err == nil && ends.Error() == nil
	})
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// recordings is the folder of real recordings; the test is skipped where it is absent.
func recordings(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no recordings: ../shared/data is absent")
	}
	return path
}

var (
	candleTopics = []string{market.TopicCandles, market.TopicGaps}
	newsTopics   = []string{market.TopicPosts}
)
