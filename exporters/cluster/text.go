package cluster

import (
	"io"
	"runtime"
	"slices"
	"strconv"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
	"github.com/candlestack/candlestack/services/telemetry"
)

// encoder knows how a cluster is told.
type encoder struct{ exposition.Encoder }

func (e *encoder) of(f family) { e.Of(exposition.Family{Name: f.name, Kind: f.kind, Help: f.help}) }

// Write writes the exposition of s, and returns the number of its series. w must
// not fail.
func (c *Config) Write(w io.Writer, s *snapshot.Snapshot) (series int) {
	e := &encoder{exposition.NewEncoder(w, c.constant)}
	e.of(up)
	e.Bool(s.Up)
	v := telemetry.BuildVersion()
	e.of(buildInfo)
	e.Int(1, exposition.Label("branch", ""), ",", exposition.Label("goarch", runtime.GOARCH), ",", exposition.Label("goos", runtime.GOOS), ",", exposition.Label("goversion", v.Go), ",",
		exposition.Label("revision", v.Revision), ",", exposition.Label("tags", ""), ",", exposition.Label("version", v.Version))
	if s.ClusterID != "" {
		e.cluster(s)
	}
	var parts exposition.Numbers
	topics := e.topics(s, &parts)
	e.groups(c, s, topics, &parts)
	return e.Close()
}

func (e *encoder) cluster(s *snapshot.Snapshot) {
	e.of(clusterInfo)
	e.Int(1, exposition.Label("cluster_id", s.ClusterID), ",", exposition.Label("version", s.Version), ",", exposition.Label("mode", s.Mode))
	if s.Controller >= 0 {
		e.of(controllerID)
		e.Int(int64(s.Controller))
	}
	alive := 0
	e.of(brokerInfo)
	for _, b := range s.Brokers {
		if b.Alive {
			alive++
			e.Int(1, id(b.ID), ",", exposition.Label("address", b.Host+":"+strconv.Itoa(int(b.Port))))
		}
	}
	e.of(brokers)
	e.Int(int64(alive))
	e.of(brokerUp)
	for _, b := range s.Brokers {
		e.Bool(b.Up, id(b.ID))
	}
}

func id(broker int32) string { return exposition.Label("id", strconv.Itoa(int(broker))) }

// topic is a topic with its label.
type topic struct {
	*snapshot.Topic
	label string
}

// topics writes what is of topics and partitions, and returns topics by name.
func (e *encoder) topics(s *snapshot.Snapshot, parts *exposition.Numbers) map[string]topic {
	topics := make([]topic, len(s.Topics))
	byName := make(map[string]topic, len(s.Topics))
	for i := range s.Topics {
		topics[i] = topic{&s.Topics[i], exposition.Label("topic", s.Topics[i].Name)}
		byName[s.Topics[i].Name] = topics[i]
	}
	e.of(topicPartitions)
	for _, t := range topics {
		e.Int(int64(len(t.Partitions)), t.label)
	}
	each := func(f family, write func(t topic, p *snapshot.Partition, partition string)) {
		e.of(f)
		for _, t := range topics {
			for i := range t.Partitions {
				write(t, &t.Partitions[i], parts.Partition(t.Partitions[i].ID))
			}
		}
	}
	each(currentOffset, func(t topic, p *snapshot.Partition, partition string) {
		if p.End >= 0 {
			e.Int(p.End, t.label, partition)
		}
	})
	each(oldestOffset, func(t topic, p *snapshot.Partition, partition string) {
		if p.Start >= 0 {
			e.Int(p.Start, t.label, partition)
		}
	})
	each(leader, func(t topic, p *snapshot.Partition, partition string) {
		if p.Leader >= 0 {
			e.Int(int64(p.Leader), t.label, partition)
		}
	})
	each(replicas, func(t topic, p *snapshot.Partition, partition string) {
		e.Int(int64(len(p.Replicas)), t.label, partition)
	})
	each(inSync, func(t topic, p *snapshot.Partition, partition string) {
		e.Int(int64(len(p.ISR)), t.label, partition)
	})
	each(preferred, func(t topic, p *snapshot.Partition, partition string) {
		e.Bool(p.Leader >= 0 && len(p.Replicas) > 0 && p.Leader == p.Replicas[0], t.label, partition)
	})
	each(underReplicated, func(t topic, p *snapshot.Partition, partition string) {
		e.Bool(len(p.ISR) < len(p.Replicas), t.label, partition)
	})
	each(offline, func(t topic, p *snapshot.Partition, partition string) {
		e.Bool(p.Leader < 0, t.label, partition)
	})
	each(underMinISR, func(t topic, p *snapshot.Partition, partition string) {
		if t.MinISR > 0 {
			e.Bool(len(p.ISR) < t.MinISR, t.label, partition)
		}
	})
	return byName
}

// states are those of classic and KIP-848 groups.
var states = []string{"Assigning", "CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Reconciling", "Stable"}

// reading is what a group has of a topic.
type reading struct {
	*snapshot.GroupTopic
	topic  topic
	labels string // of group and topic
	group  int
	sum    int64 // of offsets
	lag    int64
	oldest int64 // greatest lag in milliseconds, -1: not known
}

