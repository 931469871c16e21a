package contract_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/grafana/contract"
)

// demo is `make demo` as a process of its own: what users run.
type demo struct {
	t      testing.TB
	pid    int
	begun  time.Time
	market string // URL of the simulator
	mysql  string // host:port
	db     *sql.DB

	brokers string // host:port
	kafka   *kgo.Client
	admin   *kadm.Client

	live *contract.Live
}

// lines collects what a program prints.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startDemo builds and starts the demo on a fresh folder, and reads from what it
// prints where its servers are.
func startDemo(t testing.TB) *demo {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, root+"/services/demo").CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, out)
	}
	d := &demo{t: t, begun: time.Now()}
	var stdout, stderr lines
	cmd := exec.Command(program, "--dir", dir, "--listen", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pid = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("the demo ended by itself: %v\n%s", err, stderr.String())
		}
		if err := <-ended; err != nil {
			t.Errorf("the demo: %v\n%s", err, stderr.String())
		}
	})
	at := regexp.MustCompile(`(?m)^(\w+) +(.+)$`)
	servers := map[string]string{}
	eventually(t, 2*time.Minute, "the demo to say where its servers are", func() string {
		for _, m := range at.FindAllStringSubmatch(stdout.String(), -1) {
			servers[m[1]] = m[2]
		}
		return missing(servers["Log"] != "", "%s%s", stdout.String(), stderr.String())
	})
	first := func(of string) string { return strings.Fields(servers[of])[0] }
	d.market = first("Market")
	port := regexp.MustCompile(`-P (\d+)`).FindStringSubmatch(servers["MySQL"])
	if strings.HasPrefix(servers["MySQL"], "go-mysql-server") || port == nil {
		t.Skip("no MySQL and no MariaDB on this machine: install one (Debian: mariadb-server-core)")
	}
	d.mysql = "127.0.0.1:" + port[1]
	var err error
	if d.db, err = sql.Open("mysql", "root@tcp("+d.mysql+")/market?time_zone=%27%2B00:00%27"); err != nil {
		t.Fatal(err)
	}
	d.db.SetMaxOpenConns(4)
	d.brokers = first("Kafka")
	if d.kafka, err = kgo.NewClient(kgo.SeedBrokers(d.brokers)); err != nil {
		t.Fatal(err)
	}
	d.admin = kadm.NewClient(d.kafka)
	t.Cleanup(func() { d.db.Close(); d.kafka.Close() })
	d.live = &contract.Live{Prometheus: first("Prometheus"), MySQL: d.db, Scrape: 5 * time.Second}
	return d
}

// fault makes the simulator do wrong.
func (d *demo) fault(kind, target string, more map[string]any) {
	d.t.Helper()
	f := map[string]any{"kind": kind, "target": target}
	for name, value := range more {
		f[name] = value
	}
	body, err := json.Marshal(f)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.Post(d.market+"/simulator/faults", "application/json", bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		var said bytes.Buffer
		_, _ = said.ReadFrom(resp.Body)
		d.t.Fatalf("fault %s: %s: %s", body, resp.Status, &said)
	}
}

// sql changes what is stored.
func (d *demo) sql(statement string) {
	d.t.Helper()
	if _, err := d.db.ExecContext(d.t.Context(), statement); err != nil {
		d.t.Fatalf("%s: %v", statement, err)
	}
}

// signalStore sends a signal to the database server that the demo has started.
func (d *demo) signalStore(s syscall.Signal) {
	d.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		name, rest, _ := bytes.Cut(stat, []byte(") ")) // pid (name) state parent …
		fields := strings.Fields(string(rest))
		if len(fields) > 1 && fields[1] == strconv.Itoa(d.pid) && (bytes.Contains(name, []byte("mariadbd")) || bytes.Contains(name, []byte("mysqld"))) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				err = syscall.Kill(pid, s)
			}
			if err != nil {
				d.t.Fatal(err)
			}
			return
		}
	}
	d.t.Fatal("the demo's database server is not among its children")
}

// missing is "" if all is well, else what is not.
func missing(well bool, format string, args ...any) string {
	if well {
		return ""
	}
	return "not yet: " + fmt.Sprintf(format, args...)
}

// eventually waits until look finds nothing missing, and returns how long that took.
func eventually(t testing.TB, most time.Duration, what string, look func() string) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		lacks := look()
		switch {
		case lacks == "":
			return time.Since(begun)
		case time.Since(begun) > most:
			t.Fatalf("waited %v for %s:\n%s", most, what, lacks)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Second):
		}
	}
}
