package broker

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var (
	generic = regexp.MustCompile(`^kafka\.([a-z.]+):type=([A-Za-z]+),name=([A-Za-z]+?)(PerSec)?$`)
	perSec  = map[bool]string{true: "_total", false: ""}
)

// The table says what rules of jmx_exporter make of an MBean, and help says what
// is not exact.
func TestNamesFollowTheirMBeans(t *testing.T) {
	seen := map[string]bool{}
	for _, table := range [][]signal{ofBroker, ofController} {
		for _, s := range table {
			if (s.class == approximate) != strings.HasPrefix(s.help, "Approximate: ") {
				t.Errorf("%s is %s: %s", s.names[jmx], s.class, s.help)
			}
			if s.class != approximate && s.class != exact {
				t.Errorf("%s has the class %q", s.names[jmx], s.class)
			}
			if (s.kind == counter) != (strings.HasSuffix(s.names[jmx], "_total") || strings.HasSuffix(s.names[jmx], "_count")) {
				t.Errorf("%s is a %s", s.names[jmx], s.kind)
			}
			for _, f := range s.families([]dialect{jmx, strimzi}) {
				if seen[f.Name] {
					t.Errorf("%s is there twice", f.Name)
				}
				seen[f.Name] = true
			}
			if m := generic.FindStringSubmatch(s.mbean); m != nil {
				want := strings.ToLower(fmt.Sprintf("kafka_%s_%s_%s%s", strings.ReplaceAll(m[1], ".", "_"), m[2], m[3], perSec[m[4] != ""]))
				if got := s.names[jmx]; got != want {
					t.Errorf("%s is %s, want %s", s.mbean, got, want)
				}
			}
		}
	}
}

func TestFidelityDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Fidelity of brokers' metrics\n\nThis page is generated: a test of exporters/broker writes it with -update, and compares it without.\n\n" +
		"The exporter shows families under the names that Kafka's MBeans have behind jmx_exporter, made of what Kafka's own protocol tells. " +
		"An exact one has the MBean's value, for the topics that are shown (`--topic.filter`). An approximate one stays within the bound of its help. " +
		"What the protocol does not tell is not shown: no data is better than an invented zero. " +
		"Numbers are those of boards on grafana.com. `candlestack_exporter_metric_fidelity` tells the same to Prometheus.\n\n" +
		"Each broker is a target of its own, and so is the controller; one that is gone answers 503, so that `up` is 0. Prometheus finds them:\n\n" +
		"```yaml\n- job_name: kafka-broker\n  http_sd_configs: [{url: \"http://candlestack-exporter:9308/sd\"}]\n```\n")
	for _, part := range []struct {
		title string
		table []signal
	}{
		{"Brokers, at `/broker/{id}/metrics`", ofBroker},
		{"The controller, at `/controller/metrics`", ofController},
	} {
		b.WriteString("\n## " + part.title + "\n\n| name | class | source | queried by | meaning |\n|---|---|---|---|---|\n")
		for _, s := range part.table {
			var all []string
			for d, name := range s.names {
				switch {
				case name == "":
				case d > 0 && name == s.names[0]:
				case s.names[jmx] == s.names[strimzi]:
					all = append(all, "`"+name+"`")
				default:
					all = append(all, "`"+name+"` ("+dialectNames[d]+")")
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", strings.Join(all, ", "), s.class, s.source, s.users, s.help)
		}
	}
	golden(t, "../FIDELITY.md", b.String())
}
