package main

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	firstRow = regexp.MustCompile(`first row [0-9.]+ s after the start`)
	second   = regexp.MustCompile(`appended=[1-9][0-9]* durable=[1-9][0-9]* lag=-?[0-9.]+s written=[1-9]`)
)

// until collects what the demo prints and ends it once all is there.
type until struct {
	bytes.Buffer
	wanted []*regexp.Regexp
	end    context.CancelFunc
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if u.seen() {
		u.end()
	}
	return n, err
}

func (u *until) seen() bool {
	return !slices.ContainsFunc(u.wanted, func(r *regexp.Regexp) bool { return !r.Match(u.Bytes()) })
}

// TestDemo runs the demo as a user does, on each of the stores, twice on the
// same folder: rows come, and nothing is a dead letter.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("the demo takes seconds: not with -short")
	}
	for _, store := range []struct {
		name string
		args []string
	}{{"server of this machine, or else embedded", nil}, {"go-mysql-server", []string{"--embedded"}}} {
		t.Run(store.name, func(t *testing.T) {
			dir := t.TempDir()
			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				stdout := &until{wanted: []*regexp.Regexp{firstRow, second}, end: cancel}
				var stderr bytes.Buffer
				code := run(ctx, append([]string{"--dir", dir, "--for", "2m", "--listen", "127.0.0.1:0"}, store.args...), stdout, &stderr)
				cancel()
				out := stdout.String()
				if code != 0 || !stdout.seen() || strings.Contains(out, "dead=1") {
					t.Fatalf("code %d\n%s%s", code, out, &stderr)
				}
				t.Log(firstRow.FindString(out))
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--live --replay=x": "goes with the simulator",
		"--sed=1":           `unknown flag --sed`,
		"--for=soon":        "--for",
		"--listen=nowhere":  `--listen "nowhere"`,
	} {
		var stderr bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), &bytes.Buffer{}, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("demo %s: code %d, says %s", args, code, &stderr)
		}
	}
}
