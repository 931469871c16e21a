package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

const (
	// recordBytes is the greatest record of a topic, Kafka's own default.
	recordBytes = 1 << 20
	// deadLetterBytes leaves room for the headers that tell of the death, so that
	// whatever fits in a topic fits in its dead-letter topic.
	deadLetterBytes = 2 << 20
)

// TopicConfig is what topics are made with.
type TopicConfig struct {
	Partitions          int32         `help:"Partitions of market.candles." default:"6"`
	OtherPartitions     int32         `help:"Partitions of the other topics." default:"3"`
	Replication         int16         `help:"Replication factor; three needs three brokers." default:"1"`
	Retention           time.Duration `help:"How long records are kept." default:"168h"`
	DeadLetterRetention time.Duration `help:"How long dead letters are kept." default:"720h"`
}

// Validate reports all settings that cannot work.
func (c *TopicConfig) Validate() error {
	var problems []error
	wrong := func(field string, value any, problem string) {
		problems = append(problems, &pipeline.ConfigError{Field: field, Value: fmt.Sprint(value), Err: errors.New(problem)})
	}
	if c.Partitions < 1 {
		wrong("--partitions", c.Partitions, "must be at least 1")
	}
	if c.OtherPartitions < 1 {
		wrong("--other-partitions", c.OtherPartitions, "must be at least 1")
	}
	if c.Replication < 1 {
		wrong("--replication", c.Replication, "must be at least 1")
	}
	if c.Retention < time.Minute {
		wrong("--retention", c.Retention, "must be at least 1m")
	}
	if c.DeadLetterRetention < time.Minute {
		wrong("--dead-letter-retention", c.DeadLetterRetention, "must be at least 1m")
	}
	return errors.Join(problems...)
}

// Topic is a topic as it is, or as it shall be.
type Topic struct {
	Name        string
	Partitions  int32
	Replication int16
	Config      map[string]string // what we set: retention.ms, max.message.bytes, cleanup.policy
	Problem     string            // in the way of the stack; empty: fine
}

// Plan lists the topics that the stack needs, dead-letter topics included.
func (c *TopicConfig) Plan() []Topic {
	var topics []Topic
	for _, name := range []string{market.TopicCandles, market.TopicGaps, market.TopicPosts} {
		partitions := c.OtherPartitions
		if name == market.TopicCandles {
			partitions = c.Partitions
		}
		config := func(retention time.Duration, bytes int) map[string]string {
			return map[string]string{
				"cleanup.policy": "delete", "retention.ms": strconv.FormatInt(retention.Milliseconds(), 10), "max.message.bytes": strconv.Itoa(bytes),
			}
		}
		topics = append(topics,
			Topic{Name: name, Partitions: partitions, Replication: c.Replication, Config: config(c.Retention, recordBytes)},
			Topic{Name: market.DeadLetterTopic(name), Partitions: c.OtherPartitions, Replication: c.Replication, Config: config(c.DeadLetterRetention, deadLetterBytes)})
	}
	return topics
}

// Admin looks at and changes the cluster.
type Admin struct {
	client *kgo.Client
	admin  *kadm.Client
	opts   []kgo.Opt
}

// NewAdmin makes an administrator; it connects on demand. Close it.
func NewAdmin(cfg Config) (*Admin, error) {
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &Admin{client: client, admin: kadm.NewClient(client), opts: opts}, nil
}

// Close lets go of the connections.
func (a *Admin) Close() error {
	a.client.Close()
	return nil
}

// List returns the topics of the plan as they are. A topic that is missing has
// no partitions and a problem.
func (a *Admin) List(ctx context.Context, plan []Topic) ([]Topic, error) {
	names := make([]string, len(plan))
	for i, t := range plan {
		names[i] = t.Name
	}
	details, err := a.admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	configs, err := a.admin.DescribeTopicConfigs(ctx, existing(details)...)
	if err != nil {
		return nil, fmt.Errorf("reading topic settings: %w", err)
	}
	found := make([]Topic, len(plan))
	for i, want := range plan {
		t := Topic{Name: want.Name, Config: map[string]string{}}
		d := details[want.Name]
		switch {
		case errors.Is(d.Err, kerr.UnknownTopicOrPartition) || d.Err == nil && len(d.Partitions) == 0:
			t.Problem = "missing: run candlestack topics apply"
		case d.Err != nil:
			t.Problem = d.Err.Error()
		default:
			t.Partitions, t.Replication = int32(len(d.Partitions)), int16(d.Partitions.NumReplicas())
			var problems []string
			if t.Partitions < want.Partitions {
				problems = append(problems, tooFew(t, want))
			}
			if t.Replication < want.Replication {
				problems = append(problems, fmt.Sprintf("replication %d, %d was asked for; kafka-reassign-partitions.sh raises it", t.Replication, want.Replication))
			}
			t.Problem = strings.Join(problems, "; ")
		}
		if rc, err := configs.On(want.Name, nil); err == nil {
			for _, c := range rc.Configs {
				if _, ours := want.Config[c.Key]; ours && c.Value != nil {
					t.Config[c.Key] = *c.Value
				}
			}
		}
		found[i] = t
	}
	return found, nil
}

