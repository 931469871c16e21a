package broker

import (
	"testing"
	"time"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

const (
	messagesIn = `kafka_server_brokertopicmetrics_messagesin_total{topic="orders"}`
	bytesIn    = `kafka_server_brokertopicmetrics_bytesin_total{topic="orders"}`
	brokerPage = "/broker/0/metrics"
)

// A topic is deleted and made anew, and the counters go on.
func TestCountersOverDeletion(t *testing.T) {
	w := newWorld(t, 1, "jmx")
	w.create(t, "orders", 1, nil)
	w.produce(t, "orders", 0, 5)
	w.look(t)
	w.has(t, brokerPage, map[string]string{messagesIn: "0", bytesIn: "0"}) // from here we count
	size := w.series(t, brokerPage)[`kafka_log_log_size{topic="orders",partition="0"}`]
	w.produce(t, "orders", 0, 5) // as many and as large as before
	w.look(t)
	w.has(t, brokerPage, map[string]string{messagesIn: "5", bytesIn: size})
	w.remove(t, "orders")
	w.look(t)
	w.has(t, brokerPage, map[string]string{messagesIn: "", bytesIn: ""})
	w.create(t, "orders", 2, nil)
	w.look(t)
	w.has(t, brokerPage, map[string]string{messagesIn: "5", bytesIn: size})
	w.produce(t, "orders", 0, 5)
	w.produce(t, "orders", 1, 2)
	w.look(t)
	w.has(t, brokerPage, map[string]string{messagesIn: "12"})
	w.remove(t, "orders")
	w.create(t, "orders", 1, nil)
	w.produce(t, "orders", 0, 3)
	w.look(t) // which did not see it gone
	w.has(t, brokerPage, map[string]string{messagesIn: "15"})
}

// step is what a look sees of a partition of three replicas on brokers 1, 2 and 3.
type step struct {
	name        string
	id          byte
	leader      int32
	epoch       int32
	isr         []int32
	start, end  int64
	size        int64
	down        bool
	later       time.Duration
	messages    int64 // of all brokers
	bytes       int64
	shrinks     int64
	expands     int64
	elections   int64
	unclean     int64
	onlyOffsets bool // sizes were not asked for
}

func TestCounters(t *testing.T) {
	all := []int32{1, 2, 3}
	steps := []step{
		{name: "first", id: 1, leader: 1, isr: all, end: 100, size: 1000},
		{name: "growth", id: 1, leader: 1, isr: all, end: 110, size: 1100, messages: 10, bytes: 100},
		{name: "no sizes", id: 1, leader: 1, isr: all, end: 120, size: 1200, onlyOffsets: true, messages: 20, bytes: 100},
		{name: "sizes of both", id: 1, leader: 1, isr: all, end: 130, size: 1300, messages: 30, bytes: 300},
		{name: "retention: the mean size of 10 bytes", id: 1, leader: 1, isr: all, start: 50, end: 150, size: 1000, messages: 50, bytes: 500},
		{name: "a replica falls out", id: 1, leader: 1, isr: []int32{1, 2}, start: 50, end: 150, size: 1000, messages: 50, bytes: 500, shrinks: 1},
		{name: "Kafka is away", id: 1, leader: -1, down: true, messages: 50, bytes: 500, shrinks: 1},
		{name: "it comes back", id: 1, leader: 1, isr: all, start: 50, end: 160, size: 1100, messages: 60, bytes: 600, shrinks: 1, expands: 1},
		{name: "another leads", id: 1, leader: 2, epoch: 1, isr: all, start: 50, end: 170, size: 1200, messages: 70, bytes: 700, shrinks: 1, expands: 1, elections: 1},
		{name: "a broker that trails", id: 1, leader: 1, isr: []int32{1}, start: 50, end: 170, size: 1200, messages: 70, bytes: 700, shrinks: 1, expands: 1, elections: 1},
		{name: "none leads", id: 1, leader: -1, epoch: 2, isr: []int32{2}, end: -1, size: -1, messages: 70, bytes: 700, shrinks: 2, expands: 1, elections: 1},
		{name: "unclean, cut short", id: 1, leader: 3, epoch: 3, isr: []int32{3}, start: 50, end: 150, size: 1000, messages: 70, bytes: 700, shrinks: 3, expands: 2, elections: 2, unclean: 1},
		{name: "after the cut", id: 1, leader: 3, epoch: 3, isr: []int32{3}, start: 50, end: 155, size: 1050, messages: 75, bytes: 750, shrinks: 3, expands: 2, elections: 2, unclean: 1},
		{name: "made anew", id: 2, leader: 3, isr: all, end: 7, size: 70, messages: 82, bytes: 820, shrinks: 3, expands: 2, elections: 2, unclean: 1},
		{name: "gone", messages: 82, bytes: 820, shrinks: 3, expands: 2, elections: 2, unclean: 1, later: time.Minute},
		{name: "back", id: 2, leader: 3, isr: all, end: 8, size: 80, messages: 83, bytes: 830, shrinks: 3, expands: 2, elections: 2, unclean: 1},
		{name: "forgotten", later: 2 * memory, shrinks: 3, expands: 2, elections: 2, unclean: 1},
	}
	c := newCounts()
	now := time.Unix(1000, 0)
	asked := now
	for _, step := range steps {
		now = now.Add(time.Second + step.later)
		if !step.onlyOffsets {
			asked = now
		}
		s := &snapshot.Snapshot{Time: now, Up: !step.down}
		for id := range int32(4) {
			s.Brokers = append(s.Brokers, snapshot.Broker{ID: id, Alive: true, Up: true, Logs: &snapshot.Logs{Time: asked, Sizes: map[[16]byte][]int64{{step.id}: {step.size}}}})
		}
		if step.id > 0 {
			s.Topics = []snapshot.Topic{{Name: "orders", ID: [16]byte{step.id}, Partitions: []snapshot.Partition{{Leader: step.leader, LeaderEpoch: step.epoch,
				Replicas: all, ISR: step.isr, Start: step.start, End: step.end}}}}
		}
		c.observe(s)
		got := step
		got.messages, got.bytes, got.shrinks, got.expands, got.elections, got.unclean = 0, 0, 0, 0, c.elections, c.unclean
		for _, t := range c.totals {
			got.messages += t.messages
			got.bytes += t.bytes
		}
		for id := range int32(4) {
			got.shrinks += c.shrinks[id]
			got.expands += c.expands[id]
		}
		if g, w := got.counted(), step.counted(); g != w {
			t.Errorf("%s: messages, bytes, shrinks, expands, elections, unclean are %v, want %v", step.name, g, w)
		}
	}
	if len(c.seen) > 0 || len(c.totals) > 0 {
		t.Errorf("what is gone is remembered: %d topics, %d totals", len(c.seen), len(c.totals))
	}
}

func (s step) counted() [6]int64 {
	return [6]int64{s.messages, s.bytes, s.shrinks, s.expands, s.elections, s.unclean}
}
