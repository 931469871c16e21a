package contract

import "regexp"

var (
	labelValuesOf = regexp.MustCompile(`(?s)^label_values\((?:(.+),)?\s*(\w+)\)$`)
	metricsLike   = regexp.MustCompile(`^metrics\((.+)\)$`)
	queryResult   = regexp.MustCompile(`(?s)^query_result\((.+)\)$`)
)

// labelValues takes label_values(series, label) apart; "" if it is something else.
func labelValues(query string) (label, series string) {
	if m := labelValuesOf.FindStringSubmatch(query); m != nil {
		return m[2], m[1]
	}
	return "", ""
}
