package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// BenchmarkShow encodes the pages of three brokers with 10,000 partitions.
func BenchmarkShow(b *testing.B) {
	shown, err := New(Config{Dialects: []string{"jmx", "strimzi"}}, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	s := &snapshot.Snapshot{Time: time.Unix(100, 0), Up: true, ClusterID: "big", Controller: 1}
	sizes := map[[16]byte][]int64{}
	for i := range 1000 {
		t := snapshot.Topic{Name: fmt.Sprintf("topic-%d", i), ID: [16]byte{byte(i), byte(i >> 8)}, MinISR: 1}
		for p := range int32(10) {
			on := []int32{p % 3}
			t.Partitions = append(t.Partitions, snapshot.Partition{ID: p, Leader: p % 3, Replicas: on, ISR: on, End: 1000})
			sizes[t.ID] = append(sizes[t.ID], 100_000)
		}
		s.Topics = append(s.Topics, t)
	}
	for id := range int32(3) {
		s.Brokers = append(s.Brokers, snapshot.Broker{ID: id, Host: "kafka", Port: 9092, Alive: true, Up: true, Logs: &snapshot.Logs{Time: s.Time, Sizes: sizes}})
	}
	b.ReportAllocs()
	for b.Loop() {
		shown.Show(s)
	}
	size, _ := shown.current.Load().controller.Size()
	for _, page := range shown.current.Load().brokers {
		plain, _ := page.Size()
		size += plain
	}
	b.ReportMetric(float64(size)/1e6, "MB/pages")
}
