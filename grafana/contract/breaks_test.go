package contract_test

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/candlestack/candlestack/grafana"
	"github.com/candlestack/candlestack/grafana/contract"
)

// planted is a mistake in a board: what it replaces by what, and the rules that
// notice it, of files and of answers.
type planted struct {
	name         string
	file         string
	old, new     string
	static, live contract.Rule
}

var plantedBreaks = []planted{
	{"renamed metric", "overview", `candlestack_store_up{`, `candlestack_store_upp{`, contract.RuleMetric, contract.RuleEmpty},
	{"renamed recording rule", "overview", `instrument:candle_age:seconds`, `instrument:candle_aged:seconds`, contract.RuleMetric, contract.RuleEmpty},
	{"dropped label", "topics", `max by (consumergroup, topic) (kafka`, `max by (consumergroup) (kafka`, contract.RuleMetric, ""},
	{"label that is not there", "market", `sum by (coin)`, `sum by (coins)`, contract.RuleMetric, contract.RuleLegend},
	{"label dropped from the legend's expression", "pipeline", `sum by (cause) (`, `sum(`, contract.RuleMetric, contract.RuleLegend},
	{"missing table", "market", `FROM gaps`, `FROM gapes`, "", contract.RuleError},
	{"missing column", "market", `l.close AS Last`, `l.closing AS Last`, "", contract.RuleError},
	{"bad macro", "market", `$__timeFilter(`, `$__timeFiltered(`, contract.RuleQuery, contract.RuleError},
	{"macro without an interval", "market", `$__timeGroup(open_time, '1h')`, `$__timeGroup(open_time)`, contract.RuleQuery, contract.RuleError},
	{"undefined variable", "topics", `topic=~\"$topic\"`, `topic=~\"$topics\"`, contract.RuleVariable, contract.RuleError},
	{"undefined variable in SQL", "market", `${exchange:sqlstring}`, `${venue:sqlstring}`, contract.RuleVariable, contract.RuleError},
	{"variable without values", "topics", `label_values(kafka_topic_partitions{`, `label_values(kafka_topic_partitionss{`, contract.RuleMetric, contract.RuleChoices},
	{"broken PromQL", "overview", `min(kafka_up{job=\"kafka\"})`, `min(kafka_up{job=\"kafka\"}`, contract.RuleQuery, contract.RuleError},
	{"no job", "overview", `min(kafka_up{job=\"kafka\"})`, `min(kafka_up)`, contract.RuleMetric, ""},
	{"raw counter", "pipeline", `sum(rate(candlestack_source_events_total{job=\"candlestack\", source=~\"$source\"}[$__rate_interval]))`, `sum(candlestack_source_events_total{job=\"candlestack\"})`, contract.RuleCounter, ""},
	{"field of a candlestick", "market", `"close": "close"`, `"close": "closing"`, "", contract.RuleCandlestick},
	{"override of a series", "market", `"options": "volume"`, `"options": "volumes"`, "", contract.RuleOverride},
	{"override of a column", "topics", `"Value #A": "Lag"`, `"Value #X": "Lag"`, "", contract.RuleOverride},
	{"several values in a tile", "overview", `min(kafka_up{job=\"kafka\"})`, `kafka_topic_partitions{job=\"kafka\"}`, "", contract.RuleSingle},
	{"too many series", "overview", `instrument:candle_age:seconds",`, `{__name__=~\".+\", job=\"kafka\"}",`, contract.RuleMetric, contract.RuleSeries},
	{"not a number", "overview", `min(kafka_up{job=\"kafka\"})`, `min(kafka_up{job=\"kafka\"}) / 0`, "", contract.RuleFinite},
	{"old", "overview", `"expr": "instrument:candle_age:seconds"`, `"expr": "instrument:candle_age:seconds and on () (vector(time()) < scalar(max(timestamp(up{job=\"kafka\"} @ end()))) - 60)"`, "", contract.RuleFresh},
	{"unknown key", "overview", `"uid": "candlestack-overview"`, `"__inputs": [], "uid": "candlestack-overview"`, contract.RuleFile, ""},
	{"uid of another", "overview", `"uid": "candlestack-overview"`, `"uid": "candlestack-kafka"`, contract.RuleUnique, ""},
	{"outside the grid", "overview", `"x": 0`, `"x": 23`, contract.RuleGrid, ""},
	{"plugin", "overview", `"type": "timeseries"`, `"type": "graph"`, contract.RuleType, ""},
	{"unknown unit", "overview", `"unit": "s"`, `"unit": "sec"`, contract.RuleUnit, ""},
	{"unknown source", "market", `"uid": "mysql"`, `"uid": "mariadb"`, contract.RuleSource, ""},
	{"fixed window", "pipeline", `[$__rate_interval]`, `[7m]`, contract.RuleWindow, ""},
	{"link to no board", "overview", `/d/candlestack-kafka`, `/d/candlestack-kafkas`, contract.RuleLink, ""},
	{"link to no runbook", "overview", `runbooks/KafkaSinkLag.md`, `runbooks/KafkaSinkLate.md`, contract.RuleLink, ""},
	{"threshold beside the alert's", "overview", `"value": 60`, `"value": 61`, contract.RuleThreshold, ""},
	{"fixed date", "overview", `"from": "now-15m"`, `"from": "2026-01-01T00:00:00Z"`, contract.RuleDate, ""},
}

