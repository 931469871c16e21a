package prometheus_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const boards = "../grafana/dashboards"

// board is what is needed of a dashboard: a row may hold panels of its own.
type board struct {
	UID    string `json:"uid"`
	Panels []struct {
		Targets []target `json:"targets"`
		Panels  []struct {
			Targets []target `json:"targets"`
		} `json:"panels"`
	} `json:"panels"`
}

type target struct {
	Expr string `json:"expr"`
}

// family is the name without what a histogram puts behind it.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

var identifier = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)

// TestAlertsHaveAPanel holds that who gets an alert can look at what it is about:
// some panel shows a metric that the alert reads, itself or through a recording
// rule, and its dashboard exists. Of a histogram any of its names will do.
func TestAlertsHaveAPanel(t *testing.T) {
	alerts, records := readRules(t)
	files, err := filepath.Glob(boards + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if _, err := os.Stat(boards); os.IsNotExist(err) {
			t.Skip("panels are not checked: there is no folder " + boards)
		}
		t.Fatalf("%s holds no dashboard", boards)
	}
	words, uids := map[string]bool{}, []string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		uids = append(uids, b.UID)
		for _, p := range b.Panels {
			targets := p.Targets
			for _, inner := range p.Panels {
				targets = append(targets, inner.Targets...)
			}
			for _, shows := range targets {
				for _, word := range identifier.FindAllString(shows.Expr, -1) {
					words[family(word)] = true
				}
			}
		}
	}
	reads := reader(records)
	words = reads(words)
	for _, a := range alerts {
		if d := a.Annotations["dashboard"]; !slices.Contains(uids, d) {
			t.Errorf("%s: alert %s: there is no dashboard %q", a.file, a.Alert, d)
		}
		if exempt[a.Alert]["panel"] != "" {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(reads(names(a.expr)))), func(name string) bool { return words[family(name)] }) {
			t.Errorf("%s: alert %s: no panel shows a metric that it reads", a.file, a.Alert)
		}
	}
}
