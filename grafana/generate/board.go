package main

import "fmt"

const (
	columns = 24 // of Grafana's grid
	tag     = "candlestack"
)

var (
	prometheus = source{"prometheus", "${datasource}"}
	mysql      = source{"mysql", "mysql"} // the uid of grafana/provisioning
)

// newBoard makes a dashboard of the last quarter of an hour. It answers one question.
func newBoard(name, title, question string, variables ...variable) *dashboard {
	return &dashboard{
		UID: uid(name), Title: title, Description: question, Tags: []string{tag},
		Timezone: "utc", GraphTooltip: 1, Refresh: "5s", SchemaVersion: schemaVersion, Version: 1,
		Time:        timeRange{"now-15m", "now"},
		Timepicker:  timepicker{[]string{"5s", "10s", "30s", "1m", "5m", "15m"}},
		Templating:  templating{append([]variable{datasource}, variables...)},
		Annotations: annotations{events},
		Links: []boardLink{{
			Title: "Candlestack", Type: "dashboards", Icon: "external link", Tags: []string{tag},
			AsDropdown: true, IncludeVars: true, KeepTime: true, Tooltip: "The other boards of the stack",
		}},
	}
}

func uid(name string) string { return "candlestack-" + name }

// events stand as vertical lines in every graph: what may explain a change.
var events = []annotation{
	{Name: "Restarts", Datasource: prometheus, Enable: true, IconColor: "purple", Step: "10s",
		Expr:        `changes(process_start_time_seconds{job="candlestack"}[1m]) > 0`,
		TitleFormat: "Restart", TextFormat: "{{component}}", TagKeys: "component"},
	{Name: "Alerts", Datasource: prometheus, Enable: true, IconColor: "red", Step: "10s",
		Expr:        `ALERTS{alertstate="firing", severity=~"critical|warning"}`,
		TitleFormat: "{{alertname}}", TextFormat: "{{severity}}", TagKeys: "part,severity"},
	{Name: "Faults", Datasource: prometheus, Enable: true, IconColor: "orange", Step: "10s",
		Expr:        `increase(candlestack_simulator_faults_total{job="candlestack"}[1m]) > 0`,
		TitleFormat: "Fault of the simulator", TextFormat: "{{kind}}", TagKeys: "kind"},
}

// datasource lets a user look at another Prometheus.
var datasource = variable{
	Name: "datasource", Type: "datasource", Label: "Data source", Query: "prometheus", Refresh: 1,
	Current: option{"Prometheus", "prometheus"}, Options: []any{},
}

const labelValues = 1 // the sort of question, in Grafana's form of variables

// choice is a variable of the values of a label: several, or all at once.
func choice(name, label, values string) variable {
	v := single(name, label, "", values)
	v.Multi, v.IncludeAll, v.AllValue = true, true, ".+"
	v.Current = option{[]string{"All"}, []string{"$__all"}}
	return v
}

// single is a variable of one value of a label; without the usual one, it is the first.
func single(name, label, usual, values string) variable {
	return variable{
		Name: name, Type: "query", Label: label, Datasource: &prometheus, Definition: values,
		Query: variableQuery{labelValues, values, "PrometheusVariableQueryEditor-VariableQuery"}, Refresh: 2, Sort: 1, Current: option{usual, usual}, Options: []any{},
	}
}

// section adds a row of panels under a title; the panels lie in lines.
func (d *dashboard) section(title string, lines ...line) *dashboard {
	if title != "" {
		d.place(newRow(title, false), 1)
	}
	for _, l := range lines {
		d.Panels = append(d.Panels, l.layOut(d, d.bottom())...)
	}
	return d
}

// folded adds a row that is closed until somebody opens it.
func (d *dashboard) folded(title string, lines ...line) *dashboard {
	row := newRow(title, true)
	d.place(row, 1)
	y := row.GridPos.Y + 1
	for _, l := range lines {
		row.Panels = append(row.Panels, l.layOut(d, y)...)
		y += l.height
	}
	return d
}

func newRow(title string, collapsed bool) *panel {
	return &panel{Type: "row", Title: title, GridPos: gridPos{W: columns}, Collapsed: &collapsed}
}

// place puts one panel below everything.
func (d *dashboard) place(p *panel, height int) {
	d.Panels = append(d.Panels, line{height, []*panel{p}}.layOut(d, d.bottom())...)
}

// bottom is the first free line of the grid. A closed row hides its panels.
func (d *dashboard) bottom() int {
	y := 0
	for _, p := range d.Panels {
		y = max(y, p.GridPos.Y+p.GridPos.H)
	}
	return y
}

// line is what lies side by side.
type line struct {
	height int
	panels []*panel
}

func across(height int, panels ...*panel) line { return line{height, panels} }

// layOut gives the panels their places and numbers. Panels without a width share
// what is left; a line that is not full is a mistake of the board's author.
func (l line) layOut(d *dashboard, y int) []*panel {
	left, without := columns, 0
	for _, p := range l.panels {
		left -= p.GridPos.W
		if p.GridPos.W == 0 {
			without++
		}
	}
	if left < without || (without == 0 && left != 0) {
		panic(fmt.Sprintf("%s: the line of %q does not fill %d columns", d.UID, l.panels[0].Title, columns))
	}
	x := 0
	for _, p := range l.panels {
		if p.GridPos.W == 0 {
			p.GridPos.W = left / without
			left -= p.GridPos.W
			without--
		}
		p.GridPos.X, p.GridPos.Y, p.GridPos.H = x, y, l.height
		x += p.GridPos.W
		d.lastID++
		p.ID = d.lastID
	}
	return l.panels
}
