package probe_test

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/exporters/probe"
)

func TestRealKafka(t *testing.T) {
	addr := os.Getenv("CANDLESTACK_TEST_KAFKA")
	if addr == "" {
		t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
	}
	name := "probe-" + rand.Text()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = admin.DeleteTopics(ctx, name)
		_, _ = admin.DeleteGroups(ctx, name)
	})
	reg, _ := run(t, []string{addr}, func(c *probe.Config) {
		c.Topic, c.Group, c.CreateTopic, c.Interval, c.Deadline = name, name, true, 4*time.Second, 2*time.Second
	})
	for _, h := range []string{"api_versions", "metadata", "produce", "end_to_end", "commit"} {
		eventually(t, func() bool { return value(t, reg, h+"_duration_seconds", "outcome=ok") >= 2 }, "%s is not measured", h)
	}
	if got := value(t, reg, "canaries_duplicated_total"); got != 0 {
		t.Errorf("%v duplicates", got)
	}
	configs, err := admin.DescribeTopicConfigs(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "3600000" {
			t.Errorf("retention.ms is %s", c.MaybeValue())
		}
	}
	eventually(t, func() bool {
		offsets, err := admin.FetchOffsets(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		committed, ok := offsets.Lookup(name, 0)
		return ok && committed.At >= 2
	}, "nothing is committed")
}
