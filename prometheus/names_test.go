package prometheus_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// runtime is what every Go program of ours and of Prometheus' shows of itself.
const runtime = "foreign/client_golang-*.txt"

// jobs says what each job shows: pages with tables of metrics (behind # the one
// section that counts), or lists of foreign exporters; and the labels that its
// targets have beside job and instance.
var jobs = map[string]struct {
	pages  []string
	labels []string
}{
	"candlestack":  {[]string{"../METRICS.md", runtime}, []string{"component"}},
	"kafka":        {[]string{"../exporters/METRICS.md#The cluster"}, nil},
	"kafka-broker": {[]string{"../exporters/FIDELITY.md"}, []string{"broker_id", "kafka_cluster"}},
	"probe":        {[]string{"../exporters/METRICS.md#The probe"}, nil},
	"stores":       {[]string{"../exporters/METRICS.md#The stores"}, nil},
	"exporter":     {[]string{"../exporters/METRICS.md#The exporter itself", runtime}, nil},
	"prometheus":   {[]string{"foreign/prometheus-*.txt", runtime}, nil},
	"alertmanager": {[]string{"foreign/alertmanager-*.txt", runtime}, nil},
	"mysql":        {[]string{"foreign/mysqld-exporter-*.txt", runtime}, nil},
	"mongodb":      {[]string{"foreign/mongodb_exporter-*.txt", runtime}, nil},
}

// ofScrape is what Prometheus itself adds to each target.
var ofScrape = []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}

// labelSet are the labels that a vector may have; nil: not known.
type labelSet map[string]bool

func setOf(names ...string) labelSet {
	s := labelSet{}
	for _, n := range names {
		s[n] = true
	}
	return s
}

func (s labelSet) with(more labelSet) labelSet {
	if s == nil || more == nil {
		return nil
	}
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// catalogue is what there is: job, metric, labels.
type catalogue map[string]map[string]labelSet

func readCatalogue(t *testing.T) catalogue {
	t.Helper()
	all := catalogue{}
	for job, its := range jobs {
		all[job] = map[string]labelSet{}
		target := setOf(append(its.labels, "job", "instance")...)
		for _, name := range ofScrape {
			all[job][name] = target
		}
		for _, page := range its.pages {
			found := readPage(t, page)
			if len(found) == 0 {
				t.Fatalf("job %s: %s lists no metric", job, page)
			}
			for name, own := range found {
				own = own.with(target)
				if was, twice := all[job][name]; twice {
					own = own.with(was)
				}
				all[job][name] = own
			}
		}
	}
	return all
}

func readPage(t *testing.T, page string) map[string]labelSet {
	t.Helper()
	pattern, section, _ := strings.Cut(page, "#")
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: want one file, got %q %v", pattern, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(files[0]) == ".txt" {
		return readList(t, files[0], string(text))
	}
	return readTables(string(text), section)
}

// readList reads a foreign exporter's metrics, a line each: name, type and labels
// with commas between.
func readList(t *testing.T, file, text string) map[string]labelSet {
	t.Helper()
	all := map[string]labelSet{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || len(words) > 3 {
			t.Fatalf("%s: %q is not a name, a type and labels with commas between", file, strings.TrimSpace(line))
		}
		own := setOf()
		if len(words) == 3 {
			own = setOf(strings.Split(words[2], ",")...)
		}
		list(all, words[0], words[1], own)
	}
	return all
}

// list adds a metric of a type with all its names.
func list(all map[string]labelSet, name, kind string, own labelSet) {
	if was, twice := all[name]; twice {
		own = own.with(was) // several commands show it
	}
	all[name] = own
	switch kind {
	case "histogram":
		all[name+"_bucket"] = own.with(setOf("le"))
		all[name+"_sum"], all[name+"_count"] = own, own
	case "summary":
		all[name] = own.with(setOf("quantile"))
		all[name+"_sum"], all[name+"_count"] = own, own
	}
}

var code = regexp.MustCompile("`([^`]+)`")

// readTables reads the tables of a page, or of one of its sections. Where a table
// has no column of labels they are not known.
func readTables(text, section string) map[string]labelSet {
	all := map[string]labelSet{}
	inside := section == ""
	column := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok && section != "" {
			inside = heading == section
		}
		if !inside || !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if strings.TrimSpace(cells[0]) == "name" {
			column = map[string]int{}
			for i, cell := range cells {
				column[strings.TrimSpace(cell)] = i
			}
			continue
		}
		cell := func(name string) string {
			if i, ok := column[name]; ok {
				return cells[i]
			}
			return ""
		}
		var own labelSet
		if _, listed := column["labels"]; listed {
			own = setOf()
			for _, m := range code.FindAllStringSubmatch(cell("labels"), -1) {
				own[m[1]] = true
			}
		}
		for _, m := range code.FindAllStringSubmatch(cell("name"), -1) {
			list(all, m[1], strings.TrimSpace(cell("type")), own)
		}
	}
	return all
}

// checker follows labels through expressions and notes what cannot be.
type checker struct {
	metrics  catalogue
	records  map[string][]rule
	problems []string
}

func (c *checker) say(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(c.problems, p) {
		c.problems = append(c.problems, p)
	}
}

// labels are those that the result of an expression may have.
func (c *checker) labels(e parser.Expr) labelSet {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return c.selected(e)
	case *parser.MatrixSelector:
		return c.labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labels(e.Expr)
	case *parser.ParenExpr:
		return c.labels(e.Expr)
	case *parser.UnaryExpr:
		return c.labels(e.Expr)
	case *parser.StepInvariantExpr:
		return c.labels(e.Expr)
	case *parser.AggregateExpr:
		return c.aggregated(e)
	case *parser.BinaryExpr:
		return c.combined(e)
	case *parser.Call:
		return c.called(e)
	}
	return setOf() // a number or a text
}

