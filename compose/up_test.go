package compose_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/grafana"
	"github.com/candlestack/candlestack/grafana/contract"
)

// TestStack starts the stack as its users do, looks at what arrives, takes MySQL
// away, carries the data over to an empty stack, and leaves nothing behind. It
// prints what it measured, and what did not run.
func TestStack(t *testing.T) {
	if os.Getenv("CANDLESTACK_COMPOSE_TEST") == "" {
		t.Skip("starts the whole stack in Docker: make compose-test")
	}
	s := newStack(t)
	defer func() {
		t.Logf("measured:\n  %s", strings.Join(s.report, "\n  "))
		t.Logf("did not run:\n  %s", strings.Join(s.missing, "\n  "))
	}()
	for _, step := range []struct {
		name string
		run  func(*stack, *testing.T)
	}{
		{"up", (*stack).testUp},
		{"healthy", (*stack).testHealthy},
		{"candles", (*stack).testCandles},
		{"posts", (*stack).testPosts},
		{"users", (*stack).testUsers},
		{"targets", (*stack).testTargets},
		{"memory", (*stack).testMemory},
		{"outage", (*stack).testOutage},
		{"boards", (*stack).testBoards},
		{"backup", (*stack).testBackup},
		{"reset", (*stack).testReset},
	} {
		begin := time.Now()
		if !t.Run(step.name, func(t *testing.T) { step.run(s, t) }) {
			t.Fatalf("%s failed, what follows stands on it", step.name)
		}
		s.note("step %-8s %4.0f s", step.name, time.Since(begin).Seconds())
	}
}

// panel is what the test reads of a panel of a board.
type panel struct {
	Type, Title string
	Targets     []struct{ Expr string }
}

// overview is the Overview's panels that ask Prometheus for what was scraped: a
// panel that adds vector(0) has an answer before there is anything to show.
func overview(t *testing.T) map[string]string {
	t.Helper()
	var board struct{ Panels []panel }
	if err := json.Unmarshal(read(t, "../grafana/dashboards/overview.json"), &board); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range board.Panels {
		if len(p.Targets) > 0 && p.Targets[0].Expr != "" && !strings.Contains(p.Targets[0].Expr, "vector(") {
			found[p.Title] = strings.ReplaceAll(p.Targets[0].Expr, "$__rate_interval", "1m")
		}
	}
	if len(found) < 3 {
		t.Fatalf("the Overview has %d panels", len(found))
	}
	return found
}

// testUp measures the way from nothing to a healthy stack, and to the first panel
// with data. Images are there before.
func (s *stack) testUp(t *testing.T) {
	begin := time.Now()
	s.compose(t, "build", "--quiet")
	s.note("build of our image: %.0f s", time.Since(begin).Seconds())
	if user := s.run(t, "docker", "image", "inspect", "-f", "{{.Config.User}}", strings.TrimSpace(s.compose(t, "config", "--images", "simulator"))); !slices.Contains([]string{"65532", "nonroot"}, strings.TrimSpace(user)) {
		t.Errorf("our image runs as %q", user)
	}

	panels := overview(t)
	begin = time.Now()
	watched := make(chan []sight, 1)
	go func() { watched <- s.watch(panels, begin) }()
	s.note("up: %.0f s", s.up(t).Seconds())
	seen := <-watched
	if len(seen) < len(panels) {
		t.Fatalf("of %d panels of the Overview show something: %v", len(panels), seen)
	}
	first, last := seen[0], seen[len(seen)-1]
	s.note("time to first panel: %.0f s (%s); to all %d of the Overview: %.0f s (%s)",
		first.after.Seconds(), first.title, len(seen), last.after.Seconds(), last.title)
}

// sight is when a panel was first seen to show something.
type sight struct {
	title string
	after time.Duration
}

