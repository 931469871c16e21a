package contract_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/candlestack/candlestack/services/stack"
)

// foreign are the jobs of programs that are not ours and that the demo does not
// run. What they show was written down by hand, in testdata/<job>.prom: a series
// and its value a line, and behind + how much it grows a second.
var foreign = []string{"mysql", "mongodb", "alertmanager"}

// recording is a line of such a file.
type recording struct {
	series        string
	value, growth float64
}

func recordings(t *testing.T, job string) (all []recording) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", job+".prom"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 2 {
			words = append(words, "0")
		}
		value, err := strconv.ParseFloat(words[1], 64)
		growth, err2 := strconv.ParseFloat(words[2], 64)
		if err != nil || err2 != nil || len(words) != 3 {
			t.Fatalf("testdata/%s.prom: %q is not a series, a value and its growth", job, line)
		}
		all = append(all, recording{words[0], value, growth})
	}
	return all
}

// TestRecordingsAreDocumented holds the recordings to the lists of what the
// programs show, so that no panel is filled by a name that we made up.
func TestRecordingsAreDocumented(t *testing.T) {
	metrics := facts(t).Metrics
	for _, job := range foreign {
		for _, r := range recordings(t, job) {
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.series)
			if err != nil {
				t.Fatalf("testdata/%s.prom: %s: %v", job, r.series, err)
			}
			s := expr.(*parser.VectorSelector)
			has, ok := metrics[job][s.Name]
			if !ok {
				t.Errorf("testdata/%s.prom: %s shows no %s", job, job, s.Name)
			}
			for _, m := range s.LabelMatchers {
				if m.Name != "__name__" && !has[m.Name] {
					t.Errorf("testdata/%s.prom: %s has no label %s", job, s.Name, m.Name)
				}
			}
		}
	}
}

// replay serves a recording.
func replay(t *testing.T, job string) string {
	all, begun := recordings(t, job), time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, r := range all {
			fmt.Fprintln(w, r.series, r.value+r.growth*time.Since(begun).Seconds())
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// mysqldExporter starts the real one beside a real MySQL, else beside the demo's
// server, which may be a MariaDB.
func mysqldExporter(t *testing.T, mysql string) (addr string) {
	program := os.Getenv("MYSQLD_EXPORTER")
	if program == "" {
		return replay(t, "mysql")
	}
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	user, password := "root", ""
	if dsn := os.Getenv("CANDLESTACK_TEST_MYSQL"); dsn != "" {
		c, err := driver.ParseDSN(dsn)
		if err != nil {
			t.Fatal("CANDLESTACK_TEST_MYSQL: ", err)
		}
		mysql, user, password = c.Addr, c.User, c.Passwd
	}
	host, mysqlPort, err := net.SplitHostPort(mysql)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "my.cnf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[client]\nuser=%s\npassword=%s\nhost=%s\nport=%s\n", user, password, host, mysqlPort), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.my-cnf="+config, "--web.listen-address="+addr)
	var said lines
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log("mysqld_exporter says:\n" + said.String())
		}
	})
	return addr
}

// watchForeign starts a Prometheus that scrapes the foreign programs, and returns
// its URL by job.
func watchForeign(t *testing.T, mysql string) map[string]string {
	t.Helper()
	targets := map[string]string{"mysql": mysqldExporter(t, mysql)}
	groups := ""
	for _, job := range foreign {
		if targets[job] == "" {
			targets[job] = replay(t, job)
		}
		groups += "- {labels: {job: " + job + "}, targets: [" + job + "]}\n"
	}
	p, err := stack.StartPrometheus(t.TempDir(), 0, stack.PrometheusConfig{
		Files: fstest.MapFS{
			"prometheus.yml":   {Data: []byte("global: {scrape_interval: 5s}\nscrape_configs: [{job_name: targets, file_sd_configs: [{files: [x.yml]}]}]\n")},
			"targets/demo.yml": {Data: []byte(groups)},
		},
		Targets: targets,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	at := map[string]string{}
	for _, job := range slices.Sorted(maps.Keys(targets)) {
		at[job] = "http://" + p.Addr
	}
	return at
}
