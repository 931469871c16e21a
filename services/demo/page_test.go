package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/stack"
)

// browser finds a Chromium; without one the test is skipped.
func browser(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("CHROMIUM"); name != "" {
		return name
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium in PATH: set CHROMIUM to one (Debian: chromium)")
	return ""
}

// TestPage looks at the page as a person does: in a browser, until all that it
// tells of is there.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("the demo takes seconds: not with -short")
	}
	chromium := browser(t)
	var stderr bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	stdout := &until{wanted: []*regexp.Regexp{firstRow}, end: func() {}}
	ended := make(chan int, 1)
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	go func() { ended <- run(ctx, []string{"--dir", t.TempDir(), "--listen", addr}, stdout, &stderr) }()
	defer func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("code %d: %s", code, &stderr)
		}
	}()
	wanted := []string{
		`<p id="health" class="badge good">healthy</p>`,
		`<td>sink-mongodb</td><td><span class="state ready">ready</span></td>`,
		`none but the Watchdog, which always fires`,
		`BTC-USDT [0-9.]+s</span>`,       // a line of the age of candles
		`market.candles [0-9.]+s</span>`, // of lag
		`sink-mysql [0-9.]+/s</span>`,    // of rows
		`<code>mysql -h 127.0.0.1 -P [0-9]+ -u root market</code>`,
	}
	var missing []string
	var dom []byte
	for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
		dom, err = exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
			"--virtual-time-budget=5000", "--dump-dom", "http://"+addr+"/").Output()
		if err != nil {
			t.Fatalf("%s: %v", chromium, err)
		}
		missing = missing[:0]
		for _, w := range wanted {
			if !regexp.MustCompile(w).Match(dom) {
				missing = append(missing, w)
			}
		}
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("the page never shows\n%s\nbut\n%s", strings.Join(missing, "\n"), dom)
}
