package cluster_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// load is a cluster of a size.
type load struct {
	name                        string
	brokers, topics, partitions int
	groups, commits             int
	lost                        func(kmsg.Request) (kmsg.Response, error) // what broker 1 does, of all requests
}

var loads = []load{
	{name: "classroom", brokers: 1, topics: 12, partitions: 5, groups: 6, commits: 10},
	{name: "10k", brokers: 3, topics: 200, partitions: 50, groups: 1000, commits: 50},
	{name: "10k-one-cut", brokers: 3, topics: 200, partitions: 50, groups: 1000, commits: 50, lost: cut},
	{name: "10k-one-silent", brokers: 3, topics: 200, partitions: 50, groups: 1000, commits: 50, lost: silent},
}

// loaded makes a cluster with a record in each partition that groups read, and
// a page of it.
func loaded(b testing.TB, l load) *world {
	w := newWorld(b, l.brokers, func(c *snapshot.Config) { c.Refresh.BrokerTimeout = time.Second }) // the default
	ctx := b.Context()
	var topics []string
	for i := range l.topics {
		topics = append(topics, fmt.Sprintf("topic-%03d", i))
	}
	if _, err := w.admin.CreateTopics(ctx, int32(l.partitions), 1, nil, topics...); err != nil {
		b.Fatal(err)
	}
	for i := range l.topics * l.partitions {
		w.client.Produce(ctx, &kgo.Record{Topic: topics[i/l.partitions], Partition: int32(i % l.partitions), Value: []byte("a")}, nil)
		w.client.Produce(ctx, &kgo.Record{Topic: topics[i/l.partitions], Partition: int32(i % l.partitions), Value: []byte("b")}, nil)
	}
	if err := w.client.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	for g := range l.groups {
		offsets := kadm.Offsets{}
		for i := range l.commits {
			n := (g*l.commits + i) % (l.topics * l.partitions)
			offsets.AddOffset(topics[n/l.partitions], int32(n%l.partitions), int64(i%3), -1)
		}
		if err := w.admin.CommitAllOffsets(ctx, fmt.Sprintf("group-%04d", g), offsets); err != nil {
			b.Fatal(err)
		}
	}
	return w
}

// BenchmarkRefresh measures a whole look with the encoding of its page.
func BenchmarkRefresh(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			w := loaded(b, l)
			w.look(b)
			w.look(b)
			if l.lost != nil {
				on(w, -1, 1, l.lost)
			}
			before := w.requests(b)
			b.ReportAllocs()
			for b.Loop() {
				w.look(b)
			}
			b.ReportMetric((w.requests(b)-before)/float64(b.N), "requests/op")
			b.ReportMetric(float64(len(w.page(b)))/1e6, "MB/page")
			b.ReportMetric(rss(), "MB-RSS")
		})
	}
}

// BenchmarkPage measures a scrape of what was encoded, of the encoding, and of the
// same series through client_golang.
func BenchmarkPage(b *testing.B) {
	w := loaded(b, loads[1])
	w.look(b)
	s := w.snapshots.Current()
	scrape := func(b *testing.B, h http.Handler) {
		var times []time.Duration
		b.ReportAllocs()
		for b.Loop() {
			begin := time.Now()
			r := httptest.NewRequest("GET", "/metrics", nil)
			h.ServeHTTP(discard{http.Header{}}, r)
			times = append(times, time.Since(begin))
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	}
	b.Run("serve", func(b *testing.B) { scrape(b, w.shown) })
	b.Run("encode", func(b *testing.B) {
		cfg := clusterConfig()
		if err := cfg.Validate(); err != nil {
			b.Fatal(err)
		}
		var text []byte
		b.ReportAllocs()
		for b.Loop() {
			text, _ = cfg.Append(text[:0], s)
		}
		b.SetBytes(int64(len(text)))
	})
	b.Run("show", func(b *testing.B) { // encoded and zipped
		b.ReportAllocs()
		for b.Loop() {
			w.shown.Show(s)
		}
	})
	b.Run("client_golang", func(b *testing.B) {
		reg := prometheus.NewRegistry()
		reg.MustRegister(&parsed{families: parse(b, w.page(b))})
		scrape(b, promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true}))
	})
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// parsed gives out series as a collector, as an exporter without pages would.
type parsed struct{ families []family }

func (p *parsed) Describe(chan<- *prometheus.Desc) {}

func (p *parsed) Collect(out chan<- prometheus.Metric) {
	for _, f := range p.families {
		for _, s := range f.series {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.name, f.help, s.names, nil), prometheus.GaugeValue, s.value, s.values...)
		}
	}
}

// rss is this process's, with the fake cluster in it.
func rss() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(fields[1], 64)
			return kb / 1024
		}
	}
	return 0
}
