// Command lab prepares what the notebooks work on and the pipeline alone does not
// bring: news of the past, a database with planted faults, and sums of recorded
// candles to compare with.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// commands of the program.
type commands struct {
	News   news   `cmd:"" help:"Send the simulator's news of the past to Kafka, as if it had been watched from minute to minute."`
	Faults faults `cmd:"" help:"Fill a database with candles of the market, and plant faults in them."`
	Sums   sums   `cmd:"" help:"Print the answer key of recorded candles, added up by other code than the simulator's."`
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// run is the program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	exited, code := false, 0
	parser := kong.Must(&commands{}, kong.Name("lab"), kong.Description("What the notebooks need beside the pipeline."),
		kong.DefaultEnvars("LAB"), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(stdout, (*io.Writer)(nil)),
		kong.Writers(stdout, stderr), kong.Exit(func(c int) { exited, code = true, c }))
	chosen, err := parser.Parse(args)
	if exited {
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "lab: %v\n", err)
		return 2
	}
	err = chosen.Run()
	var wrong *pipeline.ConfigError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		code = 2
	default:
		code = 1
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "lab: %s\n", line)
	}
	return code
}

// span is a stretch of the past.
type span struct {
	Since time.Time `help:"Begin (RFC 3339)." required:"" placeholder:"TIME"`
	Until time.Time `help:"End (RFC 3339)." required:"" placeholder:"TIME"`
}

func (s *span) validate() error {
	if !s.Until.After(s.Since) {
		return &pipeline.ConfigError{Field: "--until", Value: s.Until.Format(time.RFC3339), Err: errors.New("must be after --since")}
	}
	if s.Until.After(time.Now()) {
		return &pipeline.ConfigError{Field: "--until", Value: s.Until.Format(time.RFC3339), Err: errors.New("lies in the future")}
	}
	return nil
}

func (s *span) millis() (from, to market.Millis) {
	return market.MillisOf(s.Since), market.MillisOf(s.Until)
}
