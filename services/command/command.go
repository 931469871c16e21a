// Package command holds the commands of the binary, one file each: it reads
// flags, wires packages together and runs them. The demo runs the same commands.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/telemetry"
)

// tree is the command line.
type tree struct {
	Log telemetry.LogConfig `embed:"" prefix:"log."`

	Source struct {
		Binance     sourceBinance     `cmd:"" help:"Candles of Binance spot into market.candles, its gaps into market.gaps."`
		Cryptopanic sourceCryptopanic `cmd:"" help:"Posts of CryptoPanic into news.posts; needs a token."`
		RSS         sourceRSS         `cmd:"" name:"rss" help:"Posts of RSS, Atom and JSON feeds into news.posts; needs no key."`
	} `cmd:"" help:"From an exchange or a feed into Kafka."`
	Sink struct {
		MySQL   sinkMySQL   `cmd:"" name:"mysql" help:"Candles and gaps into MySQL or MariaDB."`
		MongoDB sinkMongoDB `cmd:"" name:"mongodb" help:"News posts and their votes into MongoDB."`
	} `cmd:"" help:"From Kafka into a store."`
	Simulate   simulate `cmd:"" help:"An exchange that speaks Binance's wire formats and the news about it: a seeded market, or a recording."`
	Topics     topics   `cmd:"" help:"The topics of the stack."`
	Deadletter letters  `cmd:"" help:"Records that could not be stored."`
	Gaps       gaps     `cmd:"" help:"Candles that are missing in MySQL."`
	Doctor     doctor   `cmd:"" help:"Reaches every dependency that is named, one line each."`
	Alerts     alerts   `cmd:"" help:"Prints the alerts that an Alertmanager sends, one line each: for a class, or to try the way of alerts."`
	Ready      ready    `cmd:"" help:"Asks a command on this machine whether it is ready: a health check for images without a shell."`
	Version    version  `cmd:"" help:"Prints the version."`
}

// process is what a command gets beside its flags.
type process struct {
	ctx    context.Context
	stdout io.Writer
	log    *slog.Logger
}

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMistake = 2 // of the user, in words or settings
)

// Run runs the command that args name until it is done or ctx ends, and returns
// the exit code. Log and errors go to stderr, results to stdout.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var t tree
	exited, code := false, exitOK
	parser := kong.Must(&t,
		kong.Name("candlestack"),
		kong.Description("Market data from exchanges through Kafka into stores: exact, complete, observed.\n\n"+
			"Every flag can be given in the environment: --kafka.brokers as CANDLESTACK_KAFKA_BROKERS; a flag without a dot in its name has that of the command in front: --instruments of source binance as CANDLESTACK_BINANCE_INSTRUMENTS."),
		kong.PostBuild(nameVariables),
		kong.TypeMapper(reflect.TypeFor[time.Time](), kong.MapperFunc(decodeTime)),
		kong.ValueFormatter(explain),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { exited, code = true, c }),
	)
	parsed, err := parser.Parse(args)
	if exited { // --help
		return code
	}
	var early *kong.ParseError
	if len(args) == 0 && errors.As(err, &early) {
		early.Context.Stdout = stderr
		if err := early.Context.PrintUsage(true); err != nil {
			return exitFailed
		}
		return exitMistake
	}
	// Kong validates what is embedded, needed or not, and stops at the first
	// mistake. The commands validate what they use, and tell all.
	var mistake *pipeline.ConfigError
	var joined interface{ Unwrap() []error }
	switch {
	case errors.As(err, &early) && errors.As(err, &mistake):
		parsed, err = early.Context, nil
	case errors.As(err, &joined): // without the flag or command that Kong puts in front
		err = errors.Join(joined.Unwrap()...)
	}
	if err == nil {
		err = t.Log.Validate()
	}
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	log, err := t.Log.Logger(stderr)
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	err = parsed.Run(&process{ctx: ctx, stdout: stdout, log: log.With("command", parsed.Command())})
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &mistake):
		tell(stderr, err)
		return exitMistake
	}
	tell(stderr, err)
	return exitFailed
}

