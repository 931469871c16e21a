package prometheus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary finds a program by the variable that names it, else in PATH.
func binary(t *testing.T, variable string, names ...string) string {
	t.Helper()
	if named := os.Getenv(variable); named != "" {
		return named
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("alertmanager.yml is not tried: there is no %s: set %s", strings.Join(names, " and no "), variable)
	return ""
}

func alertmanager(t *testing.T) string {
	t.Helper()
	return binary(t, "ALERTMANAGER", "prometheus-alertmanager", "alertmanager")
}

func amtool(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	out, err := exec.Command(binary(t, "AMTOOL", "amtool"), args...).CombinedOutput()
	return string(out), err
}

// notification is what a webhook gets.
type notification struct {
	Alerts []struct {
		Status string            `json:"status"`
		Labels map[string]string `json:"labels"`
	} `json:"alerts"`
	path string
	body []byte
}

// hook is a webhook that remembers.
type hook struct {
	*httptest.Server
	mu  sync.Mutex
	got []notification
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		n := notification{path: r.URL.Path, body: body}
		if err := errors.Join(err, json.Unmarshal(body, &n)); err != nil {
			t.Errorf("a webhook got %q: %v", body, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, n)
	}))
	t.Cleanup(h.Close)
	return h
}

// firing lists the alerts that have come, as receiver and name, and the message that brought one last.
func (h *hook) firing() map[string][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string][]byte{}
	for _, n := range h.got {
		for _, a := range n.Alerts {
			if a.Status == "firing" {
				all[strings.TrimPrefix(n.path, "/")+" "+key(a.Labels)] = n.body
			}
		}
	}
	return all
}

// key is an alert's name with what tells it from others in the test.
func key(labels map[string]string) string {
	return strings.TrimSpace(strings.Join([]string{labels["alertname"], labels["environment"], labels["instance"]}, " "))
}

// manager is a running Alertmanager.
type manager struct{ url string }

// startManager runs Alertmanager on alertmanager.yml, changed only in the
// webhooks' address and in the times that would make the test slow.
func startManager(t *testing.T, webhook string) *manager {
	t.Helper()
	program := alertmanager(t)
	text, err := os.ReadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	const address = "http://alerts:9099"
	if !bytes.Contains(text, []byte(address)) {
		t.Fatalf("alertmanager.yml names no %s", address)
	}
	text = bytes.ReplaceAll(text, []byte(address), []byte(webhook))
	text = regexp.MustCompile(`group_(wait|interval): \d+[sm]`).ReplaceAll(text, []byte("group_$1: 1s"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "alertmanager.yml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "templates"), os.DirFS("templates")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "alertmanager.yml"), "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+at, "--cluster.listen-address=")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, log.String())
		}
	})
	m := &manager{url: "http://" + at}
	eventually(t, "Alertmanager is ready", func() bool {
		resp, err := http.Get(m.url + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return m
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after two minutes still not: %s", what)
		}
	}
}

// posted is an alert as Prometheus sends it.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// post sends alerts.
func (m *manager) post(t *testing.T, alerts ...posted) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(m.url+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(resp.Body)
		t.Fatalf("posting alerts: %s %s", resp.Status, said)
	}
}

// silenced lists the alerts that are inhibited.
func (m *manager) silenced(t *testing.T) (keys []string) {
	t.Helper()
	resp, err := http.Get(m.url + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []struct {
		Labels map[string]string `json:"labels"`
		Status struct {
			InhibitedBy []string `json:"inhibitedBy"`
		} `json:"status"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if len(a.Status.InhibitedBy) > 0 {
			keys = append(keys, key(a.Labels))
		}
	}
	slices.Sort(keys)
	return keys
}
