package command_test

import (
	"bytes"
	"flag"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/exporters/broker"
	"github.com/candlestack/candlestack/exporters/cluster"
	"github.com/candlestack/candlestack/exporters/probe"
	"github.com/candlestack/candlestack/exporters/snapshot"
	"github.com/candlestack/candlestack/exporters/stores"
	"github.com/candlestack/candlestack/services/telemetry"
)

var update = flag.Bool("update", false, "write exporters/METRICS.md anew instead of comparing it")

// everything is a snapshot that fills every family.
var everything = &snapshot.Snapshot{Time: time.Unix(100, 0), Up: true, ClusterID: "id", Version: "v4.1", Mode: "kraft", Controller: 1,
	Brokers: []snapshot.Broker{{ID: 1, Host: "kafka", Port: 9092, Alive: true, Up: true}},
	Topics: []snapshot.Topic{{Name: "orders", Retention: time.Hour, MinISR: 1,
		Partitions: []snapshot.Partition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}, Start: 0, End: 5}}}},
	Groups: []snapshot.Group{{Name: "reader", Described: true, State: "Stable", Members: 1, Topics: []snapshot.GroupTopic{{Name: "orders",
		Assigned: []int32{0}, LastCommit: time.Unix(90, 0), Commits: []snapshot.Commit{{Offset: 3, Oldest: time.Unix(80, 0), Known: true}}}}}},
}

func TestMetricsDocument(t *testing.T) {
	own := telemetry.NewCatalogue()
	s, err := snapshot.New(snapshot.Config{
		Kafka:   snapshot.KafkaConfig{Server: []string{"127.0.0.1:1"}},
		Refresh: snapshot.RefreshConfig{Interval: time.Second, Deadline: time.Second, BrokerTimeout: time.Second},
	}, slog.New(slog.DiscardHandler), own)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	page := cluster.Config{ShowAll: true, Granularity: "partition"}
	if _, err := cluster.New(page, own); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.New(broker.Config{Dialects: []string{"jmx"}}, own); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("# Metrics of candlestack-exporter\n\nThis page is generated: a test writes it with -update, and compares it without.\n\n" +
		"## The cluster\n\nServed at `/metrics`, as text that is encoded once a refresh. Names, labels and meaning of most are kafka_exporter's.\n\n")
	if err := telemetry.Document(&b, shown(t, page)); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n## Brokers and the controller\n\nServed at `/broker/{id}/metrics` and `/controller/metrics`, which Prometheus finds by `/sd`. [FIDELITY.md](FIDELITY.md) lists them.\n")
	held := telemetry.NewCatalogue()
	asked, err := stores.New(stores.Config{
		MySQL: stores.MySQLConfig{Group: "sink"}, MongoDB: stores.MongoDBConfig{Database: "news"},
		Stores: stores.ClockConfig{Interval: time.Second, SlowInterval: time.Second, Timeout: time.Second},
	}, nil, slog.New(slog.DiscardHandler), own)
	if err != nil {
		t.Fatal(err)
	}
	held.MustRegister(asked)
	b.WriteString("\n## The stores\n\nServed at `/stores/metrics`, where `--mysql.dsn` or `--mongodb.uri` is given: the answers to the last questions.\n\n")
	if err := telemetry.Document(&b, held.Families()); err != nil {
		t.Fatal(err)
	}
	canaries := telemetry.NewCatalogue()
	if _, err := probe.New(probe.Config{Topic: "t", Group: "g", Interval: time.Second, Deadline: 500 * time.Millisecond}, []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}, slog.New(slog.DiscardHandler), canaries); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n## The probe\n\nServed at `/probe/metrics` with `--probe.enabled`.\n\n")
	if err := telemetry.Document(&b, canaries.Families()); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n## The exporter itself\n\nServed at `/exporter/metrics`, beside the Go runtime (`go_*`), the process (`process_*`) and the scraping itself (`promhttp_*`).\n\n")
	if err := telemetry.Document(&b, own.Families()); err != nil {
		t.Fatal(err)
	}
	const file = "../METRICS.md"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("exporters/METRICS.md is old, run the test with -update: %s", diff)
	}
}

// shown are the families of a page that has everything.
func shown(t *testing.T, cfg cluster.Config) (families []telemetry.Family) {
	var text bytes.Buffer
	cfg.Write(&text, everything)
	p := expfmt.NewTextParser(model.LegacyValidation)
	read, err := p.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(read)) {
		f := telemetry.Family{Name: name, Type: strings.ToLower(read[name].GetType().String()), Help: read[name].GetHelp()}
		for _, l := range read[name].GetMetric()[0].GetLabel() {
			f.Labels = append(f.Labels, l.GetName())
		}
		slices.Sort(f.Labels)
		families = append(families, f)
	}
	return families
}

func TestOwnMetricsAreClean(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := snapshot.New(snapshot.Config{
		Kafka:   snapshot.KafkaConfig{Server: []string{"127.0.0.1:1"}},
		Refresh: snapshot.RefreshConfig{Interval: time.Second, Deadline: time.Second, BrokerTimeout: time.Second},
	}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := cluster.New(cluster.Config{Granularity: "partition"}, reg); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.New(broker.Config{Dialects: []string{"jmx", "strimzi"}}, reg); err != nil {
		t.Fatal(err)
	}
	s.Refresh(t.Context()) // nobody answers
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	failed := func(f *dto.MetricFamily) bool { return f.GetName() == "candlestack_exporter_refresh_duration_seconds" }
	if i := slices.IndexFunc(families, failed); i < 0 || len(families[i].GetMetric()) != 2 {
		t.Error("no duration of the look that failed")
	}
}
