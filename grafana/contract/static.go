package contract

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What a dashboard may have at its top. Files that came out of "export for
// sharing" have __inputs or an id, which provisioning does not take.
var topLevel = []string{"annotations", "description", "editable", "graphTooltip", "links", "panels", "refresh", "schemaVersion", "tags",
	"templating", "time", "timepicker", "timezone", "title", "uid", "version"}

// panelTypes are those that every Grafana has without a plugin.
var panelTypes = []string{"alertlist", "bargauge", "candlestick", "gauge", "heatmap", "stat", "state-timeline", "status-history", "table", "text", "timeseries"}

// units are Grafana's ids of units, as far as we use them.
var units = []string{"Bps", "bytes", "currencyUSD", "dateTimeAsIso", "dateTimeFromNow", "dtdurations", "eps", "locale", "mbytes", "mps", "ms", "none", "ops",
	"percent", "percentunit", "reqps", "rowsps", "s", "short"}

const gridColumns = 24

// checker collects the problems of boards.
type checker struct {
	*Facts
	boards   []*Board
	problems []Problem
}

// Static holds the files of boards to the rules (grafana.md §D1).
func Static(boards []*Board, facts *Facts) []Problem {
	c := &checker{Facts: facts, boards: boards}
	for _, b := range boards {
		c.board(b)
	}
	c.unique(boards)
	return c.problems
}

func (c *checker) say(b *Board, p *Panel, target string, rule Rule, format string, args ...any) {
	problem := Problem{Board: b.UID, Target: target, Rule: rule, Text: fmt.Sprintf(format, args...)}
	if p != nil {
		problem.Panel = p.Title
	}
	if !slices.Contains(c.problems, problem) {
		c.problems = append(c.problems, problem)
	}
}

// unique holds that no two boards have the same uid or title.
func (c *checker) unique(boards []*Board) {
	uids, titles := map[string]string{}, map[string]string{}
	for _, b := range boards {
		if other, twice := uids[b.UID]; twice || b.UID == "" {
			c.say(b, nil, "", RuleUnique, "%s has the uid of %s", b.file, other)
		}
		if other, twice := titles[b.Title]; twice || b.Title == "" {
			c.say(b, nil, "", RuleUnique, "%s has the title of %s", b.file, other)
		}
		uids[b.UID], titles[b.Title] = b.file, b.file
	}
}

func (c *checker) board(b *Board) {
	for _, key := range b.keys {
		if !slices.Contains(topLevel, key) {
			c.say(b, nil, "", RuleFile, "unknown key %q", key)
		}
	}
	if want := "candlestack-" + strings.TrimSuffix(b.file, ".json"); b.UID != want {
		c.say(b, nil, "", RuleFile, "its uid is not %q, though the file is %s", want, b.file)
	}
	if b.Timezone != "utc" || b.Editable || b.Refresh == "" || b.SchemaVersion < 39 || b.SchemaVersion > 41 {
		c.say(b, nil, "", RuleFile, "want time zone utc, not editable, a refresh and schemaVersion 39 to 41")
	}
	if b.Description == "" || b.Title == "" {
		c.say(b, nil, "", RuleText, "it has no title or no description")
	}
	for _, t := range []string{b.Time.From, b.Time.To} {
		if !relative.MatchString(t) {
			c.say(b, nil, "", RuleDate, "its time begins or ends at %q", t)
		}
	}
	c.layout(b)
	ids := map[int]string{}
	for _, p := range append(b.rows(), b.Panels()...) {
		if other, twice := ids[p.ID]; twice || p.ID <= 0 {
			c.say(b, p, "", RuleUnique, "its id %d is that of %q", p.ID, other)
		}
		ids[p.ID] = p.Title
	}
	for _, p := range b.Panels() {
		c.panel(b, p)
	}
	c.variables(b)
	c.links(b)
	for _, a := range b.Annotations.List {
		c.source(b, nil, a.Datasource)
		c.promQL(b, &Panel{Title: "annotation " + a.Name}, &Target{Expr: a.Expr})
	}
}

// rows are the rows of a board.
func (b *Board) rows() (rows []*Panel) {
	for _, p := range b.Rows {
		if p.Type == "row" {
			rows = append(rows, p)
		}
	}
	return rows
}

// relative is a time that moves on.
var relative = regexp.MustCompile(`^now(-\d+[smhdwM])?(/[smhdwM])?$`)

// fixedDate is a day of some year.
var fixedDate = regexp.MustCompile(`\b(19|20)\d\d-[01]\d-[0-3]\d|\b1[5-9]\d{8,11}\b`)

