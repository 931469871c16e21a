package contract_test

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/candlestack/candlestack/grafana/contract"
	"github.com/candlestack/candlestack/prometheus"
	"github.com/candlestack/candlestack/services/stack"
)

// TestRealKafka fills what the embedded broker of the demo cannot: panels of the
// board of Kafka that have an exception there have none with a real one.
func TestRealKafka(t *testing.T) {
	kafka := os.Getenv("CANDLESTACK_TEST_KAFKA")
	if kafka == "" {
		t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "exporter")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, root+"/exporters/candlestack-exporter").CombinedOutput(); err != nil {
		t.Fatalf("building the exporter: %v\n%s", err, out)
	}
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var said lines
	cmd := exec.Command(program, "--kafka.server", kafka, "--web.listen-address", addr, "--refresh.interval", "2s")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("the exporter ended by itself: %v\n%s", err, said.String())
		}
		_ = cmd.Wait()
	})
	p, err := stack.StartPrometheus(dir, 0, stack.PrometheusConfig{
		Files: prometheus.Files, Targets: map[string]string{"exporter": addr}, Discovery: "http://" + addr + "/sd", Rules: []string{"kafka"},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	live := &contract.Live{Prometheus: "http://" + p.Addr, Scrape: 5 * time.Second}
	board := of(boards(t), "candlestack-kafka")
	eventually(t, 3*time.Minute, "panels that the demo leaves empty", func() string {
		result := live.Opened(t.Context(), board)
		asked := slices.IndexFunc(result.Rows, func(r contract.Row) bool { return r.Panel == "Controller" })
		result.Problems = slices.DeleteFunc(result.Problems, func(p contract.Problem) bool {
			return p.Panel != "" && !slices.ContainsFunc(contract.Exceptions, func(e contract.Exception) bool { return e.Board == p.Board && e.Panel == p.Panel })
		})
		return missing(asked >= 0 && len(result.Problems) == 0, "%d rows\n%s", len(result.Rows), list(result.Problems))
	})
}
