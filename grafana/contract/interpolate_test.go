package contract

import (
	"strings"
	"testing"
	"time"
)

// What Grafana makes of the same texts (grafana.md §B5, §D2).
func TestFill(t *testing.T) {
	set := choices{
		"one":  {values: []string{"BTC-USDT"}},
		"some": {values: []string{"a.b", "c'd"}, multi: true},
		"each": {values: []string{"a", "b"}, multi: true, verbatim: ".+"},
		"sole": {values: []string{"a.b"}, multi: true},
	}
	for text, want := range map[string][2]string{ // in PromQL, in SQL
		`$one ${one} [[one]]`:                {`BTC-USDT BTC-USDT BTC-USDT`, `BTC-USDT BTC-USDT BTC-USDT`},
		`x=~"$some"`:                         {`x=~"(a\\.b|c'd)"`, `x=~"'a.b','c''d'"`},
		`x=~"$each"`:                         {`x=~".+"`, `x=~".+"`},
		`x=~"$sole"`:                         {`x=~"a\\.b"`, `x=~"'a.b'"`},
		`${some:sqlstring} ${one:sqlstring}`: {`'a.b','c''d' 'BTC-USDT'`, `'a.b','c''d' 'BTC-USDT'`},
		`${some:csv} ${some:pipe}`:           {`a.b,c'd a.b|c'd`, `a.b,c'd a.b|c'd`},
		`${some:regex}`:                      {`(a\.b|c'd)`, `(a\.b|c'd)`},
		`rate(x[$__rate_interval]) $1`:       {`rate(x[$__rate_interval]) $1`, `rate(x[$__rate_interval]) $1`},
	} {
		for i, write := range []func(choice) string{inPromQL, inSQL} {
			if got, err := set.fill(text, write); err != nil || got != want[i] {
				t.Errorf("%s becomes %s, want %s (%v)", text, got, want[i], err)
			}
		}
	}
	for text, want := range map[string]string{`$two`: "two", `${one:wide}`: `format "wide"`} {
		if got, err := set.fill(text, inSQL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s becomes %s, want an error with %q, got %v", text, got, want, err)
		}
	}
}

func TestGlobalsAndMacros(t *testing.T) {
	to := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := span{from: to.Add(-time.Hour), to: to, interval: 10 * time.Second, scrape: 5 * time.Second}
	for text, want := range map[string]string{
		"[$__rate_interval] [${__interval}]":   "[20s] [10s]",
		"$__range $__range_s $__interval_ms":   "3600s 3600 10000",
		"$__timeFilter(open_time)":             "open_time BETWEEN FROM_UNIXTIME(1772362800) AND FROM_UNIXTIME(1772366400)",
		"$__timeGroup(open_time, $__interval)": "UNIX_TIMESTAMP(open_time) DIV 10 * 10",
		"$__timeGroupAlias(t,'1h',NULL)":       `UNIX_TIMESTAMP(t) DIV 3600 * 3600 AS "time"`,
		"$__unixEpochGroup(t,'5m')":            "t DIV 300 * 300",
		"$__timeFrom() $__unixEpochTo()":       "FROM_UNIXTIME(1772362800) 1772366400",
		"$__time(t)":                           "UNIX_TIMESTAMP(t) as time_sec",
	} {
		if got, err := expandSQL(text, s); err != nil || got != want {
			t.Errorf("%s becomes %s, want %s (%v)", text, got, want, err)
		}
	}
	for text, want := range map[string]string{
		"$__timeGroups(t,'1m')": "unknown macro $__timeGroups",
		"$__timeGroup(t)":       "needs a column and an interval",
		"$__timeGroup(t,'1')":   "no interval",
		"$__timeFilter()":       "needs a column",
		"$__bogus":              "unknown macro $__bogus",
		"SELECT user()":         "refuses",
	} {
		if got, err := expandSQL(text, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s becomes %s, want an error with %q, got %v", text, got, want, err)
		}
	}
}

func TestSteps(t *testing.T) {
	for length, want := range map[time.Duration]time.Duration{
		0: time.Millisecond, 1500 * time.Millisecond: 2 * time.Second, 1499 * time.Millisecond: time.Second, 36 * time.Second: 30 * time.Second,
		time.Minute: time.Minute, 100 * time.Second: 2 * time.Minute, 1000 * time.Hour: 7 * 24 * time.Hour,
	} {
		if got := roundStep(length); got != want {
			t.Errorf("%v is rounded to %v, want %v", length, got, want)
		}
	}
}

func TestAnExceptionIsForWhatItSays(t *testing.T) {
	p := Problem{Board: "b", Panel: "p", Target: "A", Chosen: "topic=x", Rule: RuleEmpty}
	fits := Exception{Board: "b", Panel: "p", Target: "A", Chosen: "topic=x", Where: "demo", Rule: RuleEmpty}
	for name, change := range map[string]func(*Exception){
		"board": func(e *Exception) { e.Board = "c" }, "panel": func(e *Exception) { e.Panel = "q" }, "target": func(e *Exception) { e.Target = "B" },
		"choice": func(e *Exception) { e.Chosen = "topic=y" }, "place": func(e *Exception) { e.Where = "compose" }, "rule": func(e *Exception) { e.Rule = RuleSlow },
	} {
		e := fits
		change(&e)
		left, idle := Except([]Problem{p}, []Exception{e}, "demo")
		if len(left) != 1 || (len(idle) == 1) != (e.Where == "demo") {
			t.Errorf("another %s: left %v, idle %v", name, left, idle)
		}
	}
	if left, idle := Except([]Problem{p}, []Exception{fits}, "demo"); len(left)+len(idle) != 0 {
		t.Errorf("left %v, idle %v", left, idle)
	}
	if _, idle := Except(nil, []Exception{fits}, ""); len(idle) != 0 {
		t.Errorf("an exception of answers is judged by files: %v", idle)
	}
}
