package contract

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Live holds boards to what servers answer.
type Live struct {
	Prometheus string        // URL that /api/v1/… is added to
	MySQL      *sql.DB       // database market
	Scrape     time.Duration // scrape_interval

	// Elsewhere are the URLs of other Prometheuses, by the job that they alone have.
	Elsewhere map[string]string
}

// Row is what one target of a panel brought, for one choice of the variables.
type Row struct {
	Board, Panel, Target string
	Chosen               string
	Series, Points       int
	Took                 time.Duration
}

// Result is what a look at boards brought.
type Result struct {
	Rows     []Row
	Problems []Problem
	Panels   int // with targets
}

// add joins the results of several boards.
func (r *Result) add(more Result) {
	r.Rows, r.Problems, r.Panels = append(r.Rows, more.Rows...), append(r.Problems, more.Problems...), r.Panels+more.Panels
}

// Evaluate asks for every target of every panel as Grafana would: with the
// variables as the board is opened, then with each value of each variable.
func (l *Live) Evaluate(ctx context.Context, boards ...*Board) (all Result) {
	for _, b := range boards {
		all.add(l.board(ctx, b, true))
	}
	return all
}

// Opened is Evaluate with the variables as the boards are opened only.
func (l *Live) Opened(ctx context.Context, boards ...*Board) (all Result) {
	for _, b := range boards {
		all.add(l.board(ctx, b, false))
	}
	return all
}

func (l *Live) board(ctx context.Context, b *Board, each bool) (r Result) {
	s, err := l.spanOf(b.Time.From)
	if err != nil {
		r.Problems = append(r.Problems, Problem{Board: b.UID, Rule: RuleFile, Text: err.Error()})
		return r
	}
	set, could, err := l.choose(ctx, b, pick{}, s)
	if err != nil {
		r.Problems = append(r.Problems, Problem{Board: b.UID, Chosen: pick{}.String(), Rule: RuleChoices, Text: err.Error()})
		return r
	}
	e := &evaluation{Live: l, board: b, Result: &r}
	e.all(ctx, pick{}, set)
	for _, p := range b.Panels() {
		if len(p.Targets) > 0 {
			r.Panels++
		}
	}
	e.annotations(ctx, s, set)
	if !each {
		return r
	}
	for i := range b.Templating.List {
		v := &b.Templating.List[i]
		if v.Type == "datasource" {
			continue // another data source is another contract
		}
		for _, value := range could[v.Name] {
			p := pick{v.Name, value}
			set, _, err := l.choose(ctx, b, p, s)
			if err != nil {
				r.Problems = append(r.Problems, Problem{Board: b.UID, Chosen: p.String(), Rule: RuleChoices, Text: err.Error()})
				continue
			}
			e.all(ctx, p, set)
		}
	}
	return r
}

// spanOf is the time from now-15m and its like until now.
func (l *Live) spanOf(from string) (span, error) {
	back, err := parseInterval(strings.TrimPrefix(from, "now-"))
	if err != nil {
		return span{}, fmt.Errorf("time: %w", err)
	}
	now := time.Now().Truncate(time.Second)
	return span{from: now.Add(-back), to: now, interval: l.Scrape, scrape: l.Scrape}, nil
}

// evaluation is a look at a board.
type evaluation struct {
	*Live
	*Result
	board *Board
}

