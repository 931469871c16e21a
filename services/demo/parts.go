package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	exporters "github.com/candlestack/candlestack/exporters/command"
	"github.com/candlestack/candlestack/prometheus"
	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/stack"
)

// demo is what runs.
type demo struct {
	ctx       context.Context // of the run: this struct lives as long as show
	dir       string
	log       io.Writer
	broker    *stack.Kafka
	store     *stack.MySQL
	documents *stack.Mongo
	begun     time.Time
	parts     []*part         // in the order of their start
	given     map[string]bool // addresses that parts were told to listen on
	ended     chan struct{}   // a command has ended
	seen      bool            // a row
	last      atomic.Pointer[state]
}

// part is a command that runs.
type part struct {
	name string // as targets/demo.yml has it
	addr string // host:port of its /metrics
	stop context.CancelFunc
	end  chan error
}

// Names of the parts, those of targets/demo.yml.
const (
	simulator   = "simulator"
	binance     = "source-binance"
	rss         = "source-rss"
	cryptopanic = "source-cryptopanic"
	sinkMySQL   = "sink-mysql"
	sinkMongoDB = "sink-mongodb"
	watcher     = "exporter"
)

// part returns the part of that name.
func (d *demo) part(name string) *part {
	for _, p := range d.parts {
		if p.name == name {
			return p
		}
	}
	panic("the demo has no part " + name)
}

// commands starts the commands of the binary, each as a user would.
func (d *demo) commands(f flags, stdout io.Writer) error {
	if code := command.Run(d.ctx, []string{"topics", "apply", "--kafka.brokers", d.broker.Addr}, io.Discard, d.log); code != 0 {
		return fmt.Errorf("topics apply ended with code %d, see the log", code)
	}
	candles := []string{"source", "binance"}
	feeds := []string{"source", "rss"}
	var paid []string
	if !f.Live {
		market, err := d.freePort()
		if err != nil {
			return err
		}
		sim := []string{"simulate", "--listen", market, "--seed", strconv.FormatInt(f.Seed, 10)}
		if f.Replay != "" {
			// From a day back, faster than life, so that something moves: the recording ends today.
			sim = append(sim, "--replay", f.Replay, "--start", d.begun.Add(-24*time.Hour).UTC().Format(time.RFC3339), "--speed", "120")
		}
		if err := d.run(simulator, sim...); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-10s http://%s (simulator)\n", "Market", market)
		instruments, err := d.instruments(market)
		if err != nil {
			return err
		}
		candles = append(candles, "--rest-url", "http://"+market, "--stream-url", "ws://"+market, "--instruments", instruments)
		feeds = append(feeds, "--feed", "http://"+market+"/news/rss", "--interval", "5s")
		paid = []string{"source", "cryptopanic", "--url", "http://" + market, "--token", "demo", "--pages", "3", "--interval", "5s"}
	}
	if d.store.Forgets { // and it is slow: an hour is enough to look at
		candles = append(candles, "--since", d.begun.Add(-time.Hour).UTC().Format(time.RFC3339))
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{sinkMySQL, []string{"sink", "mysql", "--mysql.dsn", d.store.DSN("market")}},
		{sinkMongoDB, []string{"sink", "mongodb", "--mongodb.uri", d.documents.URI, "--mongodb.connections", "1"}}, // FerretDB replaces in two steps: writers must not meet
		{binance, candles},
		{rss, feeds},
		{cryptopanic, paid},
	} {
		if c.args == nil {
			continue
		}
		if err := d.run(c.name, append(c.args, "--kafka.brokers", d.broker.Addr)...); err != nil {
			return err
		}
	}
	return d.exporter()
}

// run starts a command of the binary.
func (d *demo) run(name string, args ...string) error {
	return d.start(name, "--ops.listen", command.Run, args...)
}

// exporter starts the watcher.
func (d *demo) exporter() error {
	return d.start(watcher, "--web.listen-address", exporters.Run, "--kafka.server", d.broker.Addr, "--refresh.interval", "5s", "--stores.interval", "5s", "--stores.slow-interval", "10s", "--probe.enabled", "--probe.create-topic",
		"--mysql.dsn", d.store.DSN("market"), "--mongodb.uri", d.documents.URI)
}

// start starts a program, which is told by flag listen where to show its
// metrics; stop ends it.
func (d *demo) start(name, listen string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int, args ...string) error {
	addr, err := d.freePort()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.ctx))
	p := &part{name: name, addr: addr, stop: cancel, end: make(chan error, 1)}
	d.parts = append(d.parts, p)
	go func() {
		var err error
		if code := run(ctx, append(args, listen, addr), io.Discard, d.log); code != 0 {
			err = fmt.Errorf("%s ended with code %d, see the log", name, code)
		}
		p.end <- err
		d.ended <- struct{}{}
	}()
	return nil
}

// stop ends the commands one by one, the last to start first: the source before
// the exchange that it follows.
func (d *demo) stop() error {
	var problems []error
	for _, p := range slices.Backward(d.parts) {
		p.stop()
		problems = append(problems, <-p.end)
	}
	return errors.Join(problems...)
}

// prometheus starts a Prometheus that scrapes the parts.
func (d *demo) prometheus() (*stack.Prometheus, error) {
	targets := map[string]string{}
	for _, p := range d.parts {
		targets[p.name] = p.addr
	}
	return stack.StartPrometheus(d.dir, 0, stack.PrometheusConfig{
		Files:     prometheus.Files,
		Targets:   targets,
		Discovery: "http://" + targets[watcher] + "/sd",
		Rules:     []string{"pipeline", "kafka", "demo"},
	}, slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

// freePort returns an address that nobody listened on a moment ago, and that no
// part was told to listen on: some do so later.
func (d *demo) freePort() (addr string, err error) {
	for addr == "" || d.given[addr] {
		var port int
		if port, err = stack.FreePort(); err != nil {
			return "", err
		}
		addr = "127.0.0.1:" + strconv.Itoa(port)
	}
	d.given[addr] = true
	return addr, nil
}

// instruments asks the simulator what it trades, once it is up: a recording may
// hold but one.
func (d *demo) instruments(addr string) (string, error) {
	var info struct {
		Symbols []struct {
			Base  string `json:"baseAsset"`
			Quote string `json:"quoteAsset"`
		} `json:"symbols"`
	}
	for d.ctx.Err() == nil {
		select {
		case <-d.ended:
			return "", errors.New("the simulator ended by itself")
		case <-time.After(20 * time.Millisecond):
		}
		resp, err := http.Get("http://" + addr + "/api/v3/exchangeInfo")
		if err != nil {
			continue // not up yet
		}
		err = json.UnmarshalRead(resp.Body, &info)
		resp.Body.Close()
		if err != nil {
			return "", fmt.Errorf("asking the simulator for its instruments: %w", err)
		}
		names := make([]string, len(info.Symbols))
		for i, s := range info.Symbols {
			names[i] = s.Base + "-" + s.Quote
		}
		return strings.Join(names, ","), nil
	}
	return "", d.ctx.Err()
}
