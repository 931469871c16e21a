package probe_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/candlestack/candlestack/exporters/probe"
)

var brokers = []string{"broker=0", "broker=1", "broker=2"}

func TestMistakesOfTheUser(t *testing.T) {
	for _, tc := range []struct {
		change func(*probe.Config)
		want   []string
	}{
		{func(*probe.Config) {}, nil},
		{func(c *probe.Config) { c.Topic = "a b" }, []string{`--probe.topic "a b"`}},
		{func(c *probe.Config) { c.Topic = ".." }, []string{`--probe.topic ".."`}},
		{func(c *probe.Config) { c.Group = "" }, []string{`--probe.group ""`}},
		{func(c *probe.Config) { c.Interval = 10 * time.Millisecond }, []string{`--probe.interval "10ms"`, `--probe.deadline "500ms"`}},
		{func(c *probe.Config) { c.Deadline = 800 * time.Millisecond }, []string{`--probe.deadline "800ms"`}},
		{func(c *probe.Config) { c.Topic, c.Interval = "", 10*time.Minute }, []string{`--probe.topic ""`, `--probe.interval "10m0s"`}},
	} {
		cfg := config()
		tc.change(&cfg)
		err := cfg.Validate()
		if (err != nil) != (len(tc.want) > 0) {
			t.Errorf("%+v: got %v", cfg, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if _, again := probe.New(cfg, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); (again != nil) != (err != nil) {
			t.Errorf("New says %v, Validate %v", again, err)
		}
	}
}

func TestEverythingIsMeasured(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	for _, b := range brokers {
		for _, h := range []string{"api_versions", "metadata", "produce", "end_to_end"} {
			eventually(t, func() bool { return w.value(t, h+"_duration_seconds", b, "outcome=ok") >= 2 }, "%s of %s is not measured", h, b)
		}
		if got := w.value(t, "canaries_received_total", b); got < 3 { // the first one's way is not measured
			t.Errorf("%v canaries of %s came back", got, b)
		}
		if got := w.value(t, "broker_partitions", b); got != 1 {
			t.Errorf("%s leads %v partitions", b, got)
		}
	}
	coordinator := "broker=" + string('0'+rune(w.fake.CoordinatorFor("candlestack-canary")))
	w.grow(t, 2, "commit_duration_seconds", coordinator, "outcome=ok")
	if all, its := w.value(t, "commit_duration_seconds"), w.value(t, "commit_duration_seconds", coordinator); all > its+1 { // one between the two
		t.Errorf("%v commits, %v of the coordinator", all, its)
	}
	if got := w.value(t, "ready"); got != 1 {
		t.Errorf("ready is %v", got)
	}
	for _, name := range []string{"canaries_duplicated_total", "canaries_late_total"} {
		if got := w.value(t, name); got != 0 {
			t.Errorf("%s is %v", name, got)
		}
	}

	families, err := w.reg.Gather()
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
	for _, f := range families {
		h := f.GetMetric()[0].GetHistogram()
		if f.GetType() == dto.MetricType_HISTOGRAM && (h.Schema == nil || len(h.GetBucket()) == 0) {
			t.Errorf("%s is not native and classic", f.GetName())
		}
	}
}

func TestKafkaIsAway(t *testing.T) {
	reg, log := run(t, []string{"127.0.0.1:1"})
	eventually(t, func() bool { return log.count("the cluster does not answer") == 1 }, "it is not said")
	if got := value(t, reg, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	var names []string
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if want := []string{"candlestack_probe_brokers_dropped", "candlestack_probe_commit_duration_seconds", "candlestack_probe_ready"}; !slices.Equal(names, want) {
		t.Errorf("got %s", names)
	}
}
