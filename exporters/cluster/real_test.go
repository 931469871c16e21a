package cluster_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// real is a broker that others use too; we look at what begins with prefix.
func real(t *testing.T) (w *world, prefix string) {
	addr := os.Getenv("CANDLESTACK_TEST_KAFKA")
	if addr == "" {
		t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
	}
	prefix = "exporter-" + rand.Text() + "-"
	mine := "^" + regexp.QuoteMeta(prefix)
	w = at(t, []string{addr}, func(c *snapshot.Config) { c.Topic.Filter, c.Group.Filter = mine, mine })
	t.Cleanup(func() {
		ctx := context.Background()
		s := w.snapshots.Current()
		for _, topic := range s.Topics {
			_, _ = w.admin.DeleteTopics(ctx, topic.Name)
		}
		for _, g := range s.Groups {
			_, _ = w.admin.DeleteGroups(ctx, g.Name)
		}
	})
	return w, prefix
}

func TestRealTopicMadeAnew(t *testing.T) {
	w, prefix := real(t)
	remake(t, w, prefix+"orders", prefix+"reader")
}

func TestRealCluster(t *testing.T) {
	w, _ := real(t)
	w.look(t)
	if got := w.value(t, "kafka_controller_id"); got < 0 {
		t.Errorf("the controller is %v", got)
	}
	if got := w.lines(t, "kafka_cluster_info", `mode="kraft"`, `version="v`); len(got) != 1 {
		t.Errorf("cluster info: %s", got)
	}
}

// A member of each protocol reads six of ten records and stays.
func TestRealGroups(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			w, prefix := real(t)
			topic, group := prefix+"orders", prefix+"reader"
			w.create(t, topic, 2, map[string]*string{"retention.ms": new("86400000")})
			begin := time.Now()
			w.produce(t, topic, 0, 10, time.Time{})
			ctx := t.Context()
			opts := []kgo.Opt{kgo.SeedBrokers(os.Getenv("CANDLESTACK_TEST_KAFKA")), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
				kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
			if protocol == "consumer" {
				opts = append(opts, kgo.ServerSideBalancer())
			}
			member, err := kgo.NewClient(opts...)
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if !closed {
					member.Close()
				}
			}()
			var records []*kgo.Record
			for len(records) < 6 {
				fetches := member.PollRecords(ctx, 6-len(records))
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				records = append(records, fetches.Records()...)
			}
			if err := member.CommitRecords(ctx, records...); err != nil {
				t.Fatal(err)
			}
			of := fmt.Sprintf("{consumergroup=%q", group)
			eventually(t, w, func() bool { return len(w.lines(t, "kafka_consumergroup_state"+of, `state="Stable"} 1`)) == 1 })
			labels := fmt.Sprintf(`%s,topic=%q,partition="0"} `, of, topic)
			w.has(t, "kafka_consumergroup_members"+of+"} 1", "kafka_consumergroup_empty_members"+of+"} 0",
				fmt.Sprintf("kafka_consumergroup_topic_assigned_partitions%s,topic=%q} 2", of, topic),
				"kafka_consumergroup_current_offset"+labels+"6", "kafka_consumergroup_lag"+labels+"4",
				fmt.Sprintf("kafka_consumergroup_lag_sum%s,topic=%q} 4", of, topic),
				fmt.Sprintf(`kafka_consumergroup_current_offset%s,topic=%q,partition="1"} -1`, of, topic))
			info := w.lines(t, "kafka_consumergroup_info"+of)
			if len(info) != 1 || !strings.Contains(info[0], fmt.Sprintf("type=%q", protocol)) || !strings.Contains(info[0], `protocol_type="consumer"`) {
				t.Errorf("info is %s", info)
			}
			for range 12 {
				w.look(t)
			}
			age := time.Since(begin).Seconds()
			near(t, "lag in seconds", w.value(t, "kafka_consumergroup_lag_seconds"+labels), age, 3)
			near(t, "retention", w.value(t, "kafka_consumergroup_retention_remaining_seconds"+labels), 86400-age, 3)
			member.Close()
			closed = true
			eventually(t, w, func() bool { return len(w.lines(t, "kafka_consumergroup_state"+of, `state="Empty"} 1`)) == 1 })
			w.has(t, "kafka_consumergroup_members"+of+"} 0", "kafka_consumergroup_lag"+labels+"4")
			if got := w.value(t, "kafka_consumergroup_state_changes_total"+of); got < 1 {
				t.Errorf("changes of state: %v", got)
			}
		})
	}
}
