package contract

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer is what a target brought.
type answer struct {
	series  []series
	columns []string // of a table, in order
	refID   string
}

// statement asks MySQL and makes of the rows what Grafana's data source makes.
func (l *Live) statement(ctx context.Context, query, format string) (a answer, err error) {
	if l.MySQL == nil {
		return answer{}, errors.New("the contract knows no MySQL")
	}
	rows, err := l.MySQL.QueryContext(ctx, query)
	if err != nil {
		return answer{}, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return answer{}, err
	}
	for _, t := range types {
		a.columns = append(a.columns, t.Name())
	}
	lines := map[string]*series{}
	var before time.Time
	cells := make([]sql.NullString, len(types))
	into := make([]any, len(types))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return answer{}, err
		}
		at, err := addRow(lines, types, cells)
		if err != nil {
			return answer{}, err
		}
		if format != "table" && at.IsZero() {
			return answer{}, errors.New("format time_series needs a column time")
		}
		if format != "table" && at.Before(before) {
			return answer{}, errors.New("the rows are not sorted by time")
		}
		before = at
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		a.series = append(a.series, *lines[name])
	}
	return a, rows.Err()
}

// addRow adds the numbers of a row to the series of their columns. Texts tell
// series apart; one called metric names them.
func addRow(lines map[string]*series, types []*sql.ColumnType, cells []sql.NullString) (at time.Time, err error) {
	labels, numbers := map[string]string{}, map[string]float64{}
	for i, t := range types {
		name, text := t.Name(), cells[i].String
		switch kind := t.DatabaseTypeName(); {
		case !cells[i].Valid:
		case name == "time" || name == "time_sec":
			if at, err = readTime(text); err != nil {
				return at, fmt.Errorf("column time: %w", err)
			}
		case strings.Contains(kind, "CHAR") || strings.Contains(kind, "TEXT") || strings.Contains(kind, "ENUM"):
			labels[name] = text
		case strings.Contains(kind, "TIME") || strings.Contains(kind, "DATE"):
			if _, err := readTime(text); err != nil {
				return at, fmt.Errorf("column %s: %w", name, err)
			}
		default:
			if numbers[name], err = strconv.ParseFloat(text, 64); err != nil {
				return at, fmt.Errorf("column %s: %w", name, err)
			}
		}
	}
	for name, value := range numbers {
		key := fmt.Sprint(name, labels)
		if lines[key] == nil {
			lines[key] = &series{labels: labels, name: name}
			if metric := labels["metric"]; metric != "" {
				lines[key].name = metric
			}
		}
		lines[key].times, lines[key].values = append(lines[key].times, at), append(lines[key].values, value)
	}
	return at, nil
}

// readTime reads seconds of the epoch, or a time as MySQL or its driver writes it, in UTC.
func readTime(text string) (time.Time, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		if n > 1e11 { // milliseconds
			n /= 1000
		}
		return time.UnixMilli(int64(n * 1000)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}