// watch asks for panels until each has shown something, in the order of their coming.
func (s *stack) watch(panels map[string]string, begin time.Time) (seen []sight) {
	left := maps.Clone(panels)
	for len(left) > 0 && time.Since(begin) < 10*time.Minute {
		for title, expr := range left {
			if found, err := s.query(expr, time.Time{}); err == nil && len(found) > 0 {
				seen = append(seen, sight{title, time.Since(begin)})
				delete(left, title)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	return seen
}

// testHealthy compares the services that should run with those that do.
func (s *stack) testHealthy(t *testing.T) {
	wanted := lines(s.compose(t, "config", "--services"))
	found := map[string]container{}
	for _, c := range s.containers(t) {
		found[c.Service] = c
	}
	for _, name := range wanted {
		switch c, ok := found[name]; {
		case !ok:
			t.Errorf("%s does not run", name)
		case c.State == "exited" && c.ExitCode == 0:
		case c.State != "running" || c.Health != "" && c.Health != "healthy":
			t.Errorf("%s is %s, %s, exit code %d", name, c.State, c.Health, c.ExitCode)
		}
	}
	// An unnamed volume has no owner: each down would leave one more behind.
	mounts := s.run(t, "docker", append([]string{"inspect", "-f", `{{range .Mounts}}{{if eq .Type "volume"}}{{println .Name}}{{end}}{{end}}`}, lines(s.compose(t, "ps", "-aq"))...)...)
	for _, name := range lines(mounts) {
		if !strings.HasPrefix(name, s.project+"_") {
			t.Errorf("there is an unnamed volume %s", name)
		}
	}
	s.note("healthy: %s", strings.Join(wanted, " "))
	var rest []string
	for name := range services(t) {
		if !slices.Contains(wanted, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	s.notRun("services: %s", strings.Join(rest, " "))
}

// target is a line of Prometheus's list.
type target struct {
	ScrapeURL, Health, LastError string
	Labels                       map[string]string
}

// testTargets wants every target up whose service runs.
func (s *stack) testTargets(t *testing.T) {
	running := lines(s.compose(t, "ps", "--services"))
	eventually(t, time.Minute, func() error {
		var answer struct {
			Data struct{ ActiveTargets []target }
		}
		if err := s.get("PROMETHEUS_PORT", "/api/v1/targets?state=active", &answer); err != nil {
			return err
		}
		if n := len(answer.Data.ActiveTargets); n < 12 {
			return fmt.Errorf("%d targets", n)
		}
		var problems []error
		s.absent = nil
		for _, one := range answer.Data.ActiveTargets {
			host := regexp.MustCompile(`//([^:/]+)`).FindStringSubmatch(one.ScrapeURL)[1]
			switch {
			case !slices.Contains(running, host):
				s.absent = append(s.absent, one.Labels["job"])
			case one.Health != "up":
				problems = append(problems, fmt.Errorf("%s is %s: %s", one.ScrapeURL, one.Health, one.LastError))
			}
		}
		return errors.Join(problems...)
	})
	if len(s.absent) > 0 {
		s.notRun("targets of Prometheus: jobs %s", strings.Join(s.absent, " "))
	}
}

// testBoards asks for every panel of every board what Grafana would ask, and
// leaves out panels about what does not run, and how fast the answers are: that is
// not for a machine that runs everything at once.
func (s *stack) testBoards(t *testing.T) {
	boards, err := contract.ReadBoards(grafana.Dashboards)
	if err != nil {
		t.Fatal(err)
	}
	live := &contract.Live{Prometheus: fmt.Sprintf("http://127.0.0.1:%d", s.ports["PROMETHEUS_PORT"]), MySQL: s.reader(t), Scrape: 5 * time.Second}
	about := regexp.MustCompile(`job="(` + strings.Join(s.absent, "|") + `)"`)
	without := map[string]bool{} // board and panel
	for _, b := range boards {
		for _, p := range b.Panels() {
			for _, target := range p.Targets {
				if len(s.absent) > 0 && about.MatchString(target.Expr) {
					without[b.UID+": "+p.Title] = true
				}
			}
		}
	}
	eventually(t, 10*time.Minute, func() error {
		result := live.Opened(t.Context(), boards...)
		left, _ := contract.Except(result.Problems, contract.Exceptions, "compose")
		var problems []error
		for _, p := range left {
			if p.Rule != contract.RuleSlow && !without[p.Board+": "+p.Panel] {
				problems = append(problems, errors.New(p.String()))
			}
		}
		if result.Panels < 50 {
			problems = append(problems, fmt.Errorf("the boards have %d panels", result.Panels))
		}
		s.panels = result.Panels
		return errors.Join(problems...)
	})
	s.note("boards: %d panels of %d boards asked", s.panels-len(without), len(boards))
	if len(without) > 0 {
		s.notRun("panels: %s", strings.Join(slices.Sorted(maps.Keys(without)), ", "))
	}
}

// testMemory prints what docker stats says, and holds the sum under 2.5 GB.
func (s *stack) testMemory(t *testing.T) {
	sum := 0.0
	all := strings.Split(strings.TrimSpace(s.run(t, "docker", append([]string{"stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"}, lines(s.compose(t, "ps", "-q"))...)...)), "\n")
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(mebibytes(b), mebibytes(a)) })
	for _, line := range all {
		sum += mebibytes(line)
		s.note("memory: %s", strings.TrimPrefix(line, s.project+"-"))
	}
	s.note("memory of all: %.0f MiB", sum)
	if sum > 2560 || sum < 100 {
		t.Errorf("the stack takes %.0f MiB", sum)
	}
}

// mebibytes reads "name 1.5GiB / 2GiB".
func mebibytes(line string) float64 {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0
	}
	for unit, size := range map[string]float64{"GiB": 1024, "MiB": 1, "KiB": 1.0 / 1024} {
		if number, ok := strings.CutSuffix(fields[1], unit); ok {
			n, _ := strconv.ParseFloat(number, 64)
			return n * size
		}
	}
	return 0
}

// testReset wants nothing left.
func (s *stack) testReset(t *testing.T) {
	s.run(t, "make", "--no-print-directory", "reset")
	if left := s.leftovers(t); len(left) > 0 {
		t.Errorf("reset left %v", left)
	}
}
