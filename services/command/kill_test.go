package command_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/ledger"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
	"github.com/candlestack/candlestack/services/stack"
)

// binaryDir holds what binary builds; TestMain removes it.
var binaryDir = filepath.Join(os.TempDir(), fmt.Sprintf("candlestack-test-%d", os.Getpid()))

// binary builds the program that users run, once.
var binary = sync.OnceValues(func() (string, error) {
	dir := binaryDir
	path := filepath.Join(dir, "candlestack")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/candlestack/candlestack/services/candlestack").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w: %s", err, out)
	}
	return path, nil
})

// kills is how many times a kill test kills: make kill N=1000.
func kills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("CANDLESTACK_KILLS"))
	if err != nil {
		return 20
	}
	return n
}

// victim is a process of the real binary that is killed and started again.
type victim struct {
	w    *world
	args []string
	ops  string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

func (w *world) victim(args ...string) *victim {
	w.t.Helper()
	port, err := stack.FreePort()
	if err != nil {
		w.t.Fatal(err)
	}
	v := &victim{w: w, ops: fmt.Sprintf("127.0.0.1:%d", port)}
	v.args = append(args, "--ops.listen", v.ops)
	w.t.Cleanup(func() {
		if v.cmd != nil && v.cmd.ProcessState == nil {
			v.kill()
		}
	})
	return v
}

func (v *victim) start() {
	v.w.t.Helper()
	path, err := binary()
	if err != nil {
		v.w.t.Fatal(err)
	}
	v.log = &bytes.Buffer{}
	v.cmd = exec.Command(path, v.args...)
	v.cmd.Stderr = v.log
	if err := v.cmd.Start(); err != nil {
		v.w.t.Fatal(err)
	}
}

// kill is SIGKILL. A process that had ended by itself is a failure.
func (v *victim) kill() {
	v.w.t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		v.w.t.Errorf("killing: %v", err)
	}
	v.cmd.Wait() // it was killed
	if v.cmd.ProcessState.Exited() {
		v.w.t.Fatalf("candlestack %s ended by itself with code %d\n%s", v.args[0], v.cmd.ProcessState.ExitCode(), v.log)
	}
}

