package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kgo"
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
	if s.kind != counter {
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

// compare tells whether a signal has the MBean's values, of topics of prefix where
// it is a counter of topics: other clients work meanwhile.
func compare(s *signal, ours, beans samples, prefix string) (r row) {
	r = row{name: s.names[jmx], class: s.class, verdict: "equal"}
	if s.mbean == "" || beans == nil {
		r.verdict = "no MBean"
		return r
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if s.kind == counter && key != "" && !strings.HasPrefix(key, prefix) {
			continue
		}
		value, ok := beans[key]
		if !ok {
			if ours[key] != 0 { // MBeans of a topic come with its first record
				r.verdict = "differ: no MBean of " + key
			}
			continue
		}
		r.series++
		r.sum += ours[key]
		r.beans += value
		if math.Abs(ours[key]-value) > 1e-9 {
			r.verdict = fmt.Sprintf("differ: %s is %v, MBean %v", key, ours[key], value)
		}
	}
	for key := range beans {
		if _, ok := ours[key]; !ok && s.kind != counter && !strings.HasPrefix(key, "__cluster_metadata") {
			r.verdict = "differ: " + key + " is missing"
		}
	}
	if r.series == 0 {
		r.verdict = "differ: nothing was compared"
	}
	return r
}

// Every exact family has its MBean's value, and every approximate one stays within
// its bound, which is equality where nothing is deleted or compacted.
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
	w.look(t)
	ours, beans := w.ours(t), agent(t, jmxAgent)

	w.produce(t, kept, 0, 200)
	w.produce(t, kept, 1, 50)
	w.produce(t, deleted, 0, 30)
	read(t, kafka, kept, prefix+"classic", 251)
	read(t, kafka, kept, prefix+"consumer", 251, kgo.ServerSideBalancer())
	w.look(t)
	rows := w.parity(t, jmxAgent, ours, beans, prefix)

	before := ours["kafka_server_brokertopicmetrics_messagesin_total"][deleted]
	w.remove(t, deleted)
	eventually(t, func() bool { w.look(t); return w.ours(t)["kafka_log_log_size"][deleted+"/0"] == 0 })
	w.create(t, deleted, 1, nil)
	w.produce(t, deleted, 0, 7)
	w.look(t)
	if got := w.ours(t)["kafka_server_brokertopicmetrics_messagesin_total"][deleted] - before; got != 30+7 {
		t.Errorf("over deletion %v messages were counted, want 37", got)
	}
	delete(ours["kafka_server_brokertopicmetrics_messagesin_total"], deleted)
	for _, name := range []string{"messagesin", "bytesin"} { // the MBean began anew, and ours did not
		full := "kafka_server_brokertopicmetrics_" + name + "_total"
		if ours[full] == nil {
			ours[full] = samples{}
		}
		ours[full][deleted] = w.ours(t)[full][deleted] - agent(t, jmxAgent)[beanOf(full)][deleted]
	}
	for _, b := range beans {
		delete(b, deleted)
	}
	after := w.parity(t, jmxAgent, ours, beans, prefix)

	var b strings.Builder
	b.WriteString("# Parity with JMX\n\nThis page is a run of TestParityWithJMX of exporters/broker, written with -update, against Kafka " + w.snapshots.Current().Version +
		" with its JMX agent: sums of all series that were compared one by one; of counters, what they counted in the run.\n\n" +
		"| family | class | series | ours | MBean | verdict | after a topic was deleted and made anew |\n|---|---|---|---|---|---|---|\n")
	for i, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %d | %.0f | %.0f | %s | %s |\n", r.name, r.class, r.series, r.sum, r.beans, r.verdict, after[i].verdict)
	}
	t.Log("\n" + b.String())
	for _, r := range slices.Concat(rows, after) {
		if strings.HasPrefix(r.verdict, "differ") {
			t.Errorf("%s: %s", r.name, r.verdict)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("../PARITY.md", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func beanOf(name string) string {
	i := slices.IndexFunc(ofBroker, func(s signal) bool { return s.names[jmx] == name })
	return bean(&ofBroker[i])
}

// parity looks until all agree, for a while: others change topics, and the broker
// counts its groups once a minute.
func (w *world) parity(t *testing.T, addr string, ours, beans map[string]samples, prefix string) (rows []row) {
	t.Helper()
	for deadline := time.Now().Add(100 * time.Second); ; time.Sleep(2 * time.Second) {
		w.look(t)
		nowBeans, now := agent(t, addr), w.ours(t)
		rows = nil
		for _, table := range [][]signal{ofBroker, ofController} {
			for i := range table {
				s := &table[i]
				name, b := s.names[jmx], bean(s)
				var grown samples
				if nowBeans[b] != nil {
					grown = nowBeans[b].since(beans[b], s)
				}
				rows = append(rows, compare(s, now[name].since(ours[name], s), grown, prefix))
			}
		}
		if !slices.ContainsFunc(rows, func(r row) bool { return strings.HasPrefix(r.verdict, "differ") }) || time.Now().After(deadline) {
			return rows
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
