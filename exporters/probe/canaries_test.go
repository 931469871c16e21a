package probe_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestLostAndLateCanaries(t *testing.T) {
	for _, deleted := range []bool{true, false} {
		t.Run(fmt.Sprintf("deleted=%v", deleted), func(t *testing.T) {
			w := three(t, 3)
			w.probe(t)
			w.grow(t, 2, "canaries_received_total", "broker=1")
			stop := w.fails(int16(kmsg.Fetch), 1, errCut)
			w.grow(t, 2, "canaries_lost_total", "broker=1")
			w.grow(t, 1, "end_to_end_duration_seconds", "broker=0", "outcome=ok")
			if got := w.value(t, "end_to_end_duration_seconds", "broker=1", "outcome=timeout"); got < 2 {
				t.Errorf("%v lost canaries are timed", got)
			}
			if deleted {
				if err := w.fake.DeleteRecords(topic, 1, -1); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			w.grow(t, 2, "end_to_end_duration_seconds", "broker=1", "outcome=ok")
			lost, late := w.value(t, "canaries_lost_total", "broker=1"), w.value(t, "canaries_late_total", "broker=1")
			if deleted && late > lost-2 || !deleted && late < 2 {
				t.Errorf("%v canaries are lost and %v late", lost, late)
			}
		})
	}
}

func TestDuplicatedCanary(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {1: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w.grow(t, 1, "canaries_received_total", "broker=1")
	records := client.PollFetches(t.Context()).Records()
	if len(records) == 0 {
		t.Fatal("nothing was read")
	}
	original := records[0]
	for _, r := range []*kgo.Record{
		{Key: []byte("of another probe"), Value: original.Value},
		{Key: original.Key, Value: []byte("1")},
		{Key: original.Key, Value: []byte("1/0")},
		{Key: original.Key, Value: []byte("7/1")},
		{Key: original.Key, Value: []byte("1/99999999999999999999")},
		{Key: original.Key, Value: []byte(strings.Repeat("1/1", 100))},
		{},
		{Key: original.Key, Value: original.Value},
	} {
		r.Topic, r.Partition = topic, 1
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.grow(t, 2, "canaries_received_total", "broker=1") // what came before has been read
	if got := w.value(t, "canaries_duplicated_total", "broker=1"); got != 1 {
		t.Errorf("%v duplicates", got)
	}
	if got := w.value(t, "canaries_duplicated_total"); got != 1 {
		t.Errorf("%v duplicates of all", got)
	}
}