// awaitReady waits until /-/ready answers 200.
func (v *victim) awaitReady() {
	v.w.t.Helper()
	v.w.eventually("candlestack "+v.args[0]+" is ready", func() bool {
		resp, err := http.Get("http://" + v.ops + "/-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// killAtRandom starts and kills n times, at moments from the first instruction
// to well into the work; between two lives it calls check.
func (v *victim) killAtRandom(n int, check func()) {
	v.w.t.Helper()
	for i := range n {
		v.start()
		if i%4 == 0 {
			v.awaitReady() // so that some kills hit the middle of the work on any machine
		}
		time.Sleep(rand.N(1500 * time.Millisecond))
		v.kill()
		check()
	}
}

// TestKillSink kills each sink at random moments while a producer that keeps a
// ledger goes on, and then compares ledger, store, dead letters and offsets.
// It names the promises of design §4.1 to §4.3.
func TestKillSink(t *testing.T) {
	if testing.Short() {
		t.Skip("kills take a minute: not with -short")
	}
	t.Run("mysql", func(t *testing.T) {
		w := newWorld(t)
		w.store("CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MARIADB")
		w.sayServers()
		w.killSink(ledger.Config{Topics: ledger.DefaultTopics(), DSN: w.dsn}, "mysql", "--mysql.dsn", w.dsn)
	})
	t.Run("mongodb", func(t *testing.T) {
		w := newWorld(t)
		w.documents()
		w.killSink(ledger.Config{Topics: ledger.NewsTopics(), MongoURI: w.uri, MongoDatabase: w.news.Name()}, "mongodb", "--mongodb.uri", w.uri, "--mongodb.database", w.news.Name())
	})
}

// killSink does it with the sink of that name.
func (w *world) killSink(cfg ledger.Config, name string, args ...string) {
	t := w.t
	t.Helper()
	cfg.Path, cfg.Brokers, cfg.Group = filepath.Join(t.TempDir(), "ledger"), []string{w.kafka}, "candlestack-"+name
	sink := w.victim(append([]string{"sink", name, "--kafka.brokers", w.kafka, "--kafka.instance-id", "victim", "--kafka.config", "session.timeout.ms=6000"}, args...)...)
	sink.start() // makes the schema, which the ledger reads
	sink.awaitReady()
	sink.kill()

	producer, err := ledger.NewProducer(ledger.ProducerConfig{Path: cfg.Path, Brokers: cfg.Brokers, Topics: cfg.Topics, Seed: uint64(time.Now().UnixNano()), Series: 12, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	produced := make(chan error, 1)
	go func() { produced <- producer.Run(ctx) }()
	ended := func() error { cancel(); return <-produced }
	t.Cleanup(func() { cancel() })

	n := kills(t)
	sink.killAtRandom(n, func() {
		t.Helper()
		if inv, err := ledger.CheckCommitted(context.Background(), cfg); err != nil || !inv.OK {
			t.Fatalf("after a kill: %v %v", inv, err)
		}
	})
	if err := ended(); err != nil {
		t.Fatal(err)
	}
	sink.start()
	w.eventually("the sink has caught up", func() bool {
		behind, err := ledger.Behind(context.Background(), cfg)
		return err == nil && behind == 0
	})
	sink.kill()
	invariants, err := ledger.Check(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills of the sink", n)
	for _, i := range invariants {
		t.Log(i)
		if !i.OK {
			t.Fail()
		}
	}
}

// TestKillSource kills the source at random moments while a simulated market
// runs at many times its speed; afterwards every closed candle of the answer key
// is stored. It names the promise of design §4.4.
func TestKillSource(t *testing.T) {
	if testing.Short() {
		t.Skip("kills take a minute: not with -short")
	}
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MARIADB", "CANDLESTACK_TEST_MYSQL")
	w.sayServers()
	n := kills(t)
	// At 300 times its speed the market passes 5 minutes a second; a life lasts two seconds.
	begin := time.Now().Add(-time.Duration(n) * 12 * time.Minute)
	sim := simulate(t, simulator.Config{Seed: 7, Start: begin, Speed: 300})
	source := w.victim("source", "binance", "--kafka.brokers", w.kafka, "--rest-url", "http://"+sim.Addr(), "--stream-url", "ws://"+sim.Addr(), "--state-dir", t.TempDir())
	sink := w.sink()
	source.killAtRandom(n, func() {})
	source.start()
	source.awaitReady()
	until := market.Interval("1m").Start(sim.Now())
	w.eventually("the source has caught up", func() bool {
		return w.count("SELECT COUNT(*) FROM candles WHERE closed AND open_time = ?", until.Add(-time.Minute).Time()) == 3
	})
	source.kill()
	w.eventually("the topics are drained", func() bool { return w.drained(candleTopics...) })
	sink.stop()

	from := market.Interval("1m").Start(market.MillisOf(begin).Add(-8 * 24 * time.Hour).Add(time.Minute))
	inv, err := ledger.CheckAnswers(context.Background(), w.dsn, answers(sim, from, until))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills of the source", n)
	t.Log(inv)
	if !inv.OK {
		t.Fail()
	}
	if n := w.count("SELECT COUNT(*) FROM candles WHERE conflict"); n != 0 {
		t.Errorf("%d conflicts", n)
	}
}

// answers are the closed minutes that the simulated exchange has.
func answers(sim *simulator.Simulator, from, until market.Millis) iter.Seq[market.Candle] {
	return func(yield func(market.Candle) bool) {
		for _, base := range []string{"BTC", "ETH", "XRP"} {
			for at := from; at < until; at = at.Add(time.Minute) {
				if c, ok := sim.Candle(market.Instrument{Base: base, Quote: "USDT"}, "1m", at); ok && !yield(c) {
					return
				}
			}
		}
	}
}

// sayServers tells what the test runs on: a promise that was kept on kfake is
// not yet one that Kafka keeps.
func (w *world) sayServers() {
	w.t.Helper()
	broker := "kfake (no real Kafka: set CANDLESTACK_TEST_KAFKA)"
	if w.real {
		broker = "a real Kafka"
	}
	w.t.Logf("on %s and MySQL or MariaDB %s", broker, w.version)
}
