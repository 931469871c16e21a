// Package contract holds Grafana's dashboards to what they promise: that no panel
// is ever empty or wrong. Static reads the files alone. Live asks what Grafana
// would ask, of a Prometheus and a MySQL that run, with every choice that a user
// has (grafana.md §D1, §D2).
//
// What may be otherwise stands in exceptions.go, each with its reason; one that is
// not needed any more is a problem of its own.
package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rule is what a problem is about.
type Rule string

// Rules that the files are held to.
const (
	RuleFile      Rule = "file"      // JSON or YAML, known keys, fixed settings
	RuleUnique    Rule = "unique"    // uid, title, number of a panel
	RuleGrid      Rule = "grid"      // inside 24 columns, none on another
	RuleType      Rule = "type"      // a kind of panel that every Grafana has
	RuleText      Rule = "text"      // title, description, noValue
	RuleUnit      Rule = "unit"      // a unit that Grafana knows
	RuleSource    Rule = "source"    // a data source that is provisioned
	RuleQuery     Rule = "query"     // PromQL parses, macros exist
	RuleCounter   Rule = "counter"   // counters inside rate or increase
	RuleWindow    Rule = "window"    // [$__rate_interval], or a window that is listed
	RuleMetric    Rule = "metric"    // metrics, jobs and labels that there are
	RuleVariable  Rule = "variable"  // defined is used is defined
	RuleLink      Rule = "link"      // boards, tags and runbooks that there are
	RuleThreshold Rule = "threshold" // that of the alert which the panel names
	RuleDate      Rule = "date"      // no fixed time
)

// Rules that answers are held to.
const (
	RuleError       Rule = "error"       // the server answers, without a warning
	RuleEmpty       Rule = "empty"       // a number at least
	RulePoints      Rule = "points"      // a line has some points
	RuleFresh       Rule = "fresh"       // the newest is new
	RuleFinite      Rule = "finite"      // neither NaN nor infinite
	RuleLegend      Rule = "legend"      // its labels are there, and names differ
	RuleSingle      Rule = "single"      // one value where no label tells several apart
	RuleSeries      Rule = "series"      // 50 at most
	RuleSlow        Rule = "slow"        // below a second
	RuleCandlestick Rule = "candlestick" // its fields are there
	RuleOverride    Rule = "override"    // what overrides and transformations name is there
	RuleChoices     Rule = "choices"     // a variable has values
)

var liveRules = []Rule{RuleError, RuleEmpty, RulePoints, RuleFresh, RuleFinite, RuleLegend, RuleSingle, RuleSeries, RuleSlow, RuleCandlestick, RuleOverride, RuleChoices}

// Problem is a breach of a rule.
type Problem struct {
	Board  string // uid; of provisioning, the file
	Panel  string // title; "" is the board itself
	Target string // refId; "" is the panel itself
	Chosen string // what the variables were set to; "" for the files
	Rule   Rule
	Text   string
}

func (p Problem) String() string {
	where := p.Board
	for _, part := range []string{p.Panel, p.Target} {
		if part != "" {
			where += " / " + part
		}
	}
	if p.Chosen != "" {
		where += " [" + p.Chosen + "]"
	}
	return fmt.Sprintf("%s: %s: %s", where, p.Rule, p.Text)
}

// Exception lets a rule be broken.
type Exception struct {
	Board  string // uid
	Panel  string // title
	Target string // refId; "" is any
	Chosen string // only where the choice says so, say topic=market.gaps; "" is any
	Where  string // environment in which it holds: demo or compose; "" is both
	Rule   Rule
	// Sometimes it is needed and sometimes not, so that it is never too much.
	Sometimes bool
	Reason    string
}

func (e Exception) covers(p Problem) bool {
	return e.Board == p.Board && e.Panel == p.Panel && e.Rule == p.Rule && (e.Target == "" || e.Target == p.Target) &&
		(e.Chosen == "" || slices.Contains(strings.Fields(p.Chosen), e.Chosen))
}

// Except takes out what exceptions allow in an environment, "" for the files, and
// tells which exceptions nothing needed. They are judged among those of the rules
// that were looked at: those of the files, or of answers.
func Except(problems []Problem, exceptions []Exception, where string) (left []Problem, idle []Exception) {
	needed := make([]bool, len(exceptions))
	for _, p := range problems {
		excused := false
		for i, e := range exceptions {
			if (e.Where == "" || e.Where == where) && e.covers(p) {
				needed[i], excused = true, true
			}
		}
		if !excused {
			left = append(left, p)
		}
	}
	for i, e := range exceptions {
		if live := slices.Contains(liveRules, e.Rule); !needed[i] && !e.Sometimes && live == (where != "") && (e.Where == "" || e.Where == where) {
			idle = append(idle, e)
		}
	}
	slices.SortStableFunc(left, func(a, b Problem) int { return cmp.Compare(a.Board, b.Board) })
	return left, idle
}
