package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestKafkaPanelsSayHowTrueTheyAre compares what panels say of themselves with
// the exporter's table: a family that is approximate makes its panel so.
func TestKafkaPanelsSayHowTrueTheyAre(t *testing.T) {
	page, err := os.ReadFile("../../exporters/FIDELITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var guesses []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)`.* \\| approximate \\|").FindAllStringSubmatch(string(page), -1) {
		guesses = append(guesses, row[1])
	}
	if len(guesses) == 0 {
		t.Fatal("found no approximate family: the page has changed")
	}
	says := regexp.MustCompile(`(?i)\bexact\b|\bapproximate\b|\bmeasured\b`)
	for _, name := range []string{"kafka", "topics"} {
		for _, row := range boards()[name].Panels {
			for _, p := range append([]*panel{row}, row.Panels...) {
				if p.Type == "row" {
					continue
				}
				if !says.MatchString(p.Description) {
					t.Errorf("%s: %q does not say whether it is exact", name, p.Title)
				}
				for _, target := range p.Targets {
					for _, family := range guesses {
						if strings.Contains(target.Expr, family) && !strings.Contains(strings.ToLower(p.Description), "approximate") {
							t.Errorf("%s: %q does not say that %s is approximate", name, p.Title, family)
						}
					}
				}
			}
		}
	}
}
