// Command candlestack-exporter watches Kafka through its own protocol and the
// stores through queries, and shows what dashboards ask for.
package main

import (
	"context"
	"os"

	"github.com/candlestack/candlestack/exporters/command"
	"github.com/candlestack/candlestack/services/telemetry"
)

func main() {
	ctx, cancel := telemetry.Signals(context.Background())
	code := command.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
