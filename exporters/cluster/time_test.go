package cluster_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// value is that of the one series whose text contains all parts.
func (w *world) value(t testing.TB, parts ...string) float64 {
	t.Helper()
	got := w.lines(t, parts...)
	if len(got) != 1 {
		t.Fatalf("%d series of %s: %s", len(got), parts, got)
	}
	v, err := strconv.ParseFloat(got[0][strings.LastIndex(got[0], " ")+1:], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v within %v", what, got, want, within)
	}
}

// The exporter has just begun to look, and the group stands hours back: only
// timestamps of records tell how long.
func TestLagInSecondsOfWhatWasBeforeWeLooked(t *testing.T) {
	w := newWorld(t, 1)
	w.create(t, "orders", 1, map[string]*string{"retention.ms": new("36000000")}) // ten hours
	begin := time.Now().Add(-6 * time.Hour)
	const records = 360 // one a minute
	for i := range records {
		w.produce(t, "orders", 0, 1, begin.Add(time.Duration(i)*time.Minute))
	}
	positions := []int{0, 1, 100, 200, 359}
	for _, p := range positions {
		w.commit(t, fmt.Sprintf("at-%d", p), "orders", 0, int64(p))
	}
	w.commit(t, "caught-up", "orders", 0, records)
	for range 12 {
		w.look(t)
	}
	for _, p := range positions {
		group := fmt.Sprintf(`consumergroup="at-%d"`, p)
		want := time.Since(begin.Add(time.Duration(p) * time.Minute)).Seconds()
		tolerance := 2 + want/100
		near(t, group, w.value(t, "kafka_consumergroup_lag_seconds{", group), want, tolerance)
		near(t, group+" retention", w.value(t, "kafka_consumergroup_retention_remaining_seconds", group), 36000-want, tolerance)
		near(t, group+" messages", w.value(t, "kafka_consumergroup_lag{", group), float64(records-p), 0)
	}
	w.has(t, `kafka_consumergroup_lag_seconds{consumergroup="caught-up",topic="orders",partition="0"} 0`)
	w.lacks(t, "kafka_consumergroup_retention_remaining_seconds", "caught-up")
	if strings.Contains(w.page(t), "NaN") {
		t.Error("there is a NaN")
	}
}

func TestCommitBelowTheLogStart(t *testing.T) {
	w := newWorld(t, 1)
	w.create(t, "orders", 1, nil)
	w.produce(t, "orders", 0, 5, time.Now().Add(-2*time.Hour))
	w.produce(t, "orders", 0, 5, time.Now().Add(-time.Hour))
	w.commit(t, "reader", "orders", 0, 2)
	w.look(t)
	w.has(t, `kafka_consumergroup_below_start_messages{consumergroup="reader",topic="orders",partition="0"} 0`)
	if err := w.fake.DeleteRecords("orders", 0, 5); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		w.look(t)
	}
	w.has(t, `kafka_consumergroup_below_start_messages{consumergroup="reader",topic="orders",partition="0"} 3`,
		`kafka_consumergroup_lag{consumergroup="reader",topic="orders",partition="0"} 8`)
	near(t, "lag", w.value(t, "kafka_consumergroup_lag_seconds{"), 3600, 40)
}

// While we look, lag follows our clock, whatever producers say of theirs.
func TestLagInSecondsOfWhatWeSaw(t *testing.T) {
	w := newWorld(t, 1)
	w.create(t, "orders", 1, nil)
	w.look(t)
	wrong := time.Now().Add(-100 * time.Hour)
	w.produce(t, "orders", 0, 3, wrong)
	w.commit(t, "reader", "orders", 0, 0)
	made := time.Now()
	w.look(t)
	time.Sleep(time.Second)
	w.produce(t, "orders", 0, 3, wrong)
	w.look(t)
	near(t, "lag", w.value(t, "kafka_consumergroup_lag_seconds{"), time.Since(made).Seconds(), 0.9)
	before := w.value(t, "kafka_consumergroup_lag_seconds{")
	time.Sleep(time.Second)
	w.look(t)
	if now := w.value(t, "kafka_consumergroup_lag_seconds{"); now < before+0.9 {
		t.Errorf("lag was %v, and is %v a second later", before, now)
	}
	w.commit(t, "reader", "orders", 0, 6)
	w.look(t)
	w.has(t, `kafka_consumergroup_lag_seconds{consumergroup="reader",topic="orders",partition="0"} 0`)
	near(t, "last commit", w.value(t, "kafka_consumergroup_last_commit_timestamp_seconds"), float64(time.Now().Unix()), 30)
}

func TestTopicMadeAnew(t *testing.T) {
	w := newWorld(t, 1)
	remake(t, w, "orders", "reader")
}

// remake deletes a topic with a group behind it, and makes it again.
func remake(t *testing.T, w *world, topic, group string) {
	w.create(t, topic, 1, nil)
	w.produce(t, topic, 0, 9, time.Time{})
	w.commit(t, group, topic, 0, 5)
	w.look(t)
	labels := fmt.Sprintf(`{consumergroup=%q,topic=%q,partition="0"} `, group, topic)
	w.has(t, "kafka_consumergroup_lag"+labels+"4")
	if _, err := w.admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, w, func() bool { return len(w.lines(t, fmt.Sprintf("topic=%q", topic))) == 0 })
	w.create(t, topic, 1, nil)
	w.client.PurgeTopicsFromClient(topic) // it remembers the other by its id
	w.produce(t, topic, 0, 2, time.Time{})
	eventually(t, w, func() bool {
		return len(w.lines(t, fmt.Sprintf(`kafka_topic_partition_current_offset{topic=%q,partition="0"} 2`, topic))) == 1
	})
	for _, line := range w.lines(t, group, topic) {
		if strings.Contains(line, "_lag") && strings.Contains(line, "} -") {
			t.Errorf("negative: %s", line)
		}
	}
	w.commit(t, group, topic, 0, 0)
	w.look(t)
	w.has(t, "kafka_consumergroup_lag"+labels+"2")
	if age := w.value(t, "kafka_consumergroup_lag_seconds"+labels); age > 60 {
		t.Errorf("lag of a new record is %v s", age)
	}
}

// eventually looks until what is awaited is there, for a minute.
func eventually(t testing.TB, w *world, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		w.look(t)
		if there() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not there after a minute:\n%s", w.page(t))
		}
	}
}
