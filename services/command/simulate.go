package command

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/simulator"
	"github.com/candlestack/candlestack/services/telemetry"
)

// simulate is `candlestack simulate`.
type simulate struct {
	Ops       telemetry.OpsConfig `embed:"" prefix:"ops." set:"ops_listen=127.0.0.1:9621"`
	Simulator simulator.Config    `embed:""`
	Answers   bool                `help:"Print the answer key of the market between --from and --to as JSON, and end."`
	From      time.Time           `help:"Begin of the answer key (RFC 3339)." placeholder:"TIME"`
	To        time.Time           `help:"End of the answer key (RFC 3339)." placeholder:"TIME"`
}

// Run serves for ever, or prints the answers.
func (c *simulate) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Simulator.Validate(), c.span()); err != nil {
		return err
	}
	if c.Answers {
		return c.answers(p)
	}
	s := service{Ops: c.Ops}
	return s.serve(p, func(report func(part, problem string), reg *prometheus.Registry) ([]telemetry.Part, error) {
		sim, err := c.open(p, reg)
		if err != nil {
			return nil, err
		}
		report("simulator", "")
		return []telemetry.Part{{Name: "simulator", Run: func(ctx context.Context) error { return sim.Run(ctx) }}}, nil
	})
}

func (c *simulate) answers(p *process) error {
	c.Simulator.Listen = "127.0.0.1:0"
	sim, err := c.open(p, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	return json.MarshalWrite(p.stdout, sim.Answers(market.MillisOf(c.From), market.MillisOf(c.To)), jsontext.WithIndent("  "))
}

// span validates what the answer key is asked for.
func (c *simulate) span() error {
	if !c.Answers {
		return nil
	}
	var problems []error
	for _, f := range []struct {
		flag string
		at   time.Time
	}{{"--from", c.From}, {"--to", c.To}} {
		if f.at.IsZero() {
			problems = append(problems, &pipeline.ConfigError{Field: f.flag, Err: errors.New("--answers needs it, like 2026-11-21T00:00:00Z")})
		}
	}
	if len(problems) == 0 && !c.To.After(c.From) {
		problems = append(problems, &pipeline.ConfigError{Field: "--to", Value: c.To.Format(time.RFC3339), Err: errors.New("must be after --from")})
	}
	return errors.Join(problems...)
}

// open makes the simulator. What was valid and still fails is an address that is
// taken, or a recording that cannot be read.
func (c *simulate) open(p *process, reg prometheus.Registerer) (*simulator.Simulator, error) {
	sim, err := simulator.New(c.Simulator, p.log, reg)
	var taken *net.OpError
	switch {
	case errors.As(err, &taken):
		return nil, &pipeline.ConfigError{Field: "--listen", Value: c.Simulator.Listen, Err: err}
	case err != nil:
		return nil, &pipeline.ConfigError{Field: "--replay", Value: c.Simulator.Replay, Err: err}
	}
	return sim, nil
}
