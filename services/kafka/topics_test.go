package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func TestApply(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		admin, topic := b.administrator(t), name()
		b.drop(t, topic)
		plan := []kafka.Topic{{Name: topic, Partitions: 2, Replication: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "3600000", "max.message.bytes": "2097152"}}}

		missing, err := admin.List(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]kafka.Topic{{Name: topic, Config: map[string]string{}, Problem: "missing: run candlestack topics apply"}}, missing); diff != "" {
			t.Errorf("before the topic is made:\n%s", diff)
		}
		apply := func(what string, plan, want []kafka.Topic) {
			t.Helper()
			found, err := admin.Apply(t.Context(), plan)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("%s:\n%s", what, diff)
			}
		}
		apply("made", plan, plan)
		apply("asked for again", plan, plan)

		longer := []kafka.Topic{{Name: topic, Partitions: 1, Replication: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "7200000", "max.message.bytes": "2097152"}}}
		want := []kafka.Topic{longer[0]}
		want[0].Partitions = 2 // more than asked for is no problem
		apply("with another retention", longer, want)

		copies := []kafka.Topic{longer[0]}
		copies[0].Partitions, copies[0].Replication = 2, 3
		told := []kafka.Topic{want[0]}
		told[0].Problem = "replication 1, 3 was asked for; kafka-reassign-partitions.sh raises it"
		apply("with more replicas", copies, told)

		more := []kafka.Topic{longer[0]}
		more[0].Partitions, more[0].Config = 5, plan[0].Config
		found, err := admin.Apply(t.Context(), more)
		grow := "has 2 partitions, 5 were asked for; growing it moves keys, so stop the sources, let the sinks drain, then: kafka-topics.sh --alter --topic " + topic + " --partitions 5"
		refused(t, err, `topic "`+topic+`": `+grow)
		want[0].Problem = grow
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("a plan with too many partitions changed the topic:\n%s", diff)
		}
	})
}

func TestApplyRefusesReplicationThatTheClusterCannotGive(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		topic := name()
		_, err := b.administrator(t).Apply(t.Context(), []kafka.Topic{{Name: topic, Partitions: 1, Replication: 3}})
		var mistake *pipeline.ConfigError
		if !errors.As(err, &mistake) || mistake.Field != "--replication" || mistake.Value != "3" {
			t.Errorf("error %v, want one about --replication 3", err)
		}
	})
}

func TestApplyMakesThePlan(t *testing.T) {
	b := embedded(t)
	cfg := kafka.TopicConfig{Partitions: 6, OtherPartitions: 3, Replication: 1, Retention: 168 * time.Hour, DeadLetterRetention: 720 * time.Hour}
	for range 2 {
		found, err := b.administrator(t).Apply(t.Context(), cfg.Plan())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(cfg.Plan(), found); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAwait(t *testing.T) {
	b := embedded(t)
	admin := b.administrator(t)
	var told reports
	done := make(chan error, 1)
	go func() { done <- admin.Await(t.Context(), told.set, market.TopicCandles, market.TopicGaps) }()
	tells := func(want string) {
		t.Helper()
		eventually(t, "it tells: "+want, func() bool {
			all := told.of("topics")
			return len(all) > 0 && all[len(all)-1] == want
		})
	}
	tells("market.candles, market.candles.dead, market.gaps, market.gaps.dead missing: run candlestack topics apply")
	if _, err := b.admin.CreateTopics(t.Context(), 1, 1, nil, "market.candles", "market.candles.dead", "market.gaps"); err != nil {
		t.Fatal(err)
	}
	tells("market.gaps.dead missing: run candlestack topics apply")
	if _, err := b.admin.CreateTopic(t.Context(), 1, 1, nil, "market.gaps.dead"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	tells("")
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	admin, err := kafka.NewAdmin(kafka.Config{Brokers: []string{"127.0.0.1:1"}}) // nobody is there
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err = admin.Await(ctx, func(part, problem string) {
		if part != "topics" || problem == "" {
			t.Errorf("reported %s %q of a broker that is absent", part, problem)
		}
		cancel()
	}, market.TopicCandles)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestExamine(t *testing.T) {
	b := embedded(t)
	admin := b.administrator(t)
	verdicts := func(findings []pipeline.Finding) map[string]bool {
		m := map[string]bool{}
		for _, f := range findings {
			m[f.Subject] = f.OK
		}
		return m
	}
	want := map[string]bool{"kafka": true, "kafka broker 0": true}
	for _, topic := range []string{"market.candles", "market.gaps", "news.posts"} {
		want["topic "+topic], want["topic "+topic+".dead"] = false, false
	}
	if diff := cmp.Diff(want, verdicts(admin.Examine(t.Context()))); diff != "" {
		t.Errorf("without topics:\n%s", diff)
	}
	if _, err := b.admin.CreateTopics(t.Context(), 1, 1, nil, "market.candles", "market.candles.dead"); err != nil {
		t.Fatal(err)
	}
	want["topic market.candles"], want["topic market.candles.dead"] = true, true
	eventually(t, "the topics that were made are fine", func() bool { return cmp.Equal(want, verdicts(admin.Examine(t.Context()))) })
	nobody, err := kafka.NewAdmin(kafka.Config{Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if diff := cmp.Diff(map[string]bool{"kafka": false}, verdicts(nobody.Examine(ctx))); diff != "" {
		t.Errorf("without a broker:\n%s", diff)
	}
}
