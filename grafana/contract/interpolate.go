package contract

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// choice is what a variable is set to.
type choice struct {
	values   []string
	verbatim string // allValue of All; put in as it is
	multi    bool   // more than one, or All, may be chosen
}

// choices are set variables, by name.
type choices map[string]choice

// reference is a variable in a text: $name, ${name}, ${name:format}, [[name]].
var reference = regexp.MustCompile(`\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]`)

// references are the names of the variables in a text, those of Grafana's own left out.
func references(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2] + m[4]; !strings.HasPrefix(name, "__") && strings.Trim(name, "0123456789") != "" {
			all[name] = true
		}
	}
	return all
}

// fill puts the choices into a text. write is how the data source writes a choice
// for which the text names no format. Grafana's own variables ($__…) stay.
func (c choices) fill(text string, write func(choice) string) (string, error) {
	var missing []string
	filled := reference.ReplaceAllStringFunc(text, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		name, format := m[1]+m[2]+m[4], m[3]+m[5]
		if strings.HasPrefix(name, "__") || strings.Trim(name, "0123456789") == "" {
			return ref
		}
		chosen, ok := c[name]
		if !ok {
			missing = append(missing, name)
			return ref
		}
		if chosen.verbatim != "" {
			return chosen.verbatim
		}
		if format == "" {
			return write(chosen)
		}
		text, err := chosen.as(format)
		if err != nil {
			missing = append(missing, err.Error())
		}
		return text
	})
	if missing != nil {
		return "", fmt.Errorf("undefined: %s", strings.Join(missing, ", "))
	}
	return filled, nil
}

// as writes a choice in a format that the text names.
func (c choice) as(format string) (string, error) {
	switch format {
	case "csv", "raw":
		return strings.Join(c.values, ","), nil
	case "pipe":
		return strings.Join(c.values, "|"), nil
	case "regex":
		return alternatives(c.values, regexp.QuoteMeta), nil
	case "singlequote":
		return quoted(c.values, `\'`), nil
	case "sqlstring":
		return quoted(c.values, `''`), nil
	case "text":
		return strings.Join(c.values, " + "), nil
	}
	return "", fmt.Errorf("format %q", format)
}

func quoted(values []string, quote string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = "'" + strings.ReplaceAll(v, "'", quote) + "'"
	}
	return strings.Join(all, ",")
}

func alternatives(values []string, escape func(string) string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = escape(v)
	}
	if len(all) == 1 {
		return all[0]
	}
	return "(" + strings.Join(all, "|") + ")"
}

// inPromQL writes a choice as Grafana does within a string of PromQL.
func inPromQL(c choice) string {
	if !c.multi {
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.values[0])
	}
	return alternatives(c.values, func(v string) string { return strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`) })
}

// inSQL writes a choice as Grafana does for MySQL: quoted only where more may be chosen.
func inSQL(c choice) string {
	if !c.multi {
		return c.values[0]
	}
	return quoted(c.values, `''`)
}

// span is the time that a panel shows and how finely.
type span struct {
	from, to time.Time
	interval time.Duration // $__interval, and the step
	scrape   time.Duration // the least interval of the data source
}

// globals puts in Grafana's own variables, longest names first.
func (s span) globals(text string) string {
	rate := max(s.interval+s.scrape, 4*s.scrape)
	length := s.to.Sub(s.from)
	values := map[string]string{
		"__interval": written(s.interval), "__interval_ms": milliseconds(s.interval),
		"__rate_interval": written(rate), "__rate_interval_ms": milliseconds(rate),
		"__range": fmt.Sprintf("%.0fs", length.Seconds()), "__range_s": fmt.Sprintf("%.0f", length.Seconds()), "__range_ms": milliseconds(length),
		"__from": fmt.Sprint(s.from.UnixMilli()), "__to": fmt.Sprint(s.to.UnixMilli()),
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(values))) {
		text = strings.NewReplacer("${"+name+"}", values[name], "$"+name, values[name]).Replace(text)
	}
	return text
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// written writes an interval in its greatest whole unit, as Grafana does.
func written(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= unit.length && d%unit.length == 0 {
			return fmt.Sprint(int64(d/unit.length), unit.name)
		}
	}
	return milliseconds(d) + "ms"
}

// roundSteps are the intervals that Grafana rounds to, in milliseconds.
var roundSteps = []int64{1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
	900_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000}

// roundStep is the nearest of them.
func roundStep(d time.Duration) time.Duration {
	ms := d.Milliseconds()
	i, _ := slices.BinarySearch(roundSteps, ms)
	if i == len(roundSteps) || i > 0 && 2*ms < roundSteps[i-1]+roundSteps[i] {
		i--
	}
	return time.Duration(roundSteps[i]) * time.Millisecond
}
