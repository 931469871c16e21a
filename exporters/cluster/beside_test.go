package cluster_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Beside the real kafka_exporter our page has the same families, series and
// values. Groups are classic ones: it knows no other.
func TestBesideKafkaExporter(t *testing.T) {
	binary := os.Getenv("KAFKA_EXPORTER")
	if binary == "" {
		t.Skip("no kafka_exporter: set KAFKA_EXPORTER to its binary, 1.9.0")
	}
	w, prefix := real(t)
	addr, mine := os.Getenv("CANDLESTACK_TEST_KAFKA"), "--%s.filter=^"+prefix
	orders, cut, empty := prefix+"orders", prefix+"cut", prefix+"empty"
	w.create(t, orders, 3, nil)
	w.create(t, cut, 2, nil)
	w.create(t, empty, 1, nil)
	w.produce(t, orders, 0, 10, time.Time{})
	w.produce(t, orders, 1, 5, time.Time{})
	w.produce(t, cut, 0, 8, time.Time{})
	before := kadm.Offsets{}
	before.AddOffset(cut, 0, 4, -1)
	if _, err := w.admin.DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	w.commit(t, prefix+"behind", orders, 0, 7)
	w.commit(t, prefix+"behind", cut, 0, 2) // is deleted
	w.commit(t, prefix+"caught-up", orders, 0, 10)
	w.commit(t, prefix+"caught-up", orders, 1, 5)
	w.commit(t, prefix+"caught-up", empty, 0, 0)
	w.commit(t, prefix+"beyond", orders, 1, 50)
	member, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(prefix+"member"), kgo.ConsumeTopics(orders), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	w.commit(t, prefix+"other", cut, 0, 8)
	if err := member.CommitRecords(t.Context(), member.PollRecords(t.Context(), 3).Records()...); err != nil {
		t.Fatal(err)
	}
	eventually(t, w, func() bool {
		return len(w.lines(t, fmt.Sprintf("kafka_consumergroup_state{consumergroup=%q", prefix+"member"), `state="Stable"} 1`)) == 1
	})
	theirs := start(t, binary, "--kafka.server="+addr, "--kafka.version=3.6.0", fmt.Sprintf(mine, "topic"), fmt.Sprintf(mine, "group"))
	our := listed(t, w.page(t))
	difference := func() (all string) {
		their := listed(t, string(theirs.get(t, "/metrics", "identity")))
		correct(their)
		for name := range inherited {
			if len(their[name]) < 3 {
				all += "kafka_exporter has no " + name + "\n"
			}
			if diff := cmp.Diff(their[name], our[name]); diff != "" {
				all += name + ", kafka_exporter's is -: " + diff
			}
		}
		return all
	}
	diff := difference()
	for end := time.Now().Add(time.Minute); diff != "" && time.Now().Before(end); diff = difference() { // a page of its sometimes lacks its last series
		time.Sleep(time.Second)
	}
	if diff != "" {
		t.Error(diff)
	}
}

// correct mends what we do otherwise: in sums of offsets, a partition without a
// commit is not -1, and no lag is negative.
func correct(page map[string]map[string]string) {
	sums := page["kafka_consumergroup_current_offset_sum"]
	for labels, value := range page["kafka_consumergroup_current_offset"] {
		group, topic, _ := strings.Cut(labels, ` partition="`)
		if _, topic, _ = strings.Cut(topic, `" `); value == "-1" {
			sum, _ := strconv.Atoi(sums[group+" "+topic])
			sums[group+" "+topic] = strconv.Itoa(sum + 1)
		}
	}
	for _, name := range []string{"kafka_consumergroup_lag", "kafka_consumergroup_lag_sum"} {
		for labels, value := range page[name] {
			if lag, err := strconv.Atoi(value); err == nil && lag < -1 {
				page[name][labels] = "0"
			}
		}
	}
}

// listed are families by name: values by labels, and help and type. Of what tells
// of the build there are only the names of labels.
func listed(t *testing.T, page string) map[string]map[string]string {
	families := map[string]map[string]string{}
	for _, f := range parse(t, page) {
		values := map[string]string{"help": f.help, "type": f.kind}
		families[f.name] = values
		for _, s := range f.series {
			if f.name == "kafka_exporter_build_info" {
				clear(s.values)
			}
			var labels []string
			for i := range s.names {
				labels = append(labels, fmt.Sprintf("%s=%q", s.names[i], s.values[i]))
			}
			slices.Sort(labels)
			values[strings.Join(labels, " ")] = strconv.FormatFloat(s.value, 'f', -1, 64)
		}
	}
	return families
}
