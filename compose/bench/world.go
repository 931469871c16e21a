package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	driver "github.com/go-sql-driver/mysql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/stack"
)

// world is the servers and the binary that are measured.
type world struct {
	report  *report
	dir     string // for what is not kept
	binary  string
	kafka   string       // address
	kfake   *stack.Kafka // nil: Kafka is a real one
	admin   *kadm.Client
	dsn     *driver.Config // without a database
	db      *sql.DB        // to make and drop databases
	pid     string         // of the store, where it runs on this machine
	control [2]string      // commands that stop and start the store and Kafka; empty: none
	closers []func() error
}

func newWorld(ctx context.Context, out io.Writer) (w *world, err error) {
	w = &world{report: newReport(out)}
	if w.dir, err = os.MkdirTemp("", "candlestack-bench-"); err != nil {
		return nil, err
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(w.dir) })
	for _, step := range []func(context.Context) error{w.build, w.openStore, w.openKafka} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// close ends what newWorld began, last things first.
func (w *world) close() (err error) {
	for i := len(w.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, w.closers[i]())
	}
	return err
}

// build makes the binary as make build does.
func (w *world) build(ctx context.Context) error {
	w.binary = filepath.Join(w.dir, "candlestack")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", w.binary, "./services/candlestack")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binary (run bench from the root of the repository): %w\n%s", err, out)
	}
	return nil
}

func (w *world) openStore(ctx context.Context) error {
	base := ""
	for _, name := range []string{"CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MARIADB"} {
		if base = os.Getenv(name); base != "" {
			w.control[0] = os.Getenv(name + "_CONTROL")
			break
		}
	}
	if base == "" {
		server, err := stack.StartMySQL(ctx, w.dir, false)
		if err != nil {
			return err
		}
		w.closers = append(w.closers, server.Close)
		if server.Name == "go-mysql-server" {
			return errors.New("needs a real server: set CANDLESTACK_TEST_MYSQL or CANDLESTACK_TEST_MARIADB, or install mariadb-server-core; go-mysql-server is for looking, not for measuring")
		}
		base = server.DSN("")
	}
	var err error
	if w.dsn, err = driver.ParseDSN(base); err != nil {
		return fmt.Errorf("reading the store's DSN: %w", err)
	}
	if err := driver.SetLogger(&driver.NopLogger{}); err != nil { // recovery stops the server, which is no news
		return err
	}
	if w.db, err = w.open(""); err != nil {
		return err
	}
	w.closers = append(w.closers, w.db.Close)
	version := ""
	if err := w.db.QueryRowContext(ctx, "SELECT CONCAT(@@version, ' ', @@version_comment)").Scan(&version); err != nil {
		return fmt.Errorf("asking the store for its version: %w", err)
	}
	w.report.config("store", version)
	file := ""
	if err := w.db.QueryRowContext(ctx, "SELECT @@pid_file").Scan(&file); err != nil {
		return fmt.Errorf("asking the store for its process: %w", err)
	}
	cpus := "this program and what it starts: " + procStatus("self", "Cpus_allowed_list")
	if pid, err := os.ReadFile(file); err == nil {
		w.pid = strings.TrimSpace(string(pid))
		cpus += "; the store: " + procStatus(w.pid, "Cpus_allowed_list")
	}
	w.report.config("CPUs that may be used", cpus)
	return w.describeStore(ctx)
}

// storeCPU is what the store has used, in CPU-seconds; 0 where it runs elsewhere.
func (w *world) storeCPU() float64 {
	stat, err := os.ReadFile("/proc/" + w.pid + "/stat")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // a name may hold anything
	fields := strings.Fields(string(after))
	const userTicks, systemTicks, hertz = 11, 12, 100
	user, _ := strconv.ParseFloat(fields[userTicks], 64)
	system, _ := strconv.ParseFloat(fields[systemTicks], 64)
	return (user + system) / hertz
}

// procStatus is a field of a process; empty where the system does not tell.
func procStatus(pid, field string) string {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// describeStore prints the settings on which the speed of writes depends.
func (w *world) describeStore(ctx context.Context) error {
	rows, err := w.db.QueryContext(ctx, `SHOW GLOBAL VARIABLES WHERE Variable_name IN
		('innodb_buffer_pool_size','innodb_flush_log_at_trx_commit','sync_binlog','log_bin','innodb_doublewrite','max_allowed_packet','innodb_redo_log_capacity','innodb_log_file_size')`)
	if err != nil {
		return fmt.Errorf("asking the store for its settings: %w", err)
	}
	defer rows.Close()
	var settings []string
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		settings = append(settings, name+"="+value)
	}
	w.report.config("store's settings", strings.Join(settings, " "))
	return rows.Err()
}

// open connects to a database of the store.
func (w *world) open(database string) (*sql.DB, error) {
	return sql.Open("mysql", w.dsnOf(database))
}

func (w *world) dsnOf(database string) string {
	c := w.dsn.Clone()
	c.DBName = database
	return c.FormatDSN()
}

