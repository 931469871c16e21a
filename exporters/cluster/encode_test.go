package cluster

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

// Whatever a group is called, Prometheus can read the page, finds each group
// once, and a name of the ordinary kind as it is. Long names are short ones
// repeated: go's fuzzer would spend its time on making long inputs shorter.
func FuzzNames(f *testing.F) {
	f.Add("reader", "orders", uint8(1))
	f.Add("a\"b\\c\nd", "{}=,\x00\r", uint8(1))
	f.Add("\xff\xfe", "\xff\xfd", uint8(1))
	f.Add("é", "éx", uint8(200))
	f.Fuzz(func(t *testing.T, one, other string, times uint8) {
		if one == other || times == 0 || len(one)+len(other) > 100 {
			return
		}
		one, other = strings.Repeat(one, int(times)), strings.Repeat(other, int(times))
		s := &snapshot.Snapshot{Up: true, ClusterID: one, Controller: -1,
			Topics: []snapshot.Topic{{Name: one, Partitions: []snapshot.Partition{{End: 5}}}}}
		for _, name := range []string{one, other} {
			s.Groups = append(s.Groups, snapshot.Group{Name: name, State: name, Described: true, Members: 1,
				Topics: []snapshot.GroupTopic{{Name: one, Commits: []snapshot.Commit{{Offset: 2}}}}})
		}
		c := Config{ShowAll: true, Granularity: "partition"}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		c.Write(&text, s)
		p := expfmt.NewTextParser(model.LegacyValidation)
		families, err := p.TextToMetricFamilies(strings.NewReader(text.String()))
		if err != nil {
			t.Fatalf("%v in %q", err, text.String())
		}
		found := map[string]bool{}
		for _, m := range families["kafka_consumergroup_members"].GetMetric() {
			found[m.GetLabel()[0].GetValue()] = true
		}
		if len(found) != 2 {
			t.Errorf("%d groups of %q and %q: %v", len(found), one, other, found)
		}
		for _, name := range []string{one, other} {
			if utf8.ValidString(name) && len(name) <= exposition.Longest && !found[name] {
				t.Errorf("no group %q in %v", name, found)
			}
		}
		for name := range found {
			if len(name) > 3*exposition.Longest {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
	})
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		labels, granularity string
		want                []string
	}{
		{"", "partition", nil},
		{"env=dev,zone=a\"b", "topic", nil},
		{"env", "partition", []string{`--kafka.labels "env"`}},
		{"topic=x,1=2", "none", []string{`--kafka.labels "topic=x"`, `--kafka.labels "1=2"`, `--group.granularity "none"`}},
	} {
		c := Config{Labels: test.labels, Granularity: test.granularity}
		err := c.Validate()
		if (err != nil) != (len(test.want) > 0) {
			t.Errorf("%q %q: %v", test.labels, test.granularity, err)
		}
		for _, want := range test.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("no %s in %s", want, err)
			}
		}
	}
}

func TestGranularityAndLabels(t *testing.T) {
	s := &snapshot.Snapshot{Up: true, Topics: []snapshot.Topic{{Name: "orders", Partitions: []snapshot.Partition{{ID: 0, End: 5}, {ID: 1, End: 5}}}},
		Groups: []snapshot.Group{{Name: "reader", Described: true, Topics: []snapshot.GroupTopic{{Name: "orders", Assigned: []int32{1},
			Commits: []snapshot.Commit{{Partition: 0, Offset: 1}, {Partition: 1, Offset: 2}}}}}}}
	for _, test := range []struct {
		cfg         Config
		has, hasNot []string
	}{
		{Config{Granularity: "partition", ShowAll: true, Labels: "env=dev"},
			[]string{`kafka_up{env="dev"} 1`, `kafka_consumergroup_lag{consumergroup="reader",topic="orders",partition="0",env="dev"} 4`,
				`kafka_consumergroup_lag_sum{consumergroup="reader",topic="orders",env="dev"} 7`}, nil},
		{Config{Granularity: "partition"}, []string{`kafka_consumergroup_lag_sum{consumergroup="reader",topic="orders"} 3`}, []string{`kafka_consumergroup_lag{consumergroup="reader",topic="orders",partition="0"}`}},
		{Config{Granularity: "topic", ShowAll: true}, []string{`kafka_consumergroup_lag_sum{consumergroup="reader",topic="orders"} 7`}, []string{`kafka_consumergroup_lag{`}},
		{Config{Granularity: "group", ShowAll: true}, []string{`kafka_consumergroup_members{consumergroup="reader"} 0`}, []string{`kafka_consumergroup_lag_sum{`}},
	} {
		if err := test.cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		test.cfg.Write(&b, s)
		text := b.String()
		for _, want := range test.has {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("%+v: no %s in\n%s", test.cfg, want, text)
			}
		}
		for _, not := range test.hasNot {
			if strings.Contains(text, not) {
				t.Errorf("%+v: there is %s", test.cfg, not)
			}
		}
	}
}
