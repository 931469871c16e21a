package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/candlestack/candlestack/grafana"
	"github.com/candlestack/candlestack/grafana/contract"
	"github.com/candlestack/candlestack/services/stack"
	"github.com/candlestack/candlestack/services/telemetry"
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
	Listen   string        `help:"Address of the page that shows what runs." default:"127.0.0.1:8089" placeholder:"HOST:PORT"`
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
	listener, err := telemetry.Listen("--listen", f.Listen)
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 2
	}
	defer listener.Close()
	if f.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.For)
		defer cancel()
	}
	if err := show(ctx, f, listener, stdout); err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// show starts the servers, then the commands, and prints a line a second.
func show(ctx context.Context, f flags, listener net.Listener, stdout io.Writer) (err error) {
	start := time.Now()
	if _, err := contract.ReadBoards(grafana.Dashboards); err != nil {
		return fmt.Errorf("reading the boards: %w", err) // nobody shows them here, but who changes one hears of it at once
	}
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
	d := &demo{ctx: ctx, dir: f.Dir, log: logFile, broker: broker, store: store, documents: documents, begun: start, given: map[string]bool{}, ended: make(chan struct{}, 8)}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.commands(f, stdout); err != nil {
		return err
	}
	prometheus, err := d.prometheus()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, prometheus.Close()) }()
	servers := map[string]string{
		"Kafka":      broker.Addr,
		"MySQL":      "mysql -h 127.0.0.1 -P " + port(store.Addr) + " -u root market",
		"MongoDB":    "mongosh " + documents.URI + "news",
		"Prometheus": "http://" + prometheus.Addr,
	}
	for _, line := range [][2]string{
		{"Page", "http://" + listener.Addr().String()},
		{"Kafka", servers["Kafka"] + " (kfake)"},
		{"MySQL", store.Name + ": " + servers["MySQL"]},
		{"MongoDB", documents.Name + ": " + servers["MongoDB"]},
		{"Exporter", "http://" + d.part(watcher).addr},
		{"Prometheus", servers["Prometheus"] + " (its API; its pages are not in the library)"},
		{"Log", logFile.Name()},
	} {
		fmt.Fprintf(stdout, "%-10s %s\n", line[0], line[1])
	}
	fmt.Fprintln(stdout)
	page := d.serve(listener, servers, prometheus.Addr)
	defer page.Close()
	return d.watch(stdout)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
