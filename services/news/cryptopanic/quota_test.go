package cryptopanic

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

var quiet = slog.New(slog.DiscardHandler)

func TestQuotaTurnsWithTheMonth(t *testing.T) {
	end := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	zone := time.FixedZone("ahead", 9*3600)
	q := newQuota(2, "host", "", quiet)
	for range 2 {
		if err := q.take(end.In(zone)); err != nil { // there it is January
			t.Fatal(err)
		}
	}
	var d *pipeline.Disconnected
	if err := q.take(end); !errors.As(err, &d) || d.Cause != pipeline.CauseBan || d.RetryAfter != time.Second {
		t.Errorf("%+v", d)
	}
	if err := q.take(end.Add(time.Second)); err != nil || q.usage(end.Add(time.Second)) != 1 {
		t.Errorf("%v, %d used in the new month", err, q.usage(end.Add(time.Second)))
	}
	q.giveBack(end.Add(time.Second))
	q.giveBack(end.Add(time.Second))
	if used := q.usage(end.Add(time.Second)); used != 0 {
		t.Errorf("%d used", used)
	}
}

func TestQuotaWithoutLimitCounts(t *testing.T) {
	q := newQuota(0, "host", "", quiet)
	for range 5000 {
		if err := q.take(now.Time()); err != nil {
			t.Fatal(err)
		}
	}
	if used := q.usage(now.Time()); used != 5000 {
		t.Errorf("%d used", used)
	}
}

// TestQuotaIsShared: doctor and source count together.
func TestQuotaIsShared(t *testing.T) {
	folder := t.TempDir()
	a, b := newQuota(3, "host:80", folder, quiet), newQuota(3, "host:80", folder, quiet)
	other := newQuota(3, "host:81", folder, quiet)
	for i, q := range []*quota{a, b, a, other} {
		if err := q.take(time.Now()); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	for _, q := range []*quota{a, b} {
		if err := q.take(time.Now()); err == nil {
			t.Error("a fourth request was let through")
		}
	}
}

func TestQuotaFile(t *testing.T) {
	at := now.Time() // in October 2026
	for _, f := range []struct {
		name, content string
		used          int
		pause         time.Duration
		wait          time.Duration
		said          bool
	}{
		{"none", "", 0, 0, 0, false},
		{"good", `{"month":"2026-10","used":7,"polled":"2026-10-26T07:00:00Z","closed":"2026-10-27T00:00:00Z","reason":"x"}`, 7, 1600 * time.Second, 16*time.Hour + 1600*time.Second, false},
		{"old month", `{"month":"2026-09","used":7,"polled":"2026-09-26T07:00:00Z"}`, 0, 0, 0, false},
		{"month to come", `{"month":"2027-01","used":7,"polled":"2027-01-26T07:00:00Z","closed":"2099-01-01T00:00:00Z"}`, 0, 0, 0, false},
		{"negative", `{"month":"2026-10","used":-7}`, 0, 0, 0, false},
		{"garbage", `{"month":`, 0, 0, 0, true},
		{"empty", " ", 0, 0, 0, true},
		{"other types", `{"used":"7"}`, 0, 0, 0, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "quota-host.json")
			if f.content != "" {
				if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var said bytes.Buffer
			q := &quota{path: path, log: slog.New(slog.NewTextHandler(&said, nil))}
			q.load(at)
			q.load(at)
			if used, pause, wait := q.usage(at), q.pause(time.Hour, at), q.wait(at); used != f.used || pause != f.pause || wait != f.wait {
				t.Errorf("%d used, pause %s, wait %s", used, pause, wait)
			}
			if n := strings.Count(said.String(), "not readable"); n > 1 || (n == 1) != f.said {
				t.Errorf("said %q", said.String())
			}
			if f.wait == 0 {
				if err := q.take(at); err != nil {
					t.Error(err)
				}
				again := &quota{path: path, log: quiet}
				again.load(at)
				if used := again.usage(at); used != f.used+1 {
					t.Errorf("%d used after a restart", used)
				}
			}
		})
	}
}

// TestQuotaThatCannotBeKept: the count goes on in memory, and it is said once.
func TestQuotaThatCannotBeKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	q := newQuota(3, "host", folder, slog.New(slog.NewTextHandler(&said, nil)))
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := q.take(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.take(time.Now()); err == nil || strings.Count(said.String(), "not kept") != 1 {
		t.Errorf("%v, said %q", err, said.String())
	}
}

// TestClockSetBack: a poll that lies in the future holds up nothing.
func TestClockSetBack(t *testing.T) {
	q := newQuota(0, "host", "", quiet)
	q.poll(now.Time())
	if pause := q.pause(time.Hour, now.Time().Add(-time.Minute)); pause != 0 {
		t.Errorf("waits %s", pause)
	}
	if pause := q.pause(time.Hour, now.Time().Add(59*time.Minute)); pause != time.Minute {
		t.Errorf("waits %s", pause)
	}
}
