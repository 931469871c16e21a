package broker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
)

// golden compares with a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is another, -update writes it: %s", file, diff)
	}
}

func TestDialects(t *testing.T) {
	for _, dialect := range dialectNames {
		t.Run(dialect, func(t *testing.T) {
			w := newWorld(t, 1, dialect)
			w.look(t)
			w.create(t, "orders", 2, map[string]*string{"min.insync.replicas": new("1")})
			w.produce(t, "orders", 0, 3)
			offsets := kadm.Offsets{}
			offsets.AddOffset("orders", 0, 1, -1)
			if err := w.admin.CommitAllOffsets(t.Context(), "reader", offsets); err != nil {
				t.Fatal(err)
			}
			w.look(t)
			_, broker := w.get(t, "/broker/0/metrics")
			_, controller := w.get(t, "/controller/metrics")
			for _, page := range []string{broker, controller} {
				p := expfmt.NewTextParser(model.LegacyValidation)
				if _, err := p.TextToMetricFamilies(strings.NewReader(page)); err != nil {
					t.Error(err)
				}
			}
			golden(t, "testdata/"+dialect+".txt", broker+"\n"+controller)
		})
	}
}

// All names of all dialects are shown together, each once.
func TestDialectsTogether(t *testing.T) {
	w := newWorld(t, 1, "strimzi", "jmx", "strimzi")
	w.create(t, "orders", 1, nil)
	w.look(t)
	for _, path := range []string{"/broker/0/metrics", "/controller/metrics"} {
		_, text := w.get(t, path)
		p := expfmt.NewTextParser(model.LegacyValidation)
		if _, err := p.TextToMetricFamilies(strings.NewReader(text)); err != nil { // refuses what is there twice
			t.Errorf("%s: %v", path, err)
		}
	}
	w.has(t, "/broker/0/metrics", map[string]string{"kafka_coordinator_group_groupmetadatamanager_numgroups": "0", "kafka_server_replicamanager_leadercount": "1"})
}

func TestBrokerThatIsGone(t *testing.T) {
	w := newWorld(t, 3, "jmx")
	if code, _ := w.get(t, "/broker/0/metrics"); code != http.StatusServiceUnavailable {
		t.Errorf("before the first look a broker answers %d", code)
	}
	if code, _ := w.get(t, "/sd"); code != http.StatusServiceUnavailable {
		t.Errorf("before the first look /sd answers %d", code)
	}
	w.create(t, "orders", 3, nil)
	for i := range int32(3) {
		if err := w.fake.MoveTopicPartition("orders", i, i); err != nil {
			t.Fatal(err)
		}
	}
	w.look(t)
	before := map[int32]map[string]string{}
	for i := range int32(3) {
		w.produce(t, "orders", i, 2)
		before[i] = w.series(t, fmt.Sprintf("/broker/%d/metrics", i))
	}
	_, listed := w.get(t, "/sd")
	messages := 0
	if err := w.fake.RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	w.look(t)
	if code, _ := w.get(t, "/broker/1/metrics"); code != http.StatusServiceUnavailable {
		t.Errorf("a broker that is gone answers %d", code)
	}
	if code, _ := w.get(t, "/broker/9/metrics"); code != http.StatusNotFound {
		t.Errorf("a broker that never was answers %d", code)
	}
	for _, id := range []int32{0, 2} {
		after := w.series(t, fmt.Sprintf("/broker/%d/metrics", id))
		for name := range before[id] {
			if _, ok := after[name]; !ok && !strings.Contains(name, "partition=") { // the fake gives partitions to others
				t.Errorf("broker %d lost %s", id, name)
			}
		}
		counted, _ := strconv.Atoi(after[messagesIn])
		messages += counted
	}
	if messages != 6 {
		t.Errorf("%d messages were counted, want 6", messages)
	}
	w.has(t, "/controller/metrics", map[string]string{"kafka_controller_kafkacontroller_activebrokercount": "2"})
	if _, still := w.get(t, "/sd"); still != listed {
		t.Errorf("targets changed from %s to %s", listed, still)
	}
}

func TestKafkaThatIsAway(t *testing.T) {
	w := newWorld(t, 1, "jmx")
	w.look(t)
	w.fake.Close()
	w.snapshots.Refresh(t.Context())
	for _, path := range []string{"/broker/0/metrics", "/controller/metrics"} {
		if code, _ := w.get(t, path); code != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d", path, code)
		}
	}
	if code, _ := w.get(t, "/sd"); code != http.StatusOK {
		t.Errorf("/sd answers %d", code)
	}
}

func TestTargets(t *testing.T) {
	w := newWorld(t, 2, "jmx")
	w.look(t)
	_, text := w.get(t, "/sd")
	var got []targets
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := []targets{{[]string{"example.com"}, map[string]string{"__metrics_path__": "/controller/metrics", "instance": "controller", "kafka_cluster": "fake"}}}
	for _, b := range w.snapshots.Current().Brokers {
		labels := map[string]string{"__metrics_path__": fmt.Sprintf("/broker/%d/metrics", b.ID), "instance": address(&b), "broker_id": fmt.Sprint(b.ID), "kafka_cluster": "fake"}
		if b.Rack != "" {
			labels["rack"] = b.Rack
		}
		want = append(want, targets{[]string{"example.com"}, labels})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		dialects []string
		want     string
	}{
		{[]string{"jmx", "strimzi"}, ""},
		{nil, `--broker.dialect ""`},
		{[]string{"jmx", "kminion"}, `--broker.dialect "kminion"`},
	} {
		c := Config{Dialects: test.dialects}
		err := c.Validate()
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v", test.dialects, err)
		}
	}
}
