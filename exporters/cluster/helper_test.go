package cluster_test

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/exporters/cluster"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster, a client of it, and the exporter that looks at it.
type world struct {
	fake      *kfake.Cluster // nil: a real one
	client    *kgo.Client
	admin     *kadm.Client
	registry  *prometheus.Registry
	snapshots *snapshot.Snapshotter
	shown     *cluster.Page
}

func snapshotConfig(addrs ...string) snapshot.Config {
	return snapshot.Config{
		Kafka:   snapshot.KafkaConfig{Server: addrs},
		Topic:   snapshot.TopicConfig{Filter: ".*", Exclude: "^$"},
		Group:   snapshot.GroupConfig{Filter: ".*", Exclude: "^$"},
		Refresh: snapshot.RefreshConfig{Interval: time.Minute, Deadline: 20 * time.Second, BrokerTimeout: 10 * time.Second},
	}
}

func clusterConfig() cluster.Config { return cluster.Config{ShowAll: true, Granularity: "partition"} }

// newWorld makes a fake cluster of n brokers and an exporter that looks only when told.
func newWorld(t testing.TB, n int, change ...func(*snapshot.Config)) *world {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(n), kfake.ClusterID("fake"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w := at(t, fake.ListenAddrs(), change...)
	w.fake = fake
	return w
}

// at makes an exporter of a cluster.
func at(t testing.TB, addrs []string, change ...func(*snapshot.Config)) *world {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &world{client: client, admin: kadm.NewClient(client), registry: prometheus.NewRegistry()}
	cfg := snapshotConfig(addrs...)
	for _, c := range change {
		c(&cfg)
	}
	if w.snapshots, err = snapshot.New(cfg, slog.New(slog.DiscardHandler), w.registry); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.snapshots.Close)
	if w.shown, err = cluster.New(clusterConfig(), w.registry); err != nil {
		t.Fatal(err)
	}
	w.snapshots.OnChange = w.shown.Show
	return w
}

// look refreshes and fails the test where Kafka does not answer.
func (w *world) look(t testing.TB) {
	t.Helper()
	w.snapshots.Refresh(t.Context())
	if !w.snapshots.Current().Up {
		t.Fatal("the cluster did not answer")
	}
}

// page is what a scrape gets.
func (w *world) page(t testing.TB) string {
	t.Helper()
	r := httptest.NewRecorder()
	w.shown.ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	return r.Body.String()
}

// lines are the series whose text contains all parts.
func (w *world) lines(t testing.TB, parts ...string) (found []string) {
	t.Helper()
	for line := range strings.Lines(w.page(t)) {
		if !strings.HasPrefix(line, "#") && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// has fails the test where a series is not on the page, word for word.
func (w *world) has(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "{")
		if got := w.lines(t, name); !slices.Contains(got, line) {
			t.Errorf("no line %s in\n%s", line, strings.Join(got, "\n"))
		}
	}
}

// lacks fails the test where a series contains all parts.
func (w *world) lacks(t testing.TB, parts ...string) {
	t.Helper()
	if got := w.lines(t, parts...); len(got) > 0 {
		t.Errorf("there is %s", got)
	}
}

// produce appends n records to a partition, with a time if it is not zero.
func (w *world) produce(t testing.TB, topic string, partition int32, n int, at time.Time) {
	t.Helper()
	for range n {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v"), Timestamp: at}
		if err := w.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) create(t testing.TB, topic string, partitions int32, configs map[string]*string) {
	t.Helper()
	if _, err := w.admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
}

func (w *world) commit(t testing.TB, group, topic string, partition int32, offset int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, offset, -1)
	if err := w.admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// own is the sum of one of our own metrics over the series that have all labels.
func (w *world) own(t testing.TB, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			all := true
			for _, want := range labels {
				all = all && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == want })
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (w *world) requests(t testing.TB) float64 {
	return w.own(t, "candlestack_exporter_kafka_requests_total")
}

// family is what a scraper reads.
type family struct {
	name, help, kind string
	series           []series
}

type series struct {
	names, values []string
	value         float64
}

// parse reads a page as Prometheus's own library does, which refuses what is wrong.
func parse(t testing.TB, text string) (families []family) {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	read, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, mf := range read {
		f := family{name: name, help: mf.GetHelp(), kind: strings.ToLower(mf.GetType().String())}
		for _, m := range mf.GetMetric() {
			s := series{value: m.GetGauge().GetValue() + m.GetCounter().GetValue()}
			for _, l := range m.GetLabel() {
				s.names, s.values = append(s.names, l.GetName()), append(s.values, l.GetValue())
			}
			f.series = append(f.series, s)
		}
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b family) int { return strings.Compare(a.name, b.name) })
	return families
}

// get scrapes, and unzips what came zipped.
func get(t testing.TB, h http.Handler, accept string) (text string, zipped bool) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept-Encoding", accept)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	var body io.Reader = answer.Body
	if zipped = answer.Header().Get("Content-Encoding") == "gzip"; zipped {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), zipped
}
