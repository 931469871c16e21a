package contract

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/candlestack/candlestack/prometheus/catalogue"
)

// windows are lengths of range selectors beside $__rate_interval and $__range,
// each with its reason.
var windows = map[time.Duration]string{
	time.Minute:      "canaries come every ten seconds: a shorter window holds too few for a quantile",
	5 * time.Minute:  "what the exporter asks for once a minute, and quantiles of rare events, need several looks",
	10 * time.Minute: "that of the alert whose line is drawn",
	time.Hour:        "posts per hour, as the title says",
}

// Lengths that stand for variables while an expression is parsed: no window of ours is as odd.
const (
	rateInterval = 86_399 * time.Second
	wholeRange   = 86_397 * time.Second
	anyInterval  = 86_395 * time.Second
)

// inWindows puts lengths in the place of Grafana's own variables.
var inWindows = strings.NewReplacer(
	"${__rate_interval}", "86399s", "$__rate_interval", "86399s",
	"${__range_s}", "86397", "$__range_s", "86397", "${__range}", "86397s", "$__range", "86397s",
	"${__interval}", "86395s", "$__interval", "86395s")

// overCounters are the functions that turn a counter into something to look at.
var overCounters = []string{"rate", "irate", "increase", "resets"}

// asksForSeries tells whether values do not matter: group(…) stands for what a
// variable asks for.
func asksForSeries(path []parser.Node) bool {
	return slices.ContainsFunc(path, func(n parser.Node) bool {
		a, ok := n.(*parser.AggregateExpr)
		return ok && a.Op == parser.GROUP
	})
}

// promQL holds an expression to what there is.
func (c *checker) promQL(b *Board, p *Panel, t *Target) {
	if fixedDate.MatchString(t.Expr) {
		c.say(b, p, t.RefID, RuleDate, "%s", t.Expr)
	}
	// Any value fits a pattern that fits all.
	all := choices{}
	for _, v := range b.Templating.List {
		all[v.Name] = choice{values: []string{".+"}, verbatim: ".+"}
	}
	text, err := all.fill(inWindows.Replace(t.Expr), inPromQL)
	if err != nil {
		c.say(b, p, t.RefID, RuleVariable, "%v", err)
		return
	}
	expr, err := promql.ParseExpr(text)
	if err != nil {
		c.say(b, p, t.RefID, RuleQuery, "%v", err)
		return
	}
	names := catalogue.Checker{Metrics: c.Metrics, Records: c.Records}
	has := names.Labels(expr)
	for _, problem := range names.Problems {
		c.say(b, p, t.RefID, RuleMetric, "%s", problem)
	}
	for _, label := range labelsIn(t.LegendFormat) {
		if has != nil && !has[label] {
			c.say(b, p, t.RefID, RuleMetric, "its legend names label %s, which the result has not", label)
		}
	}
	if t.Format == "table" && has != nil {
		for _, column := range p.ordered() {
			if !has[column] && column != "Time" && !strings.HasPrefix(column, "Value") {
				c.say(b, p, t.RefID, RuleMetric, "the table has a place for label %s, which the result has not", column)
			}
		}
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			if strings.HasSuffix(n.Name, "_total") && !within(path, overCounters) && !asksForSeries(path) {
				c.say(b, p, t.RefID, RuleCounter, "%s is a counter, and only its growth says something", n.Name)
			}
		case *parser.MatrixSelector:
			if n.Range != rateInterval && n.Range != wholeRange && windows[n.Range] == "" {
				c.say(b, p, t.RefID, RuleWindow, "[%s] is neither $__rate_interval nor listed", n.Range)
			}
		}
		return nil
	})
}

// ordered are the columns that a table has a place for.
func (p *Panel) ordered() (names []string) {
	for _, t := range p.Transformations {
		var o struct {
			Order   map[string]int    `json:"indexByName"`
			Renames map[string]string `json:"renameByName"`
		}
		if json.Unmarshal(t.Options, &o) == nil {
			names = slices.AppendSeq(slices.AppendSeq(names, maps.Keys(o.Order)), maps.Keys(o.Renames))
		}
	}
	return names
}

