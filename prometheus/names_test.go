package prometheus_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/candlestack/candlestack/prometheus/catalogue"
)

// shown are the labels that a template names.
var shown = regexp.MustCompile(`\$labels\.(\w+)`)

func TestRulesNameWhatThereIs(t *testing.T) {
	alerts, records := readRules(t)
	metrics, err := catalogue.Read(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	c := &catalogue.Checker{Metrics: metrics, Records: map[string][]catalogue.Record{}}
	for _, r := range records {
		c.Records[r.Record] = append(c.Records[r.Record], catalogue.Record{Expr: r.expr, Labels: r.Labels})
	}
	for _, r := range slices.Concat(alerts, records) {
		c.Problems = nil
		all := c.Labels(r.expr)
		for name := range r.Labels {
			all = all.With(catalogue.LabelsOf(name))
		}
		for _, where := range []map[string]string{r.Annotations, r.Labels} {
			for name, text := range where {
				for _, m := range shown.FindAllStringSubmatch(text, -1) {
					if all != nil && !all[m[1]] {
						t.Errorf("%s: %s%s: %s shows label %s, which it has not", r.file, r.Alert, r.Record, name, m[1])
					}
				}
			}
		}
		for _, problem := range c.Problems {
			t.Errorf("%s: %s%s: %s", r.file, r.Alert, r.Record, problem)
		}
	}
}
