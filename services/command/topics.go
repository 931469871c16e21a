package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
)

// topics is `candlestack topics`.
type topics struct {
	List  topicsList  `cmd:"" help:"Shows the topics that the stack needs as they are."`
	Apply topicsApply `cmd:"" help:"Makes the topics that are missing and sets retention and size; never grows a topic."`
}

type topicFlags struct {
	Kafka kafka.Config      `embed:"" prefix:"kafka."`
	Topic kafka.TopicConfig `embed:""`
	Wait  time.Duration     `help:"How long to wait for Kafka." default:"30s"`
}

type topicsList struct{ topicFlags }

type topicsApply struct{ topicFlags }

// Run prints the topics.
func (c *topicsList) Run(p *process) error { return c.run(p, (*kafka.Admin).List) }

// Run makes the topics and prints them.
func (c *topicsApply) Run(p *process) error { return c.run(p, (*kafka.Admin).Apply) }

func (c *topicFlags) run(p *process, do func(*kafka.Admin, context.Context, []kafka.Topic) ([]kafka.Topic, error)) error {
	if err := errors.Join(c.Kafka.Validate(), c.Topic.Validate()); err != nil {
		return err
	}
	admin, err := kafka.NewAdmin(c.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(p.ctx, c.Wait)
	defer cancel()
	found, err := c.patiently(ctx, p, func() ([]kafka.Topic, error) { return do(admin, ctx, c.Topic.Plan()) })
	if err != nil {
		return err
	}
	return printTopics(p.stdout, found)
}

// patiently tries until Kafka is there or ctx ends. What the user said wrong
// does not heal by waiting.
func (c *topicFlags) patiently(ctx context.Context, p *process, try func() ([]kafka.Topic, error)) ([]kafka.Topic, error) {
	var problem error
	for {
		found, err := try()
		var mistake *pipeline.ConfigError
		if err == nil || errors.As(err, &mistake) {
			return found, err
		}
		if problem == nil {
			p.log.Warn("waiting for kafka", "problem", err, "patience", c.Wait)
		}
		if problem == nil || ctx.Err() == nil { // that the time is over says less than what it was spent on
			problem = err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("--kafka.brokers %q: %w", strings.Join(c.Kafka.Brokers, ","), problem)
		}
	}
}

func printTopics(w io.Writer, found []kafka.Topic) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tPARTITIONS\tREPLICATION\tRETENTION\tPROBLEM")
	for _, t := range found {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\n", t.Name, t.Partitions, t.Replication, retention(t.Config["retention.ms"]), t.Problem)
	}
	return table.Flush()
}

func retention(ms string) string {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n < 0 {
		return ms
	}
	d := time.Duration(n) * time.Millisecond
	if days := d / (24 * time.Hour); days > 0 && d == days*24*time.Hour {
		return fmt.Sprintf("%dd", days)
	}
	return d.String()
}
