// Command bench measures the stack against the targets of its plan, and prints
// ratios where a ratio is what can be compared between machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// flags of the program.
type flags struct {
	Benchmarks []string `arg:"" optional:"" help:"What to measure: sink, documents, decode, latency, backfill, recovery, exporter. Default: all."`
	Rows       int      `help:"Candles in the sink's backlog." default:"1000000"`
	Runs       int      `help:"Runs of the sink and of decode, tries of recovery." default:"3"`
	Quick      bool     `help:"Everything small, in a couple of minutes: to see that it works, not to quote."`
	Save       string   `help:"Write the report as Markdown too; what is kept is compose/bench/RESULTS.md." type:"path" placeholder:"PATH"`
}

// benchmark measures into the world's report.
type benchmark struct {
	name string
	run  func(ctx context.Context, w *world, f flags) error
}

var benchmarks = []benchmark{
	{"sink", benchSink}, {"documents", benchDocuments}, {"decode", benchDecode}, {"latency", benchLatency}, {"backfill", benchBackfill}, {"recovery", benchRecovery}, {"exporter", benchExporter},
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	exited, code := false, 0
	parser := kong.Must(&f, kong.Name("bench"), kong.Description("Measures the stack and prints ratios. Run it from the root of the repository.\n\n"+
		"CANDLESTACK_TEST_MYSQL or _MARIADB and CANDLESTACK_TEST_KAFKA name servers, CANDLESTACK_TEST_…_CONTROL commands that stop and start them; without them it starts its own."),
		kong.Writers(stdout, stderr), kong.Exit(func(c int) { exited, code = true, c }))
	_, err := parser.Parse(args)
	if exited {
		return code
	}
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	if err := measure(ctx, f, args, stdout); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

func (f *flags) validate() error {
	var problems []error
	for _, name := range f.Benchmarks {
		if !slices.ContainsFunc(benchmarks, func(b benchmark) bool { return b.name == name }) {
			problems = append(problems, fmt.Errorf("benchmark %q is unknown", name))
		}
	}
	if f.Rows < 10_000 {
		problems = append(problems, fmt.Errorf("--rows %d: must be at least 10000", f.Rows))
	}
	if f.Runs < 1 {
		problems = append(problems, fmt.Errorf("--runs %d: must be at least 1", f.Runs))
	}
	if f.Quick {
		f.Rows, f.Runs = min(f.Rows, 100_000), 1
	}
	return errors.Join(problems...)
}

func measure(ctx context.Context, f flags, args []string, stdout io.Writer) (err error) {
	w, err := newWorld(ctx, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	w.report.config("command", strings.TrimSpace("make bench ARGS='"+strings.Join(args, " ")+"'"))
	for _, b := range benchmarks {
		if len(f.Benchmarks) > 0 && !slices.Contains(f.Benchmarks, b.name) {
			continue
		}
		w.report.begin(b.name)
		if err := b.run(ctx, w, f); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	if f.Save != "" {
		return os.WriteFile(f.Save, []byte(w.report.markdown()), 0o644)
	}
	return nil
}
