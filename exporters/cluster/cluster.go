// Package cluster shows a snapshot of a Kafka cluster to Prometheus: the
// families of kafka_exporter, for which it is a drop-in, and what they lack.
package cluster

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

// Config says what is shown. Flags are kafka_exporter's, but for the granularity.
type Config struct {
	Labels      string `name:"kafka.labels" help:"Labels of every series." placeholder:"NAME=VALUE,…"`
	ShowAll     bool   `name:"offset.show-all" help:"Show all commits of a group, not only those of partitions that it now reads." default:"true" negatable:""`
	Granularity string `name:"group.granularity" help:"What is shown of groups: of each partition, sums of each topic, or only the group." default:"partition" placeholder:"partition|topic|group"`

	constant string
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// taken are the labels that series have.
var taken = []string{"address", "assignor", "branch", "cluster_id", "consumergroup", "coordinator", "goarch", "goos", "goversion", "id", "mode",
	"partition", "protocol_type", "revision", "state", "tags", "topic", "type", "version"}

// Validate reports all settings that cannot work, each with flag and value.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(flag, value, why string) { errs = append(errs, fmt.Errorf("%s %q: %s", flag, value, why)) }
	if !slices.Contains([]string{"partition", "topic", "group"}, c.Granularity) {
		wrong("--group.granularity", c.Granularity, "is none of partition, topic, group")
	}
	var labels []string
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(c.Labels, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || !labelName.MatchString(name) || strings.HasPrefix(name, "__"):
			wrong("--kafka.labels", pair, "is not of the form name=value")
		case seen[name] || slices.Contains(taken, name):
			wrong("--kafka.labels", pair, "the label is taken")
		}
		seen[name] = true
		labels = append(labels, exposition.Label(name, value))
	}
	c.constant = strings.Join(labels, ",")
	return errors.Join(errs...)
}

// Page is the exposition of the newest snapshot, encoded once for all scrapes.
type Page struct {
	cfg Config
	exposition.Page
	series prometheus.Gauge
	bytes  *prometheus.GaugeVec
}

// New makes a Page, of a cluster that nobody has looked at yet. An error is that of cfg.
func New(cfg Config, reg prometheus.Registerer) (*Page, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Page{cfg: cfg,
		series: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "candlestack_exporter", Name: "series", Help: "Series that are shown of the cluster."}),
		bytes:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "candlestack_exporter", Name: "page_bytes", Help: "Size of what is shown of the cluster."}, []string{"encoding"}),
	}
	reg.MustRegister(p.series, p.bytes)
	p.Show(&snapshot.Snapshot{Controller: -1})
	return p, nil
}

// Show encodes s. It is called by one at a time.
func (p *Page) Show(s *snapshot.Snapshot) {
	p.Page.Show(func(w io.Writer) { p.series.Set(float64(p.cfg.Write(w, s))) })
	plain, zipped := p.Size()
	p.bytes.WithLabelValues("identity").Set(float64(plain))
	p.bytes.WithLabelValues("gzip").Set(float64(zipped))
}
