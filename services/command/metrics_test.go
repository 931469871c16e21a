package command_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	diff "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
	"github.com/candlestack/candlestack/services/news/rss"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/simulator"
	"github.com/candlestack/candlestack/services/store/mongodb"
	"github.com/candlestack/candlestack/services/store/mysql"
	"github.com/candlestack/candlestack/services/telemetry"
)

var update = flag.Bool("update", false, "write METRICS.md anew instead of comparing it")

// catalogue is a telemetry.Catalogue that also notes labels which are fixed where a
// metric is made, as client="producer": to a reader they are labels like any other.
type catalogue struct {
	*telemetry.Catalogue
	fixed map[string][]string // by name of the family
}

func newCatalogue() *catalogue {
	return &catalogue{telemetry.NewCatalogue(), map[string][]string{}}
}

var (
	fixedLabels = regexp.MustCompile(`fqName: "([^"]*)".*constLabels: \{([^}]*)\}`)
	labelName   = regexp.MustCompile(`(\w+)="`)
)

func (c *catalogue) Register(collector prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() { collector.Describe(descs); close(descs) }()
	for desc := range descs {
		m := fixedLabels.FindStringSubmatch(desc.String())
		c.fixed[m[1]] = nil
		for _, label := range labelName.FindAllStringSubmatch(m[2], -1) {
			c.fixed[m[1]] = append(c.fixed[m[1]], label[1])
		}
	}
	return c.Catalogue.Register(collector)
}

func (c *catalogue) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := c.Register(collector); err != nil {
			panic(err)
		}
	}
}

func (c *catalogue) families() []telemetry.Family {
	families := c.Families()
	for i, f := range families {
		families[i].Labels = append(slices.Clone(c.fixed[f.Name]), f.Labels...)
	}
	return families
}

// section is what one command shows.
type section struct {
	command  string
	args     []string // with nothing of the world in reach
	families []telemetry.Family
}