// board reads the board with the mistake in it.
func (b planted) board(t *testing.T) *contract.Board {
	t.Helper()
	name := "dashboards/" + b.file + ".json"
	content, err := fs.ReadFile(grafana.Dashboards, name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), b.old) {
		t.Fatalf("%s does not hold %q any more: plant the mistake elsewhere", name, b.old)
	}
	board, err := contract.ParseBoard(name, []byte(strings.ReplaceAll(string(content), b.old, b.new)))
	if err != nil {
		t.Fatal(err)
	}
	return board
}

func broken(problems []contract.Problem, rule contract.Rule) bool {
	return slices.ContainsFunc(problems, func(p contract.Problem) bool { return p.Rule == rule })
}

// TestBreaks plants mistakes in boards, which must not go unnoticed in their files.
func TestBreaks(t *testing.T) {
	facts, all := facts(t), boards(t)
	for _, b := range plantedBreaks {
		t.Run(b.name, func(t *testing.T) {
			if b.static == "" {
				if b.live == "" {
					t.Error("nothing would notice it")
				}
				return // TestLive notices
			}
			changed := slices.Clone(all)
			for i := range changed {
				if "candlestack-"+b.file == changed[i].UID {
					changed[i] = b.board(t)
				}
			}
			left, _ := contract.Except(contract.Static(changed, facts), contract.Exceptions, "")
			if !broken(left, b.static) {
				t.Errorf("want a problem of rule %s, got\n%s", b.static, list(left))
			}
		})
	}
}

// TestBrokenJSONIsNamed shows what a person reads who broke a file.
func TestBrokenJSONIsNamed(t *testing.T) {
	_, err := contract.ParseBoard("dashboards/x.json", []byte("{\n  \"uid\": \"x\",\n  \"title\": 3 3\n}"))
	if err == nil || !strings.HasPrefix(err.Error(), "grafana/dashboards/x.json:3: ") {
		t.Errorf("want file and line, got %v", err)
	}
}

// changed is a folder with one file that is other than on disk.
type changed struct {
	fs.FS
	name    string
	content fstest.MapFS
}

func (c changed) Open(name string) (fs.File, error) {
	if name == c.name {
		return c.content.Open(name)
	}
	return c.FS.Open(name)
}

// TestBrokenProvisioning plants mistakes in the files of provisioning.
func TestBrokenProvisioning(t *testing.T) {
	const sources, folders = "grafana/provisioning/datasources/candlestack.yml", "grafana/provisioning/dashboards/candlestack.yml"
	for _, b := range []struct{ file, old, new, want string }{
		{sources, "isDefault: true", "isDefalt: true", "isDefalt not found"},
		{sources, "isDefault: true", "isDefault: false", "want one default data source, got 0"},
		{sources, "${PROMETHEUS_URL}", "${PROM_URL}", "${PROM_URL} is no variable"},
		{sources, "$$__rate_interval", "$__rate_interval", "a dollar that is meant is $$"},
		{sources, "timeInterval: 5s", "timeInterval: 15s", "scrape_interval of prometheus.yml 5s"},
		{sources, `timezone: "+00:00"`, "timezone: UTC", "timezone is not +00:00"},
		{sources, "uid: mysql", "uid: prometheus", "a uid of its own"},
		{folders, "allowUiUpdates: false", "allowUiUpdates: true", "without updates from the browser"},
	} {
		content, err := os.ReadFile(root + "/" + b.file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(content), b.old, b.new, 1)
		if text == string(content) {
			t.Fatalf("%s does not hold %q any more", b.file, b.old)
		}
		_, problems, err := contract.ReadFacts(changed{os.DirFS(root), b.file, fstest.MapFS{b.file: {Data: []byte(text)}}})
		if err != nil || !strings.Contains(list(problems), b.want) {
			t.Errorf("%q instead of %q: want %q, got %v\n%s", b.new, b.old, b.want, err, list(problems))
		}
	}
}