// within tells whether one of the functions is around a node.
func within(path []parser.Node, functions []string) bool {
	return slices.ContainsFunc(path, func(n parser.Node) bool {
		call, ok := n.(*parser.Call)
		return ok && slices.Contains(functions, call.Func.Name)
	})
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// labelsIn are the labels that a legend names.
func labelsIn(legend string) (names []string) {
	for _, m := range legendLabel.FindAllStringSubmatch(legend, -1) {
		names = append(names, m[1])
	}
	return names
}

// sql holds a statement to the macros and variables that there are; MySQL itself
// is asked live.
func (c *checker) sql(b *Board, p *Panel, t *Target) {
	if fixedDate.MatchString(t.RawSQL) {
		c.say(b, p, t.RefID, RuleDate, "it names a day or a second")
	}
	all := choices{}
	for _, v := range b.Templating.List {
		all[v.Name] = choice{values: []string{"x"}}
	}
	text, err := all.fill(t.RawSQL, inSQL)
	if err != nil {
		c.say(b, p, t.RefID, RuleVariable, "%v", err)
		return
	}
	if _, err := expandSQL(text, span{interval: anyInterval, scrape: time.Second}); err != nil {
		c.say(b, p, t.RefID, RuleQuery, "%v", err)
	}
}

// variables holds that what is used is defined and what is defined is used.
func (c *checker) variables(b *Board) {
	used := map[string]bool{}
	look := func(texts ...string) {
		for _, text := range texts {
			maps.Copy(used, references(text))
		}
	}
	earlier := map[string]bool{}
	for i := range b.Templating.List {
		v := &b.Templating.List[i]
		if earlier[v.Name] {
			c.say(b, nil, "", RuleVariable, "%s is defined twice", v.Name)
		}
		for name := range references(v.query()) {
			if !earlier[name] {
				c.say(b, nil, "", RuleVariable, "%s asks for %s, which is not defined before it", v.Name, name)
			}
		}
		look(v.query())
		if v.Datasource != nil {
			look(v.Datasource.UID)
		}
		if _, series := labelValues(v.query()); series != "" {
			c.promQL(b, &Panel{Title: "variable " + v.Name}, &Target{Expr: "group(" + series + ")"})
		}
		earlier[v.Name] = true
	}
	look(b.Title, b.Description)
	for _, a := range b.Annotations.List {
		look(a.Expr, a.Datasource.UID)
	}
	for _, p := range append(b.rows(), b.Panels()...) {
		look(p.Title, p.Description, string(p.Options))
		if p.Repeat != "" {
			used[p.Repeat] = true
		}
		for _, t := range p.Targets {
			look(t.Expr, t.LegendFormat, t.RawSQL, t.Datasource.UID)
		}
		for _, l := range p.FieldConfig.Defaults.Links {
			look(l.URL)
		}
	}
	for name := range used {
		if !earlier[name] {
			c.say(b, nil, "", RuleVariable, "%s is used and not defined", name)
		}
	}
	for name := range earlier {
		if !used[name] {
			c.say(b, nil, "", RuleVariable, "%s is defined and not used", name)
		}
	}
}

// runbook is a link to the runbook of an alert.
var runbook = regexp.MustCompile(`/prometheus/runbooks/(\w+)\.md`)

// alerts are those whose runbooks the panel names.
func (p *Panel) alerts() (names []string) {
	for _, m := range runbook.FindAllStringSubmatch(p.Description, -1) {
		names = append(names, m[1])
	}
	return names
}

// thresholds holds that a panel which is coloured by thresholds and names an
// alert has the alert's among them.
func (c *checker) thresholds(b *Board, p *Panel) {
	steps := p.steps()
	if len(steps) == 0 {
		return
	}
	for _, alert := range p.alerts() {
		expr := c.Alerts[alert]
		if expr == nil {
			continue // links says so
		}
		limits := limitsOf(expr)
		if len(limits) == 0 {
			continue
		}
		if !slices.ContainsFunc(limits, func(l float64) bool { return slices.Contains(steps, l) }) {
			c.say(b, p, "", RuleThreshold, "%s begins at %v, the panel has %v", alert, limits, steps)
		}
	}
}

// steps are the values of all thresholds of a panel and its columns.
func (p *Panel) steps() (values []float64) {
	all := []*thresholds{p.FieldConfig.Defaults.Thresholds}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			t := new(thresholds)
			if property.ID == "thresholds" && json.Unmarshal(property.Value, t) == nil {
				all = append(all, t)
			}
		}
	}
	for _, t := range all {
		if t == nil {
			continue
		}
		for _, s := range t.Steps {
			if s.Value != nil {
				values = append(values, *s.Value)
			}
		}
	}
	return values
}

// limitsOf are the numbers that decide whether an alert fires. One that asks for
// more than 0 begins at 1, for it counts something; one that asks for 0 ends at 1.
func limitsOf(expr parser.Expr) (limits []float64) {
	switch e := expr.(type) {
	case *parser.ParenExpr:
		return limitsOf(e.Expr)
	case *parser.BinaryExpr:
		if e.Op.IsSetOperator() {
			return append(limitsOf(e.LHS), limitsOf(e.RHS)...)
		}
		n, ok := e.RHS.(*parser.NumberLiteral)
		switch {
		case !ok || !e.Op.IsComparisonOperator() || e.Op == parser.EQLC && n.Val != 0:
		case n.Val < 1 && n.Val == float64(int(n.Val*2))/2: // 0, and 0.5 of counters whose increase is no whole number
			return []float64{1}
		default:
			return []float64{n.Val}
		}
	}
	return nil
}
