// Package prometheus_test holds rules, their tests and their runbooks to one law.
//
// # Adding an alert
//
// An alert stands in rules/<folder>/<file>.yml. It has the labels severity
// (critical, warning, info) and part (pipeline, kafka, stores, monitoring), a
// `for`, and the annotations summary, description, runbook_url and dashboard. Its
// page is runbooks/<Alert>.md with the sections "What it means", "What to look
// at" and "What to do". Every selector names its job. What a metric is called and
// which labels it has is read by package catalogue from METRICS.md and its like, so that a renamed
// metric fails here; metrics of others stand in foreign/<exporter>-<version>.txt.
//
// Its tests stand in rules/tests/, in a file of promtool that names the rule file
// and ends in _test.yml. The name of a case says which alert it is about and what
// it shows:
//
//   - name: "TargetDown fires, for, resolves: a process dies and comes back"
//
// Of these five kinds each alert needs all:
//
//	fires     it fires, with labels and annotations as a person will read them
//	silent    just under its threshold it stays silent
//	for       it waits: silent, then firing
//	resolves  it ends: firing, then silent
//	absent    a series that it reads is missing or goes stale
//
// The kinds are not taken at their word. Without its `for` the alert must fail a
// case of kind `for`, and with a threshold that is loosened a little it must fail
// a case of kind `silent` (TestRulesFailTheirTestsWhenBent).
//
// A case of recording rules is called "record: …" and has promql_expr_test; each
// recording rule needs one that expects a sample.
package prometheus_test

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// runbooks is where a runbook_url leads to; the file lies in runbooks/.
const runbooks = "https://github.com/candlestack/candlestack/blob/main/prometheus/runbooks/"

// exempt lists what an alert need not have, each with its reason.
var exempt = map[string]map[string]string{
	"Watchdog": {
		"for":      "it shows that alerts arrive, from the first evaluation on",
		"silent":   "it always fires",
		"resolves": "it always fires",
		"panel":    "it reads no metric",
	},
}

// rule is one of a file's rules.
type rule struct {
	rulefmt.Rule
	file string
	expr parser.Expr
}

// readRules parses every rule file, strictly.
func readRules(t *testing.T) (alerts, records []rule) {
	t.Helper()
	for _, file := range ruleFiles(t) {
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, group := range groups.Groups {
			for _, r := range group.Rules {
				expr, err := promql.ParseExpr(r.Expr)
				if err != nil {
					t.Fatal(err)
				}
				if r.Alert != "" {
					alerts = append(alerts, rule{r, file, expr})
				} else {
					records = append(records, rule{r, file, expr})
				}
			}
		}
	}
	if len(alerts) == 0 || len(records) == 0 {
		t.Fatalf("want alerts and recording rules, got %d and %d", len(alerts), len(records))
	}
	return alerts, records
}

var promql = parser.NewParser(parser.Options{})

func ruleFiles(t *testing.T) (files []string) {
	t.Helper()
	all, err := filepath.Glob("rules/*/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if !strings.HasPrefix(file, "rules/tests/") {
			files = append(files, file)
		}
	}
	return files
}

var (
	alertName  = regexp.MustCompile(`^([A-Z][a-z0-9]*)+[A-Z0-9]*$`)
	recordName = regexp.MustCompile(`^[a-z_]+:[a-z0-9_]+:[a-z0-9_]+$`)
)

func TestAlertsAreWhole(t *testing.T) {
	alerts, records := readRules(t)
	seen := map[string]string{}
	for _, a := range alerts {
		if first, twice := seen[a.Alert]; twice {
			t.Errorf("%s: alert %s stands in %s too", a.file, a.Alert, first)
		}
		seen[a.Alert] = a.file
		for _, problem := range incomplete(&a) {
			t.Errorf("%s: alert %s: %s", a.file, a.Alert, problem)
		}
	}
	for _, r := range records {
		if !recordName.MatchString(r.Record) {
			t.Errorf("%s: recording rule %s is not called level:metric:operations", r.file, r.Record)
		}
	}
	pages, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); seen[name] == "" {
			t.Errorf("%s: there is no alert %s", page, name)
		}
	}
	for name := range exempt {
		if seen[name] == "" {
			t.Errorf("exempt has the alert %s, which there is not", name)
		}
	}
}

