// Command candlestack moves market data: from exchanges to Kafka, from Kafka to
// stores.
package main

import (
	"context"
	"os"

	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/telemetry"
)

func main() {
	ctx, cancel := telemetry.Signals(context.Background())
	code := command.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
