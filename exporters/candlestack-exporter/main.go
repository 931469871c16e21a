// Command candlestack-exporter watches Kafka through its own protocol and the
// stores through queries, and shows what dashboards ask for.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/candlestack/candlestack/exporters/command"
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