func (e *evaluation) say(p *Panel, target string, chosen pick, rule Rule, format string, args ...any) {
	e.Problems = append(e.Problems, Problem{Board: e.board.UID, Panel: p.Title, Target: target, Chosen: chosen.String(), Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// all evaluates the panels that a choice has to do with.
func (e *evaluation) all(ctx context.Context, chosen pick, set choices) {
	for _, p := range e.board.Panels() {
		if len(p.Targets) == 0 || chosen.variable != "" && !p.uses(chosen.variable) {
			continue
		}
		if p.Repeat == "" {
			e.panel(ctx, p, chosen, set)
			continue
		}
		for _, value := range set[p.Repeat].values {
			one := choices{}
			for name, c := range set {
				one[name] = c
			}
			one[p.Repeat] = choice{values: []string{value}, multi: true}
			e.panel(ctx, p, chosen, one)
		}
	}
}

// uses tells whether a panel depends on a variable.
func (p *Panel) uses(variable string) bool {
	return p.Repeat == variable || slices.ContainsFunc(p.Targets, func(t Target) bool {
		return references(t.Expr)[variable] || references(t.RawSQL)[variable]
	})
}

// maxPoints is how many points Grafana asks for on a panel of usual width.
const maxPoints = 600

// panelSpan is the time that a panel shows, and its step.
func (e *evaluation) panelSpan(p *Panel, t *Target) (span, error) {
	from := e.board.Time.From
	if p.TimeFrom != "" {
		from = "now-" + p.TimeFrom
	}
	s, err := e.spanOf(from)
	if err != nil {
		return s, err
	}
	points := maxPoints
	if p.MaxDataPoints > 0 {
		points = p.MaxDataPoints
	}
	least := e.Scrape
	if t.RawSQL != "" {
		least = time.Minute // timeInterval of the data source
	}
	if p.Interval != "" {
		if least, err = parseInterval(strings.TrimPrefix(p.Interval, ">")); err != nil {
			return s, err
		}
	}
	s.interval = max(roundStep(s.to.Sub(s.from)/time.Duration(points)), least)
	return s, nil
}

// panel asks for the targets of a panel and judges what came.
func (e *evaluation) panel(ctx context.Context, p *Panel, chosen pick, set choices) {
	var answers []answer
	for i := range p.Targets {
		t := &p.Targets[i]
		s, err := e.panelSpan(p, t)
		if err != nil {
			e.say(p, t.RefID, chosen, RuleFile, "%v", err)
			continue
		}
		a, took, err := e.target(ctx, t, s, set)
		if err != nil {
			e.say(p, t.RefID, chosen, RuleError, "%v", err)
			continue
		}
		a.refID = t.RefID
		answers = append(answers, a)
		points := 0
		for _, line := range a.series {
			points += len(line.values)
		}
		e.Rows = append(e.Rows, Row{e.board.UID, p.Title, t.RefID, chosen.String(), len(a.series), points, took})
		if took > time.Second {
			e.say(p, t.RefID, chosen, RuleSlow, "it took %v", took.Round(time.Millisecond))
		}
		e.judge(p, t, chosen, a, s)
	}
	if len(answers) == len(p.Targets) {
		e.judgePanel(p, chosen, answers)
	}
}

// target asks once; twice more where it took long, for other programs may have
// been in the way.
func (e *evaluation) target(ctx context.Context, t *Target, s span, set choices) (a answer, least time.Duration, err error) {
	for range 3 {
		begun := time.Now()
		a, err = e.answer(ctx, t, s, set)
		if took := time.Since(begun); least == 0 || took < least {
			least = took
		}
		if err != nil || least < time.Second {
			break
		}
	}
	return a, least, err
}

func (e *evaluation) answer(ctx context.Context, t *Target, s span, set choices) (answer, error) {
	if t.RawSQL != "" {
		text, err := set.fill(t.RawSQL, inSQL)
		if err != nil {
			return answer{}, err
		}
		if text, err = expandSQL(text, s); err != nil {
			return answer{}, err
		}
		return e.statement(ctx, text, t.Format)
	}
	text, err := set.fill(t.Expr, inPromQL)
	if err != nil {
		return answer{}, err
	}
	lines, err := e.query(ctx, s.globals(text), s, t.Instant)
	return answer{series: lines}, err
}

// annotations must be answered; that nothing happened is well.
func (e *evaluation) annotations(ctx context.Context, s span, set choices) {
	for _, a := range e.board.Annotations.List {
		if _, err := e.answer(ctx, &Target{Expr: a.Expr}, s, set); err != nil {
			e.say(&Panel{Title: "annotation " + a.Name}, "", pick{}, RuleError, "%v", err)
		}
	}
}
