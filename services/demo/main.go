// Command demo runs the pipeline on embedded servers: no Docker, no network, no
// key. It runs the same commands as the candlestack binary, in one process.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/candlestack/candlestack/services/telemetry"
)

func main() {
	for _, setting := range os.Environ() { // meant for the binary, not for a demo that is the same for all
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "CANDLESTACK_") {
			os.Unsetenv(name)
		}
	}
	ctx, cancel := telemetry.Signals(context.Background())
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
