// Package compose_test holds what the files of the stack promise, and what can be
// decided without Docker. TestStack runs the stack itself.
package compose_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// service is what the tests read of a service.
type service struct {
	Image       string
	Restart     string
	Profiles    []string
	Ports       []string
	MemLimit    string   `yaml:"mem_limit"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Healthcheck map[string]any
}

func services(t *testing.T) map[string]service {
	t.Helper()
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal(read(t, "compose.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) < 20 {
		t.Fatalf("compose.yaml has %d services", len(file.Services))
	}
	return file.Services
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestServicesAreGuarded holds what each service must have, foreign or ours.
func TestServicesAreGuarded(t *testing.T) {
	exact := regexp.MustCompile(`^[a-z0-9./_-]+:(v?\d+(\.\d+)*|\$\{TAG[^}]*\})$`)
	noCheck := []string{"mysqld-exporter", "mongodb-exporter", "kafka-exporter", "adminer", "mongo-express", "kafka-ui", "jupyter"}
	for name, s := range services(t) {
		if !exact.MatchString(s.Image) {
			t.Errorf("%s: image %q has no exact tag", name, s.Image)
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: cap_drop %v, security_opt %v", name, s.CapDrop, s.SecurityOpt)
		}
		if ours := strings.HasPrefix(s.Image, "candlestack/candlestack:"); ours && !s.ReadOnly {
			t.Errorf("%s: its root can be written", name)
		}
		if limit(t, name, s) == 0 {
			t.Errorf("%s: mem_limit %q", name, s.MemLimit)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:${") {
				t.Errorf("%s: port %s is not on this machine alone, or fixed", name, port)
			}
		}
		switch {
		case s.Restart == "no": // runs once
		case s.Restart != "unless-stopped":
			t.Errorf("%s: restart %q", name, s.Restart)
		case s.Healthcheck == nil != slices.Contains(noCheck, name):
			t.Errorf("%s: health check %v", name, s.Healthcheck)
		}
	}
}

// TestFilesRender lets Docker read the files, as they are and with each profile:
// every target of Prometheus is a service.
func TestFilesRender(t *testing.T) {
	if err := exec.Command("docker", "compose", "version").Run(); err != nil {
		t.Skip("docker compose reads the files: install it")
	}
	for _, c := range []struct {
		files, profiles string
		has, lacks      []string
	}{
		{"compose.yaml", "", append(targets(t, "compose"), "kafka", "grafana"), []string{"adminer", "jupyter", "kafka-exporter"}},
		{"compose.yaml", "tools", []string{"kafka", "adminer", "mongo-express", "kafka-ui"}, []string{"jupyter"}},
		{"compose.yaml", "notebooks", []string{"kafka", "history", "jupyter"}, []string{"adminer"}},
		{"compose.yaml", "parity", []string{"kafka", "kafka-exporter"}, []string{"adminer"}},
		{"compose.yaml:compose/live.yaml", "", append(targets(t, "live"), "kafka", "grafana"), []string{"simulator", "source-cryptopanic"}},
		{"compose.yaml:compose/live.yaml", "cryptopanic", []string{"source-cryptopanic"}, []string{"simulator"}},
	} {
		cmd := exec.Command("docker", "compose", "config", "--services")
		cmd.Dir, cmd.Env = "..", append(os.Environ(), "COMPOSE_FILE=compose/"+c.files, "COMPOSE_PATH_SEPARATOR=:", "COMPOSE_PROFILES="+c.profiles)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil || complaints.Len() > 0 {
			t.Errorf("%s with profile %q: %v: %s", c.files, c.profiles, err, &complaints)
			continue
		}
		found := strings.Fields(string(out))
		for _, name := range c.has {
			if !slices.Contains(found, name) {
				t.Errorf("%s with profile %q lacks %s", c.files, c.profiles, name)
			}
		}
		for _, name := range c.lacks {
			if slices.Contains(found, name) {
				t.Errorf("%s with profile %q has %s", c.files, c.profiles, name)
			}
		}
	}
}

// targets are the services that Prometheus asks in an environment.
func targets(t *testing.T, environment string) (found []string) {
	t.Helper()
	var groups []struct{ Targets []string }
	if err := yaml.Unmarshal(read(t, "../prometheus/targets/"+environment+".yml"), &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		for _, address := range g.Targets {
			name, _, _ := strings.Cut(address, ":")
			found = append(found, name)
		}
	}
	if len(found) < 10 {
		t.Fatalf("%s has the targets %v", environment, found)
	}
	return found
}

// TestMemoryOfTheCore adds up the limits of what always runs.
func TestMemoryOfTheCore(t *testing.T) {
	sum := 0
	for name, s := range services(t) {
		if len(s.Profiles) == 0 && s.Restart != "no" {
			sum += limit(t, name, s)
		}
	}
	if sum > 2560 || sum < 1000 {
		t.Errorf("limits come to %d MiB, want at most 2560", sum)
	}
}

func limit(t *testing.T, name string, s service) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(s.MemLimit, "m"))
	if err != nil {
		t.Errorf("%s: mem_limit %q", name, s.MemLimit)
	}
	return n
}

// TestSettingsAreDocumented compares the variables of the compose files with
// .env, which sets them, and .env.example, which explains them.
func TestSettingsAreDocumented(t *testing.T) {
	set, explained := settings(t, "../.env"), settings(t, "../.env.example")
	if !maps.Equal(set, explained) {
		t.Errorf(".env and .env.example differ:\n%v\n%v", set, explained)
	}
	used := map[string]bool{}
	for _, file := range []string{"compose.yaml", "live.yaml"} {
		for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(string(read(t, file)), -1) {
			used[m[1]] = true
		}
	}
	for name := range used {
		if _, ok := set[name]; !ok && name != "VERSION" && name != "REVISION" { // make's own
			t.Errorf("%s is used, but not in .env", name)
		}
	}
	for name := range set {
		if !used[name] && !strings.HasPrefix(name, "COMPOSE_") {
			t.Errorf("%s is in .env, but not used", name)
		}
	}
	// The first use says what to do where a variable is empty.
	for name := range used {
		first := regexp.MustCompile(`\$\{` + name + `\b[^}]*\}`).FindString(string(read(t, "compose.yaml")))
		if !strings.Contains(first, ":?see .env.example") && !strings.Contains(first, ":-") {
			t.Errorf("%s has neither a default nor a complaint", first)
		}
	}
}

func settings(t *testing.T, file string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(string(read(t, file))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			found[name] = value
		}
	}
	return found
}

// TestSecrets holds that the classroom's files are those that the script makes,
// that make secrets makes others, and who may read them.
func TestSecrets(t *testing.T) {
	write := func(args ...string) map[string]string {
		folder := filepath.Join(t.TempDir(), "secrets")
		if out, err := exec.Command("./secrets.sh", append([]string{folder}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if mode := stat(t, folder); mode != 0o700 {
			t.Errorf("the folder has mode %o", mode)
		}
		found := contents(t, folder)
		for name := range found {
			if mode := stat(t, filepath.Join(folder, name)); mode != 0o644 {
				t.Errorf("%s has mode %o", name, mode)
			}
		}
		if err := exec.Command("./secrets.sh", folder).Run(); err == nil {
			t.Error("the script overwrote secrets")
		}
		return found
	}
	classroom := contents(t, "secrets/classroom")
	if made := write("classroom"); !maps.Equal(made, classroom) {
		t.Errorf("secrets/classroom is not what the script writes:\n%v\n%v", classroom, made)
	}
	one, other := write(), write()
	for name, value := range one {
		if name == "cryptopanic-token" { // the user's to write
			continue
		}
		if value == other[name] || strings.Contains(value, "classroom") || len(value) < 32 {
			t.Errorf("%s is not random", name)
		}
	}
	if len(one) != len(classroom) {
		t.Errorf("%d secrets, the classroom has %d", len(one), len(classroom))
	}
	if !strings.Contains(one["mysql-dsn"], strings.TrimSpace(one["mysql-password"])) || !strings.Contains(one["mongo-reader-uri"], strings.TrimSpace(one["mongo-reader-password"])) {
		t.Error("an address holds another password than the file beside it")
	}
}

func stat(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		found[e.Name()] = string(read(t, filepath.Join(folder, e.Name())))
	}
	return found
}
