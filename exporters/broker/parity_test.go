package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// samples are the values of a family by their labels topic and partition.
type samples map[string]float64

// agent reads the MBeans of a broker from its JMX agent, which has no rules: then
// kafka.log:type=Log,name=Size is kafka_log_Log_Value{name="Size",…}.
func agent(t *testing.T, addr string) map[string]samples {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]samples{}
	for family, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			bean := family + " " + labels["name"]
			if found[bean] == nil {
				found[bean] = samples{}
			}
			found[bean][strings.Trim(labels["topic"]+"/"+labels["partition"], "/")] = valueOf(m)
		}
	}
	return found
}

func valueOf(m *dto.Metric) float64 {
	return m.GetUntyped().GetValue() + m.GetGauge().GetValue() + m.GetCounter().GetValue()
}

// bean is what the agent calls a signal's MBean.
func bean(s *signal) string {
	domain, rest, _ := strings.Cut(s.mbean, ":type=")
	domain = strings.ReplaceAll(domain, ".", "_")
	if kind, attribute, ok := strings.Cut(rest, "#"); ok {
		return strings.ReplaceAll(domain+"_"+kind+"_"+attribute, "-", "_") + " "
	}
	kind, name, _ := strings.Cut(rest, ",name=")
	if s.kind == counter {
		return domain + "_" + kind + "_Count " + name
	}
	return domain + "_" + kind + "_Value " + name
}

// ours are our samples by family.
func (w *world) ours(t *testing.T) map[string]samples {
	t.Helper()
	found := map[string]samples{}
	for _, path := range []string{fmt.Sprintf("/broker/%d/metrics", w.snapshots.Current().Brokers[0].ID), "/controller/metrics"} {
		_, text := w.get(t, path)
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range families {
			found[name] = samples{}
			for _, m := range f.GetMetric() {
				var values []string
				for _, l := range m.GetLabel() {
					values = append(values, l.GetValue())
				}
				found[name][strings.Join(values, "/")] = valueOf(m)
			}
		}
	}
	return found
}

// since is what counters counted from one reading to another; other samples are
// those of the second.
func (now samples) since(before samples, s *signal) samples {
	if s.kind != counter || now == nil {
		return now
	}
	grown := samples{}
	for key, v := range now {
		grown[key] = v - before[key]
	}
	return grown
}

// row is a family's comparison.
type row struct {
	name, class, verdict string
	series               int
	sum, beans           float64
}

// part is what a part of the script came to.
type part struct {
	title string
	rows  []row
}

func (r *row) differs() bool { return strings.HasPrefix(r.verdict, "differ") }

// compare tells whether a signal has the MBean's values, of topics of prefix where
// it is a counter of topics: other clients work meanwhile. What moves by itself must
// lie between the MBean's values before we looked and after.
func (w *world) compare(s *signal, ours, before, after samples, prefix string) (r row) {
	r = row{name: s.names[jmx], class: s.class, verdict: "equal"}
	if s.mbean == "" {
		r.verdict = "no MBean"
		return r
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if s.kind == counter && key != "" && !strings.HasPrefix(key, prefix) {
			continue
		}
		high, ok := after[key]
		if !ok {
			if ours[key] != 0 { // MBeans of a topic come with its first record
				r.verdict = "differ: no MBean of " + key
			}
			continue
		}
		low, ok := before[key]
		if !ok {
			low = high
		}
		low, high = min(low, high), max(low, high)
		r.series++
		r.sum += ours[key]
		r.beans += high
		switch value := ours[key]; {
		case value < low-1e-9 || value > high+1e-9:
			r.verdict = fmt.Sprintf("differ: %s is %v, MBean %v to %v", key, value, low, high)
		case low < high && !r.differs():
			r.verdict = "between two readings"
		}
	}
	for key := range after {
		if _, ok := ours[key]; !ok && s.kind != counter && w.lists(key) {
			r.verdict = "differ: " + key + " is missing"
		}
	}
	if r.series == 0 {
		r.verdict = "differ: nothing was compared"
	}
	return r
}

