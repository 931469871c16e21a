package compose_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is what doctor.sh can learn of a machine; its commands are stood in for.
type machine struct {
	engine, compose string // versions; empty: it is not there
	memory          int    // MB that Docker has
	free, disk      int    // MB
	now, clock      string // the machine's time and Docker's
	config          string // what docker compose config says
	invalid         bool   // it says so and fails
	ports           string // that the stack holds
}

// doctor runs the script on the machine and returns what it says.
func (m machine) doctor(t *testing.T) (lines []string, code int) {
	t.Helper()
	bin := t.TempDir()
	command := func(name, script string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "config"), []byte(m.config), 0o600); err != nil {
		t.Fatal(err)
	}
	failing := map[bool]string{true: "exit 1", false: "true"}
	if m.compose != "absent" {
		command("docker", fmt.Sprintf(`case "$1 $2" in
			"info -f") %s; echo '%s|%d|%s|/' ;;
			"compose version") %s; echo '%s' ;;
			"compose config") cat "%s/config"; %s ;;
			"compose ps") echo '%s' ;;
		esac`, failing[m.engine == ""], m.engine, m.memory<<20, m.clock,
			failing[m.compose == ""], m.compose, bin, failing[m.invalid], m.ports))
	}
	command("free", fmt.Sprintf("echo total; echo 'Mem: 1 2 3 4 5 %d'", m.free))
	command("date", "echo "+m.now)
	command("df", fmt.Sprintf("echo head; echo '/dev/x 1 2 %d 5%% /'", m.disk<<10))
	var stderr strings.Builder
	cmd := exec.Command("bash", "./doctor.sh")
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
	if m.compose == "absent" { // all that the script needs before it looks for docker
		path, err := exec.LookPath("dirname")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, "dirname")); err != nil {
			t.Fatal(err)
		}
		cmd.Env = []string{"PATH=" + bin}
	}
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if len(out) > 0 {
		t.Errorf("doctor says on stdout: %s", out)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		lines = strings.Split(strings.TrimSpace(stderr.String()), "\n")
	}
	return lines, cmd.ProcessState.ExitCode()
}

// rendered is what docker compose config makes of a stack with these values.
func rendered(seed, instruments, retention string, ports ...int) string {
	lines := []string{
		`"CANDLESTACK_SIMULATE_SEED": "` + seed + `",`,
		`"CANDLESTACK_BINANCE_INSTRUMENTS": "` + instruments + `",`,
		`"CANDLESTACK_TOPICS_RETENTION": "168h"`,
		`"--storage.tsdb.retention.time=` + retention + `",`,
		`"mem_limit": "1073741824",`, `"mem_limit": "1073741824"`,
	}
	for _, p := range ports {
		lines = append(lines, fmt.Sprintf(`"published": "%d",`, p))
	}
	return "      " + strings.Join(lines, "\n      ") + "\n"
}

// TestDoctor holds what doctor decides: silence on a good machine, and for each
// thing in the way one line that names it.
func TestDoctor(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("doctor needs bash: install it")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	taken := listener.Addr().(*net.TCPAddr).Port
	good := rendered("1", "BTC-USDT", "15d", 1)
	for name, c := range map[string]struct {
		change func(m *machine)
		want   []string
	}{
		"good":         {func(*machine) {}, nil},
		"other zone":   {func(m *machine) { m.clock = "2026-11-21T08:30:03.123456789-03:30" }, nil},
		"no docker":    {func(m *machine) { m.compose = "absent" }, []string{"there is no docker: install"}},
		"no engine":    {func(m *machine) { m.engine = "" }, []string{"Docker does not answer: start it"}},
		"no compose":   {func(m *machine) { m.compose = "" }, []string{"docker has no compose: install"}},
		"old":          {func(m *machine) { m.engine, m.compose = "24.0.7", "v2.9.1" }, []string{"Docker Engine 24.0.7 is older than 25", "docker compose v2.9.1 is older than 2.25"}},
		"new":          {func(m *machine) { m.engine, m.compose = "100.1", "5.0.0" }, nil},
		"invalid":      {func(m *machine) { m.invalid, m.config = true, "warning\ninvalid hostPort: abc\n" }, []string{".env: invalid hostPort: abc"}},
		"bad values":   {func(m *machine) { m.config = rendered("one", "BTCUSDT", "long") }, []string{`SEED "one" is not`, `INSTRUMENTS "BTCUSDT" is not`, `PROMETHEUS_RETENTION "long" is not`}},
		"two services": {func(m *machine) { m.config = rendered("1", "BTC-USDT", "15d", 1, 2, 1) }, []string{"port 1 is given to two services"}},
		"taken":        {func(m *machine) { m.config = rendered("1", "BTC-USDT", "15d", taken) }, []string{fmt.Sprintf("port %d is taken", taken)}},
		"taken by us": {func(m *machine) {
			m.config, m.ports = rendered("1", "BTC-USDT", "15d", taken), fmt.Sprintf("127.0.0.1:%d->3306/tcp", taken)
		}, nil},
		"small":       {func(m *machine) { m.memory = 2000 }, []string{"Docker has 2000 MB of memory and the stack may take 2048"}},
		"full":        {func(m *machine) { m.free = 1000 }, []string{"1000 MB of memory are free and the stack needs 1365"}},
		"full of us":  {func(m *machine) { m.free, m.ports = 1000, "127.0.0.1:1->1/tcp" }, nil},
		"no disk":     {func(m *machine) { m.disk = 100 }, []string{"100 MB of disk are free"}},
		"slow clock":  {func(m *machine) { m.clock = "2026-11-21T10:30:00Z" }, []string{"Docker's clock is 5400 seconds from this machine's: restart Docker"}},
		"all at once": {func(m *machine) { m.memory, m.disk = 1, 1 }, []string{"Docker has 1 MB", "1 MB of disk"}},
		"leap year":   {func(m *machine) { m.now, m.clock = "2024-03-01T00:00:10Z", "2024-02-29T23:59:10+00:00" }, []string{"clock is 60 seconds"}},
		"new year":    {func(m *machine) { m.now, m.clock = "2025-12-31T23:59:59Z", "2026-01-01T01:00:09.5+01:00" }, []string{"clock is 10 seconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine{engine: "28.5.2+dfsg4", compose: "2.40.3-3", memory: 8000, free: 4000, disk: 20000, now: "2026-11-21T12:00:00Z", clock: "2026-11-21T12:00:01Z", config: good}
			c.change(&m)
			lines, code := m.doctor(t)
			if len(lines) != len(c.want) || (code != 0) != (len(c.want) > 0) {
				t.Fatalf("code %d, says %q; want %q", code, lines, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], "doctor: ") || !strings.Contains(lines[i], want) {
					t.Errorf("says %q, want %q", lines[i], want)
				}
			}
		})
	}
}
