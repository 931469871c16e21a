package compose_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stack is the compose stack of a test: with a name, ports and passwords of its
// own, so that it runs beside another one.
type stack struct {
	project, secrets string
	env              []string
	ports            map[string]int // by variable of .env
	report, missing  []string       // what was measured; what did not run
	absent           []string       // jobs of Prometheus whose service does not run
	panels           int
}

// files is COMPOSE_FILE: the stack, and what COMPOSE_TEST_FILES puts over it.
func files() string {
	all := "compose/compose.yaml"
	if more := os.Getenv("COMPOSE_TEST_FILES"); more != "" {
		all += ":" + more
	}
	return all
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{project: fmt.Sprintf("candlestack-test-%d", os.Getpid()), ports: map[string]int{}}
	s.secrets = filepath.Join(t.TempDir(), "secrets")
	if out, err := exec.Command("./secrets.sh", s.secrets).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	here, err := filepath.Abs("secrets")
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, s.secrets)
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "COMPOSE_FILE="+files(), "COMPOSE_PATH_SEPARATOR=:", "COMPOSE_PROJECT_NAME="+s.project,
		"COMPOSE_PROFILES=", "COMPOSE_PROGRESS=plain", "SECRETS="+relative)
	for name := range settings(t, "../.env") {
		if !strings.HasSuffix(name, "_PORT") {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() // all at once at the end, so that no port comes twice
		s.ports[name] = listener.Addr().(*net.TCPAddr).Port
		s.env = append(s.env, fmt.Sprintf("%s=%d", name, s.ports[name]))
	}
	remove := func() (string, error) {
		return s.try(2*time.Minute, "docker", "compose", "--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		_, _ = remove()
		os.Exit(1)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.try(time.Minute, "docker", "compose", "logs", "--tail", "15")
			t.Log(out)
		}
		if out, err := remove(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return s
}

// try runs a command in the folder of the repository and returns what it says.
func (s *stack) try(patience time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = "..", s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for what must succeed; it returns stdout alone.
func (s *stack) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = "..", s.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, "docker", append([]string{"compose"}, args...)...)
}

// up starts the stack and returns how long it took.
func (s *stack) up(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	s.compose(t, "up", "-d", "--wait", "--wait-timeout", "600")
	return time.Since(begin)
}

func (s *stack) note(format string, args ...any) {
	s.report = append(s.report, fmt.Sprintf(format, args...))
}

func (s *stack) notRun(format string, args ...any) {
	s.missing = append(s.missing, fmt.Sprintf(format, args...))
}

// secret is a password of the stack.
func (s *stack) secret(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(string(read(t, filepath.Join(s.secrets, name))))
}

// lines splits what a command has listed.
func lines(text string) []string {
	found := strings.Fields(text)
	slices.Sort(found)
	return found
}

// get reads a JSON answer of a service that is published on the port of this variable.
func (s *stack) get(port, path string, into any) error {
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.ports[port], path))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", path, response.Status, body)
	}
	return json.Unmarshal(body, into)
}

// sample is one series of an answer of Prometheus.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query asks Prometheus at a time; the zero time is now.
func (s *stack) query(expr string, at time.Time) ([]sample, error) {
	values := url.Values{"query": {expr}}
	if !at.IsZero() {
		values.Set("time", at.Format(time.RFC3339))
	}
	var answer struct{ Data struct{ Result []sample } }
	err := s.get("PROMETHEUS_PORT", "/api/v1/query?"+values.Encode(), &answer)
	return answer.Data.Result, err
}

// eventually waits until a condition holds; its error says what is amiss.
func eventually(t *testing.T, patience time.Duration, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// container is a line of docker compose ps.
type container struct {
	Service, State, Health string
	ExitCode               int
}

func (s *stack) containers(t *testing.T) []container {
	t.Helper()
	var found []container
	scanner := bufio.NewScanner(strings.NewReader(s.compose(t, "ps", "--all", "--format", "json")))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var c container
		if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		found = append(found, c)
	}
	return found
}

// leftovers lists what Docker still has of the stack.
func (s *stack) leftovers(t *testing.T) []string {
	t.Helper()
	label := "label=com.docker.compose.project=" + s.project
	return slices.Concat(
		lines(s.run(t, "docker", "ps", "-aq", "--filter", label)),
		lines(s.run(t, "docker", "volume", "ls", "-q", "--filter", label)),
		lines(s.run(t, "docker", "network", "ls", "-q", "--filter", label)))
}
