package probe_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/probe"
)

func TestTopicIsAbsent(t *testing.T) {
	w := three(t, 0)
	w.probe(t)
	for _, b := range brokers {
		w.grow(t, 2, "metadata_duration_seconds", b, "outcome=ok")
	}
	if got := w.value(t, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	if got := w.value(t, "canaries_sent_total"); got != 0 {
		t.Errorf("%v canaries were sent", got)
	}
	if w.fake.TopicInfo(topic) != nil {
		t.Error("the topic was made")
	}
	if got := strings.Count(w.log.String(), "\n"); got != 1 || w.log.count("--probe.create-topic") != 1 {
		t.Errorf("it is not said once: %s", w.log)
	}
	w.create(t, 3)
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
	eventually(t, func() bool { return w.value(t, "ready") == 1 && w.log.count("canaries are sent") == 1 }, "it is not ready")
}

func TestTopicIsMadeWhenToldTo(t *testing.T) {
	w := three(t, 0)
	w.probe(t, func(c *probe.Config) { c.CreateTopic = true })
	eventually(t, func() bool { return w.value(t, "ready") == 1 }, "it is not ready")
	if info := w.fake.TopicInfo(topic); info == nil {
		t.Fatal("the topic was not made")
	}
	if got := len(w.fake.PartitionInfos(topic)); got != 3 {
		t.Errorf("it has %d partitions", got)
	}
	w.spread(t, 3) // the fake one gives partitions to brokers by chance
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
}

func TestTopicMayNotBeMade(t *testing.T) {
	w := three(t, 0)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	w.probe(t, func(c *probe.Config) { c.CreateTopic = true })
	for _, b := range brokers {
		w.grow(t, 3, "metadata_duration_seconds", b, "outcome=ok")
	}
	if got := w.value(t, "ready"); got != 0 {
		t.Errorf("ready is %v", got)
	}
	if got := w.log.count("TOPIC_AUTHORIZATION_FAILED"); got != 1 {
		t.Errorf("it is said %d times", got)
	}
}

func TestWithoutTheRightToBeIdempotent(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	w.probe(t)
	for _, b := range brokers {
		w.grow(t, 1, "canaries_received_total", b)
	}
}

func TestTopicIsMadeAnew(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	w.grow(t, 2, "canaries_received_total", "broker=1")
	if err := w.fake.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	w.create(t, 3)
	for _, b := range brokers {
		w.grow(t, 4, "canaries_received_total", b)
	}
	if got := w.value(t, "canaries_duplicated_total"); got != 0 {
		t.Errorf("%v duplicates", got)
	}
}