// selected checks that a selector names a job, and a metric and labels that the job has.
func (c *checker) selected(s *parser.VectorSelector) labelSet {
	if s.Name == "" {
		c.say("%s names no metric", s)
		return nil
	}
	if s.Name == "ALERTS" || s.Name == "ALERTS_FOR_STATE" {
		return nil
	}
	var all labelSet
	if recorded(s.Name) {
		rules := c.records[s.Name]
		if len(rules) == 0 {
			c.say("no rule records %s", s.Name)
			return nil
		}
		all = setOf()
		for _, r := range rules {
			all = all.with(c.labels(r.expr))
			for name := range r.Labels {
				all = all.with(setOf(name))
			}
		}
	} else {
		var ok bool
		if all, ok = c.ofJob(s); !ok {
			return nil
		}
	}
	for _, m := range s.LabelMatchers {
		if m.Name != labels.MetricName && all != nil && !all[m.Name] {
			c.say("%s: %s has no label %s", s, s.Name, m.Name)
		}
	}
	return all
}

// ofJob are the labels of a metric where the jobs that its selector names show it.
func (c *checker) ofJob(s *parser.VectorSelector) (all labelSet, ok bool) {
	i := slices.IndexFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "job" })
	if i < 0 || s.LabelMatchers[i].Type == labels.MatchNotEqual || s.LabelMatchers[i].Type == labels.MatchNotRegexp || s.LabelMatchers[i].Matches("") {
		c.say("%s does not name its job", s)
		return nil, false
	}
	all = setOf()
	var named []string
	for job, metrics := range c.metrics {
		if !s.LabelMatchers[i].Matches(job) {
			continue
		}
		named = append(named, job)
		if own, there := metrics[s.Name]; there {
			all, ok = all.with(own), true
		}
	}
	if !ok {
		c.say("%s: no page of the jobs %q lists %s", s, named, s.Name)
	}
	return all, ok
}

func (c *checker) aggregated(e *parser.AggregateExpr) labelSet {
	inner := c.labels(e.Expr)
	if e.Param != nil {
		c.labels(e.Param)
	}
	if inner != nil {
		for _, name := range e.Grouping {
			if !inner[name] {
				c.say("%s: there is no label %s", e, name)
			}
		}
	}
	switch {
	case e.Op == parser.TOPK || e.Op == parser.BOTTOMK:
		return inner
	case !e.Without:
		return setOf(e.Grouping...)
	}
	all := maps.Clone(inner)
	maps.DeleteFunc(all, func(name string, _ bool) bool { return slices.Contains(e.Grouping, name) })
	return all
}

func (c *checker) combined(e *parser.BinaryExpr) labelSet {
	left, right := c.labels(e.LHS), c.labels(e.RHS)
	if e.VectorMatching == nil { // with a number
		return left.with(right)
	}
	m := e.VectorMatching
	for _, name := range m.MatchingLabels {
		for _, side := range []labelSet{left, right} {
			if m.On && side != nil && !side[name] {
				c.say("%s: one side has no label %s", e, name)
			}
		}
	}
	switch {
	case e.Op == parser.LOR:
		return left.with(right)
	case e.Op.IsSetOperator():
		return left
	case m.Card == parser.CardOneToMany:
		left = right
	case m.Card == parser.CardOneToOne && m.On && !e.Op.IsComparisonOperator():
		return setOf(m.MatchingLabels...)
	}
	return left.with(setOf(m.Include...))
}

func (c *checker) called(e *parser.Call) labelSet {
	all := setOf()
	for _, arg := range e.Args {
		own := c.labels(arg)
		if arg.Type() == parser.ValueTypeVector || arg.Type() == parser.ValueTypeMatrix {
			all = own
		}
	}
	text := func(i int) string {
		s, _ := e.Args[i].(*parser.StringLiteral)
		return s.Val
	}
	switch e.Func.Name {
	case "absent", "absent_over_time": // what its matchers say for sure
		all = setOf()
		parser.Inspect(e.Args[0], func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				for _, m := range s.LabelMatchers {
					if m.Type == labels.MatchEqual {
						all[m.Name] = true
					}
				}
			}
			return nil
		})
	case "vector", "scalar":
		all = setOf()
	case "label_replace", "label_join":
		all = all.with(setOf(text(1)))
	}
	return all
}

// shown are the labels that a template names.
var shown = regexp.MustCompile(`\$labels\.(\w+)`)

func TestRulesNameWhatThereIs(t *testing.T) {
	alerts, records := readRules(t)
	c := &checker{metrics: readCatalogue(t), records: map[string][]rule{}}
	for _, r := range records {
		c.records[r.Record] = append(c.records[r.Record], r)
	}
	for _, r := range slices.Concat(alerts, records) {
		c.problems = nil
		all := c.labels(r.expr)
		for name := range r.Labels {
			all = all.with(setOf(name))
		}
		for _, where := range []map[string]string{r.Annotations, r.Labels} {
			for name, text := range where {
				for _, m := range shown.FindAllStringSubmatch(text, -1) {
					if all != nil && !all[m[1]] {
						c.say("%s shows label %s, which it has not", name, m[1])
					}
				}
			}
		}
		for _, problem := range c.problems {
			t.Errorf("%s: %s%s: %s", r.file, r.Alert, r.Record, problem)
		}
	}
}