// groups writes what is of groups.
func (e *encoder) groups(c *Config, s *snapshot.Snapshot, topics map[string]topic, parts *exposition.Numbers) {
	labels := make([]string, len(s.Groups))
	var readings []reading
	for i := range s.Groups {
		g := &s.Groups[i]
		labels[i] = exposition.Label("consumergroup", g.Name)
		for j := range g.Topics {
			if t, ok := topics[g.Topics[j].Name]; ok && c.Granularity != "group" {
				readings = append(readings, reading{GroupTopic: &g.Topics[j], topic: t, labels: labels[i] + "," + t.label, group: i})
			}
		}
	}
	e.of(groupMembers)
	for i, g := range s.Groups {
		if g.Described {
			e.Int(int64(g.Members), labels[i])
		}
	}
	e.of(groupEmpty)
	for i, g := range s.Groups {
		if g.Described {
			e.Int(int64(g.EmptyMembers), labels[i])
		}
	}
	e.of(groupInfo)
	for i, g := range s.Groups {
		e.Int(1, labels[i], ",", exposition.Label("coordinator", strconv.Itoa(int(g.Coordinator))), ",", exposition.Label("type", g.Type), ",",
			exposition.Label("protocol_type", g.ProtocolType), ",", exposition.Label("assignor", g.Assignor))
	}
	quoted := make([]string, len(states))
	for i, state := range states {
		quoted[i] = "," + exposition.Label("state", state)
	}
	e.of(groupState)
	for i, g := range s.Groups {
		for j, state := range states {
			e.Bool(g.State == state, labels[i], quoted[j])
		}
		if g.State != "" && !slices.Contains(states, g.State) {
			e.Bool(true, labels[i], ",", exposition.Label("state", g.State))
		}
	}
	e.of(groupStateChanges)
	for i, g := range s.Groups {
		e.Int(g.StateChanges, labels[i])
	}
	e.of(groupAssigned)
	for i := range readings {
		if r := &readings[i]; s.Groups[r.group].Described {
			e.Int(int64(len(r.Assigned)), r.labels)
		}
	}
	e.offsets(c, s, readings, parts)
	e.of(groupLastCommit)
	for i := range readings {
		if r := &readings[i]; !r.LastCommit.IsZero() {
			e.Millis(r.LastCommit.UnixMilli(), r.labels)
		}
	}
}

// offsets writes what is of commits. A partition without one is -1, if the group
// has one of another partition of the topic; it does not count in sums.
func (e *encoder) offsets(c *Config, s *snapshot.Snapshot, readings []reading, parts *exposition.Numbers) {
	byPartition := c.Granularity == "partition"
	each := func(f family, write func(r *reading, p *snapshot.Partition, commit *snapshot.Commit, partition string)) {
		e.of(f)
		for i := range readings {
			r := &readings[i]
			if len(r.Commits) == 0 {
				continue
			}
			next := 0
			for j := range r.topic.Partitions {
				p := &r.topic.Partitions[j]
				if !c.ShowAll && !slices.Contains(r.Assigned, p.ID) {
					continue
				}
				for next < len(r.Commits) && r.Commits[next].Partition < p.ID {
					next++
				}
				var commit *snapshot.Commit
				if next < len(r.Commits) && r.Commits[next].Partition == p.ID {
					commit = &r.Commits[next]
				}
				write(r, p, commit, parts.Partition(p.ID))
			}
		}
	}
	for i := range readings {
		readings[i].oldest = -1
	}
	each(groupOffset, func(r *reading, _ *snapshot.Partition, commit *snapshot.Commit, partition string) {
		offset := int64(-1)
		if commit != nil {
			offset = commit.Offset
			r.sum += offset
		}
		if byPartition {
			e.Int(offset, r.labels, partition)
		}
	})
	if !e.Begun() {
		// Dashboard 7589 takes its variables from this family, and stays blank
		// where there is no series of it. This one fits no panel.
		e.Int(0)
	}
	each(groupLag, func(r *reading, p *snapshot.Partition, commit *snapshot.Commit, partition string) {
		lag := int64(-1)
		switch {
		case commit == nil:
		case p.End < 0:
			return
		default:
			lag = max(0, p.End-commit.Offset) // of a topic cut short or made anew, the commit is beyond the end
			r.lag += lag
		}
		if byPartition {
			e.Int(lag, r.labels, partition)
		}
	})
	now := s.Time.UnixMilli()
	each(groupLagSeconds, func(r *reading, p *snapshot.Partition, commit *snapshot.Commit, partition string) {
		if commit == nil || !commit.Known {
			return
		}
		age := int64(0)
		if !commit.Oldest.IsZero() {
			age = max(0, now-commit.Oldest.UnixMilli())
		}
		r.oldest = max(r.oldest, age)
		if byPartition {
			e.Millis(age, r.labels, partition)
		}
	})
	if byPartition {
		each(groupBelowStart, func(r *reading, p *snapshot.Partition, commit *snapshot.Commit, partition string) {
			if commit != nil && p.Start >= 0 {
				e.Int(max(0, p.Start-commit.Offset), r.labels, partition)
			}
		})
		each(groupRetention, func(r *reading, _ *snapshot.Partition, commit *snapshot.Commit, partition string) {
			if commit != nil && !commit.Oldest.IsZero() && r.topic.Retention > 0 {
				e.Millis(max(0, r.topic.Retention.Milliseconds()-(now-commit.Oldest.UnixMilli())), r.labels, partition)
			}
		})
	}
	sums := func(f family, value func(r *reading) int64, write func(v int64, parts ...string)) {
		e.of(f)
		for i := range readings {
			if r := &readings[i]; len(r.Commits) > 0 && value(r) >= 0 {
				write(value(r), r.labels)
			}
		}
	}
	sums(groupOffsetSum, func(r *reading) int64 { return r.sum }, e.Int)
	sums(groupLagSum, func(r *reading) int64 { return r.lag }, e.Int)
	sums(groupLagMax, func(r *reading) int64 { return r.oldest }, e.Millis)
}
