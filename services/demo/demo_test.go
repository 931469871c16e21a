package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
)

var (
	firstRow = regexp.MustCompile(`first row [0-9.]+ s after the start`)
	second   = regexp.MustCompile(`appended=[1-9][0-9]* durable=[1-9][0-9]* lag=-?[0-9.]+s written=[1-9]`)
)

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
				var stdout, stderr bytes.Buffer
				if code := run(context.Background(), append([]string{"--dir", dir, "--for", "6s"}, store.args...), &stdout, &stderr); code != 0 {
					t.Fatalf("code %d\n%s%s", code, &stdout, &stderr)
				}
				out := stdout.String()
				if !firstRow.MatchString(out) || !second.MatchString(out) || strings.Contains(out, "dead=1") {
					t.Fatalf("the demo shows\n%s", out)
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
	} {
		var stderr bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), &bytes.Buffer{}, &stderr); code != 2 || !strings.Contains(stderr.String(), want) {
			t.Errorf("demo %s: code %d, says %s", args, code, &stderr)
		}
	}
}