// layout holds that panels lie inside the grid and none on another. Those of a
// closed row lie where they will when it is opened.
func (c *checker) layout(b *Board) {
	flat := [][]*Panel{b.Rows}
	for _, r := range b.rows() {
		if r.Collapsed != (len(r.Panels) > 0) {
			c.say(b, r, "", RuleGrid, "a row holds panels if and only if it is closed")
		}
		flat = append(flat, r.Panels)
	}
	for _, panels := range flat {
		taken := map[[2]int]string{}
		for _, p := range panels {
			g := p.GridPos
			if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > gridColumns {
				c.say(b, p, "", RuleGrid, "it lies at %+v, outside %d columns", g, gridColumns)
				continue
			}
			for x := range g.W {
				for y := range g.H {
					cell := [2]int{g.X + x, g.Y + y}
					if other, twice := taken[cell]; twice && other != p.Title {
						c.say(b, p, "", RuleGrid, "it lies on %q", other)
					}
					taken[cell] = p.Title
				}
			}
		}
	}
}

func (c *checker) panel(b *Board, p *Panel) {
	if !slices.Contains(panelTypes, p.Type) {
		c.say(b, p, "", RuleType, "%q is none of %v", p.Type, panelTypes)
	}
	if p.Title == "" {
		c.say(b, p, "", RuleText, "panel %d has no title", p.ID)
	}
	if p.Type == "text" {
		return
	}
	if len(p.Description) < 40 {
		c.say(b, p, "", RuleText, "its description says nothing")
	}
	if p.Type == "alertlist" {
		return
	}
	if p.FieldConfig.Defaults.NoValue == "" {
		c.say(b, p, "", RuleText, "it has no noValue")
	}
	for _, unit := range p.units() {
		if !slices.Contains(units, unit) {
			c.say(b, p, "", RuleUnit, "%q is no unit that we know", unit)
		}
	}
	if len(p.Targets) == 0 {
		c.say(b, p, "", RuleQuery, "it asks for nothing")
	}
	refs := map[string]bool{}
	for i := range p.Targets {
		t := &p.Targets[i]
		if refs[t.RefID] || t.RefID == "" {
			c.say(b, p, t.RefID, RuleUnique, "its refId is not its own")
		}
		refs[t.RefID] = true
		c.source(b, p, t.Datasource)
		if t.RawSQL != "" {
			c.sql(b, p, t)
		} else {
			c.promQL(b, p, t)
		}
	}
	c.thresholds(b, p)
}

// units are the default unit of a panel and those of its columns.
func (p *Panel) units() []string {
	all := []string{p.FieldConfig.Defaults.Unit}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			var unit string
			if property.ID == "unit" && json.Unmarshal(property.Value, &unit) == nil {
				all = append(all, unit)
			}
		}
	}
	return all
}

func (c *checker) source(b *Board, p *Panel, s source) {
	if s.UID != "${datasource}" && c.Sources[s.UID] != s.Type {
		c.say(b, p, "", RuleSource, "no data source %q of type %q is provisioned", s.UID, s.Type)
	}
}

// boardLink is a link to a board.
var boardLink = regexp.MustCompile(`/d/([\w-]+)`)

// links holds that they lead to boards that there are. Those to runbooks are
// held to the alerts that there are.
func (c *checker) links(b *Board) {
	uids, tags := map[string]bool{}, map[string]bool{}
	for _, other := range c.boards {
		uids[other.UID] = true
		for _, tag := range other.Tags {
			tags[tag] = true
		}
	}
	lead := func(p *Panel, url string) {
		for _, m := range boardLink.FindAllStringSubmatch(url, -1) {
			if !uids[m[1]] {
				c.say(b, p, "", RuleLink, "there is no board %q", m[1])
			}
		}
	}
	for _, l := range b.Links {
		lead(nil, l.URL)
		for _, tag := range l.Tags {
			if !tags[tag] {
				c.say(b, nil, "", RuleLink, "no board has the tag %q", tag)
			}
		}
	}
	for _, p := range b.Panels() {
		for _, l := range p.FieldConfig.Defaults.Links {
			lead(p, l.URL)
		}
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				lead(p, string(property.Value))
			}
		}
		lead(p, string(p.Options))
		for _, alert := range p.alerts() {
			if c.Alerts[alert] == nil {
				c.say(b, p, "", RuleLink, "there is no alert %s", alert)
			}
		}
	}
}
