package kafka_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// member is a consumer with a small handler: it notes what it is given and
// calls each, if set, with every record, from the goroutine that polls.
type member struct {
	*kafka.Consumer
	reg  *prometheus.Registry
	told reports
	each func(engine.Partition, pipeline.Record)
	end  context.CancelFunc
	done chan error

	mu      sync.Mutex
	owned   map[engine.Partition]int64 // with the start
	moves   []string                   // assigned, revoked, lost
	records map[engine.Partition][]int64
}

// newMember makes a member that has not joined yet.
func newMember(t *testing.T, cfg kafka.Config, as kafka.ConsumerConfig, topics ...string) *member {
	t.Helper()
	m := &member{reg: prometheus.NewRegistry(), done: make(chan error, 1), owned: map[engine.Partition]int64{}, records: map[engine.Partition][]int64{}}
	cfg.Config = map[string]string{"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"} // nobody waits long for the group
	var err error
	if m.Consumer, err = kafka.NewConsumer(cfg, as, topics, m.told.set, quiet, m.reg); err != nil {
		t.Fatal(err)
	}
	return m
}

// join starts the member; it leaves at the end of the test, or at stop.
func (m *member) join(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m.end = cancel
	go func() { m.done <- m.Run(ctx, m) }()
	t.Cleanup(func() { m.stop(t) })
}

func (m *member) stop(t *testing.T) {
	t.Helper()
	m.end()
	if err := <-m.done; err != nil {
		t.Errorf("a member ended with %v", err)
	}
	m.done <- nil
}

func (m *member) Assigned(starts map[engine.Partition]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(starts) > 0 {
		m.moves = append(m.moves, "assigned")
	}
	for p, start := range starts {
		m.owned[p] = start
	}
}

func (m *member) Revoked(ps []engine.Partition) { m.leave("revoked", ps) }
func (m *member) Lost(ps []engine.Partition)    { m.leave("lost", ps) }

func (m *member) leave(how string, ps []engine.Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(ps) > 0 {
		m.moves = append(m.moves, how)
	}
	for _, p := range ps {
		delete(m.owned, p)
	}
}

func (m *member) Record(r pipeline.Record) {
	p := engine.Partition{Topic: r.Topic, ID: r.Partition}
	m.mu.Lock()
	m.records[p] = append(m.records[p], r.Offset)
	m.mu.Unlock()
	if m.each != nil {
		m.each(p, r)
	}
}

// storing marks every record as done at once.
func (m *member) storing(t *testing.T) func(engine.Partition, pipeline.Record) {
	return func(p engine.Partition, r pipeline.Record) {
		if err := m.Store(p, r.Offset+1); err != nil {
			t.Errorf("storing %v@%d: %v", p, r.Offset, err)
		}
	}
}

// starts returns where the partitions that it owns began.
func (m *member) starts() map[engine.Partition]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	starts := map[engine.Partition]int64{}
	for p, at := range m.owned {
		starts[p] = at
	}
	return starts
}

func (m *member) got(p engine.Partition) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.records[p])
}

// count is how many records came.
func (m *member) count() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, offsets := range m.records {
		n += len(offsets)
	}
	return n
}

func (m *member) story() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.moves)
}

// group makes the name of a group of its own; it is deleted at the end.
func (b *broker) group(t *testing.T) kafka.ConsumerConfig {
	group := name()
	t.Cleanup(func() { b.admin.DeleteGroups(context.Background(), group) })
	return kafka.ConsumerConfig{Group: group}
}

// run tells whether offsets are from, from+1, … to-1.
func run(offsets []int64, from, to int64) bool {
	if int64(len(offsets)) != to-from {
		return false
	}
	for i, o := range offsets {
		if o != from+int64(i) {
			return false
		}
	}
	return true
}
