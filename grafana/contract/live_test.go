package contract_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/grafana/contract"
)

// full asks for the alerts that take long too (`make contract`).
var full = os.Getenv("CANDLESTACK_CONTRACT") == "full"

// where the boards are looked at, by the names in exceptions.
const where = "demo"

const (
	warmStart = 2 * time.Minute // until the Overview is filled; a minute is what it should take
	settled   = 4 * time.Minute // until every panel is filled after faults
	mostInAll = 20_000          // series of the classroom
)

// TestLive runs the demo, breaks some of it, and asks for every target of every
// panel as Grafana would.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("the demo takes minutes: not with -short")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the database server is found by /proc: run it on Linux")
	}
	d := startDemo(t)
	all := boards(t)
	d.live.Elsewhere = watchForeign(t, d.mysql)
	eventually(t, warmStart, "every panel of the Overview", func() string {
		left, _ := contract.Except(d.live.Opened(t.Context(), of(all, "candlestack-overview")).Problems, contract.Exceptions, where)
		return list(left)
	})
	t.Logf("every panel of the Overview is filled %.0f s after the start", time.Since(d.begun).Seconds())

	firing, err := d.live.Firing(t.Context())
	if err != nil || len(firing) != 1 || !firing["Watchdog"] {
		t.Errorf("a healthy stack lets Watchdog alone fire, got %v (%v)", firing, err)
	}
	d.breakALittle()
	var result contract.Result
	var left []contract.Problem
	var idle []contract.Exception
	eventually(t, settled, "every panel of every board, with every choice", func() string {
		result = d.live.Evaluate(t.Context(), all...)
		left, idle = contract.Except(result.Problems, contract.Exceptions, where)
		if len(left) > 0 {
			return result.Table(all, left) + list(left)
		}
		return ""
	})
	t.Logf("every target of every panel, as opened and with each value of each variable\n%s", result.Table(all, left))
	for _, e := range idle {
		t.Errorf("nothing needs this exception any more: %+v", e)
	}
	for _, e := range contract.Exceptions {
		t.Logf("exception: %s / %s %s: %s: %s", e.Board, e.Panel, e.Chosen, e.Rule, e.Reason)
	}

	t.Run("series", func(t *testing.T) {
		n, series, err := d.live.Newest(t.Context(), `sum(scrape_samples_post_metric_relabeling{job=~".+"})`)
		if err != nil || n != 1 || series > mostInAll || series < 100 {
			t.Errorf("want up to %d series, got %v (%v)", mostInAll, series, err)
		}
		t.Logf("%.0f series", series)
	})
	t.Run("real mysqld_exporter", func(t *testing.T) {
		if os.Getenv("MYSQLD_EXPORTER") == "" {
			t.Skip("its panels were filled from a recording: set MYSQLD_EXPORTER to the program")
		}
		n, up, err := d.live.Newest(t.Context(), `mysql_up{job="mysql"} and on (job) mysql_global_status_uptime{job="mysql"}`)
		if err != nil || n != 1 || up != 1 {
			t.Errorf("want it to see its server, got %d answers, %v (%v)", n, up, err)
		}
	})
	t.Run("boards that users know", d.knownBoards)
	t.Run("breaks", d.breaks)
	t.Run("alerts", func(t *testing.T) {
		if !full {
			t.Skip("alerts take half an hour: set CANDLESTACK_CONTRACT=full, or run make contract")
		}
		d.t = t
		d.alerts(t)
	})
}

func list(problems []contract.Problem) string {
	var text strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&text, p)
	}
	return text.String()
}

func of(boards []*contract.Board, uid string) *contract.Board {
	for _, b := range boards {
		if b.UID == uid {
			return b
		}
	}
	panic("there is no board " + uid)
}

// breakALittle makes what fills panels of errors: a missed candle of each
// instrument, records that nobody can read, and a table that is not there for a while.
func (d *demo) breakALittle() {
	d.t.Helper()
	d.loseCandles()
	d.garbage()
	d.sql("RENAME TABLE candles TO candles_away")
	eventually(d.t, time.Minute, "the sink to try again", func() string {
		n, _, err := d.live.Newest(d.t.Context(), `candlestack_sink_retries_total{job="candlestack", component="sink-mysql"} > 0`)
		return missing(n > 0, "no retry, %v", err)
	})
	d.sql("RENAME TABLE candles_away TO candles")
}

// known is a board of others, of exporters/command/testdata/boards.json.
type known struct {
	Board  string
	Panels int
	Filled []struct {
		Panel string
		Needs []struct {
			Family string
			Labels []string
		}
	}
}

// knownBoards asks our Prometheus for what boards that users know ask theirs: that
// the pages of a real Kafka hold it is shown beside that list.
func (d *demo) knownBoards(t *testing.T) {
	text, err := os.ReadFile(root + "/exporters/command/testdata/boards.json")
	if err != nil {
		t.Fatal(err)
	}
	var boards []known
	if err := json.Unmarshal(text, &boards); err != nil || len(boards) == 0 {
		t.Fatalf("%d boards, %v", len(boards), err)
	}
	for _, b := range boards {
		filled := 0
		for _, p := range b.Filled {
			has := true
			for _, need := range p.Needs {
				expr := "count by (" + strings.Join(need.Labels, ", ") + ") (" + need.Family + `{job=~"kafka|kafka-broker"`
				for _, label := range need.Labels {
					expr += ", " + label + `!=""`
				}
				n, _, err := d.live.Newest(t.Context(), expr+"})")
				if err != nil {
					t.Error(err)
				}
				if n == 0 && need.Family != "kafka_controller_kafkacontroller_activecontrollercount" { // the embedded broker does not know DescribeQuorum
					t.Errorf("%s, %s: no answer to %s})", b.Board, p.Panel, expr)
				}
				has = has && n > 0
			}
			if has {
				filled++
			}
		}
		t.Logf("%s: %d of %d panels are filled, %d of a cluster that knows DescribeQuorum", b.Board, filled, b.Panels, len(b.Filled))
	}
}

// breaks changes a board in ways that must not go unnoticed when it is evaluated.
func (d *demo) breaks(t *testing.T) {
	for _, b := range plantedBreaks {
		if b.live == "" {
			continue // TestBreaks notices
		}
		t.Run(b.name, func(t *testing.T) {
			left, _ := contract.Except(d.live.Opened(t.Context(), b.board(t)).Problems, contract.Exceptions, where)
			if !broken(left, b.live) {
				t.Errorf("want a problem of rule %s, got\n%s", b.live, list(left))
			}
		})
	}
}
