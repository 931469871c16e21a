package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// letters is `candlestack deadletter`.
type letters struct {
	List   lettersList   `cmd:"" help:"Counts dead letters by topic, reason and who gave up; LEFT are those that replay would send."`
	Show   lettersShow   `cmd:"" help:"Prints dead letters whole."`
	Replay lettersReplay `cmd:"" help:"Sends dead letters to their topic again, each once, for example after a column was widened."`
}

type letterFlags struct {
	Kafka kafka.Config `embed:"" prefix:"kafka."`
	Topic string       `help:"Only letters that came from this topic. Default: all topics." placeholder:"NAME"`
}

// replayable are the topics that have dead letters.
var replayable = []string{market.TopicCandles, market.TopicGaps, market.TopicPosts}

// topics validates and returns the topics that are meant.
func (c *letterFlags) topics() ([]string, error) {
	if err := c.Kafka.Validate(); err != nil {
		return nil, err
	}
	switch {
	case c.Topic == "":
		return replayable, nil
	case slices.Contains(replayable, c.Topic):
		return []string{c.Topic}, nil
	}
	return nil, &pipeline.ConfigError{Field: "--topic", Value: c.Topic, Err: fmt.Errorf("is none of %s", strings.Join(replayable, " "))}
}

// open returns the topics that are meant and an administrator to close.
func (c *letterFlags) open() ([]string, *kafka.Admin, error) {
	names, err := c.topics()
	if err != nil {
		return nil, nil, err
	}
	admin, err := kafka.NewAdmin(c.Kafka)
	return names, admin, err
}

// read calls f with each letter and its own place.
func read(ctx context.Context, admin *kafka.Admin, names []string, f func(place *pipeline.Record, d pipeline.DeadLetter) error) error {
	dead := make([]string, len(names))
	for i, name := range names {
		dead[i] = market.DeadLetterTopic(name)
	}
	return admin.ReadAll(ctx, func(r *pipeline.Record) error {
		d, err := pipeline.DecodeDeadLetter(*r)
		if err != nil {
			return err
		}
		return f(r, d)
	}, dead...)
}

type lettersList struct{ letterFlags }

// Run prints a table.
func (c *lettersList) Run(p *process) error {
	type group struct{ topic, reason, by string }
	type count struct {
		n, left int
		newest  time.Time
	}
	names, admin, err := c.open()
	if err != nil {
		return err
	}
	defer admin.Close()
	replayed, err := admin.Replayed(p.ctx)
	if err != nil {
		return err
	}
	counts := map[group]count{}
	err = read(p.ctx, admin, names, func(place *pipeline.Record, d pipeline.DeadLetter) error {
		g := group{d.Record.Topic, d.Reason, d.By}
		seen := counts[g]
		seen.n++
		if place.Offset >= replayed(place.Topic, place.Partition) {
			seen.left++
		}
		if d.Time.After(seen.newest) {
			seen.newest = d.Time
		}
		counts[g] = seen
		return nil
	})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tREASON\tBY\tLETTERS\tLEFT\tNEWEST")
	for _, g := range slices.SortedFunc(maps.Keys(counts), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.reason, b.reason), cmp.Compare(a.by, b.by))
	}) {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", g.topic, g.reason, g.by, counts[g].n, counts[g].left, counts[g].newest.UTC().Format(time.RFC3339))
	}
	return table.Flush()
}

type lettersShow struct {
	letterFlags
	Limit int `help:"At most this many, oldest first." default:"20"`
}

var errEnough = errors.New("enough")

// Run prints letters whole.
func (c *lettersShow) Run(p *process) error {
	names, admin, err := c.open()
	if err != nil {
		return err
	}
	defer admin.Close()
	n := 0
	err = read(p.ctx, admin, names, func(place *pipeline.Record, d pipeline.DeadLetter) error {
		if n == c.Limit {
			return errEnough
		}
		n++
		printLetter(p.stdout, place, d)
		return nil
	})
	if errors.Is(err, errEnough) {
		fmt.Fprintf(p.stdout, "more than %d letters: see --limit\n", c.Limit)
		return nil
	}
	return err
}

func printLetter(w io.Writer, place *pipeline.Record, d pipeline.DeadLetter) {
	fmt.Fprintf(w, "%s/%d@%d\n", place.Topic, place.Partition, place.Offset)
	from := fmt.Sprintf("%s/%d@%d", d.Record.Topic, d.Record.Partition, d.Record.Offset)
	if d.Record.Offset < 0 {
		from = d.Record.Topic + ", before it got there"
	}
	fmt.Fprintf(w, "  from    %s\n  reason  %s\n  message %s\n  by      %s at %s\n  key     %q\n", from, d.Reason, d.Message, d.By, d.Time.UTC().Format(time.RFC3339), d.Record.Key)
	for _, h := range d.Record.Headers {
		fmt.Fprintf(w, "  header  %s: %q\n", h.Name, h.Value)
	}
	fmt.Fprintf(w, "  value   %q\n", d.Record.Value)
}

type lettersReplay struct{ letterFlags }

// Run sends letters again.
func (c *lettersReplay) Run(p *process) error {
	names, admin, err := c.open()
	if err != nil {
		return err
	}
	defer admin.Close()
	problem := func(part, problem string) {
		if problem != "" {
			p.log.Warn(part, "problem", problem)
		}
	}
	producer, err := kafka.NewProducer(c.Kafka, problem, p.log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	send := func(r pipeline.Record) error {
		done := make(chan error, 1)
		if err := producer.Produce(p.ctx, r, func(err error) { done <- err }); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	var problems []error
	for _, name := range names {
		sent, err := admin.Replay(p.ctx, name, send)
		fmt.Fprintf(p.stdout, "%s: %d sent again\n", name, sent)
		problems = append(problems, err)
	}
	ctx, cancel := closing(p.ctx)
	defer cancel()
	producer.Close(ctx)
	return errors.Join(problems...)
}
