package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/store/mysql"
)

// doctor is `candlestack doctor`.
type doctor struct {
	Dependencies []string       `arg:"" optional:"" help:"What to reach: kafka, mysql, binance. Default: kafka." placeholder:"NAME"`
	Kafka        kafka.Config   `embed:"" prefix:"kafka."`
	MySQL        mysql.Config   `embed:"" prefix:"mysql."`
	Binance      binance.Config `embed:""`
	Within       time.Duration  `help:"Patience with each dependency." default:"10s"`
}

// examination is one dependency: its settings, and how to reach it.
type examination struct {
	validate func() error
	open     func(p *process) (pipeline.Examiner, error)
}

func (c *doctor) examinations() map[string]examination {
	return map[string]examination{
		"kafka": {c.Kafka.Validate, func(*process) (pipeline.Examiner, error) { return kafka.NewAdmin(c.Kafka) }},
		"mysql": {c.MySQL.Validate, func(p *process) (pipeline.Examiner, error) {
			return mysql.New(c.MySQL, p.log, prometheus.NewRegistry())
		}},
		"binance": {c.Binance.Validate, func(p *process) (pipeline.Examiner, error) {
			return binance.New(c.Binance, p.log, prometheus.NewRegistry())
		}},
	}
}

var errUnwell = errors.New("not all is well")

// Run prints one line for each finding; its error makes the exit code 1.
func (c *doctor) Run(p *process) error {
	if len(c.Dependencies) == 0 {
		c.Dependencies = []string{"kafka"}
	}
	known := c.examinations()
	var problems []error
	for _, name := range c.Dependencies {
		if e, ok := known[name]; ok {
			problems = append(problems, e.validate())
		} else {
			problems = append(problems, &pipeline.ConfigError{Field: "dependency", Value: name, Err: fmt.Errorf("is none of %s", strings.Join([]string{"kafka", "mysql", "binance"}, " "))})
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	unwell := false
	for _, name := range c.Dependencies {
		examiner, err := known[name].open(p)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(p.ctx, c.Within)
		findings := examiner.Examine(ctx)
		cancel()
		for _, f := range findings {
			state := "ok"
			if !f.OK {
				state = "PROBLEM"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", state, f.Subject, strings.ReplaceAll(f.Detail, "\n", "; "))
		}
		unwell = unwell || slices.ContainsFunc(findings, func(f pipeline.Finding) bool { return !f.OK })
		if closer, ok := examiner.(pipeline.Closer); ok {
			if err := closer.Close(); err != nil {
				return err
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if unwell {
		return errUnwell
	}
	return nil
}