// incomplete lists what an alert lacks.
func incomplete(a *rule) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !alertName.MatchString(a.Alert) {
		say("its name is not in CamelCase")
	}
	if s := a.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "info"}, s) {
		say("label severity is %q, want critical, warning or info", s)
	}
	if p := a.Labels["part"]; !slices.Contains([]string{"pipeline", "kafka", "stores", "monitoring"}, p) {
		say("label part is %q, want pipeline, kafka, stores or monitoring", p)
	}
	if a.For == 0 && exempt[a.Alert]["for"] == "" {
		say("it has no `for`, and exempt no reason for that")
	}
	if want := runbooks + a.Alert + ".md"; a.Annotations["runbook_url"] != want {
		say("annotation runbook_url is %q, want %q", a.Annotations["runbook_url"], want)
	}
	for _, name := range []string{"summary", "description"} {
		if a.Annotations[name] == "" {
			say("annotation %s is missing", name)
		}
	}
	if d := a.Annotations["dashboard"]; !strings.HasPrefix(d, "candlestack-") {
		say("annotation dashboard is %q, want the uid of a board", d)
	}
	return append(problems, badRunbook("runbooks/"+a.Alert+".md", a.Alert)...)
}

var sections = []string{"What it means", "What to look at", "What to do"}

// badRunbook lists what a page lacks: it has a title, and these sections with words in them.
func badRunbook(file, title string) (problems []string) {
	page, err := os.ReadFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	parts := strings.Split("\n"+string(page), "\n## ")
	if got := strings.TrimSpace(strings.SplitN(strings.TrimSpace(parts[0]), "\n", 2)[0]); got != "# "+title {
		problems = append(problems, fmt.Sprintf("%s begins with %q, want %q", file, got, "# "+title))
	}
	for _, want := range sections {
		i := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, want+"\n") })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("%s has no section %q", file, want))
		} else if len(strings.Fields(strings.TrimPrefix(parts[i], want))) < 5 {
			problems = append(problems, fmt.Sprintf("%s says nothing in section %q", file, want))
		}
	}
	return problems
}

func TestAlertsHaveAllFiveTests(t *testing.T) {
	alerts, records := readRules(t)
	all := readCases(t)
	have := map[string]map[string]int{}
	for _, a := range alerts {
		have[a.Alert] = map[string]int{}
	}
	for _, c := range all {
		for kind := range c.kinds {
			if have[c.alert] == nil {
				t.Errorf("%s: case %q is about an alert that there is not", c.file, c.Name)
				break
			}
			have[c.alert][kind]++
		}
	}
	reads := reader(records)
	for _, a := range alerts {
		for _, kind := range kinds {
			if have[a.Alert][kind] == 0 && exempt[a.Alert][kind] == "" {
				t.Errorf("%s: alert %s has no test of kind %q", a.file, a.Alert, kind)
			}
		}
		for _, c := range all {
			if c.alert != a.Alert {
				continue
			}
			for _, problem := range c.unproved(&a, reads(names(a.expr))) {
				t.Errorf("%s: case %q: %s", c.file, c.Name, problem)
			}
		}
	}
	for _, r := range records {
		if !slices.ContainsFunc(all, func(c testCase) bool { return c.samples(r.Record) }) {
			t.Errorf("%s: no promql_expr_test expects a sample of %s", r.file, r.Record)
		}
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "alert\tfor\t%s\n", strings.Join(kinds, "\t"))
	for _, a := range alerts {
		fmt.Fprintf(w, "%s\t%s", a.Alert, time.Duration(a.For))
		for _, kind := range kinds {
			if exempt[a.Alert][kind] != "" {
				fmt.Fprint(w, "\t-")
			} else {
				fmt.Fprintf(w, "\t%d", have[a.Alert][kind])
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d alerts, %d recording rules, %d cases\n%s", len(alerts), len(records), len(all), table.String())
	for name, why := range exempt {
		for _, kind := range slices.Sorted(maps.Keys(why)) {
			t.Logf("exempt: %s %s: %s", name, kind, why[kind])
		}
	}
}
