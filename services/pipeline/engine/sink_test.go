package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
)

// broker is a model of Kafka: logs, committed offsets, and one dead-letter log.
// It outlives the engines that the test kills.
type broker struct {
	mu        sync.Mutex
	logs      map[engine.Partition][]pipeline.Record
	committed map[engine.Partition]int64
	dead      []pipeline.Record
	deadFails int // so many dead letters fail before one is taken
}

// Produce takes dead letters, some only after failures.
func (b *broker) Produce(_ context.Context, r pipeline.Record, done func(error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deadFails > 0 {
		b.deadFails--
		go done(errors.New("not enough replicas"))
		return nil
	}
	b.dead = append(b.dead, r)
	go done(nil)
	return nil
}

// member is a model of a group member. kill makes it forget everything at once.
type member struct {
	*broker
	check func() // committed <= durable, asked at every commit

	mu       sync.Mutex
	stored   map[engine.Partition]int64
	position map[engine.Partition]int64
	paused   map[engine.Partition]bool
	orders   chan func(engine.Handler) // rebalances, done by the polling goroutine
	killed   chan struct{}
}

func (m *member) Run(ctx context.Context, h engine.Handler) error {
	m.broker.mu.Lock()
	all := slices.Collect(maps.Keys(m.logs))
	m.broker.mu.Unlock()
	m.assign(h, all)
	for {
		select {
		case <-m.killed:
			h.Lost(all) // the test's way to free goroutines: nothing is committed after a kill
			return nil
		case <-ctx.Done():
			h.Revoked(all)
			m.commit()
			return nil
		case order := <-m.orders:
			order(h)
		default:
			if !m.poll(h) {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

func (m *member) assign(h engine.Handler, ps []engine.Partition) {
	starts := map[engine.Partition]int64{}
	m.mu.Lock()
	m.broker.mu.Lock()
	for _, p := range ps {
		starts[p] = m.committed[p]
		m.position[p], m.paused[p] = m.committed[p], false
		delete(m.stored, p)
	}
	m.broker.mu.Unlock()
	m.mu.Unlock()
	h.Assigned(starts)
}

func (m *member) revoke(h engine.Handler, ps []engine.Partition, lost bool) {
	if lost {
		h.Lost(ps)
	} else {
		h.Revoked(ps)
		m.commit()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range ps {
		delete(m.position, p)
		delete(m.stored, p)
	}
}

// poll delivers one record of a random partition.
func (m *member) poll(h engine.Handler) bool {
	m.mu.Lock()
	var ready []pipeline.Record
	m.broker.mu.Lock()
	for p, at := range m.position {
		if log := m.logs[p]; !m.paused[p] && at < int64(len(log)) {
			ready = append(ready, log[at])
		}
	}
	m.broker.mu.Unlock()
	if len(ready) == 0 {
		m.mu.Unlock()
		return false
	}
	r := ready[rand.IntN(len(ready))]
	m.position[engine.Partition{Topic: r.Topic, ID: r.Partition}]++
	m.mu.Unlock()
	h.Record(r)
	return true
}

func (m *member) commit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.killed:
		return
	default:
	}
	m.broker.mu.Lock()
	maps.Copy(m.committed, m.stored)
	m.broker.mu.Unlock()
	m.check()
}

func (m *member) Pause(p engine.Partition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, owned := m.position[p]; !owned {
		return engine.ErrNotOwned
	}
	m.paused[p] = true
	return nil
}

func (m *member) Resume(p engine.Partition, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, owned := m.position[p]; !owned {
		return engine.ErrNotOwned
	}
	m.paused[p], m.position[p] = false, offset
	return nil
}

func (m *member) Store(p engine.Partition, next int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, owned := m.position[p]; !owned {
		return engine.ErrNotOwned
	}
	m.stored[p] = next
	return nil
}

// table is a model of a store with the guard by version, that fails as told.
type table struct {
	mu      sync.Mutex
	rows    map[string]market.Event
	mood    func() error // the next write's error, drawn by the test
	partial bool         // a failed write may have written some
	slow    time.Duration
}

// tooMany marks an event that this store never takes.
func tooMany(e market.Event) bool {
	c, ok := e.(*market.Candle)
	return ok && c.Trades != nil && *c.Trades == poisonTrades
}

const poisonTrades = 666

func (t *table) Write(ctx context.Context, b pipeline.Batch) (pipeline.Effects, error) {
	t.mu.Lock()
	slow := t.slow
	t.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return pipeline.Effects{}, ctx.Err()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.mood(); err != nil {
		if t.partial {
			t.put(b[:len(b)/2])
		}
		return pipeline.Effects{}, err
	}
	var poison []int
	for i, e := range b {
		if tooMany(e) {
			poison = append(poison, i)
		}
	}
	if len(poison) > 0 {
		e := &pipeline.Error{Class: pipeline.Poison, Code: "1264", Err: errors.New("out of range")}
		if rand.IntN(2) == 0 { // stores that can tell, and stores that cannot
			e.Items = poison
		}
		return pipeline.Effects{}, e
	}
	t.put(b)
	return pipeline.Effects{Kept: len(b)}, nil
}

func (t *table) put(b pipeline.Batch) {
	for _, e := range b {
		if old := t.rows[e.Key()]; !tooMany(e) && (old == nil || e.Version() > old.Version()) {
			t.rows[e.Key()] = e
		}
	}
}

const minute = 60_000

func candle(minutes, version int, closed bool) *market.Candle {
	one, err := market.ParseDecimal(fmt.Sprint(version))
	if err != nil {
		panic(err)
	}
	open := market.Millis(1_700_000_040_000 + minutes*minute)
	return &market.Candle{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m", OpenTime: open,
		Open: one, High: one, Low: one, Close: one, Closed: closed,
		EventTime: open + market.Millis(version), ReceivedTime: open + market.Millis(version), Origin: market.OriginLive,
	}
}

// world is one run of the property: a broker, a store, and engines that come and go.
type world struct {
	t      *rapid.T
	broker *broker
	table  *table
	member *member
	cancel context.CancelFunc
	done   chan error
	sent   map[string]market.Event // newest version of each key
	poison map[string]bool         // value of each record that must be a dead letter
	breach error                   // of committed <= durable, found by any goroutine
}

func (w *world) start() {
	w.member = &member{
		broker: w.broker, check: w.committedIsDurable, stored: map[engine.Partition]int64{}, position: map[engine.Partition]int64{},
		paused: map[engine.Partition]bool{}, orders: make(chan func(engine.Handler)), killed: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.done = cancel, make(chan error, 1)
	sink := engine.NewSink(engine.SinkConfig{Rows: 4, Bytes: 1 << 20, Age: 5 * time.Millisecond}, w.table, w.member, w.broker, "group",
		func(string, string) {}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	go func() { w.done <- sink.Run(ctx) }()
}

func (w *world) stop(kill bool) {
	if kill {
		close(w.member.killed)
	} else {
		w.cancel()
	}
	if err := <-w.done; err != nil {
		w.t.Fatalf("the engine ended with %v", err)
	}
	w.cancel()
	w.committedIsDurable()
}

// committedIsDurable is the invariant that holds at every moment: what is below
// the committed offset is stored, superseded, or a dead letter.
func (w *world) committedIsDurable() {
	if err := w.undurable(); err != nil {
		w.table.mu.Lock()
		w.breach = err
		w.table.mu.Unlock()
	}
}

func (w *world) undurable() error {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.broker.mu.Lock()
	defer w.broker.mu.Unlock()
	dead := map[string]bool{}
	for _, d := range w.broker.dead {
		dead[string(d.Value)] = true
	}
	for p, next := range w.broker.committed {
		for _, r := range w.broker.logs[p][:next] {
			if dead[string(r.Value)] {
				continue
			}
			e, err := r.Event()
			if err != nil {
				return fmt.Errorf("committed %v@%d is poison and no dead letter", p, r.Offset)
			}
			if row := w.table.rows[e.Key()]; row == nil || row.Version() < e.Version() {
				return fmt.Errorf("committed %v@%d is not durable: row %v", p, r.Offset, row)
			}
		}
	}
	return nil
}

func (w *world) append(p engine.Partition, r pipeline.Record) {
	w.broker.mu.Lock()
	defer w.broker.mu.Unlock()
	r.Topic, r.Partition, r.Offset, r.Time = p.Topic, p.ID, int64(len(w.broker.logs[p])), time.Now()
	w.broker.logs[p] = append(w.broker.logs[p], r)
}

func (w *world) produce(p engine.Partition, minutes, version int, closed bool, trades int64) {
	c := candle(minutes*10+int(p.ID), version, closed) // a key stays in its partition
	c.Trades = &trades
	r, err := pipeline.NewRecord(c, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(p, r)
	if trades == poisonTrades {
		w.poison[string(r.Value)] = true
	} else if old := w.sent[c.Key()]; old == nil || c.Version() > old.Version() {
		w.sent[c.Key()] = c
	}
}

// finish lets the engine have its way, and compares with the model.
func (w *world) finish() {
	w.table.mu.Lock()
	w.table.mood = func() error { return nil }
	w.table.slow = 0
	w.table.mu.Unlock()
	behind := func() bool {
		w.member.commit()
		w.broker.mu.Lock()
		defer w.broker.mu.Unlock()
		for p, log := range w.broker.logs {
			if w.broker.committed[p] < int64(len(log)) {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(time.Minute); behind(); { // of the bubble's clock
		if time.Now().After(deadline) {
			w.t.Fatalf("no progress: committed %v of %d records", w.broker.committed, len(w.sent))
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.stop(false)
	if w.breach != nil {
		w.t.Fatal(w.breach)
	}
	for key, want := range w.sent {
		if got := w.table.rows[key]; got == nil || got.Version() != want.Version() {
			w.t.Fatalf("key %s: stored %v, want version %d", key, got, want.Version())
		}
	}
	dead := map[string]bool{}
	for _, d := range w.broker.dead {
		letter, err := pipeline.DecodeDeadLetter(d)
		if err != nil {
			w.t.Fatal(err)
		}
		if !w.poison[string(letter.Record.Value)] {
			w.t.Fatalf("dead letter of a good record: %s", letter.Message)
		}
		dead[string(letter.Record.Value)] = true
	}
	if len(dead) != len(w.poison) {
		w.t.Fatalf("%d kinds of dead letters, want %d", len(dead), len(w.poison))
	}
}

// step is one thing that happens.
type step struct {
	Do        string
	Partition int32
	Minute    int
	Version   int
	Closed    bool
	N         int
}

func drawStep(t *rapid.T) step {
	return step{
		Do: rapid.SampledFrom([]string{"append", "append", "append", "append", "poison", "garbage", "wait", "environment", "transient", "partial",
			"slow", "dead letters fail", "rebalance", "lost", "kill", "stop"}).Draw(t, "do"),
		Partition: rapid.Int32Range(0, 2).Draw(t, "partition"),
		Minute:    rapid.IntRange(0, 3).Draw(t, "minute"),
		Version:   rapid.IntRange(1, 5).Draw(t, "version"),
		Closed:    rapid.Bool().Draw(t, "closed"),
		N:         rapid.IntRange(1, 12).Draw(t, "n"),
	}
}

func (w *world) step(s step) {
	p := engine.Partition{Topic: market.TopicCandles, ID: s.Partition}
	fail := func(class pipeline.Class, partial bool) {
		left := s.N
		w.table.mu.Lock()
		defer w.table.mu.Unlock()
		w.table.partial = partial
		w.table.mood = func() error {
			if left--; left < 0 {
				return nil
			}
			return &pipeline.Error{Class: class, Code: "1", Err: errors.New("no")}
		}
	}
	switch s.Do {
	case "append":
		for i := range s.N {
			w.produce(p, s.Minute, s.Version+i, s.Closed, 1)
		}
	case "poison":
		w.produce(p, s.Minute, s.Version, s.Closed, poisonTrades)
	case "garbage":
		value := fmt.Sprintf("{%d %d", s.Minute, s.Version)
		w.append(p, pipeline.Record{Value: []byte(value), Headers: []pipeline.Header{{Name: market.HeaderContract, Value: []byte("1")}}})
		w.poison[value] = true
	case "wait":
		time.Sleep(time.Duration(s.N*s.N) * 10 * time.Millisecond)
	case "environment":
		fail(pipeline.Environment, false)
	case "transient":
		fail(pipeline.Transient, false)
	case "partial":
		fail(pipeline.Environment, true)
	case "slow":
		w.table.mu.Lock()
		w.table.slow = time.Duration(s.N) * 700 * time.Millisecond // up to beyond the drain's patience
		w.table.mu.Unlock()
	case "dead letters fail":
		w.broker.mu.Lock()
		w.broker.deadFails = s.N
		w.broker.mu.Unlock()
	case "rebalance", "lost":
		m := w.member
		ps := []engine.Partition{p}
		m.orders <- func(h engine.Handler) {
			m.revoke(h, ps, s.Do == "lost")
			m.assign(h, ps)
		}
	case "kill", "stop":
		w.stop(s.Do == "kill")
		w.start()
	}
}

// TestPromiseDelivery names design §4.1 and §4.3: whatever fails, nothing
// acknowledged is missing, no older version lies on top, committed <= durable.
func TestPromiseDelivery(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(drawStep), 5, 60).Draw(rt, "plan")
		var failure any // rapid fails by panic, which has to leave the bubble first
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			w := newWorld(rt)
			w.start()
			for _, s := range plan {
				w.step(s)
			}
			w.finish()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, sent: map[string]market.Event{}, poison: map[string]bool{},
		broker: &broker{logs: map[engine.Partition][]pipeline.Record{}, committed: map[engine.Partition]int64{}},
		table:  &table{rows: map[string]market.Event{}, mood: func() error { return nil }},
	}
	for id := range int32(3) {
		w.broker.logs[engine.Partition{Topic: market.TopicCandles, ID: id}] = nil
	}
	return w
}

// TestHangingStoreIsNotReady: a store that hangs returns no error, and is told
// of all the same, once, until it stores again.
func TestHangingStoreIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		w := newWorld(nil)
		w.table.slow = 30 * time.Second
		p := engine.Partition{Topic: market.TopicCandles}
		sink := engine.NewSink(engine.SinkConfig{Rows: 4, Bytes: 1 << 20}, w.table, &member{broker: w.broker, position: map[engine.Partition]int64{p: 0}, stored: map[engine.Partition]int64{}}, w.broker, "group",
			func(part, problem string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, part+": "+problem)
			}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		sink.Assigned(map[engine.Partition]int64{p: 0})
		r, err := pipeline.NewRecord(candle(1, 1, true), "test")
		if err != nil {
			t.Fatal(err)
		}
		sink.Record(r)
		time.Sleep(time.Minute)
		sink.Revoked([]engine.Partition{p})
		if want := []string{"store: a batch has not been stored for 5s", "store: "}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
