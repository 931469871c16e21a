package catalogue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Record is a recording rule.
type Record struct {
	Expr   parser.Expr
	Labels map[string]string // that the rule adds
}

// Checker follows labels through expressions and notes what cannot be.
type Checker struct {
	Metrics  Catalogue
	Records  map[string][]Record // recording rules, by what they record
	Problems []string            // what was found so far, each once
}

func (c *Checker) say(format string, args ...any) {
	if p := fmt.Sprintf(format, args...); !slices.Contains(c.Problems, p) {
		c.Problems = append(c.Problems, p)
	}
}

// Labels are those that the result of an expression may have.
func (c *Checker) Labels(e parser.Expr) Labels {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return c.selected(e)
	case *parser.MatrixSelector:
		return c.Labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.Labels(e.Expr)
	case *parser.ParenExpr:
		return c.Labels(e.Expr)
	case *parser.UnaryExpr:
		return c.Labels(e.Expr)
	case *parser.StepInvariantExpr:
		return c.Labels(e.Expr)
	case *parser.AggregateExpr:
		return c.aggregated(e)
	case *parser.BinaryExpr:
		return c.combined(e)
	case *parser.Call:
		return c.called(e)
	}
	return LabelsOf() // a number or a text
}

// selected checks that a selector names a job, and a metric and labels that the job has.
func (c *Checker) selected(s *parser.VectorSelector) Labels {
	if s.Name == "" {
		c.say("%s names no metric", s)
		return nil
	}
	if s.Name == "ALERTS" || s.Name == "ALERTS_FOR_STATE" {
		return nil
	}
	var all Labels
	if strings.Contains(s.Name, ":") {
		rules := c.Records[s.Name]
		if len(rules) == 0 {
			c.say("no rule records %s", s.Name)
			return nil
		}
		all = LabelsOf()
		for _, r := range rules {
			all = all.With(c.Labels(r.Expr))
			for name := range r.Labels {
				all = all.With(LabelsOf(name))
			}
		}
	} else {
		var ok bool
		if all, ok = c.ofJob(s); !ok {
			return nil
		}
	}
	for _, m := range s.LabelMatchers {
		if m.Name != model.MetricNameLabel && all != nil && !all[m.Name] {
			c.say("%s: %s has no label %s", s, s.Name, m.Name)
		}
	}
	return all
}

// ofJob are the labels of a metric where the jobs that its selector names show it.
func (c *Checker) ofJob(s *parser.VectorSelector) (all Labels, ok bool) {
	i := slices.IndexFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "job" })
	if i < 0 || s.LabelMatchers[i].Type == labels.MatchNotEqual || s.LabelMatchers[i].Type == labels.MatchNotRegexp || s.LabelMatchers[i].Matches("") {
		c.say("%s does not name its job", s)
		return nil, false
	}
	all = LabelsOf()
	var named []string
	for job, metrics := range c.Metrics {
		if !s.LabelMatchers[i].Matches(job) {
			continue
		}
		named = append(named, job)
		if own, there := metrics[s.Name]; there {
			all, ok = all.With(own), true
		}
	}
	if !ok {
		c.say("%s: no page of the jobs %q lists %s", s, named, s.Name)
	}
	return all, ok
}

func (c *Checker) aggregated(e *parser.AggregateExpr) Labels {
	inner := c.Labels(e.Expr)
	if e.Param != nil {
		c.Labels(e.Param)
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
		return LabelsOf(e.Grouping...)
	}
	all := maps.Clone(inner)
	maps.DeleteFunc(all, func(name string, _ bool) bool { return slices.Contains(e.Grouping, name) })
	return all
}

func (c *Checker) combined(e *parser.BinaryExpr) Labels {
	left, right := c.Labels(e.LHS), c.Labels(e.RHS)
	if e.VectorMatching == nil { // with a number
		return left.With(right)
	}
	m := e.VectorMatching
	for _, name := range m.MatchingLabels {
		for _, side := range []Labels{left, right} {
			if m.On && side != nil && !side[name] {
				c.say("%s: one side has no label %s", e, name)
			}
		}
	}
	switch {
	case e.Op == parser.LOR:
		return left.With(right)
	case e.Op.IsSetOperator():
		return left
	case m.Card == parser.CardOneToMany:
		left = right
	case m.Card == parser.CardOneToOne && m.On && !e.Op.IsComparisonOperator():
		return LabelsOf(m.MatchingLabels...)
	}
	return left.With(LabelsOf(m.Include...))
}

func (c *Checker) called(e *parser.Call) Labels {
	all := LabelsOf()
	for _, arg := range e.Args {
		own := c.Labels(arg)
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
		all = LabelsOf()
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
		all = LabelsOf()
	case "label_replace", "label_join":
		all = all.With(LabelsOf(text(1)))
	}
	return all
}
