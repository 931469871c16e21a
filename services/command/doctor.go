package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
	"github.com/candlestack/candlestack/services/news/rss"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/store/mongodb"
	"github.com/candlestack/candlestack/services/store/mysql"
)

// doctor is `candlestack doctor`.
type doctor struct {
	Dependencies []string           `arg:"" optional:"" help:"What to reach: kafka, mysql, mongodb, binance, cryptopanic, rss. Default: kafka." placeholder:"NAME"`
	Kafka        kafka.Config       `embed:"" prefix:"kafka."`
	MySQL        mysql.Config       `embed:"" prefix:"mysql."`
	MongoDB      mongodb.Config     `embed:"" prefix:"mongodb."`
	Binance      binance.Config     `embed:"" prefix:"binance."`
	Cryptopanic  cryptopanic.Config `embed:"" prefix:"cryptopanic."`
	RSS          rss.Config         `embed:"" prefix:"rss."`
	Within       time.Duration      `help:"Patience with each dependency." default:"10s"`
}

// examination is one dependency: its settings, and how to reach it.
type examination struct {
	name     string
	validate func() error
	open     func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error)
}

func (c *doctor) examinations() []examination {
	return []examination{
		{"kafka", c.Kafka.Validate, func(*slog.Logger, prometheus.Registerer) (pipeline.Examiner, error) { return kafka.NewAdmin(c.Kafka) }},
		{"mysql", c.MySQL.Validate, func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error) {
			return mysql.New(c.MySQL, log, reg)
		}},
		{"mongodb", c.MongoDB.Validate, func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error) {
			return mongodb.New(c.MongoDB, log, reg)
		}},
		{"binance", c.Binance.Validate, func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error) {
			return binance.New(c.Binance, log, reg)
		}},
		{"cryptopanic", c.Cryptopanic.Validate, func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error) {
			return cryptopanic.New(c.Cryptopanic, log, reg)
		}},
		{"rss", c.RSS.Validate, func(log *slog.Logger, reg prometheus.Registerer) (pipeline.Examiner, error) {
			return rss.New(c.RSS, log, reg)
		}},
	}
}

// chosen returns what is to be reached, or all that is wrong with the words of the user.
func (c *doctor) chosen() (chosen []examination, err error) {
	if len(c.Dependencies) == 0 {
		c.Dependencies = []string{"kafka"}
	}
	all := c.examinations()
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.name
	}
	for _, name := range c.Dependencies {
		i := slices.Index(names, name)
		if i < 0 {
			err = errors.Join(err, &pipeline.ConfigError{Field: "dependency", Value: name, Err: fmt.Errorf("is none of %s", strings.Join(names, " "))})
			continue
		}
		err = errors.Join(err, within(name, all[i].validate()))
		chosen = append(chosen, all[i])
	}
	return chosen, err
}

// within names flags as they are called where a section's settings stand beside
// those of others: --interval of rss is --rss.interval.
func within(section string, err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, within(section, e))
		}
		return errors.Join(all...)
	}
	var mistake *pipeline.ConfigError
	if !errors.As(err, &mistake) || strings.HasPrefix(mistake.Field, "--"+section+".") {
		return err
	}
	return &pipeline.ConfigError{Field: "--" + section + "." + strings.TrimPrefix(mistake.Field, "--"), Value: mistake.Value, Err: mistake.Err}
}

var errUnwell = errors.New("not all is well")

// Run prints one line for each finding; its error makes the exit code 1.
func (c *doctor) Run(p *process) error {
	chosen, err := c.chosen()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	unwell := false
	for _, e := range chosen {
		examiner, err := e.open(p.log, prometheus.NewRegistry())
		if err != nil {
			return within(e.name, err)
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