// nameVariables gives each flag its name in the environment. One environment
// serves all commands, so a flag that is not of a part that several share, as
// kafka. is, has the command's name in it.
func nameVariables(k *kong.Kong) error {
	upper := strings.NewReplacer("-", "_", ".", "_")
	var walk func(n *kong.Node, command string)
	walk = func(n *kong.Node, command string) {
		if command == "" && n.Name != "source" && n.Name != "sink" && n.Type == kong.CommandNode {
			command = n.Name + "."
		}
		for _, flag := range n.Flags {
			if flag.Name == "help" {
				continue
			}
			name := flag.Name
			if !strings.Contains(name, ".") {
				name = command + name
			}
			name = "CANDLESTACK_" + strings.ToUpper(upper.Replace(name))
			flag.Envs, flag.Tag.Envs = []string{name}, []string{name}
		}
		for _, child := range n.Children {
			walk(child, command)
		}
	}
	walk(k.Model.Node, "")
	return nil
}

// explain is the help of a flag, with its default where a placeholder hides it.
// The names in the environment follow a rule and would take a line each.
func explain(v *kong.Value) string {
	if v.Tag.PlaceHolder == "" || v.Default == "" {
		return v.Help
	}
	return v.Help + " Default: " + v.Default + "."
}

// decodeTime reads a flag. Its error is joined, as those of Validate are, so that
// Run prints it as one of them.
func decodeTime(ctx *kong.DecodeContext, target reflect.Value) error {
	var value string
	if err := ctx.Scan.PopValueInto("time", &value); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return errors.Join(fmt.Errorf("--%s %q: is not RFC 3339, like 2026-11-21T00:00:00Z", ctx.Value.Name, value))
	}
	target.Set(reflect.ValueOf(t))
	return nil
}

// tell prints each of the joined errors on a line of its own.
func tell(w io.Writer, err error) {
	var joined interface{ Unwrap() []error }
	if strings.Contains(err.Error(), "\n") && errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			tell(w, e)
		}
		return
	}
	fmt.Fprintf(w, "candlestack: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// service is what every command that runs for ever has.
type service struct {
	Ops   telemetry.OpsConfig `embed:"" prefix:"ops."`
	Kafka kafka.Config        `embed:"" prefix:"kafka."`
}

// stopWithin bounds an orderly stop: ten seconds, Docker's patience before it kills.
const stopWithin = 10 * time.Second

// serve runs the parts that start makes beside the ops server, which ends last.
func (s *service) serve(p *process, start func(report func(part, problem string), reg *prometheus.Registry) ([]telemetry.Part, error)) error {
	reg := telemetry.NewRegistry()
	health := telemetry.NewHealth(p.log)
	ops, err := telemetry.NewOps(s.Ops, reg, health, p.log)
	if err != nil {
		return err
	}
	defer ops.Close()
	parts, err := start(health.Set, reg)
	if err != nil {
		return err
	}
	p.log.Info("started", "version", telemetry.BuildVersion().Version, "ops", ops.Addr())
	err = telemetry.Run(p.ctx, stopWithin, health, ops, parts...)
	if err == nil {
		p.log.Info("stopped")
	}
	return err
}

// connect makes what source and sink both need of Kafka.
func (s *service) connect(p *process, report func(part, problem string), reg prometheus.Registerer) (*kafka.Admin, *kafka.Producer, error) {
	admin, err := kafka.NewAdmin(s.Kafka)
	if err != nil {
		return nil, nil, err
	}
	producer, err := kafka.NewProducer(s.Kafka, report, p.log, reg)
	return admin, producer, err
}

// closing bounds the end of a part by what is left of stopWithin once ctx has
// ended; a command that ends by itself takes the time it needs.
func closing(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), stopWithin*8/10)
}

// version prints what was built.
type version struct{}

// Run prints one line.
func (*version) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, telemetry.BuildVersion())
	return err
}
