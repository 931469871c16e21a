package snapshot

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// parse reads a topic's configuration.
func (s *settings) parse(configs []kmsg.DescribeConfigsResponseResourceConfig) {
	deletes, retention := true, int64(0)
	for _, c := range configs {
		if c.Value == nil {
			continue
		}
		switch c.Name {
		case "cleanup.policy":
			deletes = strings.Contains(*c.Value, "delete")
		case "min.insync.replicas":
			s.minISR, _ = strconv.Atoi(*c.Value)
		case "retention.ms":
			retention, _ = strconv.ParseInt(*c.Value, 10, 64)
		}
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if deletes && retention > 0 && retention <= most {
		s.retention = time.Duration(retention) * time.Millisecond
	}
}

// groups asks all brokers for the groups that they coordinate. whole tells
// whether all of them answered. A group that moves may be listed by two.
func (l *look) groups(ctx context.Context) (found []*Group, whole bool) {
	defer l.timed(phaseGroups)()
	whole = true
	each(l.brokers, func(id int32) {
		resp, err := ask[*kmsg.ListGroupsResponse](ctx, l, id, kmsg.NewPtrListGroupsRequest())
		ok := err == nil && l.code(kmsg.ListGroups, resp.ErrorCode)
		l.mu.Lock()
		defer l.mu.Unlock()
		if !ok {
			whole = false
			return
		}
		l.listed[id] = map[GroupKind]int{}
		for _, g := range resp.Groups {
			l.listed[id][GroupKind{cmp.Or(strings.ToLower(g.GroupType), "classic"), g.GroupState}]++
			if l.cfg.Group.match.shows(g.Group) {
				found = append(found, &Group{Name: g.Group, Coordinator: id, State: g.GroupState,
					Type: cmp.Or(strings.ToLower(g.GroupType), "classic"), ProtocolType: g.ProtocolType})
			}
		}
	})
	return found, whole
}

// describe fills in members and commits of groups, which it asks their
// coordinators for, all groups of one at once.
func (l *look) describe(ctx context.Context, groups []*Group) {
	defer l.timed(phaseCommits)()
	byBroker := map[int32]map[string]*Group{}
	for _, g := range groups {
		if byBroker[g.Coordinator] == nil {
			byBroker[g.Coordinator] = map[string]*Group{}
		}
		byBroker[g.Coordinator][g.Name] = g
	}
	each(slices.Collect(maps.Keys(byBroker)), func(id int32) {
		mine := byBroker[id]
		var classic, modern, reading []string
		for _, name := range slices.Sorted(maps.Keys(mine)) {
			switch mine[name].Type {
			case "classic":
				classic, reading = append(classic, name), append(reading, name)
			case "consumer":
				modern, reading = append(modern, name), append(reading, name)
			case "streams":
				reading = append(reading, name)
			}
		}
		// The three fill different fields, but for topics.
		assigned := map[string]map[string][]int32{}
		commits := map[string]map[string][]Commit{}
		var all sync.WaitGroup
		all.Go(func() { l.commits(ctx, id, reading, commits) })
		all.Go(func() {
			l.classic(ctx, id, classic, mine, assigned)
			l.modern(ctx, id, modern, mine, assigned)
		})
		all.Wait()
		for name, g := range mine {
			topics, ok := commits[name]
			if !ok && slices.Contains([]string{"classic", "consumer", "streams"}, g.Type) {
				continue // not read: the coordinator moved, or refuses
			}
			g.read = l.now
			for topic := range assigned[name] {
				if _, ok := topics[topic]; !ok && topics != nil {
					topics[topic] = nil
				}
			}
			for _, topic := range slices.Sorted(maps.Keys(topics)) {
				slices.Sort(assigned[name][topic])
				slices.SortFunc(topics[topic], func(a, b Commit) int { return cmp.Compare(a.Partition, b.Partition) })
				g.Topics = append(g.Topics, GroupTopic{Name: topic, Assigned: assigned[name][topic], Commits: topics[topic]})
			}
		}
	})
}

// commits asks for all commits of groups.
func (l *look) commits(ctx context.Context, broker int32, names []string, commits map[string]map[string][]Commit) {
	if len(names) == 0 || !l.has(kmsg.OffsetFetch) {
		return
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	for _, name := range names {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = name
		req.Groups = append(req.Groups, g)
	}
	resp, err := ask[*kmsg.OffsetFetchResponse](ctx, l, broker, req)
	if err != nil {
		return
	}
	for _, g := range resp.Groups {
		if !l.code(kmsg.OffsetFetch, g.ErrorCode) {
			continue
		}
		topics := map[string][]Commit{}
		commits[g.Group] = topics
		for _, t := range g.Topics {
			name := t.Topic
			if name == "" {
				name = l.ids[t.TopicID]
			}
			if name == "" || !l.cfg.Topic.match.shows(name) {
				continue
			}
			found := slices.Grow(topics[name], len(t.Partitions))
			for _, p := range t.Partitions {
				if l.code(kmsg.OffsetFetch, p.ErrorCode) && p.Offset >= 0 {
					found = append(found, Commit{Partition: p.Partition, Offset: p.Offset})
				}
			}
			if len(found) > 0 {
				topics[name] = found
			}
		}
	}
}

// classic asks for members of groups whose members assign partitions.
func (l *look) classic(ctx context.Context, broker int32, names []string, groups map[string]*Group, assigned map[string]map[string][]int32) {
	if len(names) == 0 || !l.has(kmsg.DescribeGroups) {
		return
	}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = names
	resp, err := ask[*kmsg.DescribeGroupsResponse](ctx, l, broker, req)
	if err != nil {
		return
	}
	for _, d := range resp.Groups {
		g := groups[d.Group]
		if !l.code(kmsg.DescribeGroups, d.ErrorCode) || g == nil {
			continue
		}
		g.Described, g.State, g.ProtocolType, g.Assignor, g.Members = true, d.State, d.ProtocolType, d.Protocol, len(d.Members)
		topics := map[string][]int32{}
		assigned[g.Name] = topics
		if d.ProtocolType != "consumer" {
			continue // what other protocols assign is not partitions
		}
		for _, m := range d.Members {
			var a kmsg.ConsumerMemberAssignment
			n := 0
			if len(m.MemberAssignment) > 0 && a.ReadFrom(m.MemberAssignment) == nil {
				for _, t := range a.Topics {
					n += len(t.Partitions)
					l.assign(topics, t.Topic, t.Partitions)
				}
			}
			if n == 0 {
				g.EmptyMembers++
			}
		}
	}
}

// modern asks for members of groups whose coordinator assigns partitions (KIP-848).
func (l *look) modern(ctx context.Context, broker int32, names []string, groups map[string]*Group, assigned map[string]map[string][]int32) {
	if len(names) == 0 || !l.has(kmsg.ConsumerGroupDescribe) {
		return
	}
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = names
	resp, err := ask[*kmsg.ConsumerGroupDescribeResponse](ctx, l, broker, req)
	if err != nil {
		return
	}
	for _, d := range resp.Groups {
		g := groups[d.Group]
		if !l.code(kmsg.ConsumerGroupDescribe, d.ErrorCode) || g == nil {
			continue
		}
		g.Described, g.State, g.Assignor, g.Members = true, d.State, d.AssignorName, len(d.Members)
		g.ProtocolType = cmp.Or(g.ProtocolType, "consumer")
		topics := map[string][]int32{}
		assigned[g.Name] = topics
		for _, m := range d.Members {
			n := 0
			for _, t := range m.Assignment.TopicPartitions {
				n += len(t.Partitions)
				l.assign(topics, cmp.Or(t.Topic, l.ids[t.TopicID]), t.Partitions)
			}
			if n == 0 {
				g.EmptyMembers++
			}
		}
	}
}

func (l *look) assign(topics map[string][]int32, topic string, partitions []int32) {
	if topic != "" && l.cfg.Topic.match.shows(topic) {
		topics[topic] = append(topics[topic], partitions...)
	}
}