func existing(details kadm.TopicDetails) []string {
	var names []string
	for _, d := range details.Sorted() {
		if d.Err == nil {
			names = append(names, d.Topic)
		}
	}
	return names
}

func tooFew(have, want Topic) string {
	return fmt.Sprintf("has %d partitions, %d were asked for; growing it moves keys, so stop the sources, let the sinks drain, then: kafka-topics.sh --alter --topic %s --partitions %d",
		have.Partitions, want.Partitions, have.Name, want.Partitions)
}

// Apply makes the topics that are missing and sets retention and size of the
// others. Too few partitions are a *pipeline.ConfigError: it never grows a topic by
// itself. Too few replicas are a Problem of the topic only, which works all the same.
func (a *Admin) Apply(ctx context.Context, plan []Topic) ([]Topic, error) {
	have, err := a.List(ctx, plan)
	if err != nil {
		return nil, err
	}
	var problems []error
	for i, want := range plan {
		if have[i].Partitions > 0 && have[i].Partitions < want.Partitions {
			problems = append(problems, &pipeline.ConfigError{Field: "topic", Value: want.Name, Err: errors.New(tooFew(have[i], want))})
		}
	}
	if len(problems) > 0 {
		return have, errors.Join(problems...)
	}
	for i, want := range plan {
		if have[i].Partitions == 0 {
			if err := a.create(ctx, want); err != nil {
				return have, err
			}
			continue
		}
		if err := a.alter(ctx, have[i], want); err != nil {
			return have, err
		}
	}
	for {
		found, err := a.List(ctx, plan)
		if err != nil || !slices.ContainsFunc(found, func(t Topic) bool { return t.Partitions == 0 }) {
			return found, err
		}
		select { // what was made is on its way to the broker that answered
		case <-time.After(metadataAge):
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
}

func (a *Admin) create(ctx context.Context, t Topic) error {
	config := map[string]*string{}
	for k, v := range t.Config {
		config[k] = &v
	}
	_, err := a.admin.CreateTopic(ctx, t.Partitions, t.Replication, config, t.Name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists): // another of us was faster
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return &pipeline.ConfigError{Field: "--replication", Value: strconv.Itoa(int(t.Replication)), Err: fmt.Errorf("making topic %s: %w", t.Name, err)}
	case err != nil:
		return fmt.Errorf("making topic %s: %w", t.Name, err)
	}
	return nil
}

func (a *Admin) alter(ctx context.Context, have, want Topic) error {
	var changes []kadm.AlterConfig
	for _, k := range slices.Sorted(maps.Keys(want.Config)) {
		if v := want.Config[k]; have.Config[k] != v {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	responses, err := a.admin.AlterTopicConfigs(ctx, changes, want.Name)
	if err == nil {
		_, err = responses.On(want.Name, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		return fmt.Errorf("changing settings of topic %s: %w", want.Name, err)
	}
	return nil
}

// Await returns when the topics and their dead-letter topics exist; until then
// it reports what is missing.
func (a *Admin) Await(ctx context.Context, report func(part, problem string), topics ...string) error {
	var plan []Topic
	for _, t := range topics {
		plan = append(plan, Topic{Name: t}, Topic{Name: market.DeadLetterTopic(t)})
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		found, err := a.List(attempt, plan)
		cancel()
		var missing []string
		for _, t := range found {
			if t.Problem != "" {
				missing = append(missing, t.Name)
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			report("topics", err.Error())
		case len(missing) > 0:
			report("topics", strings.Join(missing, ", ")+" missing: run candlestack topics apply")
		default:
			report("topics", "")
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Examine looks at the brokers for doctor.
func (a *Admin) Examine(ctx context.Context) []pipeline.Finding {
	start := time.Now()
	meta, err := a.admin.BrokerMetadata(ctx)
	if err != nil {
		return []pipeline.Finding{{Subject: "kafka", Detail: err.Error()}}
	}
	findings := []pipeline.Finding{{Subject: "kafka", OK: true, Detail: fmt.Sprintf("%s, cluster %s, answered in %s", count(len(meta.Brokers), "broker"), meta.Cluster, within(time.Since(start)))}}
	if versions, err := a.admin.ApiVersions(ctx); err == nil {
		for _, v := range versions.Sorted() {
			findings = append(findings, pipeline.Finding{Subject: fmt.Sprintf("kafka broker %d", v.NodeID), OK: v.Err == nil, Detail: "version " + v.VersionGuess()})
		}
	}
	var plan TopicConfig
	plan.Partitions, plan.OtherPartitions = 1, 1
	topics, err := a.List(ctx, plan.Plan())
	if err != nil {
		return append(findings, pipeline.Finding{Subject: "kafka topics", Detail: err.Error()})
	}
	for _, t := range topics {
		detail := t.Problem
		if detail == "" {
			detail = fmt.Sprintf("%s, replication %d", count(int(t.Partitions), "partition"), t.Replication)
		}
		findings = append(findings, pipeline.Finding{Subject: "topic " + t.Name, OK: t.Problem == "", Detail: detail})
	}
	return findings
}

func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func within(d time.Duration) string {
	if d < time.Millisecond {
		return "<1ms"
	}
	return d.Round(time.Millisecond).String()
}