// lists tells whether Kafka has a partition. MBeans are also of the metadata log, and
// after a restart for a while of what was deleted just before.
func (w *world) lists(key string) bool {
	topic, id, ok := strings.Cut(key, "/")
	return !ok || slices.ContainsFunc(w.snapshots.Current().Topics, func(t snapshot.Topic) bool {
		return t.Name == topic && slices.ContainsFunc(t.Partitions, func(p snapshot.Partition) bool { return strconv.Itoa(int(p.ID)) == id })
	})
}

// reading is what counters stood at when a part of the script began.
type reading struct{ ours, beans map[string]samples }

func (w *world) read(t *testing.T, addr string) reading {
	t.Helper()
	w.look(t)
	return reading{w.ours(t), agent(t, addr)}
}

// parity looks until all agree, for a while: others change topics, and the broker
// counts its groups once a minute.
func (w *world) parity(t *testing.T, addr string, from reading, prefix string) (rows []row) {
	t.Helper()
	for deadline := time.Now().Add(100 * time.Second); ; time.Sleep(2 * time.Second) {
		before := agent(t, addr)
		w.look(t)
		ours, after := w.ours(t), agent(t, addr)
		rows = nil
		for _, table := range [][]signal{ofBroker, ofController} {
			for i := range table {
				s := &table[i]
				name, b := s.names[jmx], bean(s)
				if name == "" { // another dialect's name of the same
					continue
				}
				rows = append(rows, w.compare(s, ours[name].since(from.ours[name], s), before[b].since(from.beans[b], s), after[b].since(from.beans[b], s), prefix))
			}
		}
		differs := func(r row) bool { return r.differs() }
		if !slices.ContainsFunc(rows, differs) {
			return rows
		}
		if time.Now().After(deadline) {
			for _, r := range rows {
				if r.differs() {
					t.Errorf("%s: %s", r.name, r.verdict)
				}
			}
			return rows
		}
	}
}

const messages = "kafka_server_brokertopicmetrics_messagesin_total"

// Every exact family has its MBean's value, and every approximate one stays within
// its bound, which is equality where nothing is compacted and no broker follows.
// Counters are compared by what they count in each part of the script: those of
// MBeans begin anew with a topic and with a broker, and ours go on.
func TestParityWithJMX(t *testing.T) {
	kafka, jmxAgent := os.Getenv("CANDLESTACK_TEST_KAFKA"), os.Getenv("CANDLESTACK_TEST_KAFKA_JMX")
	if kafka == "" || jmxAgent == "" {
		t.Skip("no Kafka with a JMX agent: set CANDLESTACK_TEST_KAFKA and CANDLESTACK_TEST_KAFKA_JMX, the host:port of jmx_prometheus_javaagent without rules beside that broker")
	}
	w := at(t, []string{kafka}, "jmx", "strimzi")
	prefix := "parity-" + rand.Text() + "-"
	kept, deleted := prefix+"kept", prefix+"deleted"
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = w.admin.DeleteTopics(ctx, kept, deleted)
		_, _ = w.admin.DeleteGroups(ctx, prefix+"classic", prefix+"consumer")
	})
	w.create(t, kept, 3, map[string]*string{"min.insync.replicas": new("2")}) // more than there are replicas
	w.create(t, deleted, 2, nil)
	for _, topic := range []string{kept, deleted} { // MBeans of a topic come with its first record
		w.produce(t, topic, 0, 1)
	}
	begin := w.read(t, jmxAgent)

	w.produce(t, kept, 0, 200)
	w.produce(t, kept, 1, 50)
	w.produce(t, deleted, 0, 30)
	read(t, kafka, kept, prefix+"classic", 251)
	read(t, kafka, kept, prefix+"consumer", 251, kgo.ServerSideBalancer())
	parts := []part{{"produced and read", w.parity(t, jmxAgent, begin, prefix)}}

	t.Run("restart", func(t *testing.T) {
		from := w.read(t, jmxAgent)
		from.beans = nil
		restart(t, w)
		w.produce(t, kept, 2, 11) // before we look again
		eventually(t, func() bool { w.snapshots.Refresh(t.Context()); return w.snapshots.Current().Up })
		w.produce(t, kept, 0, 2)
		parts = append(parts, part{"the broker restarted", w.parity(t, jmxAgent, from, prefix)})
		if got := w.ours(t)[messages][kept] - from.ours[messages][kept]; got != 11+2 {
			t.Errorf("over the restart %v messages were counted, want 13", got)
		}
	})
	from := w.read(t, jmxAgent)
	w.remove(t, deleted)
	eventually(t, func() bool { w.look(t); return w.ours(t)["kafka_log_log_size"][deleted+"/0"] == 0 })
	w.create(t, deleted, 1, nil)
	w.produce(t, deleted, 0, 7)
	for _, b := range from.beans { // which began anew
		delete(b, deleted)
	}
	parts = append(parts, part{"a topic deleted and made anew", w.parity(t, jmxAgent, from, prefix)})
	if got := w.ours(t)[messages][deleted] - begin.ours[messages][deleted]; got != 30+7 {
		t.Errorf("over deletion %v messages were counted, want 37", got)
	}
	w.report(t, parts)
}

