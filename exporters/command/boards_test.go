package command_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// board is what we claim of a public dashboard, in testdata/boards.json: which of its
// panels we fill, and what else it takes. It is a contract for whoever ships or
// patches such a board (kafka-observability.md §2.3).
type board struct {
	Board, Source string
	Panels        int      // that query
	TargetLabels  []string `json:"target_labels"` // to be added by the scrape configuration, as none of ours
	Variables     []need   // without which no panel is filled
	Filled        []struct {
		Panel string
		Needs []need
		Lacks []string // families of its other queries
	}
	Absent []struct {
		Panel    string
		Families []string
		Reason   string
	}
}

// need is a family with labels that a query groups or chooses by.
type need struct {
	Family string
	Labels []string
}

func boards(t *testing.T) (all []board) {
	t.Helper()
	text, err := os.ReadFile("testdata/boards.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// pages are the families of all pages that Prometheus scrapes of Kafka, with the
// labels that all series of a family have.
func pages(t *testing.T, addr string) map[string][]string {
	t.Helper()
	_, body := get(t, "http://"+addr+"/sd")
	var targets []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(body), &targets); err != nil {
		t.Fatal(err)
	}
	paths := []string{"/metrics"}
	for _, target := range targets {
		paths = append(paths, target.Labels["__metrics_path__"])
	}
	found := map[string][]string{}
	for _, path := range paths {
		code, text := get(t, "http://"+addr+path)
		if code != http.StatusOK {
			t.Fatalf("%s answers %d", path, code)
		}
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range families {
			for _, m := range f.GetMetric() {
				if labels, there := found[name]; there {
					found[name] = slices.DeleteFunc(labels, func(l string) bool { return !slices.Contains(labelsOf(m), l) })
				} else {
					found[name] = labelsOf(m)
				}
			}
		}
	}
	return found
}

func labelsOf(m *dto.Metric) (names []string) {
	for _, l := range m.GetLabel() {
		names = append(names, l.GetName())
	}
	return names
}

// Panels that are said to be filled have their families, and others have none.
func TestBoards(t *testing.T) {
	t.Run("kfake", func(t *testing.T) {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fake.Close)
		// The fake does not tell who its controller is.
		holdBoards(t, fake.ListenAddrs()[0], "kafka_controller_kafkacontroller_activecontrollercount")
	})
	t.Run("real", func(t *testing.T) {
		kafka := os.Getenv("CANDLESTACK_TEST_KAFKA")
		if kafka == "" {
			t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
		}
		holdBoards(t, kafka)
	})
}

func holdBoards(t *testing.T, kafka string, except ...string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin, topic := kadm.NewClient(client), "boards-"+rand.Text()
	t.Cleanup(func() {
		_, _ = admin.DeleteTopics(context.Background(), topic)
		_, _ = admin.DeleteGroups(context.Background(), topic)
	})
	if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"min.insync.replicas": new("1")}, topic); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("value")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 0, -1)
	if err := admin.CommitAllOffsets(t.Context(), topic, offsets); err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, "--kafka.server="+kafka, "--topic.filter=^"+topic+"$", "--group.filter=^"+topic+"$", "--refresh.interval=200ms")
	var shown map[string][]string
	eventually(t, func() bool {
		if code, _ := get(t, "http://"+addr+"/-/ready"); code != http.StatusOK {
			return false
		}
		shown = pages(t, addr)
		return shown["kafka_consumergroup_lag"] != nil && shown["kafka_log_log_size"] != nil
	})
	for _, b := range boards(t) {
		if got := len(b.Filled) + len(b.Absent); got != b.Panels {
			t.Errorf("%s has %d panels, %d are listed", b.Board, b.Panels, got)
		}
		holds := func(where string, n need) {
			labels, there := shown[n.Family]
			if !there && !slices.Contains(except, n.Family) {
				t.Errorf("%s, %s: there is no %s", b.Board, where, n.Family)
			}
			for _, l := range n.Labels {
				if there && !slices.Contains(labels, l) {
					t.Errorf("%s, %s: %s has no label %s", b.Board, where, n.Family, l)
				}
			}
		}
		lacks := func(where string, families []string) {
			for _, family := range families {
				if _, there := shown[family]; there {
					t.Errorf("%s, %s: there is a %s, and it is said to be absent", b.Board, where, family)
				}
			}
		}
		for _, n := range b.Variables {
			holds("variables", n)
		}
		for _, p := range b.Filled {
			for _, n := range p.Needs {
				holds(p.Panel, n)
			}
			if len(p.Needs) == 0 {
				t.Errorf("%s, %s: says nothing", b.Board, p.Panel)
			}
			lacks(p.Panel, p.Lacks)
		}
		for _, p := range b.Absent {
			lacks(p.Panel, p.Families)
			if len(p.Families) == 0 || p.Reason == "" {
				t.Errorf("%s, %s: says nothing", b.Board, p.Panel)
			}
		}
		for _, family := range slices.Sorted(maps.Keys(shown)) {
			for _, l := range b.TargetLabels {
				if slices.Contains(shown[family], l) {
					t.Errorf("%s: %s has the label %s, which the scrape configuration adds", b.Board, family, l)
				}
			}
		}
		t.Logf("%s: %d of %d panels", b.Board, len(b.Filled), b.Panels)
	}
}
