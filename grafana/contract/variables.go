package contract

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var labelValuesOf = regexp.MustCompile(`(?s)^label_values\((?:(.+),)?\s*(\w+)\)$`)

// labelValues takes label_values(series, label) apart; "" if it is something else.
func labelValues(query string) (label, series string) {
	if m := labelValuesOf.FindStringSubmatch(query); m != nil {
		return m[2], m[1]
	}
	return "", ""
}

// pick sets one variable to one value; its zero value leaves all at what a user
// sees first, which is All where there is an All.
type pick struct{ variable, value string }

func (p pick) String() string {
	if p.variable == "" {
		return "as opened"
	}
	return p.variable + "=" + p.value
}

// choose sets the variables of a board in their order, as Grafana does when it is
// opened, but for one. It returns the values that each could have.
func (l *Live) choose(ctx context.Context, b *Board, p pick, s span) (choices, map[string][]string, error) {
	set, could := choices{}, map[string][]string{}
	for i := range b.Templating.List {
		v := &b.Templating.List[i]
		values, err := l.values(ctx, v, set, s)
		if err != nil {
			return nil, nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if len(values) == 0 {
			return nil, nil, fmt.Errorf("variable %s: there is nothing to choose", v.Name)
		}
		could[v.Name] = values
		c := choice{multi: v.Multi || v.IncludeAll, values: values[:1]}
		current, _ := v.Current.Value.(string)
		switch {
		case p.variable == v.Name:
			c.values = []string{p.value}
		case v.IncludeAll:
			c.values, c.verbatim = values, v.AllValue
		case slices.Contains(values, current):
			c.values = []string{current}
		}
		set[v.Name] = c
	}
	return set, could, nil
}

// values are those that a variable can be set to, in order.
func (l *Live) values(ctx context.Context, v *Variable, set choices, s span) (values []string, err error) {
	switch v.Type {
	case "datasource":
		return []string{"prometheus"}, nil
	case "custom", "interval":
		for option := range strings.SplitSeq(v.query(), ",") {
			_, value, named := strings.Cut(option, " : ")
			if !named {
				value = option
			}
			values = append(values, strings.TrimSpace(value))
		}
		return values, nil
	case "query":
	default:
		return nil, fmt.Errorf("the contract does not know type %q", v.Type)
	}
	if v.Datasource != nil && v.Datasource.Type == "mysql" {
		values, err = l.valuesOfMySQL(ctx, v, set, s)
	} else {
		values, err = l.valuesOfPrometheus(ctx, v, set, s)
	}
	if err != nil || v.Regex == "" {
		return values, err
	}
	pattern, err := regexp.Compile(strings.Trim(v.Regex, "/"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(values, func(value string) bool { return !pattern.MatchString(value) }), nil
}

func (l *Live) valuesOfPrometheus(ctx context.Context, v *Variable, set choices, s span) (values []string, err error) {
	query, err := set.fill(s.globals(v.query()), inPromQL)
	if err != nil {
		return nil, err
	}
	args := url.Values{"start": {seconds(s.from)}, "end": {seconds(s.to)}}
	label, series := labelValues(query)
	if label == "" {
		return nil, fmt.Errorf("the contract does not know %q", query)
	}
	if series != "" {
		args.Set("match[]", series)
	}
	err = l.ask(ctx, "label/"+label+"/values", args, &values)
	return values, err
}

func (l *Live) valuesOfMySQL(ctx context.Context, v *Variable, set choices, s span) (values []string, err error) {
	query, err := set.fill(v.query(), inSQL)
	if err != nil {
		return nil, err
	}
	if query, err = expandSQL(query, s); err != nil {
		return nil, err
	}
	if l.MySQL == nil {
		return nil, errors.New("the contract knows no MySQL")
	}
	rows, err := l.MySQL.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	of := slices.Index(names, "__value")
	if of < 0 {
		of = len(names) - 1
	}
	for rows.Next() {
		cells, into := make([]string, len(names)), make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		values = append(values, cells[of])
	}
	return values, rows.Err()
}
