package broker

import (
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

var update = flag.Bool("update", false, "write FIDELITY.md and golden files anew instead of comparing them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster, a client of it, and the exporter that looks at it.
type world struct {
	fake      *kfake.Cluster // nil: a real one
	client    *kgo.Client
	admin     *kadm.Client
	snapshots *snapshot.Snapshotter
	shown     *Broker
	mux       *http.ServeMux
}

// newWorld makes a fake cluster of n brokers and an exporter that looks only when told.
func newWorld(t testing.TB, n int, dialects ...string) *world {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(n), kfake.ClusterID("fake"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w := at(t, fake.ListenAddrs(), dialects...)
	w.fake = fake
	return w
}

// at makes an exporter of a cluster.
func at(t testing.TB, addrs []string, dialects ...string) *world {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &world{client: client, admin: kadm.NewClient(client), mux: http.NewServeMux()}
	w.snapshots, err = snapshot.New(snapshot.Config{
		Kafka:   snapshot.KafkaConfig{Server: addrs},
		Topic:   snapshot.TopicConfig{Filter: ".*", Exclude: "^$"},
		Group:   snapshot.GroupConfig{Filter: ".*", Exclude: "^$"},
		Refresh: snapshot.RefreshConfig{Interval: time.Minute, Deadline: 20 * time.Second, BrokerTimeout: 3 * time.Second, LogDirs: time.Nanosecond},
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.snapshots.Close)
	if w.shown, err = New(Config{Dialects: dialects}, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	for path, h := range w.shown.Handlers() {
		w.mux.Handle("GET "+path, h)
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

// get is what a scrape gets.
func (w *world) get(t testing.TB, path string) (code int, text string) {
	t.Helper()
	r := httptest.NewRecorder()
	w.mux.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
	return r.Code, r.Body.String()
}

// series is the page's series by their whole names.
func (w *world) series(t testing.TB, path string) map[string]string {
	t.Helper()
	code, text := w.get(t, path)
	if code != http.StatusOK {
		t.Fatalf("%s answers %d: %s", path, code, text)
	}
	return parse(text)
}

func parse(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := cutLast(strings.TrimSpace(line)); ok && !strings.HasPrefix(line, "#") {
			found[name] = value
		}
	}
	return found
}

func cutLast(line string) (name, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// has fails the test where a series of a page has another value; "" is that there is none.
func (w *world) has(t testing.TB, path string, want map[string]string) {
	t.Helper()
	got := w.series(t, path)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %q, want %q", path, name, got[name], value)
		}
	}
}

func (w *world) produce(t testing.TB, topic string, partition int32, n int) {
	t.Helper()
	for range n {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("value")}
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

func (w *world) remove(t testing.TB, topic string) {
	t.Helper()
	if _, err := w.admin.DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	w.client.PurgeTopicsFromClient(topic)
}
