package prometheus_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// kinds of cases; the package comment says what each shows.
var kinds = []string{"fires", "silent", "for", "resolves", "absent"}

// caseFile is promtool's test file, as far as ours use it.
type caseFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	GroupOrder         []string       `yaml:"group_eval_order"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	FuzzyCompare       bool           `yaml:"fuzzy_compare"`
	Tests              []testCase     `yaml:"tests"`
}

type testCase struct {
	Name        string         `yaml:"name"`
	Interval    model.Duration `yaml:"interval"`
	InputSeries []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	ExternalLabels map[string]string `yaml:"external_labels"`
	StartTimestamp string            `yaml:"start_timestamp"`
	Alerts         []alertCheck      `yaml:"alert_rule_test"`
	Samples        []struct {
		Expr     string         `yaml:"expr"`
		EvalTime model.Duration `yaml:"eval_time"`
		Want     []struct {
			Labels    string  `yaml:"labels"`
			Value     float64 `yaml:"value"`
			Histogram string  `yaml:"histogram"`
		} `yaml:"exp_samples"`
	} `yaml:"promql_expr_test"`

	file  string
	alert string // empty for recording rules
	kinds map[string]bool
}

// alertCheck says which alerts of a name fire at a time.
type alertCheck struct {
	EvalTime model.Duration `yaml:"eval_time"`
	Alert    string         `yaml:"alertname"`
	Want     []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

func (c alertCheck) fires() bool { return len(c.Want) > 0 }

var caseName = regexp.MustCompile(`^(\w+) ([a-z]+(?:, [a-z]+)*)(?:: .+)?$`)

func caseFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir("rules/tests", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// readCases parses every file below rules/tests, and finds out what each case is about.
func readCases(t *testing.T) (all []testCase) {
	t.Helper()
	tested, seen := map[string]bool{}, map[string]bool{}
	for _, file := range caseFiles(t) {
		if !strings.HasSuffix(file, "_test.yml") {
			t.Errorf("%s: its name does not end in _test.yml", file)
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var f caseFile
		strict := yaml.NewDecoder(bytes.NewReader(text))
		strict.KnownFields(true)
		if err := strict.Decode(&f); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !f.FuzzyCompare {
			t.Errorf("%s: fuzzy_compare is not true", file)
		}
		for _, r := range f.RuleFiles {
			tested[filepath.Join(filepath.Dir(file), r)] = true
		}
		for _, c := range f.Tests {
			c.file = file
			if seen[c.Name] {
				t.Errorf("%s: case %q stands there twice, or in another file too", file, c.Name)
			}
			seen[c.Name] = true
			if !c.read(t) {
				continue
			}
			all = append(all, c)
		}
	}
	for _, file := range ruleFiles(t) {
		if !tested[file] {
			t.Errorf("%s: no test file names it in rule_files", file)
		}
	}
	return all
}

// read takes the name of a case apart.
func (c *testCase) read(t *testing.T) bool {
	t.Helper()
	if strings.HasPrefix(c.Name, "record: ") {
		return true
	}
	m := caseName.FindStringSubmatch(c.Name)
	if m == nil {
		t.Errorf("%s: case %q is called neither \"record: why\" nor \"Alert kind, kind: why\"", c.file, c.Name)
		return false
	}
	c.alert, c.kinds = m[1], map[string]bool{}
	for kind := range strings.SplitSeq(m[2], ", ") {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s: case %q: kind %q is none of %s", c.file, c.Name, kind, strings.Join(kinds, ", "))
		}
		c.kinds[kind] = true
	}
	return true
}

// unproved lists the kinds in the name of a case that its checks do not show.
// reads are the metrics that the alert reads.
func (c *testCase) unproved(a *rule, reads map[string]bool) (problems []string) {
	var checks []alertCheck
	for _, check := range c.Alerts {
		if check.Alert == c.alert {
			checks = append(checks, check)
		}
	}
	if len(checks) == 0 {
		return []string{"it checks nothing of " + c.alert}
	}
	slices.SortStableFunc(checks, func(x, y alertCheck) int { return int(x.EvalTime - y.EvalTime) })
	first := func(fires bool) int {
		return slices.IndexFunc(checks, func(check alertCheck) bool { return check.fires() == fires })
	}
	after := func(i int, fires bool) bool {
		return i >= 0 && slices.ContainsFunc(checks[i:], func(check alertCheck) bool { return check.fires() == fires })
	}
	shows := map[string]bool{
		"fires":    first(true) >= 0,
		"silent":   first(true) < 0 && checks[len(checks)-1].EvalTime > a.For && c.feeds(reads),
		"for":      after(first(false), true),
		"resolves": after(first(true), false),
		"absent":   c.lacks(a, reads),
	}
	want := map[string]string{
		"fires":    "a check with exp_alerts",
		"silent":   "checks without exp_alerts, one of them later than `for` (" + time.Duration(a.For).String() + "), and values of a metric that the alert reads",
		"for":      "a check without exp_alerts before one with",
		"resolves": "a check with exp_alerts before one without",
		"absent":   "that what the alert reads is missing, or has a hole (_) or an end (stale)",
	}
	for _, kind := range slices.Sorted(maps.Keys(c.kinds)) {
		if !shows[kind] {
			problems = append(problems, "to show \""+kind+"\" it needs "+want[kind])
		}
	}
	return problems
}

// metricOf is the metric of an input series.
func metricOf(series string) string {
	name, _, _ := strings.Cut(series, "{")
	return strings.TrimSpace(name)
}

// feeds tells whether the case has values of one of the metrics.
func (c *testCase) feeds(metrics map[string]bool) bool {
	for _, in := range c.InputSeries {
		if metrics[metricOf(in.Series)] {
			return true
		}
	}
	return false
}

var hole = regexp.MustCompile(`\bstale\b|(^|\s)_`)

// lacks tells whether values that the alert reads are missing at some time: a
// series has a hole or an end, a selector of the alert matches none, or a metric
// behind its recording rules has none.
func (c *testCase) lacks(a *rule, reads map[string]bool) bool {
	given := map[string]bool{}
	for _, in := range c.InputSeries {
		given[metricOf(in.Series)] = true
		if reads[metricOf(in.Series)] && hole.MatchString(in.Values) {
			return true
		}
	}
	behind, direct := maps.Clone(reads), selectors(a.expr)
	// A case gives either what recording rules make, or what they are made of.
	made := slices.ContainsFunc(direct, func(s *parser.VectorSelector) bool { return recorded(s.Name) && given[s.Name] })
	if made {
		behind = nil
	}
	for _, s := range direct {
		if (made || !recorded(s.Name)) && !c.matches(s) {
			return true
		}
	}
	for name := range behind {
		if !recorded(name) && !given[name] {
			return true
		}
	}
	return len(reads) == 0
}

// matches tells whether the case has a series that the selector selects.
func (c *testCase) matches(s *parser.VectorSelector) bool {
	for _, in := range c.InputSeries {
		series, err := promql.ParseMetric(in.Series)
		if err == nil && !slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return !m.Matches(series.Get(m.Name)) }) {
			return true
		}
	}
	return false
}

// recorded tells whether a name is that of a recording rule.
func recorded(name string) bool { return strings.Contains(name, ":") }

// samples tells whether the case expects a sample of a recording rule.
func (c *testCase) samples(record string) bool {
	for _, s := range c.Samples {
		expr, err := promql.ParseExpr(s.Expr)
		if err == nil && len(s.Want) > 0 && names(expr)[record] {
			return true
		}
	}
	return false
}

// selectors are those of an expression.
func selectors(expr parser.Expr) (all []*parser.VectorSelector) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			all = append(all, s)
		}
		return nil
	})
	return all
}

// names are the metrics that an expression names.
func names(expr parser.Expr) map[string]bool {
	all := map[string]bool{}
	for _, s := range selectors(expr) {
		all[s.Name] = true
	}
	return all
}

// reader adds to names of metrics those that lie behind recording rules.
func reader(records []rule) func(all map[string]bool) map[string]bool {
	return func(all map[string]bool) map[string]bool {
		for size := 0; size < len(all); {
			size = len(all)
			for _, r := range records {
				if all[r.Record] {
					maps.Copy(all, names(r.expr))
				}
			}
		}
		return all
	}
}
