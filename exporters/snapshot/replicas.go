package snapshot

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fenced asks any broker how many are registered and may not serve.
func (l *look) fenced(ctx context.Context, s *Snapshot) {
	if !l.has(kmsg.DescribeCluster) {
		return
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	for _, id := range l.brokers {
		resp, err := ask[*kmsg.DescribeClusterResponse](ctx, l, id, req)
		if err != nil {
			continue
		}
		if l.code(kmsg.DescribeCluster, resp.ErrorCode) {
			s.Fenced = 0
			for _, b := range resp.Brokers {
				if b.IsFenced {
					s.Fenced++
				}
			}
		}
		return
	}
}

// reassignments asks which partitions move.
func (l *look) reassignments(ctx context.Context, topics []Topic) {
	if !l.has(kmsg.ListPartitionReassignments) {
		return
	}
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = int32(l.cfg.Refresh.BrokerTimeout.Milliseconds())
	resp, ok := forwarded[*kmsg.ListPartitionReassignmentsResponse](ctx, l, req)
	if !ok || !l.code(kmsg.ListPartitionReassignments, resp.ErrorCode) {
		return
	}
	for _, rt := range resp.Topics {
		i, found := slices.BinarySearchFunc(topics, rt.Topic, func(t Topic, name string) int { return cmp.Compare(t.Name, name) })
		if !found {
			continue
		}
		for _, rp := range rt.Partitions {
			j, found := slices.BinarySearchFunc(topics[i].Partitions, rp.Partition, func(p Partition, id int32) int { return cmp.Compare(p.ID, id) })
			if found {
				p := &topics[i].Partitions[j]
				p.Reassigning, p.Adding = true, rp.AddingReplicas
			}
		}
	}
}

// logDirs asks all brokers for the sizes of logs. Who does not answer keeps what
// was known of it: the question is a heavy one, and being slow with it is no sign
// of death.
func (l *look) logDirs(ctx context.Context, topics []Topic) {
	defer l.timed(phaseLogs)()
	if !l.has(kmsg.DescribeLogDirs) {
		return
	}
	before := l.logs
	l.logs = make(map[int32]*Logs, len(l.brokers))
	byName := make(map[string]*Topic, len(topics))
	for i := range topics {
		byName[topics[i].Name] = &topics[i]
	}
	each(l.brokers, func(id int32) {
		logs := l.logsOf(ctx, id, byName)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.logs[id] = cmp.Or(logs, before[id]); l.logs[id] == nil {
			delete(l.logs, id)
		}
	})
}

// logsOf asks one broker. nil: it did not answer.
func (l *look) logsOf(ctx context.Context, broker int32, topics map[string]*Topic) *Logs {
	l.mu.Lock()
	down := l.down[broker]
	l.mu.Unlock()
	if down != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Refresh.BrokerTimeout)
	defer cancel()
	// To this broker alone: the client's merged answer lacks the volumes' bytes.
	answer, err := l.client.Broker(int(broker)).Request(ctx, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		l.metrics.errors.WithLabelValues(kmsg.DescribeLogDirs.Name(), noAnswer).Inc()
		return nil
	}
	resp := answer.(*kmsg.DescribeLogDirsResponse)
	if !l.code(kmsg.DescribeLogDirs, resp.ErrorCode) {
		return nil
	}
	logs := &Logs{Time: l.now, Sizes: make(map[[16]byte][]int64, len(topics))}
	for _, rd := range resp.Dirs {
		dir := LogDir{Path: rd.Dir, Total: rd.TotalBytes, Usable: rd.UsableBytes, Offline: rd.ErrorCode == kerr.KafkaStorageError.Code}
		if !l.code(kmsg.DescribeLogDirs, rd.ErrorCode) {
			dir.Total, dir.Usable = -1, -1
		}
		for _, rt := range rd.Topics {
			t := topics[rt.Topic]
			if t == nil {
				continue
			}
			sizes := logs.Sizes[t.ID]
			if sizes == nil {
				sizes = slices.Repeat([]int64{-1}, len(t.Partitions))
				logs.Sizes[t.ID] = sizes
			}
			for _, rp := range rt.Partitions {
				dir.Used += rp.Size
				if !rp.IsFuture && rp.Partition >= 0 && int(rp.Partition) < len(sizes) {
					sizes[rp.Partition] = rp.Size
				}
			}
		}
		logs.Dirs = append(logs.Dirs, dir)
	}
	slices.SortFunc(logs.Dirs, func(a, b LogDir) int { return cmp.Compare(a.Path, b.Path) })
	return logs
}