// database makes an empty database and returns its name; it is dropped at the end.
func (w *world) database(ctx context.Context, name string) (string, error) {
	name = "bench_" + name
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := w.db.ExecContext(ctx, statement); err != nil {
			return "", fmt.Errorf("making a database: %w", err)
		}
	}
	w.closers = append(w.closers, func() error { _, err := w.db.Exec("DROP DATABASE IF EXISTS " + name); return err })
	return name, nil
}

func (w *world) openKafka(ctx context.Context) error {
	w.kafka, w.control[1] = os.Getenv("CANDLESTACK_TEST_KAFKA"), os.Getenv("CANDLESTACK_TEST_KAFKA_CONTROL")
	if w.kafka == "" {
		broker, err := stack.StartKafka(w.dir, 0)
		if err != nil {
			return err
		}
		w.kafka, w.kfake = broker.Addr, broker
		w.closers = append(w.closers, func() error { w.kfake.Close(); return nil })
		w.report.config("Kafka", "kfake in the process of the benchmark: its CPU is not counted as the sink's, but it shares the machine")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return err
	}
	w.admin = kadm.NewClient(client)
	w.closers = append(w.closers, func() error { client.Close(); return nil })
	versions, err := w.admin.ApiVersions(ctx)
	if err != nil {
		return fmt.Errorf("asking Kafka for its version: %w", err)
	}
	if w.kfake == nil {
		w.report.config("Kafka", "a real one, version "+versions.Sorted()[0].VersionGuess()+"; topics market.* and news.* and groups bench-* on it are deleted and made anew")
	}
	return nil
}

// freshTopics deletes the topics of the stack and makes them anew.
func (w *world) freshTopics(ctx context.Context) error {
	topics, err := w.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	var ours []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, "market.") || strings.HasPrefix(name, "news.") {
			ours = append(ours, name)
		}
	}
	if len(ours) > 0 {
		if _, err := w.admin.DeleteTopics(ctx, ours...); err != nil {
			return fmt.Errorf("deleting topics: %w", err)
		}
	}
	for gone := len(ours) == 0; !gone; {
		left, err := w.admin.ListTopics(ctx, ours...)
		if err != nil {
			return fmt.Errorf("listing topics: %w", err)
		}
		gone = true
		for _, d := range left {
			gone = gone && errors.Is(d.Err, kerr.UnknownTopicOrPartition)
		}
	}
	_, err = w.run(ctx, "topics", "apply", "--kafka.brokers", w.kafka)
	return err
}

// run runs the binary to its end and returns what it printed.
func (w *world) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.binary, args...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("candlestack %s: %w\n%s", strings.Join(args[:2], " "), err, tail(problem.Bytes()))
	}
	return out.String(), nil
}

func tail(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// process is the binary at work.
type process struct {
	name  string
	cmd   *exec.Cmd
	ops   string
	log   bytes.Buffer
	ended chan error // gets how it ended, once
}

// start runs a command of the binary that serves metrics. Stop it.
func (w *world) start(args ...string) (*process, error) {
	port, err := stack.FreePort()
	if err != nil {
		return nil, err
	}
	p := &process{name: strings.Join(args[:2], " "), ops: "127.0.0.1:" + strconv.Itoa(port), ended: make(chan error, 1)}
	p.cmd = exec.Command(w.binary, append(args, "--ops.listen", p.ops)...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// stop ends the process in order, and says how it went.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.wait()
}

func (p *process) wait() error {
	if err := <-p.ended; err != nil {
		return fmt.Errorf("candlestack %s: %w\n%s", p.name, err, tail(p.log.Bytes()))
	}
	return nil
}

// port of a host:port.
func port(addr string) int {
	_, text, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(text) // 0, any, where there is none
	return n
}

// sample is what the process says of itself.
type sample map[string]*dto.MetricFamily

// scrape reads /metrics.
func (p *process) scrape(ctx context.Context) (sample, error) {
	select {
	case err := <-p.ended:
		p.ended <- err
		return nil, fmt.Errorf("candlestack %s ended: %w\n%s", p.name, err, tail(p.log.Bytes()))
	default:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.ops+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, errNotUp
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// errNotUp says that a process does not serve yet.
var errNotUp = errors.New("not up yet")

// sum adds the series of a gauge or counter whose labels include those given as name, value.
func (s sample) sum(family string, labels ...string) (sum float64, series int) {
	for _, m := range s[family].GetMetric() {
		if fits(m, labels) {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			series++
		}
	}
	return sum, series
}

func fits(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		found := false
		for _, l := range m.GetLabel() {
			found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// peak is the greatest resident memory so far, in MiB. It is not taken from
// rusage: there a child begins with the peak of its parent.
func (p *process) peak() (float64, error) {
	value := procStatus(strconv.Itoa(p.cmd.Process.Pid), "VmHWM")
	kib, err := strconv.ParseFloat(strings.TrimSuffix(value, " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("reading the peak of memory: %w", err)
	}
	return kib / 1024, nil
}

// every calls f in intervals until it is done, fails or ctx ends.
func every(ctx context.Context, interval time.Duration, f func() (done bool, err error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
