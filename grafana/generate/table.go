package main

import "strings"

// column is a number that a table shows for each key.
type column struct {
	name  string
	unit  string
	expr  string // must leave the labels of the key and no others
	steps []step // colour of the number; none without
	base  string
}

// table shows numbers side by side, a line for each set of the labels in keys.
func table(title, description string, keys []string, columns ...column) *panel {
	targets := make([]target, len(columns))
	for i, c := range columns {
		targets[i] = query(c.expr, "")
		targets[i].Format = "table"
	}
	p := newTable(title, description, targets).instantly()
	renames := map[string]string{}
	order := map[string]int{}
	for i, key := range keys {
		renames[key], order[key] = heading(key), i
	}
	for i, c := range columns {
		value := "Value"
		if len(columns) > 1 {
			value = "Value #" + p.Targets[i].RefID
		}
		renames[value], order[value] = c.name, len(keys)+i
		p.style(c)
	}
	if len(columns) > 1 {
		p.Transformations = append(p.Transformations, transformation{"merge", struct{}{}})
	}
	p.Transformations = append(p.Transformations, transformation{"organize", organize{map[string]bool{"Time": true}, order, renames}})
	return p
}

// heading is what stands above the values of a label.
func heading(label string) string {
	switch label {
	case "alertname":
		return "Alert"
	case "alertstate":
		return "State"
	case "consumergroup":
		return "Group"
	case "api":
		return "API"
	case "cluster_id":
		return "Cluster"
	}
	return strings.ToUpper(label[:1]) + label[1:]
}

// rows shows the answer of MySQL as it is.
func rows(title, description, sql string, columns ...column) *panel {
	t := statement(sql)
	t.Format = "table"
	p := newTable(title, description, []target{t})
	for _, c := range columns {
		p.style(c)
	}
	return p
}

type organize struct {
	Exclude map[string]bool   `json:"excludeByName"`
	Order   map[string]int    `json:"indexByName"`
	Renames map[string]string `json:"renameByName"`
}

func newTable(title, description string, targets []target) *panel {
	options := &tableOptions{ShowHeader: true, CellHeight: "sm", SortBy: []sortBy{}}
	return newPanel("table", title, description, unitCount, &tableCustom{Align: "auto", CellOptions: cellKind{"auto"}}, options, targets)
}

// style gives a column its unit and colours.
func (p *panel) style(c column) {
	properties := []property{inUnit(c.unit)}
	if c.base != "" {
		properties = append(properties,
			property{"thresholds", thresholds{"absolute", append([]step{{Color: c.base}}, c.steps...)}},
			property{"color", fieldColor{Mode: "thresholds"}},
			property{"custom.cellOptions", cellKind{"color-text"}})
	}
	p.series(c.name, properties...)
}

// sorted puts the lines of a table in order of a column.
func (p *panel) sorted(name string, descending bool) *panel {
	p.Options.(*tableOptions).SortBy = []sortBy{{name, descending}}
	return p
}
