package telemetry

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Family is one row of METRICS.md.
type Family struct {
	Name   string
	Type   string   // counter, gauge, histogram, summary
	Labels []string // those that vary
	Help   string
}

// Catalogue is a prometheus.Registerer that remembers what is registered on it,
// so that metrics are documented whose labels have no value yet; a registry
// shows only those that have. It is safe for concurrent use.
type Catalogue struct {
	mu       sync.Mutex
	families map[string]Family
}

// NewCatalogue makes an empty catalogue.
func NewCatalogue() *Catalogue { return &Catalogue{families: map[string]Family{}} }

// Register notes the metrics of collector. The error tells of a name that is
// registered already with other labels or another help.
func (c *Catalogue) Register(collector prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() { collector.Describe(descs); close(descs) }()
	types := typesOf(collector)
	c.mu.Lock()
	defer c.mu.Unlock()
	var failed error
	for desc := range descs {
		f, err := family(desc)
		if err == nil {
			f.Type = cmp.Or(types[desc.String()], typeByName(f.Name))
			if old, ok := c.families[f.Name]; ok && (old.Help != f.Help || !slices.Equal(old.Labels, f.Labels)) {
				err = fmt.Errorf("metric %s is registered twice, and differently", f.Name)
			}
		}
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		c.families[f.Name] = f
	}
	return failed
}

// MustRegister is Register and panics on its error, as promauto wants it.
func (c *Catalogue) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := c.Register(collector); err != nil {
			panic(err)
		}
	}
}

// Unregister does nothing: what was once registered is worth a row.
func (c *Catalogue) Unregister(prometheus.Collector) bool { return true }

// Families returns what was registered, by name.
func (c *Catalogue) Families() []Family {
	c.mu.Lock()
	defer c.mu.Unlock()
	var families []Family
	for _, f := range c.families {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return families
}

// Document writes families as a Markdown table.
func Document(w io.Writer, families []Family) error {
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, strings.ReplaceAll(f.Help, "|", `\|`))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// described takes a Desc apart, which client_golang shows as text only.
var described = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), .*variableLabels: \{([^}]*)\}\}$`)

func family(desc *prometheus.Desc) (Family, error) {
	m := described.FindStringSubmatch(desc.String())
	if m == nil {
		return Family{}, fmt.Errorf("reading %s: unknown form", desc)
	}
	name, err := strconv.Unquote(m[1])
	if err != nil {
		return Family{}, fmt.Errorf("reading %s: %w", desc, err)
	}
	help, err := strconv.Unquote(m[2])
	if err != nil {
		return Family{}, fmt.Errorf("reading %s: %w", desc, err)
	}
	f := Family{Name: name, Help: help}
	if m[3] != "" {
		f.Labels = strings.Split(m[3], ",")
	}
	return f, nil
}

// typesOf finds the types of a collector's metrics, by the text of their Desc:
// a vector tells by its Go type, the rest by what it collects.
func typesOf(collector prometheus.Collector) map[string]string {
	types := map[string]string{}
	vector := ""
	switch collector.(type) {
	case *prometheus.CounterVec:
		vector = "counter"
	case *prometheus.GaugeVec:
		vector = "gauge"
	case *prometheus.HistogramVec:
		vector = "histogram"
	case *prometheus.SummaryVec:
		vector = "summary"
	}
	if vector != "" {
		descs := make(chan *prometheus.Desc, 1)
		collector.Describe(descs)
		types[(<-descs).String()] = vector
		return types
	}
	metrics := make(chan prometheus.Metric)
	go func() { collector.Collect(metrics); close(metrics) }()
	for m := range metrics {
		var out dto.Metric
		if m.Write(&out) == nil {
			types[m.Desc().String()] = typeOf(&out)
		}
	}
	return types
}

func typeOf(m *dto.Metric) string {
	switch {
	case m.Counter != nil:
		return "counter"
	case m.Histogram != nil:
		return "histogram"
	case m.Summary != nil:
		return "summary"
	}
	return "gauge"
}

// typeByName is for collectors that have nothing to show yet.
func typeByName(name string) string {
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}
