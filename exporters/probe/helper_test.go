package probe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/exporters/probe"
)

// The fake cluster, closed while a control function runs, leaves that behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*Cluster).runControl.func1"))
}

const topic = "candlestack-canary"

func config() probe.Config {
	return probe.Config{Enabled: true, Topic: topic, Group: "candlestack-canary", Interval: time.Second, Deadline: 500 * time.Millisecond}
}

// world is a fake cluster of three brokers with a probe.
type world struct {
	fake *kfake.Cluster
	reg  *prometheus.Registry
	log  *lines
}

// three makes a cluster; unless partitions is 0, broker i leads partition i of the
// topic. Its tests wait most of the time, so they do so together.
func three(t *testing.T, partitions int32) *world {
	t.Helper()
	t.Parallel()
	fake, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w := &world{fake: fake}
	if partitions > 0 {
		w.create(t, partitions)
	}
	return w
}

func (w *world) create(t *testing.T, partitions int32) {
	t.Helper()
	if err := w.fake.CreateTopic(topic, partitions, nil); err != nil {
		t.Fatal(err)
	}
	w.spread(t, partitions)
}

func (w *world) spread(t *testing.T, partitions int32) {
	t.Helper()
	for i := range partitions {
		w.move(t, i, i)
	}
}

// move makes a broker the leader. Asked where the epoch of the old leader ended,
// kfake says that there was none until there is a record of the new one, where
// Kafka tells the offset. The reader takes this for a loss of records and reads
// the last minute again, which must not count.
func (w *world) move(t *testing.T, partition, broker int32) {
	t.Helper()
	if err := w.fake.MoveTopicPartition(topic, partition, broker); err != nil {
		t.Fatal(err)
	}
}

// probe runs a probe until the test ends.
func (w *world) probe(t *testing.T, change ...func(*probe.Config)) {
	t.Helper()
	w.reg, w.log = run(t, w.fake.ListenAddrs(), change...)
}

func run(t *testing.T, addrs []string, change ...func(*probe.Config)) (*prometheus.Registry, *lines) {
	t.Helper()
	cfg := config()
	for _, c := range change {
		c(&cfg)
	}
	reg, log := prometheus.NewRegistry(), &lines{}
	p, err := probe.New(cfg, []kgo.Opt{kgo.SeedBrokers(addrs...)}, slog.New(slog.NewTextHandler(log, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the probe does not end")
		}
		if n := count(t, reg, "", "broker"); n > 3 { // outcomes of commits without a coordinator
			t.Errorf("%v series of brokers are left", n)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return reg, log
}

// each are the metrics of a family, all if name is empty, that have all labels,
// given as name=value.
func each(t *testing.T, reg *prometheus.Registry, name string, labels []string, do func(*dto.Metric)) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name != "" && f.GetName() != "candlestack_probe_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if !slices.ContainsFunc(labels, func(want string) bool {
				return !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
					return l.GetName() == want || l.GetName()+"="+l.GetValue() == want
				})
			}) {
				do(m)
			}
		}
	}
}

// count is the number of series.
func count(t *testing.T, reg *prometheus.Registry, name string, labels ...string) (n int) {
	t.Helper()
	each(t, reg, name, labels, func(*dto.Metric) { n++ })
	return n
}

// value is the sum of series; of histograms, that of their counts.
func value(t *testing.T, reg *prometheus.Registry, name string, labels ...string) (sum float64) {
	t.Helper()
	each(t, reg, name, labels, func(m *dto.Metric) {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	})
	return sum
}

func (w *world) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	return value(t, w.reg, name, labels...)
}

// grow waits until a value is greater by n than it is now.
func (w *world) grow(t *testing.T, n float64, name string, labels ...string) {
	t.Helper()
	begin := w.value(t, name, labels...)
	eventually(t, func() bool { return w.value(t, name, labels...) >= begin+n }, "%s %v does not grow from %v", name, labels, begin)
}

func eventually(t *testing.T, ok func() bool, format string, args ...any) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf(format, args...)
		}
	}
}

// errCut cuts the connection.
var errCut = errors.New("cut")

// fails makes the requests of a key to a broker fail until stop is called; -1 are
// all keys. Without an error the broker is silent.
func (w *world) fails(key int16, broker int32, err error) (stop func()) {
	var mu sync.Mutex
	stopped := false
	w.fake.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
		w.fake.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if stopped || w.fake.CurrentNode() != broker {
			return nil, nil, false
		}
		return nil, err, true
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}
}

// lines are a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }
