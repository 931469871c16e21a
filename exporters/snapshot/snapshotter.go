package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Snapshotter looks at the cluster again and again, one look at a time.
type Snapshotter struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	client  *kgo.Client
	// forwards has connections of its own, for what a broker asks the controller on:
	// until that answers, the broker answers nothing else on the connection.
	forwards *kgo.Client
	current  atomic.Pointer[Snapshot]
	// OnChange is told of every new snapshot, before the next look begins. It is
	// set before Run and must not block for long.
	OnChange func(*Snapshot)
	// Report is told of what is wrong with Kafka, "" is nothing, after each look.
	// It is set before Run.
	Report func(problem string)

	// What one look leaves to the next.
	groups     map[string]*Group
	history    history
	configured map[string]settings
	logs       map[int32]*Logs
	txns       map[int32]*Transactions
	seldomAt   time.Time
	apis       *kversion.Versions
	apisAt     time.Time
	complaint  string
}

// New makes a Snapshotter. It does not connect; an error is that of cfg.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Snapshotter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, err := cfg.Options()
	if err != nil {
		return nil, err
	}
	s := &Snapshotter{cfg: cfg, log: log, metrics: newMetrics(reg), OnChange: func(*Snapshot) {}, Report: func(string) {}}
	opts = append(opts, kgo.WithHooks(s.metrics))
	if s.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("--kafka.server %q: %w", cfg.Kafka.Server, err)
	}
	// It learns of brokers by itself; the other does from what we ask for.
	if s.forwards, err = kgo.NewClient(append(opts, kgo.MetadataMaxAge(settingsAge))...); err != nil {
		s.client.Close()
		return nil, fmt.Errorf("--kafka.server %q: %w", cfg.Kafka.Server, err)
	}
	s.current.Store(&Snapshot{Controller: -1, Fenced: -1})
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "candlestack_exporter", Name: "snapshot_age_seconds",
		Help: "Age of what is shown; 0 before the first look that succeeded.",
	}, func() float64 {
		if at := s.Current().Time; !at.IsZero() {
			return time.Since(at).Seconds()
		}
		return 0
	}))
	return s, nil
}

// Current is the newest snapshot. It is never nil: before the first look it is
// empty and not Up.
func (s *Snapshotter) Current() *Snapshot { return s.current.Load() }

// Run looks until ctx ends. That Kafka is away is no error.
func (s *Snapshotter) Run(ctx context.Context) error {
	defer s.Close()
	tick := time.NewTicker(s.cfg.Refresh.Interval)
	defer tick.Stop()
	for {
		s.Refresh(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close ends the connections. It is for who does not Run.
func (s *Snapshotter) Close() {
	s.client.Close()
	s.forwards.Close()
}

// Refresh looks once. It is for Run, and for tests and benchmarks in its stead.
func (s *Snapshotter) Refresh(ctx context.Context) {
	begin := time.Now()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.Refresh.Deadline)
	defer cancel()
	next, err := s.look(bounded)
	if ctx.Err() != nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = "error"
		next = s.failed(begin)
	} else {
		s.metrics.lastSuccess.Set(float64(next.Time.UnixMilli()) / 1000)
	}
	s.current.Store(next)
	pages := s.timed(phasePages)
	s.OnChange(next)
	pages()
	s.metrics.refresh.WithLabelValues(outcome).Observe(time.Since(begin).Seconds())
	if err != nil {
		s.Report(err.Error())
	} else {
		s.Report("")
	}
}

// failed is what is shown after a look that failed: for two intervals what was
// last seen, then nothing.
func (s *Snapshotter) failed(now time.Time) *Snapshot {
	last := *s.Current()
	if now.Sub(last.Time) > 2*s.cfg.Refresh.Interval {
		s.groups = nil
		return &Snapshot{Time: last.Time, Controller: -1, Fenced: -1}
	}
	last.Up = false
	last.Brokers = slices.Clone(last.Brokers)
	for i := range last.Brokers {
		last.Brokers[i].Up = false
	}
	return &last
}

// look asks for everything. The order matters: commits before end offsets.
func (s *Snapshotter) look(ctx context.Context) (*Snapshot, error) {
	l := &look{Snapshotter: s, now: time.Now(), ids: map[[16]byte]string{}, listed: map[int32]map[GroupKind]int{}, down: map[int32]error{}, codes: map[kmsg.Key]map[int16]bool{}}
	next := &Snapshot{Up: true, Fenced: -1, Dropped: map[string]int{}}
	if err := l.metadata(ctx, next); err != nil {
		return nil, err
	}
	l.versions(ctx)
	aside := make(chan struct{})
	go func() {
		defer close(aside)
		l.fenced(ctx, next)
		l.configs(ctx, next.Topics)
		l.quorum(ctx, next)
		l.reassignments(ctx, next.Topics)
	}()
	groups, whole := l.groups(ctx)
	l.describe(ctx, groups)
	<-aside
	next.Time = time.Now()
	l.ends(ctx, next.Topics)
	if len(l.down) == len(l.brokers) {
		if len(l.brokers) == 0 {
			return nil, errors.New("the cluster has no broker")
		}
		return nil, l.down[l.brokers[0]]
	}
	if s.apis != nil {
		next.Version = s.apis.VersionGuess()
	}
	s.history.add(next.Time.UnixMilli(), next.Topics)
	s.groups = l.merge(groups, whole)
	l.date(ctx, next.Topics)
	l.seldom(ctx, next.Topics)
	next.Groups = s.visible(next)
	for i := range next.Brokers {
		b := &next.Brokers[i]
		b.Up = b.Alive && l.down[b.ID] == nil
		b.Groups, b.Logs, b.Transactions = l.listed[b.ID], s.logs[b.ID], s.txns[b.ID]
	}
	for api, codes := range l.codes {
		s.metrics.answered(api, codes)
	}
	s.complain(l, next.Brokers)
	return next, nil
}

// complain logs a line where other brokers are away or fail than at the last look.
func (s *Snapshotter) complain(l *look, brokers []Broker) {
	var ids []int32
	for _, b := range brokers {
		if !b.Up {
			ids = append(ids, b.ID)
		}
	}
	text := fmt.Sprint(ids)
	if text == s.complaint || len(ids) == 0 && s.complaint == "" {
		return
	}
	s.complaint = text
	if len(ids) == 0 {
		s.complaint = ""
		s.log.Info("all brokers answer again")
		return
	}
	s.log.Warn("brokers do not answer, their part is missing", "brokers", ids, "cause", cmp.Or(l.down[ids[0]], errors.New("it is not in the cluster")))
}

// merge makes one group of each name of what coordinators told, with what is
// remembered. A group that nobody told of, or whose commits could not be read,
// stays as it was for two intervals where that may be a broker's fault.
func (l *look) merge(found []*Group, whole bool) map[string]*Group {
	groups := make(map[string]*Group, len(found))
	for _, g := range found {
		if other := groups[g.Name]; other == nil || better(g, other) {
			groups[g.Name] = g
		}
	}
	patience := 2 * l.cfg.Refresh.Interval
	for name, g := range groups {
		old := l.Snapshotter.groups[name]
		if g.read.IsZero() && old != nil && l.now.Sub(old.read) <= patience {
			groups[name] = old.clone()
			continue
		}
		g.remember(old, l.now)
	}
	if !whole {
		for name, old := range l.Snapshotter.groups {
			if groups[name] == nil && l.now.Sub(old.read) <= patience {
				groups[name] = old.clone()
			}
		}
	}
	return groups
}

// clone is a copy whose commits can be dated anew; those of g are published.
func (g *Group) clone() *Group {
	c := *g
	c.Topics = slices.Clone(g.Topics)
	for i := range c.Topics {
		t := &c.Topics[i]
		t.Commits = slices.Clone(t.Commits)
		for j := range t.Commits {
			t.Commits[j].Oldest, t.Commits[j].Known = time.Time{}, false
		}
	}
	return &c
}

// better tells which of two listings of a group is of its true coordinator.
func better(g, other *Group) bool {
	score := func(g *Group) (n int) {
		if !g.read.IsZero() {
			n += 4
		}
		if g.Described {
			n += 2
		}
		if g.State != "Dead" && g.State != "" {
			n++
		}
		return n
	}
	return cmp.Or(cmp.Compare(score(g), score(other)), cmp.Compare(g.Members, other.Members), cmp.Compare(g.Coordinator, other.Coordinator)) > 0
}

// remember fills in what only the memory of an earlier look can tell.
func (g *Group) remember(old *Group, now time.Time) {
	empty := g.Described && g.Members == 0
	if empty {
		g.emptySince = now
	}
	if old == nil {
		return
	}
	g.StateChanges = old.StateChanges
	if g.State != old.State && old.State != "" && g.State != "" {
		g.StateChanges++
	}
	if empty && !old.emptySince.IsZero() {
		g.emptySince = old.emptySince
	}
	for i := range g.Topics {
		t := &g.Topics[i]
		j, found := slices.BinarySearchFunc(old.Topics, t.Name, func(t GroupTopic, name string) int { return cmp.Compare(t.Name, name) })
		if !found {
			if len(t.Commits) > 0 {
				t.LastCommit = now
			}
			continue
		}
		before := &old.Topics[j]
		t.LastCommit = before.LastCommit
		if !slices.EqualFunc(t.Commits, before.Commits, func(a, b Commit) bool { return a.Partition == b.Partition && a.Offset == b.Offset }) {
			t.LastCommit = now
		}
	}
}

// Reasons for which a group is not shown.
const (
	dropEmpty = "empty"
	dropMax   = "max"
)

// visible is the groups that hygiene lets through, by name.
func (s *Snapshotter) visible(next *Snapshot) []Group {
	var groups []Group
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		after := s.cfg.Group.HideEmptyAfter
		switch {
		case after > 0 && !g.emptySince.IsZero() && next.Time.Sub(g.emptySince) > after:
			next.Dropped[dropEmpty]++
		case s.cfg.Group.Max > 0 && len(groups) == s.cfg.Group.Max:
			next.Dropped[dropMax]++
		default:
			groups = append(groups, *g)
		}
	}
	for _, reason := range []string{dropEmpty, dropMax} {
		s.metrics.dropped.WithLabelValues(reason).Set(float64(next.Dropped[reason]))
	}
	return groups
}
