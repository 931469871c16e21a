package prometheus_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// receivers of alertmanager.yml by severity.
var receiverOf = map[string]string{"critical": "page", "warning": "ticket", "info": "nobody"}

func TestAlertmanagerTakesItsConfiguration(t *testing.T) {
	if said, err := amtool(t, "check-config", "alertmanager.yml"); err != nil {
		t.Errorf("amtool check-config: %v\n%s", err, said)
	}
}

func TestEveryAlertHasItsReceiver(t *testing.T) {
	alerts, _ := readRules(t)
	for _, a := range alerts {
		want := receiverOf[a.Labels["severity"]]
		if a.Alert == "Watchdog" {
			want = "heartbeat"
		}
		args := []string{"config", "routes", "test", "--config.file=alertmanager.yml", "--verify.receivers=" + want, "alertname=" + a.Alert}
		for name, value := range a.Labels {
			args = append(args, name+"="+value)
		}
		if said, err := amtool(t, args...); err != nil {
			t.Errorf("alert %s, want receiver %s: %v\n%s", a.Alert, want, err, said)
		}
	}
}

// TestInhibitionNamesAlertsThatThereAre reads the rules of inhibition: a name that
// no alert has any more would silence nothing, and nobody would notice.
func TestInhibitionNamesAlertsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Rules []struct {
			Source []string `yaml:"source_matchers"`
			Target []string `yaml:"target_matchers"`
			Equal  []string `yaml:"equal"`
		} `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	alerts, _ := readRules(t)
	named := regexp.MustCompile(`^alertname!?(?:=|=~|~)"(.+)"$`)
	checked := 0
	for _, r := range config.Rules {
		if !slices.Contains(r.Equal, "environment") {
			t.Errorf("%s silences %s in other environments too", r.Source, r.Target)
		}
		for _, matcher := range slices.Concat(r.Source, r.Target) {
			m := named.FindStringSubmatch(matcher)
			if m == nil {
				continue
			}
			for name := range strings.SplitSeq(m[1], "|") {
				checked++
				is := regexp.MustCompile("^(?:" + name + ")$")
				if !slices.ContainsFunc(alerts, func(a rule) bool { return is.MatchString(a.Alert) }) {
					t.Errorf("%s: no alert is called %s", matcher, name)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no rule of inhibition names an alert")
	}
}

// TestAlertmanagerSilencesWhatFollows lets each cause fire with what follows from
// it and what does not, and reads what a webhook is told.
func TestAlertmanagerSilencesWhatFollows(t *testing.T) {
	alertmanager(t)
	rules, _ := readRules(t)
	// of makes an alert of the rules, in the environment test.
	of := func(name string, labels ...string) posted {
		t.Helper()
		i := slices.IndexFunc(rules, func(r rule) bool { return r.Alert == name })
		if i < 0 {
			t.Fatalf("there is no alert %s", name)
		}
		p := posted{Labels: map[string]string{"alertname": name, "environment": "test"}, Annotations: maps.Clone(rules[i].Annotations), StartsAt: time.Now()}
		maps.Copy(p.Labels, rules[i].Labels)
		for _, l := range labels {
			k, v, _ := strings.Cut(l, "=")
			p.Labels[k] = v
		}
		return p
	}
	for name, c := range map[string]struct {
		causes, silenced, told []posted
	}{
		"Kafka down": {
			causes: []posted{of("KafkaUnreachable")},
			silenced: []posted{of("KafkaSinkLag"), of("KafkaConsumerLag"), of("KafkaGroupStuck"), of("KafkaBrokerDown"), of("KafkaExporterStale"), of("KafkaMetricsMissing"),
				of("CandlesLate"), of("CandleFreshnessBurnsFast"), of("TargetDown", "job=kafka-broker")},
			told: []posted{of("KafkaUnreadDataLost"), of("StoreDown", "store=mongodb"), of("RestBanned"), of("TargetDown", "job=mysql", "instance=mysql"), of("KafkaSinkLag", "environment=other")},
		},
		"exporter stale": {
			causes:   []posted{of("KafkaExporterStale")},
			silenced: []posted{of("KafkaSinkLag"), of("KafkaUnderReplicated"), of("KafkaOfflinePartitions")},
			told:     []posted{of("KafkaProbeFailing"), of("CandlesLate")},
		},
		"broker down": {
			causes:   []posted{of("KafkaBrokerDown", "id=2")},
			silenced: []posted{of("KafkaUnderReplicated"), of("TargetDown", "job=kafka-broker")},
			told:     []posted{of("KafkaOfflinePartitions"), of("KafkaUnderMinISR")},
		},
		"MySQL down": {
			causes:   []posted{of("StoreDown", "store=mysql")},
			silenced: []posted{of("MySQLDown"), of("SinkWaitsForStore", "component=sink-mysql"), of("KafkaSinkLag", "consumergroup=candlestack-mysql"), of("CandlesLate")},
			told:     []posted{of("MongoDBDown"), of("SinkWaitsForStore", "component=sink-mongodb", "instance=b"), of("KafkaSinkLag", "consumergroup=candlestack-mongodb", "instance=b")},
		},
		"MongoDB down": {
			causes:   []posted{of("StoreDown", "store=mongodb")},
			silenced: []posted{of("MongoDBDown"), of("SinkWaitsForStore", "component=sink-mongodb"), of("KafkaSinkLag", "consumergroup=candlestack-mongodb")},
			told:     []posted{of("MySQLDown"), of("CandlesLate")},
		},
		"critical and warning of the same thing": {
			causes: []posted{of("KafkaDiskAlmostFull", "instance=a", "directory=/d"), of("KafkaProbeFailing", "broker=1"), of("KafkaUnreadDataExpires", "consumergroup=g", "topic=t"), of("CandleFreshnessBurnsFast", "exchange=binance")},
			silenced: []posted{of("KafkaDiskLow", "instance=a", "directory=/d"), of("KafkaDiskFilling", "instance=a", "directory=/d"), of("KafkaProbeSlow", "broker=1"),
				of("KafkaConsumerLag", "consumergroup=g", "topic=t"), of("CandleFreshnessBurnsSlowly", "exchange=binance")},
			told: []posted{of("KafkaDiskLow", "instance=b", "directory=/d"), of("KafkaProbeSlow", "broker=2", "instance=b"), of("KafkaConsumerLag", "consumergroup=h", "topic=t", "instance=b")},
		},
		"info": {
			causes: []posted{of("MySQLDown")}, // something to wait for
			told:   []posted{of("KafkaPreferredReplicaImbalance"), of("Watchdog")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			webhook := newHook(t)
			m := startManager(t, webhook.URL)
			var want, silenced []string
			for _, a := range slices.Concat(c.causes, c.told) {
				if to := receiverOf[a.Labels["severity"]]; to != "nobody" {
					want = append(want, to+" "+key(a.Labels))
				}
			}
			for _, a := range c.silenced {
				silenced = append(silenced, key(a.Labels))
			}
			slices.Sort(silenced)

			// Causes come first, as they do where `for` is well chosen.
			m.post(t, c.causes...)
			told := func(who []string) func() bool {
				return func() bool {
					got := webhook.firing()
					return !slices.ContainsFunc(who, func(k string) bool { return got[k] == nil })
				}
			}
			eventually(t, "the cause is told", func() bool { return len(webhook.firing()) >= len(c.causes) })
			m.post(t, slices.Concat(c.silenced, c.told)...)
			eventually(t, fmt.Sprint("told: ", want), told(want))
			eventually(t, fmt.Sprint("silenced: ", silenced), func() bool { return slices.Equal(m.silenced(t), silenced) })
			// What comes last has waited as long as what must not come, and longer.
			last := of("PrometheusConfigReloadFailed", "instance=last")
			m.post(t, last)
			want = append(want, "ticket "+key(last.Labels))
			slices.Sort(want)
			eventually(t, "the last is told", told(want))
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(webhook.firing()))); diff != "" {
				t.Errorf("what was told (-want +got):\n%s", diff)
			}

			// Once the causes are gone, what goes on is told.
			for i := range c.causes {
				c.causes[i].EndsAt = time.Now()
			}
			m.post(t, c.causes...)
			for _, a := range c.silenced {
				want = append(want, receiverOf[a.Labels["severity"]]+" "+key(a.Labels))
			}
			if name != "Kafka down" { // there the exporter's staleness goes on to silence the rest
				eventually(t, fmt.Sprint("told after the cause is gone: ", want), told(want))
			}
		})
	}
}

// TestTemplatesSayWhatIsNeeded renders what a webhook got, as chat and mail would.
func TestTemplatesSayWhatIsNeeded(t *testing.T) {
	binary(t, "AMTOOL", "amtool")
	webhook := newHook(t)
	m := startManager(t, webhook.URL)
	m.post(t, posted{
		Labels: map[string]string{"alertname": "KafkaUnreachable", "severity": "critical", "part": "kafka"},
		Annotations: map[string]string{"summary": "Kafka does not answer", "description": "No broker has answered.",
			"runbook_url": runbooks + "KafkaUnreachable.md", "dashboard": "candlestack-kafka"},
		StartsAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	var message []byte
	eventually(t, "the alert is told", func() bool {
		message = webhook.firing()["page KafkaUnreachable"]
		return message != nil
	})
	file := filepath.Join(t.TempDir(), "message.json")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"candlestack.title": "1 firing, critical: Kafka does not answer",
		"candlestack.text": "[critical] Kafka does not answer\nNo broker has answered.\nSince: 2026-01-02 03:04:05 UTC\n" +
			"Runbook: " + runbooks + "KafkaUnreachable.md\nBoard: candlestack-kafka",
	} {
		said, err := amtool(t, "template", "render", "--template.glob=templates/*.tmpl", "--template.data="+file, `--template.text={{ template "`+name+`" . }}`)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, said)
		}
		if diff := cmp.Diff(want, strings.TrimSpace(said)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
