package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"

	exporter "github.com/candlestack/candlestack/exporters/command"
	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/stack"
)

// flags of the demo.
type flags struct {
	Dir      string        `help:"Folder for the servers' data and the logs; the next run goes on with it." default:"${dir}" type:"path"`
	Seed     int64         `help:"Which market the simulator makes." default:"1"`
	Replay   string        `help:"Show a recording instead: a folder of CSV files, one such file, or a dump of klines." type:"path" placeholder:"PATH"`
	Live     bool          `help:"Use the real Binance and news feeds instead of the simulator; needs the internet."`
	Embedded bool          `help:"Use go-mysql-server even where this machine has a MySQL or MariaDB."`
	For      time.Duration `help:"End after this time. Default: at Ctrl-C." placeholder:"DURATION"`
	Fresh    bool          `help:"Forget what earlier runs have left in the folder."`
}

// market names what is shown: each has a folder of its own, for another market's
// candles are other candles.
func (f *flags) market() string {
	switch {
	case f.Live:
		return "live"
	case f.Replay != "":
		return "replay"
	}
	return "seed-" + strconv.FormatInt(f.Seed, 10)
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	exited, code := false, 0
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	parser := kong.Must(&f, kong.Name("demo"), kong.Description("Candlestack on embedded servers: simulator -> Kafka -> MySQL and MongoDB, in one process."),
		kong.Vars{"dir": filepath.Join(cache, "candlestack-demo")}, kong.Writers(stdout, stderr), kong.Exit(func(c int) { exited, code = true, c }))
	if _, err := parser.Parse(args); err != nil && !exited {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 2
	}
	if exited {
		return code
	}
	if f.Live && f.Replay != "" {
		fmt.Fprintf(stderr, "demo: --replay %q: goes with the simulator, not with --live\n", f.Replay)
		return 2
	}
	if f.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.For)
		defer cancel()
	}
	if err := show(ctx, f, stdout); err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// show starts the servers, then the commands, and prints a line a second.