// sections makes the parts of each command, as it wires them, on a catalogue;
// none of them needs a server to be made.
func sections(t *testing.T) []section {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	report := func(string, string) {}
	absent := kafka.Config{Brokers: []string{"127.0.0.1:1"}}
	produce := func(reg prometheus.Registerer) *kafka.Producer {
		p, err := kafka.NewProducer(absent, report, log, reg)
		must(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			p.Close(ctx)
		})
		return p
	}

	var cfg struct {
		Binance     binance.Config      `embed:"" prefix:"binance."`
		Cryptopanic cryptopanic.Config  `embed:"" prefix:"cryptopanic."`
		RSS         rss.Config          `embed:"" prefix:"rss."`
		Source      engine.SourceConfig `embed:""`
		Sink        engine.SinkConfig   `embed:"" prefix:"batch."`
		MySQL       mysql.Config        `embed:"" prefix:"mysql."`
		MongoDB     mongodb.Config      `embed:"" prefix:"mongodb."`
		Simulator   simulator.Config    `embed:"" prefix:"simulator."`
	}
	parser, err := kong.New(&cfg)
	must(t, err)
	_, err = parser.Parse([]string{"--mysql.dsn", "root@tcp(127.0.0.1:1)/market", "--mongodb.uri", "mongodb://127.0.0.1:1", "--cryptopanic.token", "t", "--rss.feed", "http://127.0.0.1:1/rss", "--simulator.listen", "127.0.0.1:0"})
	must(t, err)
	ended, end := context.WithCancel(context.Background())
	end()

	source := func(name string, open func(reg prometheus.Registerer) (pipeline.Source, error), args ...string) section {
		c := newCatalogue()
		adapter, err := open(c)
		must(t, err)
		engine.NewSource(cfg.Source, name, adapter, produce(c), nil, report, log, c)
		return section{"source " + name, append([]string{"source", name, "--kafka.brokers", "127.0.0.1:1"}, args...), c.families()}
	}
	sink := func(name string, topics []string, open func(reg prometheus.Registerer) (pipeline.Sink, error), args ...string) section {
		c := newCatalogue()
		store, err := open(c)
		must(t, err)
		t.Cleanup(func() { must(t, store.(pipeline.Closer).Close()) })
		member, err := kafka.NewConsumer(absent, kafka.ConsumerConfig{Group: "candlestack-" + name}, topics, report, log, c)
		must(t, err)
		loop := engine.NewSink(cfg.Sink, store, member, produce(c), "candlestack-"+name, report, log, c)
		t.Cleanup(func() { must(t, member.Run(ended, loop)) }) // nothing else closes a member
		return section{"sink " + name, append([]string{"sink", name, "--kafka.brokers", "127.0.0.1:1"}, args...), c.families()}
	}

	simulated := newCatalogue()
	sim, err := simulator.New(cfg.Simulator, log, simulated)
	must(t, err)
	must(t, sim.Run(ended)) // to let go of its port

	return []section{
		source("binance", func(reg prometheus.Registerer) (pipeline.Source, error) { return binance.New(cfg.Binance, log, reg) },
			"--rest-url", "http://127.0.0.1:1", "--stream-url", "ws://127.0.0.1:1"),
		source("cryptopanic", func(reg prometheus.Registerer) (pipeline.Source, error) {
			return cryptopanic.New(cfg.Cryptopanic, log, reg)
		}, "--url", "http://127.0.0.1:1", "--token", "t"),
		source("rss", func(reg prometheus.Registerer) (pipeline.Source, error) { return rss.New(cfg.RSS, log, reg) },
			"--feed", "http://127.0.0.1:1/rss"),
		sink("mysql", candleTopics, func(reg prometheus.Registerer) (pipeline.Sink, error) { return mysql.New(cfg.MySQL, log, reg) },
			"--mysql.dsn", "root@tcp(127.0.0.1:1)/market"),
		sink("mongodb", newsTopics, func(reg prometheus.Registerer) (pipeline.Sink, error) { return mongodb.New(cfg.MongoDB, log, reg) },
			"--mongodb.uri", "mongodb://127.0.0.1:1"),
		{"simulate", []string{"simulate", "--listen", "127.0.0.1:0"}, simulated.families()},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// everywhere are our families of telemetry.NewRegistry.
func everywhere(t *testing.T) []telemetry.Family {
	t.Helper()
	gathered, err := telemetry.NewRegistry().Gather()
	must(t, err)
	var families []telemetry.Family
	for _, f := range gathered {
		if strings.HasPrefix(f.GetName(), "candlestack_") {
			family := telemetry.Family{Name: f.GetName(), Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp()}
			for _, l := range f.GetMetric()[0].GetLabel() {
				family.Labels = append(family.Labels, l.GetName())
			}
			families = append(families, family)
		}
	}
	return families
}

const preface = `# Metrics

What each command serves at ` + "`/metrics`" + `. Names are prefixed ` + "`candlestack_`" + `, units are base units; histograms are both native and classic.
This page is generated: ` + "`make generate`" + ` writes it, a test compares it.

## Every command

Beside these, the Go runtime (` + "`go_*`" + `), the process (` + "`process_*`" + `) and the scraping itself (` + "`promhttp_*`" + `).

`

func TestMetricsDocument(t *testing.T) {
	var doc bytes.Buffer
	doc.WriteString(preface)
	must(t, telemetry.Document(&doc, everywhere(t)))
	for _, s := range sections(t) {
		fmt.Fprintf(&doc, "\n## candlestack %s\n\n", s.command)
		must(t, telemetry.Document(&doc, s.families))
	}
	path := filepath.Join("..", "..", "METRICS.md")
	if *update {
		must(t, os.WriteFile(path, doc.Bytes(), 0o644))
		return
	}
	have, err := os.ReadFile(path)
	must(t, err)
	if d := diff.Diff(string(have), doc.String()); d != "" {
		t.Errorf("METRICS.md is not what the code shows; make generate writes it:\n%s", d)
	}
}

// The names and helps are those that Prometheus asks of everybody (promlint).
func TestMetricsAreWellNamed(t *testing.T) {
	all := map[string]telemetry.Family{}
	for _, s := range sections(t) {
		for _, f := range s.families {
			if before, seen := all[f.Name]; seen {
				// Commands may differ in what they show, not in what a name means.
				if d := diff.Diff(before, f); d != "" {
					t.Errorf("%s means another thing in %s:\n%s", f.Name, s.command, d)
				}
			}
			all[f.Name] = f
			if !strings.HasPrefix(f.Name, "candlestack_") {
				t.Errorf("%s is not in our namespace", f.Name)
			}
		}
	}
	var families []*dto.MetricFamily
	for _, name := range slices.Sorted(maps.Keys(all)) {
		families = append(families, sample(all[name]))
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// sample is a family with one series, for families that have none yet.
func sample(f telemetry.Family) *dto.MetricFamily {
	kind := map[string]dto.MetricType{
		"counter": dto.MetricType_COUNTER, "gauge": dto.MetricType_GAUGE, "histogram": dto.MetricType_HISTOGRAM, "summary": dto.MetricType_SUMMARY,
	}[f.Type]
	m := &dto.Metric{Counter: &dto.Counter{}, Gauge: &dto.Gauge{}, Histogram: &dto.Histogram{}, Summary: &dto.Summary{}}
	for _, l := range f.Labels {
		m.Label = append(m.Label, &dto.LabelPair{Name: &l, Value: new(string)})
	}
	return &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: &kind, Metric: []*dto.Metric{m}}
}

// The document is made of parts that the test wires itself; here the commands
// as they are must show nothing that is not in it, with the labels it names.
func TestCommandsShowWhatIsDocumented(t *testing.T) {
	for _, s := range sections(t) {
		t.Run(s.command, func(t *testing.T) {
			documented := map[string]telemetry.Family{}
			for _, f := range append(s.families, everywhere(t)...) {
				documented[f.Name] = f
			}
			w := &world{t: t}
			running := w.start(s.args...)
			shown := map[string]*dto.MetricFamily{}
			w.eventually("it serves metrics", func() bool {
				resp, err := http.Get("http://" + running.ops + "/metrics")
				if err != nil {
					return false
				}
				defer resp.Body.Close()
				parser := expfmt.NewTextParser(model.UTF8Validation)
				shown, err = parser.TextToMetricFamilies(resp.Body)
				must(t, err)
				return true
			})
			running.stop()
			w.commands.Wait()
			for name, f := range shown {
				if !strings.HasPrefix(name, "candlestack_") {
					continue
				}
				want, ok := documented[name]
				if !ok {
					t.Errorf("%s is not documented", name)
					continue
				}
				var labels []string
				for _, l := range f.GetMetric()[0].GetLabel() {
					labels = append(labels, l.GetName())
				}
				slices.Sort(labels)
				slices.Sort(want.Labels)
				if d := diff.Diff(want.Labels, labels); d != "" || !strings.EqualFold(want.Type, f.GetType().String()) {
					t.Errorf("%s is documented as a %s, and is a %s; labels:\n%s", name, want.Type, cmp.Or(strings.ToLower(f.GetType().String()), "?"), d)
				}
			}
		})
	}
}