// restart stops the broker, which its page must tell, and starts it again.
func restart(t *testing.T, w *world) {
	t.Helper()
	command := os.Getenv("CANDLESTACK_TEST_KAFKA_CONTROL")
	if command == "" {
		t.Skip("no way to restart Kafka: set CANDLESTACK_TEST_KAFKA_CONTROL")
	}
	control := func(order string) {
		if out, err := exec.Command("/bin/sh", "-c", command+" "+order).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", command, order, err, out)
		}
	}
	t.Cleanup(func() { control("start") }) // also where the test fails in between: others want the server
	path := fmt.Sprintf("/broker/%d/metrics", w.snapshots.Current().Brokers[0].ID)
	control("stop")
	w.snapshots.Refresh(t.Context())
	if code, _ := w.get(t, path); code != http.StatusServiceUnavailable {
		t.Errorf("a broker that was stopped answers %d", code)
	}
	control("start")
}

// report prints all parts of the script, and writes PARITY.md of them when told.
func (w *world) report(t *testing.T, parts []part) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Parity with JMX\n\nThis page is a run of TestParityWithJMX of exporters/broker, written with -update, against Kafka " + w.snapshots.Current().Version +
		" with its JMX agent: sums of all series that were compared one by one; of counters, what they counted in the first part of the script.\n\n" +
		"| family | class | series | ours | MBean |")
	for _, p := range parts {
		fmt.Fprintf(&b, " %s |", p.title)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 5+len(parts)) + "\n")
	for i, r := range parts[0].rows {
		fmt.Fprintf(&b, "| `%s` | %s | %d | %.0f | %.0f |", r.name, r.class, r.series, r.sum, r.beans)
		for _, p := range parts {
			fmt.Fprintf(&b, " %s |", p.rows[i].verdict)
		}
		b.WriteString("\n")
	}
	t.Log("\n" + b.String())
	switch {
	case !*update || t.Failed():
	case len(parts) < 3:
		t.Error("PARITY.md is of the whole script, also of the restart: set CANDLESTACK_TEST_KAFKA_CONTROL")
	default:
		if err := os.WriteFile("../PARITY.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads n records as a member of a group, commits and leaves.
func read(t *testing.T, addr, topic, group string, n int, opts ...kgo.Opt) {
	t.Helper()
	member, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	for got := 0; got < n; {
		fetches := member.PollRecords(t.Context(), n-got)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		got += fetches.NumRecords()
		if err := member.CommitRecords(t.Context(), fetches.Records()...); err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come true in a minute")
		}
	}
}
