// Package command is the command line of the exporter: it reads flags, wires
// collectors to their server and runs them. The demo runs it too.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/exporters/broker"
	"github.com/candlestack/candlestack/exporters/cluster"
	"github.com/candlestack/candlestack/exporters/probe"
	"github.com/candlestack/candlestack/exporters/snapshot"
	"github.com/candlestack/candlestack/exporters/stores"
	"github.com/candlestack/candlestack/services/telemetry"
)

// flags is the command line: kafka_exporter's, and what goes beyond.
type flags struct {
	Log      telemetry.LogConfig `embed:"" prefix:"log."`
	Web      webConfig           `embed:"" prefix:"web."`
	Snapshot snapshot.Config     `embed:""`
	Cluster  cluster.Config      `embed:""`
	Broker   broker.Config       `embed:""`
	Stores   stores.Config       `embed:""`
	Probe    probe.Config        `embed:"" prefix:"probe."`
	Ignored  ignored             `embed:""`
	Version  bool                `help:"Print the version and end."`
}

// validate reports all that cannot work.
func (f *flags) validate() error {
	return errors.Join(f.Log.Validate(), f.Web.Validate(), f.Snapshot.Validate(), f.Cluster.Validate(), f.Broker.Validate(), f.Stores.Validate(), f.Probe.Validate(), f.Ignored.Validate())
}

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMistake = 2 // of the user, in words or settings
)

// Run runs the exporter until ctx ends, and returns the exit code. The log and
// errors go to stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f flags
	exited, code := false, exitOK
	parser := kong.Must(&f,
		kong.Name("candlestack-exporter"),
		kong.Description("Watches Kafka through its own protocol and the stores through queries: a drop-in for kafka_exporter, and more.\n\n"+
			"Every flag can be given in the environment: --kafka.server as CANDLESTACK_EXPORTER_KAFKA_SERVER."),
		kong.PostBuild(nameVariables),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { exited, code = true, c }),
	)
	parsed, err := parser.Parse(args)
	if exited { // --help
		return code
	}
	// Kong validates what is embedded, and stops at the first mistake.
	var early *kong.ParseError
	if mistakes := f.validate(); mistakes != nil && errors.As(err, &early) && early.Context.Error == nil {
		err = mistakes
	}
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	if f.Version {
		fmt.Fprintln(stdout, telemetry.BuildVersion())
		return exitOK
	}
	log, err := f.Log.Logger(stderr)
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	if names := given(parsed); len(names) > 0 {
		log.Info("flags of kafka_exporter that mean nothing here", "flags", strings.Join(names, " "))
	}
	return f.run(ctx, log, stderr)
}

// stopWithin bounds an orderly stop: ten seconds, Docker's patience before it kills.
const stopWithin = 10 * time.Second

func (f *flags) run(ctx context.Context, log *slog.Logger, stderr io.Writer) int {
	server, err := newServer(f.Web, log)
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	defer server.close()
	reg := telemetry.NewRegistry()
	health := telemetry.NewHealth(log, "kafka")
	collectors, err := f.collectors(server, health, log, reg)
	if err != nil {
		tell(stderr, err)
		return exitMistake
	}
	server.own(reg, health)
	none, err := telemetry.NewOps(telemetry.OpsConfig{}, prometheus.NewRegistry(), health, log) // ours is another server
	if err != nil {
		tell(stderr, err)
		return exitFailed
	}
	log.Info("started", "version", telemetry.BuildVersion().Version, "address", server.addr())
	err = telemetry.Run(ctx, stopWithin, health, none, append([]telemetry.Part{{Name: "web", Run: server.run}}, collectors...)...)
	if err != nil {
		tell(stderr, err)
		return exitFailed
	}
	log.Info("stopped")
	return exitOK
}

// collectors makes what looks and gives the server its pages; what looking took
// goes into reg. An error is one of the settings.
func (f *flags) collectors(server *server, health *telemetry.Health, log *slog.Logger, reg *prometheus.Registry) ([]telemetry.Part, error) {
	page, err := cluster.New(f.Cluster, reg)
	if err != nil {
		return nil, err
	}
	brokers, err := broker.New(f.Broker, reg)
	if err != nil {
		return nil, err
	}
	snapshots, err := snapshot.New(f.Snapshot, log, reg)
	if err != nil {
		return nil, err
	}
	snapshots.OnChange = func(s *snapshot.Snapshot) {
		page.Show(s)
		brokers.Show(s)
	}
	snapshots.Report = func(problem string) { health.Set("kafka", problem) }
	server.handle(f.Web.TelemetryPath, page)
	handlers := brokers.Handlers()
	for _, path := range slices.Sorted(maps.Keys(handlers)) {
		server.handle(path, handlers[path])
	}
	parts := []telemetry.Part{{Name: "snapshot", Run: snapshots.Run}}

	options, err := f.Snapshot.Options()
	if err != nil {
		return nil, err
	}
	held := prometheus.NewRegistry()
	asked, err := stores.New(f.Stores, options, log, reg)
	if err != nil {
		return nil, err
	}
	held.MustRegister(asked)
	server.collect(storeMetrics, held)
	parts = append(parts, telemetry.Part{Name: "stores", Run: asked.Run})

	if !f.Probe.Enabled {
		return parts, nil
	}
	canaries := prometheus.NewRegistry()
	sent, err := probe.New(f.Probe, options, log, canaries)
	if err != nil {
		return nil, err
	}
	server.collect(probeMetrics, canaries)
	return append(parts, telemetry.Part{Name: "probe", Run: sent.Run}), nil
}

// nameVariables gives each flag its name in the environment.
func nameVariables(k *kong.Kong) error {
	upper := strings.NewReplacer("-", "_", ".", "_")
	for _, flag := range k.Model.Flags {
		if flag.Name == "help" || flag.Name == "version" {
			continue
		}
		envs := []string{"CANDLESTACK_EXPORTER_" + strings.ToUpper(upper.Replace(flag.Name))}
		if flag.Name == "sasl.password" {
			envs = append(envs, "SASL_USER_PASSWORD") // kafka_exporter's
		}
		flag.Envs, flag.Tag.Envs = envs, envs
	}
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
	fmt.Fprintf(w, "candlestack-exporter: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}
