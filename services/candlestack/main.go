// Command candlestack moves market data: from exchanges to Kafka, from Kafka to
// stores.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/telemetry"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // half the memory that Go would take, for a few per cent more CPU
	}
	ctx, cancel := telemetry.Signals(context.Background())
	code := command.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
