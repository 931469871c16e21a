package contract

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// macro is $__name(arguments); arguments end at the first closing bracket, as in
// Grafana, so that none of them may hold a call.
var macro = regexp.MustCompile(`\$(__\w+)\(([^)]*)\)`)

// unknownMacro is what is left once all known ones are replaced.
var unknownMacro = regexp.MustCompile(`\$\{?__\w+`)

// refused are questions that Grafana does not pass on.
var refused = regexp.MustCompile(`(?i)\bshow\s+grants\b|\b(session_user|system_user|user)\s*\(|\bcurrent_user\b`)

// expandSQL puts in the macros of Grafana's MySQL data source (grafana.md §B5).
func expandSQL(sql string, s span) (string, error) {
	if m := refused.FindString(sql); m != "" {
		return "", fmt.Errorf("grafana refuses %q", m)
	}
	sql = s.globals(sql)
	var problem error
	sql = macro.ReplaceAllStringFunc(sql, func(call string) string {
		m := macro.FindStringSubmatch(call)
		text, err := expandMacro(m[1], arguments(m[2]), s)
		if err != nil && problem == nil {
			problem = fmt.Errorf("%s: %w", call, err)
		}
		return text
	})
	if m := unknownMacro.FindString(sql); problem == nil && m != "" {
		problem = fmt.Errorf("unknown macro %s", m)
	}
	return sql, problem
}

func arguments(list string) []string {
	args := strings.Split(list, ",")
	for i := range args {
		args[i] = strings.TrimSpace(args[i])
	}
	return args
}

func expandMacro(name string, args []string, s span) (string, error) {
	column := args[0]
	from, to := s.from.Unix(), s.to.Unix()
	switch name {
	case "__timeFrom":
		return fmt.Sprintf("FROM_UNIXTIME(%d)", from), nil
	case "__timeTo":
		return fmt.Sprintf("FROM_UNIXTIME(%d)", to), nil
	case "__unixEpochFrom":
		return strconv.FormatInt(from, 10), nil
	case "__unixEpochTo":
		return strconv.FormatInt(to, 10), nil
	}
	if column == "" {
		return "", fmt.Errorf("needs a column")
	}
	switch name {
	case "__time", "__timeEpoch":
		return fmt.Sprintf("UNIX_TIMESTAMP(%s) as time_sec", column), nil
	case "__timeFilter":
		return fmt.Sprintf("%s BETWEEN FROM_UNIXTIME(%d) AND FROM_UNIXTIME(%d)", column, from, to), nil
	case "__unixEpochFilter":
		return fmt.Sprintf("%s >= %d AND %s <= %d", column, from, column, to), nil
	case "__unixEpochNanoFilter":
		return fmt.Sprintf("%s >= %d AND %s <= %d", column, s.from.UnixNano(), column, s.to.UnixNano()), nil
	case "__timeGroup", "__timeGroupAlias", "__unixEpochGroup", "__unixEpochGroupAlias":
		if len(args) < 2 {
			return "", fmt.Errorf("needs a column and an interval")
		}
		interval, err := parseInterval(strings.Trim(args[1], `'"`))
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(name, "__time") {
			column = "UNIX_TIMESTAMP(" + column + ")"
		}
		group := fmt.Sprintf("%s DIV %.0f * %.0f", column, interval.Seconds(), interval.Seconds())
		if strings.HasSuffix(name, "Alias") {
			group += ` AS "time"`
		}
		return group, nil
	}
	return "", fmt.Errorf("unknown macro $%s", name)
}

var intervalText = regexp.MustCompile(`^(\d+)(ms|[smhdw])$`)

// parseInterval reads 5s, 1m, 6h, 7d, 2w.
func parseInterval(text string) (time.Duration, error) {
	m := intervalText.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no interval", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return 0, err
	}
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	return time.Duration(n) * units[m[2]], nil
}
