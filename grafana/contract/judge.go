package contract

import (
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxSeries  = 50 // more cannot be told apart
	minPoints  = 3  // fewer are no line
	maxScrapes = 3  // how old the newest point may be
)

// judge holds the answer of one target to the rules.
func (e *evaluation) judge(p *Panel, t *Target, chosen pick, a answer, s span) {
	say := func(rule Rule, format string, args ...any) { e.say(p, t.RefID, chosen, rule, format, args...) }
	numbers, most := 0, 0
	var newest time.Time
	for _, line := range a.series {
		for i, v := range line.values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				say(RuleFinite, "%v at %s in %v", v, line.times[i].UTC().Format(time.TimeOnly), line.labels)
				break
			}
			numbers++
		}
		most = max(most, len(line.values))
		if n := len(line.times); n > 0 && line.times[n-1].After(newest) {
			newest = line.times[n-1]
		}
	}
	if numbers == 0 {
		say(RuleEmpty, "no number")
		return
	}
	if len(a.series) > maxSeries {
		say(RuleSeries, "%d series", len(a.series))
	}
	if timed := t.Format != "table" && !t.Instant; timed {
		if most < minPoints && (p.Type != "stat" || t.RawSQL == "") { // a tile of MySQL may be one row
			say(RulePoints, "%d at most", most)
		}
		if old, may := s.to.Sub(newest), mayBeOld(t, s); old > may {
			say(RuleFresh, "the newest is %v old, more than %v", old.Round(time.Second), may)
		}
	}
	for _, label := range labelsIn(t.LegendFormat) { // one value may lack what others have
		if chosen.variable == "" && !slices.ContainsFunc(a.series, func(l series) bool { return l.labels[label] != "" }) {
			say(RuleLegend, "no series has the label %s", label)
		}
	}
	if labels := labelsIn(t.LegendFormat); t.RawSQL == "" && t.Format == "time_series" && len(labels) == 0 && len(a.series) > 1 {
		say(RuleSingle, "%d values of one name", len(a.series))
	}
}

// mayBeOld is how old the newest point may be: of MySQL, that of the group that
// came to its end last.
func mayBeOld(t *Target, s span) time.Duration {
	may := maxScrapes * s.scrape
	if t.RawSQL == "" {
		return max(may, s.interval)
	}
	longest := s.interval
	for _, m := range macro.FindAllStringSubmatch(s.globals(t.RawSQL), -1) {
		if args := arguments(m[2]); strings.HasPrefix(m[1], "__timeGroup") && len(args) > 1 {
			if d, err := parseInterval(strings.Trim(args[1], `'"`)); err == nil {
				longest = max(longest, d)
			}
		}
	}
	return may + 2*longest
}

// judgePanel holds all answers of a panel to the rules on names.
func (e *evaluation) judgePanel(p *Panel, chosen pick, answers []answer) {
	names := map[string]bool{}
	empty := false
	for i, a := range answers {
		t := &p.Targets[i]
		if len(a.series) == 0 {
			empty = true
		}
		if t.Format == "table" {
			continue
		}
		for _, line := range a.series {
			name := displayName(t, line)
			if t.RawSQL == "" && t.Format == "time_series" && (name == "" || names[name]) && len(labelsIn(t.LegendFormat)) > 0 {
				e.say(p, t.RefID, chosen, RuleLegend, "two series are called %q", name)
			}
			names[name] = true
		}
	}
	if empty {
		return // what is missing has been said
	}
	maps.Copy(names, e.columns(p, chosen, answers))
	for _, o := range p.FieldConfig.Overrides {
		found := false
		switch o.Matcher.ID {
		case "byName":
			found = names[o.Matcher.Options]
		case "byRegexp":
			pattern, err := regexp.Compile(strings.Trim(o.Matcher.Options, "/"))
			found = err == nil && slices.ContainsFunc(slices.Collect(maps.Keys(names)), pattern.MatchString)
		default:
			found = true
		}
		if !found {
			e.say(p, "", chosen, RuleOverride, "%s %q fits none of %q", o.Matcher.ID, o.Matcher.Options, slices.Sorted(maps.Keys(names)))
		}
	}
	if p.Type == "candlestick" {
		e.candlestick(p, chosen, names)
	}
}

// displayName is what Grafana calls a series.
func displayName(t *Target, line series) string {
	if t.RawSQL != "" {
		return line.name
	}
	return strings.TrimSpace(legendLabel.ReplaceAllStringFunc(t.LegendFormat, func(ref string) string {
		return line.labels[legendLabel.FindStringSubmatch(ref)[1]]
	}))
}

// columns are those of a table, after its transformations.
func (e *evaluation) columns(p *Panel, chosen pick, answers []answer) map[string]bool {
	names := map[string]bool{}
	for i, a := range answers {
		t := &p.Targets[i]
		if t.Format != "table" {
			continue
		}
		if t.RawSQL != "" {
			for _, c := range a.columns {
				names[c] = true
			}
			continue
		}
		names["Time"] = true
		value := "Value"
		if len(answers) > 1 {
			value = "Value #" + a.refID
		}
		names[value] = true
		for _, line := range a.series {
			for label := range line.labels {
				names[label] = true
			}
		}
	}
	for _, t := range p.Transformations {
		if t.ID == "organize" {
			e.organize(p, chosen, t, names)
		}
	}
	return names
}

// organize renames and leaves out columns; those that it names must be there.
func (e *evaluation) organize(p *Panel, chosen pick, t transformation, names map[string]bool) {
	var o struct {
		Exclude map[string]bool   `json:"excludeByName"`
		Renames map[string]string `json:"renameByName"`
	}
	if err := json.Unmarshal(t.Options, &o); err != nil {
		e.say(p, "", chosen, RuleOverride, "organize: %v", err)
		return
	}
	for from, to := range o.Renames {
		if !names[from] && strings.HasPrefix(from, "Value") { // labels may be absent: no alert has all
			e.say(p, "", chosen, RuleOverride, "organize renames column %q, there are %q", from, slices.Sorted(maps.Keys(names)))
		}
		delete(names, from)
		names[to] = true
	}
	for name, out := range o.Exclude {
		if out {
			delete(names, name)
		}
	}
	for _, s := range p.sortedBy() {
		if !names[s] {
			e.say(p, "", chosen, RuleOverride, "it sorts by column %q, there are %q", s, slices.Sorted(maps.Keys(names)))
		}
	}
}

// sortedBy are the columns that a table is sorted by.
func (p *Panel) sortedBy() (names []string) {
	var o struct {
		SortBy []struct {
			DisplayName string `json:"displayName"`
		} `json:"sortBy"`
	}
	if json.Unmarshal(p.Options, &o) == nil {
		for _, s := range o.SortBy {
			names = append(names, s.DisplayName)
		}
	}
	return names
}

// candlestick needs each of its fields.
func (e *evaluation) candlestick(p *Panel, chosen pick, names map[string]bool) {
	var o struct {
		Fields map[string]string `json:"fields"`
	}
	if err := json.Unmarshal(p.Options, &o); err != nil || len(o.Fields) < 4 {
		e.say(p, "", chosen, RuleCandlestick, "its fields are not named")
	}
	for field, column := range o.Fields {
		if !names[column] {
			e.say(p, "", chosen, RuleCandlestick, "%s is column %q, there are %q", field, column, slices.Sorted(maps.Keys(names)))
		}
	}
}
