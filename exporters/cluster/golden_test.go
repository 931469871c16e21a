package cluster_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// inherited are kafka_exporter's families with their labels, as its README and
// kafka-observability.md §1.1 have them. They are exempt from promlint.
var inherited = map[string][]string{
	"kafka_brokers":                                    nil,
	"kafka_broker_info":                                {"address", "id"},
	"kafka_topic_partitions":                           {"topic"},
	"kafka_topic_partition_current_offset":             {"partition", "topic"},
	"kafka_topic_partition_oldest_offset":              {"partition", "topic"},
	"kafka_topic_partition_leader":                     {"partition", "topic"},
	"kafka_topic_partition_replicas":                   {"partition", "topic"},
	"kafka_topic_partition_in_sync_replica":            {"partition", "topic"},
	"kafka_topic_partition_leader_is_preferred":        {"partition", "topic"},
	"kafka_topic_partition_under_replicated_partition": {"partition", "topic"},
	"kafka_consumergroup_current_offset":               {"consumergroup", "partition", "topic"},
	"kafka_consumergroup_current_offset_sum":           {"consumergroup", "topic"},
	"kafka_consumergroup_lag":                          {"consumergroup", "partition", "topic"},
	"kafka_consumergroup_lag_sum":                      {"consumergroup", "topic"},
	"kafka_consumergroup_members":                      {"consumergroup"},
	"kafka_exporter_build_info":                        {"branch", "goarch", "goos", "goversion", "revision", "tags", "version"},
}

// small is a cluster with something of everything.
func small(t *testing.T) *world {
	w := newWorld(t, 1)
	w.create(t, "orders", 2, map[string]*string{"retention.ms": new("7200000")})
	w.create(t, "empty", 1, nil)
	hour := time.Now().Add(-time.Hour)
	w.produce(t, "orders", 0, 10, hour)
	w.produce(t, "orders", 1, 5, hour)
	w.commit(t, "reader", "orders", 0, 7)
	w.commit(t, "caught-up", "orders", 0, 10)
	w.commit(t, "caught-up", "orders", 1, 5)
	w.look(t)
	return w
}

func TestPageIsThatOfKafkaExporter(t *testing.T) {
	w := small(t)
	var got strings.Builder
	for line := range strings.Lines(w.page(t)) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if i := strings.IndexAny(name, " {"); i > 0 {
			name = name[:i]
		}
		if _, ok := inherited[name]; ok && !strings.HasPrefix(line, "kafka_exporter_build_info") {
			got.WriteString(strings.ReplaceAll(line, w.fake.ListenAddrs()[0], "ADDRESS"))
		}
	}
	want, err := os.ReadFile("testdata/kafka_exporter.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFamiliesHaveTheirLabels(t *testing.T) {
	w := small(t)
	found := map[string][]string{}
	for _, f := range parse(t, w.page(t)) {
		for _, s := range f.series {
			slices.Sort(s.names)
			if names, ok := found[f.name]; ok && !slices.Equal(names, s.names) {
				t.Errorf("%s has labels %v and %v", f.name, names, s.names)
			}
			found[f.name] = s.names
		}
	}
	for name, labels := range inherited {
		if diff := cmp.Diff(labels, found[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestFamiliesOfOursAreClean(t *testing.T) {
	w := small(t)
	problems, err := promlint.New(strings.NewReader(w.page(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if _, ok := inherited[p.Metric]; !ok {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Dashboard 7589 takes job and instance from a family that has no series before
// the first commit.
func TestDashboardHasItsVariablesBeforeTheFirstCommit(t *testing.T) {
	w := newWorld(t, 1)
	w.create(t, "orders", 1, nil)
	w.look(t)
	w.has(t, "kafka_consumergroup_current_offset 0")
	w.commit(t, "reader", "orders", 0, 0)
	w.look(t)
	w.lacks(t, "kafka_consumergroup_current_offset 0")
	w.has(t, `kafka_consumergroup_current_offset{consumergroup="reader",topic="orders",partition="0"} 0`)
}

func TestZippedPageIsThePage(t *testing.T) {
	w := small(t)
	for header, want := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "": false, "gzip;q=0": false, "deflate": false} {
		text, zipped := get(t, w.shown, header)
		if zipped != want {
			t.Errorf("Accept-Encoding %q: zipped is %t", header, zipped)
		}
		if text != w.page(t) {
			t.Errorf("Accept-Encoding %q: another page", header)
		}
	}
}
