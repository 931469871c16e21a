package prometheus_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// promtool is the binary that PROMTOOL names, else that of promtool.mod. The go
// command builds the latter first, which takes minutes once.
var promtool = sync.OnceValues(func() (string, error) {
	if named := os.Getenv("PROMTOOL"); named != "" {
		return named, nil
	}
	// -n builds the tool and prints where it lies: each run of the go command
	// itself would cost half a second more.
	out, err := exec.Command("go", "tool", "-modfile=promtool.mod", "-n", "promtool").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building promtool: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
})

// run runs promtool and returns what it said.
func run(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	tool, err := promtool()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, args...).CombinedOutput()
	return string(out), err
}

func TestPromtool(t *testing.T) {
	for name, args := range map[string][]string{
		"config": {"check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"},
		"rules":  append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, ruleFiles(t)...),
		"tests":  append([]string{"test", "rules"}, caseFiles(t)...),
	} {
		t.Run(name, func(t *testing.T) {
			if said, err := run(t, args...); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
			}
		})
	}
}

// bent is an alert that was changed so that its cases of a kind must fail.
type bent struct {
	rule
	kind, how string
}

// bend returns the alert without its `for`, and with each threshold loosened by a
// tenth, or by one where it is a small whole number. A threshold of 0 or 1 has no
// near neighbour, so nothing is tried there.
func bend(t *testing.T, a rule) (all []bent) {
	t.Helper()
	if a.For > 0 {
		b := a
		b.For = 0
		all = append(all, bent{b, "for", "without its `for`"})
	}
	parser.Inspect(a.expr, func(node parser.Node, _ []parser.Node) error {
		e, ok := node.(*parser.BinaryExpr)
		if !ok || !e.Op.IsComparisonOperator() {
			return nil
		}
		limit, ok := e.RHS.(*parser.NumberLiteral)
		if !ok || limit.Val == 0 || limit.Val == 1 {
			return nil
		}
		was, slack := limit.Val, math.Abs(limit.Val)/10
		if was == math.Trunc(was) {
			slack = max(slack, 1)
		}
		switch e.Op {
		case parser.GTR, parser.GTE:
			limit.Val -= slack
		case parser.LSS, parser.LTE:
			limit.Val += slack
		}
		if limit.Val != was {
			b := a
			b.Expr = a.expr.String()
			all = append(all, bent{b, "silent", fmt.Sprintf("with %v instead of %v", limit.Val, was)})
		}
		limit.Val = was
		return nil
	})
	return all
}

// TestRulesFailTheirTestsWhenBent bends every alert at once, in each way that it
// can be bent, and wants a case of each to fail: alerts do not read each other.
func TestRulesFailTheirTestsWhenBent(t *testing.T) {
	if testing.Short() {
		t.Skip("bending rules takes half a minute: run without -short")
	}
	alerts, _ := readRules(t)
	cases := readCases(t)
	var rounds []map[string]bent
	tried := 0
	for _, a := range alerts {
		for i, b := range bend(t, a) {
			if i == len(rounds) {
				rounds = append(rounds, map[string]bent{})
			}
			rounds[i][a.Alert] = b
			tried++
		}
	}
	for _, round := range rounds {
		root := t.TempDir()
		if err := os.CopyFS(filepath.Join(root, "rules"), os.DirFS("rules")); err != nil {
			t.Fatal(err)
		}
		args := []string{"test", "rules", "--run", "^[A-Z]"} // not the cases of recording rules, which take longest
		for _, file := range caseFiles(t) {
			args = append(args, filepath.Join(root, file))
		}
		for _, file := range ruleFiles(t) {
			rewrite(t, filepath.Join(root, file), round)
		}
		said, _ := run(t, args...)
		for _, b := range round {
			failed := func(c testCase) bool {
				return c.alert == b.Alert && c.kinds[b.kind] && strings.Contains(said, "name: "+c.Name+",\n")
			}
			if !slices.ContainsFunc(cases, failed) {
				t.Errorf("%s: alert %s %s still passes its tests of kind %q", b.file, b.Alert, b.how, b.kind)
			}
		}
	}
	t.Logf("%d alerts, bent in %d ways", len(alerts), tried)
}

// rewrite puts bent alerts into a rule file.
func rewrite(t *testing.T, path string, with map[string]bent) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var groups rulefmt.RuleGroups
	if err := yaml.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	for _, group := range groups.Groups {
		for i, r := range group.Rules {
			if b, ok := with[r.Alert]; ok {
				group.Rules[i] = b.Rule
			}
		}
	}
	if text, err = yaml.Marshal(groups); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