func show(ctx context.Context, f flags, stdout io.Writer) (err error) {
	start := time.Now()
	f.Dir = filepath.Join(f.Dir, f.market())
	if f.Fresh {
		if err := os.RemoveAll(f.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return err
	}
	store, err := stack.StartMySQL(ctx, f.Dir, f.Embedded)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	kafkaDir := f.Dir
	if store.Forgets { // then offsets of an earlier run would hide the rows
		if kafkaDir, err = os.MkdirTemp(f.Dir, "forgotten"); err != nil {
			return err
		}
		defer os.RemoveAll(kafkaDir)
	}
	broker, err := stack.StartKafka(kafkaDir, 0)
	if err != nil {
		return err
	}
	defer broker.Close()

	documents, err := stack.StartMongo(kafkaDir, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, documents.Close()) }()

	logFile, err := os.Create(filepath.Join(f.Dir, "log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	d := &demo{ctx: ctx, log: logFile, broker: broker, store: store, documents: documents, begun: start, ended: make(chan struct{}, 7)}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.commands(f, stdout); err != nil {
		return err
	}
	for _, line := range [][2]string{
		{"Kafka", broker.Addr + " (kfake)"},
		{"MySQL", fmt.Sprintf("%s (%s): mysql -h 127.0.0.1 -P %s -u root market", store.Addr, store.Name, port(store.Addr))},
		{"MongoDB", fmt.Sprintf("%s: mongosh %snews", documents.Name, documents.URI)},
		{"Metrics", "http://" + strings.Join(d.ops, "/metrics http://") + "/metrics"},
		{"Watcher", "http://" + d.exporter + " (exporter)"},
		{"Log", logFile.Name()},
	} {
		fmt.Fprintf(stdout, "%-7s %s\n", line[0], line[1])
	}
	fmt.Fprintln(stdout)
	return d.watch(stdout)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// demo is what runs.
type demo struct {
	ctx       context.Context // of the run: this struct lives as long as show
	log       io.Writer
	broker    *stack.Kafka
	store     *stack.MySQL
	documents *stack.Mongo
	begun     time.Time
	parts     []part        // in the order of their start
	ops       []string      // host:port of /metrics of sinks and sources; first those of sinks: candles, news
	exporter  string        // host:port
	ended     chan struct{} // a command has ended
	seen      bool          // a row
}

// part is a command that runs.
type part struct {
	stop context.CancelFunc
	end  chan error
}

// commands starts the commands of the binary, each as a user would.
func (d *demo) commands(f flags, stdout io.Writer) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	market := ports[0]
	if code := command.Run(d.ctx, []string{"topics", "apply", "--kafka.brokers", d.broker.Addr}, io.Discard, d.log); code != 0 {
		return fmt.Errorf("topics apply ended with code %d, see the log", code)
	}
	candles := []string{"source", "binance"}
	feeds := [][]string{{"source", "rss"}}
	if !f.Live {
		sim := []string{"simulate", "--listen", market, "--ops.listen", ports[1], "--seed", strconv.FormatInt(f.Seed, 10)}
		if f.Replay != "" {
			// From a day back, faster than life, so that something moves: the recording ends today.
			sim = append(sim, "--replay", f.Replay, "--start", d.begun.Add(-24*time.Hour).UTC().Format(time.RFC3339), "--speed", "120")
		}
		d.run(sim...)
		fmt.Fprintf(stdout, "%-7s http://%s (simulator)\n", "Market", market)
		instruments, err := d.instruments(market)
		if err != nil {
			return err
		}
		candles = append(candles, "--rest-url", "http://"+market, "--stream-url", "ws://"+market, "--instruments", instruments)
		feeds = [][]string{
			{"source", "rss", "--feed", "http://" + market + "/news/rss", "--interval", "5s"},
			{"source", "cryptopanic", "--url", "http://" + market, "--token", "demo", "--pages", "3", "--interval", "5s"},
		}
	}
	if d.store.Forgets { // and it is slow: an hour is enough to look at
		candles = append(candles, "--since", d.begun.Add(-time.Hour).UTC().Format(time.RFC3339))
	}
	commands := [][]string{
		{"sink", "mysql", "--mysql.dsn", d.store.DSN("market")},
		{"sink", "mongodb", "--mongodb.uri", d.documents.URI, "--mongodb.connections", "1"}, // FerretDB replaces in two steps: writers must not meet
		candles,
	}
	commands = append(commands, feeds...)
	if d.ops, err = freePorts(len(commands)); err != nil {
		return err
	}
	for i, args := range commands {
		d.run(append(args, "--kafka.brokers", d.broker.Addr, "--ops.listen", d.ops[i])...)
	}
	watcher, err := freePorts(1)
	if err != nil {
		return err
	}
	d.exporter = watcher[0]
	d.start(exporter.Run, "--kafka.server", d.broker.Addr, "--web.listen-address", d.exporter, "--refresh.interval", "5s", "--probe.enabled", "--probe.create-topic",
		"--mysql.dsn", d.store.DSN("market"), "--mongodb.uri", d.documents.URI)
	return nil
}

// freePorts returns addresses that nobody listened on a moment ago.
func freePorts(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		p, err := stack.FreePort()
		if err != nil {
			return nil, err
		}
		addrs[i] = "127.0.0.1:" + strconv.Itoa(p)
	}
	return addrs, nil
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

// run starts a command of the binary.
func (d *demo) run(args ...string) { d.start(command.Run, args...) }

// start starts a program; stop ends it.
func (d *demo) start(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int, args ...string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(d.ctx))
	p := part{stop: cancel, end: make(chan error, 1)}
	d.parts = append(d.parts, p)
	go func() {
		var err error
		if code := run(ctx, args, io.Discard, d.log); code != 0 {
			err = fmt.Errorf("candlestack %s %s ended with code %d, see the log", args[0], args[1], code)
		}
		p.end <- err
		d.ended <- struct{}{}
	}()
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

// watch prints until a command or the run ends.
func (d *demo) watch(stdout io.Writer) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for tick := 0; ; {
		select {
		case <-d.ctx.Done():
			return nil
		case <-d.ended:
			return errors.New("a command ended by itself, see the log")
		case <-ticker.C:
		}
		s, err := scrape(d.ctx, d.broker, d.ops[0], d.ops[1])
		if err != nil {
			continue // not up yet: what is wrong for long is in the log
		}
		if !d.seen && s.written > 0 {
			d.seen = true
			fmt.Fprintf(stdout, "first row %.1f s after the start\n", time.Since(d.begun).Seconds())
		}
		if tick%10 == 0 {
			fmt.Fprintln(stdout, s)
		}
		tick++
	}
}
