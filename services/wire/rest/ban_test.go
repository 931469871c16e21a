package rest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline"
)

func TestBanEnd(t *testing.T) {
	now := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, f := range []struct {
		name       string
		status     int
		retryAfter string
		said       time.Time
		want       time.Duration
	}{
		{"seconds", 429, "17", time.Time{}, 17 * time.Second},
		{"date", 429, now.Add(time.Hour).Format(http.TimeFormat), time.Time{}, time.Hour},
		{"body", 418, "", now.Add(time.Hour), time.Hour},
		{"the later of both", 418, "60", now.Add(time.Hour), time.Hour},
		{"the later of both, turned", 418, "7200", now.Add(time.Hour), 2 * time.Hour},
		{"nothing said at 429", 429, "", time.Time{}, time.Minute},
		{"nothing said at 418", 418, "", time.Time{}, 2 * time.Minute},
		{"nonsense", 418, "soon", now.Add(-time.Hour), 2 * time.Minute},
		{"negative", 429, "-5", time.Time{}, time.Minute},
		{"zero", 429, "0", time.Time{}, time.Minute},
		{"absurd seconds", 418, "99999999999", time.Time{}, longBan},
		{"absurd body", 418, "", now.AddDate(100, 0, 0), longBan},
	} {
		t.Run(f.name, func(t *testing.T) {
			if got := banEnd(f.status, f.retryAfter, f.said, now).Sub(now); got != f.want {
				t.Errorf("%s, want %s", got, f.want)
			}
		})
	}
}

// banned is a host that answers 418 for ten minutes, once asked.
func banned(t *testing.T) (url string, requests *atomic.Int64) {
	requests = &atomic.Int64{}
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "until %d", time.Now().Add(20*time.Minute).UnixMilli())
	}), requests
}

func wantBan(t *testing.T, err error) {
	t.Helper()
	var d *pipeline.Disconnected
	if !errors.As(err, &d) || d.Cause != "ban" || d.RetryAfter < 19*time.Minute || d.RetryAfter > 20*time.Minute {
		t.Fatalf("got %v (%+v)", err, d)
	}
	if class, _ := pipeline.ClassOf(err); class != pipeline.Environment || strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: %v", class, err)
	}
}

// TestBanOutlivesTheProcess: no request leaves until the ban is over, also
// after a restart.
func TestBanOutlivesTheProcess(t *testing.T) {
	url, requests := banned(t)
	cfg := config(url)
	cfg.StateDir = filepath.Join(t.TempDir(), "state")
	for range 2 {
		c := client(t, cfg)
		for range 2 {
			_, err := c.Get(t.Context(), request)
			wantBan(t, err)
		}
	}
	if requests.Load() != 1 {
		t.Errorf("%d requests were sent, want 1", requests.Load())
	}
	files, err := os.ReadDir(cfg.StateDir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v in the folder, want the ban alone", files, err)
	}
}

func TestBanIsForgottenWithoutFolder(t *testing.T) {
	url, requests := banned(t)
	for range 2 {
		_, err := client(t, config(url)).Get(t.Context(), request)
		wantBan(t, err)
	}
	if requests.Load() != 2 {
		t.Errorf("%d requests were sent, want 2", requests.Load())
	}
}

func TestBanEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := simulated(t, config("http://host"), &host{})
		c.ban.set(time.Now().Add(time.Hour), "418")
		c.ban.set(time.Now().Add(time.Minute), "429") // never shorter
		time.Sleep(time.Hour - 1)
		if _, err := c.Get(t.Context(), weighing(1)); err == nil {
			t.Error("sent under a ban")
		}
		time.Sleep(time.Nanosecond)
		if _, err := c.Get(t.Context(), weighing(1)); err != nil {
			t.Error(err)
		}
	})
}

// TestBanWhileWaiting: a request that waited for its budget looks again.
func TestBanWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{}
		c := simulated(t, config("http://host"), h)
		if _, err := c.Get(t.Context(), weighing(100)); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error)
		go func() { _, err := c.Get(t.Context(), weighing(1)); waiting <- err }()
		synctest.Wait()
		c.ban.set(time.Now().Add(time.Hour), "418")
		if err := <-waiting; err == nil {
			t.Error("sent under a ban")
		}
	})
}

func TestStateDir(t *testing.T) {
	t.Run("unusable", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := config("http://host")
		cfg.StateDir = filepath.Join(file, "state")
		_, err := New(cfg, quiet, prometheus.NewRegistry())
		var wrong *pipeline.ConfigError
		if !errors.As(err, &wrong) || wrong.Field != "--state-dir" || wrong.Value != cfg.StateDir {
			t.Errorf("got %v", err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		cfg := config("http://host")
		cfg.StateDir = t.TempDir()
		if err := os.Chmod(cfg.StateDir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := New(cfg, quiet, prometheus.NewRegistry()); err == nil {
			t.Error("accepted")
		}
	})
	for _, f := range []struct{ name, text string }{
		{"garbage", "{"}, {"empty", ""}, {"past", `{"until":"2020-01-01T00:00:00Z"}`},
	} {
		t.Run(f.name, func(t *testing.T) {
			cfg := config("http://host:80")
			cfg.StateDir = t.TempDir()
			if err := os.WriteFile(filepath.Join(cfg.StateDir, "ban-host_80.json"), []byte(f.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if until, _ := client(t, cfg).ban.state(); !until.IsZero() {
				t.Errorf("banned until %s", until)
			}
		})
	}
	t.Run("far future", func(t *testing.T) {
		cfg := config("http://host")
		cfg.StateDir = t.TempDir()
		if err := os.WriteFile(filepath.Join(cfg.StateDir, "ban-host.json"), []byte(`{"until":"2099-01-01T00:00:00Z"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if until, _ := client(t, cfg).ban.state(); time.Until(until) > longBan {
			t.Errorf("banned until %s", until)
		}
	})
}
