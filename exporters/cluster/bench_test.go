package cluster_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkExporter runs the exporter as it is shipped, in a process of its own,
// beside a cluster in this one, and asks it what its looks took. The two share the
// machine: what a look takes includes the cluster's answers.
func BenchmarkExporter(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "candlestack-exporter")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "../candlestack-exporter").CombinedOutput(); err != nil {
		b.Fatalf("building the exporter: %v\n%s", err, out)
	}
	classroom := load{brokers: 1, topics: 12, partitions: 5, groups: 6, commits: 10}
	big := load{brokers: 3, topics: 200, partitions: 50, groups: 1000, commits: 50}
	for _, c := range []struct {
		name  string
		load  load
		flags []string
		lost  func(kmsg.Request) (kmsg.Response, error) // what broker 1 does
	}{
		{name: "classroom", load: classroom},
		{name: "classroom-everything", load: classroom, flags: everything()},
		{name: "10k", load: big},
		{name: "10k-everything", load: big, flags: everything()},
		{name: "10k-one-cut", load: big, lost: cut},
		{name: "10k-one-silent", load: big, lost: silent},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := loaded(b, c.load)
			runtime.GC() // this process's, not while the other one is measured
			p := start(b, binary, append(c.flags, "--kafka.server="+w.fake.ListenAddrs()[0], "--refresh.interval=1s")...)
			p.look(b, 3)
			if c.lost != nil {
				on(w, -1, 1, c.lost)
				p.look(b, 1)
			}
			for b.Loop() {
				p.measure(b)
			}
			b.ReportMetric(0, "ns/op") // is that of waiting
			if c.name == "10k" {
				p.compare(b)
			}
		})
	}
}

// everything turns on the probe, and the stores that the environment names.
func everything() []string {
	flags := []string{"--probe.enabled", "--probe.create-topic", "--probe.interval=1s", "--probe.deadline=500ms"}
	for _, store := range []struct{ variable, flag string }{{"CANDLESTACK_BENCH_MYSQL", "--mysql.dsn="}, {"CANDLESTACK_TEST_MONGODB", "--mongodb.uri="}} {
		if address := os.Getenv(store.variable); address != "" {
			flags = append(flags, store.flag+address)
		}
	}
	return flags
}

// measure reports ten looks, and the memory after them.
func (p *process) measure(b *testing.B) {
	before := p.own(b)
	took, scrapes := p.look(b, 10)
	after := p.own(b)
	looks := observed(after["candlestack_exporter_refresh_duration_seconds"]) - observed(before["candlestack_exporter_refresh_duration_seconds"])
	grown := func(name string) float64 { return sum(after[name]) - sum(before[name]) }
	b.ReportMetric(took[len(took)/2], "s/look")
	b.ReportMetric(slices.Max(took), "s/look-max")
	b.ReportMetric(grown("process_cpu_seconds_total")/looks, "cpu-s/look")
	b.ReportMetric(grown("candlestack_exporter_kafka_requests_total")/looks, "requests/look")
	b.ReportMetric(scrapes[len(scrapes)*99/100]*1000, "ms/scrape-p99")
	b.ReportMetric(p.memory(b, "VmRSS"), "MB-RSS")
	b.ReportMetric(p.memory(b, "VmHWM"), "MB-peak")
}

// look waits for n looks, and returns what each took, sorted, in seconds. It
// scrapes the cluster's page all the while, as Prometheus does, and returns what
// that took.
func (p *process) look(b *testing.B, n int) (took, scrapes []float64) {
	refreshes := func() (n, seconds float64) {
		f := p.own(b)["candlestack_exporter_refresh_duration_seconds"]
		return observed(f), sum(f)
	}
	last, before := refreshes()
	for deadline := time.Now().Add(2 * time.Minute); len(took) < n; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d looks of %d in two minutes", len(took), n)
		}
		begin := time.Now()
		p.get(b, "/metrics", "gzip")
		scrapes = append(scrapes, time.Since(begin).Seconds())
		if now, seconds := refreshes(); now > last {
			took = append(took, (seconds-before)/(now-last))
			last, before = now, seconds
		}
	}
	slices.Sort(took)
	slices.Sort(scrapes)
	return took, scrapes
}

// compare reports what it takes to make all pages, and what it takes client_golang
// to gather and write the same series, which it does not even pack.
func (p *process) compare(b *testing.B) {
	phases := p.own(b)["candlestack_exporter_phase_duration_seconds"]
	ours := sum(phases, "phase=pages") / observed(phases, "phase=pages")
	size, theirs := 0, 0.0
	for _, path := range []string{"/metrics", "/broker/0/metrics", "/broker/1/metrics", "/broker/2/metrics", "/controller/metrics"} {
		text := p.get(b, path, "identity")
		size += len(text)
		reg := prometheus.NewRegistry()
		reg.MustRegister(&parsed{families: parse(b, string(text))})
		h := promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true})
		r := httptest.NewRequest(http.MethodGet, path, nil)
		begin := time.Now()
		h.ServeHTTP(discard{http.Header{}}, r)
		theirs += time.Since(begin).Seconds()
	}
	b.ReportMetric(ours*1000, "ms/pages")
	b.ReportMetric(theirs*1000, "ms/pages-client_golang")
	b.ReportMetric(float64(size)/1e6, "MB/pages")
}

// own are the exporter's own metrics.
func (p *process) own(b *testing.B) map[string]*dto.MetricFamily {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(p.get(b, "/exporter/metrics", "identity")))
	if err != nil {
		b.Fatal(err)
	}
	return families
}

// sum adds counters, or what was observed, of the series that have all labels.
func sum(f *dto.MetricFamily, labels ...string) (total float64) {
	for _, m := range having(f, labels) {
		total += m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
	}
	return total
}

// observed is how often a histogram observed.
func observed(f *dto.MetricFamily, labels ...string) (n float64) {
	for _, m := range having(f, labels) {
		n += float64(m.GetHistogram().GetSampleCount())
	}
	return n
}

func having(f *dto.MetricFamily, labels []string) (found []*dto.Metric) {
	for _, m := range f.GetMetric() {
		if !slices.ContainsFunc(labels, func(want string) bool {
			return !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == want })
		}) {
			found = append(found, m)
		}
	}
	return found
}

// memory is a field of the process's status, in MB.
func (p *process) memory(b *testing.B, field string) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kb * 1024 / 1e6
		}
	}
	b.Fatalf("no %s in\n%s", field, text)
	return 0
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
