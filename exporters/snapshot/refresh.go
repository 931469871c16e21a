package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// look is one refresh. Brokers answer at the same time, so what they fill in is
// under mu.
type look struct {
	*Snapshotter
	now     time.Time
	brokers []int32 // alive
	ids     map[[16]byte]string
	// headless: the active controller does not answer. One goroutine asks it.
	headless bool

	mu   sync.Mutex
	down map[int32]error
	// listed are the groups that brokers coordinate, counted.
	listed map[int32]map[GroupKind]int
	codes  map[kmsg.Key]map[int16]bool
}

// ask sends a request to one broker, without a second try: the next look is one.
// A broker that failed is not asked again in this look.
func ask[T kmsg.Response](ctx context.Context, l *look, broker int32, req kmsg.Request) (answer T, err error) {
	l.mu.Lock()
	err = l.down[broker]
	l.mu.Unlock()
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Refresh.BrokerTimeout)
	defer cancel()
	resp, err := l.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		l.metrics.errors.WithLabelValues(kmsg.Key(req.Key()).Name(), noAnswer).Inc()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.down[broker] = fmt.Errorf("asking broker %d for %s: %w", broker, kmsg.Key(req.Key()).Name(), err)
		return answer, l.down[broker]
	}
	return resp.(T), nil
}

// forwarded asks any broker for what it asks the active controller for. That no
// answer comes is no fault of a broker's, and who waited in vain asks no more in
// this look.
func forwarded[T kmsg.Response](ctx context.Context, l *look, req kmsg.Request) (answer T, ok bool) {
	if l.headless {
		return answer, false
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Refresh.BrokerTimeout)
	defer cancel()
	// The first may be silent itself, so that another needs time too.
	patience := l.cfg.Refresh.BrokerTimeout / time.Duration(max(1, min(2, len(l.brokers))))
	for _, id := range l.brokers {
		try, cancel := context.WithTimeout(ctx, patience)
		resp, err := l.forwards.Broker(int(id)).Request(try, req)
		cancel()
		if err == nil {
			return resp.(T), true
		}
		l.metrics.errors.WithLabelValues(kmsg.Key(req.Key()).Name(), noAnswer).Inc()
	}
	l.headless = true
	return answer, false
}

// code notes the error code of an answer, and tells whether it is none.
func (l *look) code(api kmsg.Key, code int16) bool {
	if code != 0 {
		name := "unknown"
		if err := kerr.TypedErrorForCode(code); err != nil {
			name = err.Message
		}
		l.metrics.errors.WithLabelValues(api.Name(), name).Inc()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.codes[api] == nil {
		l.codes[api] = map[int16]bool{}
	}
	l.codes[api][code] = true
	return code == 0
}

// each runs f for each broker at the same time.
func each(brokers []int32, f func(broker int32)) {
	var all sync.WaitGroup
	for _, b := range brokers {
		all.Go(func() { f(b) })
	}
	all.Wait()
}

// anyMetadata asks one broker after the other, as the client goes round. The
// first has less time, so that a silent one costs little.
func (l *look) anyMetadata(ctx context.Context) (resp *kmsg.MetadataResponse, err error) {
	full := l.cfg.Refresh.BrokerTimeout
	for _, patience := range []time.Duration{full / 4, full, full} {
		try, cancel := context.WithTimeout(ctx, patience)
		resp, err = kmsg.NewPtrMetadataRequest().RequestWith(try, l.client)
		cancel()
		if err == nil {
			return resp, nil
		}
		l.metrics.errors.WithLabelValues(kmsg.Metadata.Name(), noAnswer).Inc()
	}
	return nil, err
}

// metadata asks for brokers, topics and partitions.
func (l *look) metadata(ctx context.Context, s *Snapshot) error {
	defer l.timed(phaseMetadata)()
	resp, err := l.anyMetadata(ctx)
	if err != nil {
		return fmt.Errorf("asking for metadata: %w", err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("asking for metadata: %w", err)
	}
	if resp.ClusterID != nil {
		s.ClusterID = *resp.ClusterID
	}
	known := map[int32]bool{}
	for _, b := range resp.Brokers {
		broker := Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Alive: true}
		if b.Rack != nil {
			broker.Rack = *b.Rack
		}
		known[b.NodeID] = true
		s.Brokers = append(s.Brokers, broker)
		l.brokers = append(l.brokers, b.NodeID)
	}
	for _, t := range resp.Topics {
		l.code(kmsg.Metadata, t.ErrorCode)
		if t.Topic == nil || len(t.Partitions) == 0 {
			continue
		}
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				if !known[id] {
					known[id] = true
					s.Brokers = append(s.Brokers, Broker{ID: id})
				}
			}
		}
		if !l.cfg.Topic.match.shows(*t.Topic) {
			continue
		}
		topic := Topic{Name: *t.Topic, ID: t.TopicID, Partitions: make([]Partition, 0, len(t.Partitions))}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, Partition{ID: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
				Replicas: p.Replicas, ISR: p.ISR, Offline: p.OfflineReplicas, Start: -1, End: -1})
		}
		slices.SortFunc(topic.Partitions, func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
		l.ids[t.TopicID] = topic.Name
		s.Topics = append(s.Topics, topic)
	}
	slices.SortFunc(s.Brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Topics, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// offsets asks for one offset of each partition that place chooses: the first of
// its time, or by the special times -1 the end and -2 the start. Each leader is
// asked once.
func (l *look) offsets(ctx context.Context, topics []Topic, time func(t *Topic, p *Partition) (ms int64, ask bool), take func(t *Topic, p *Partition, offset, ms int64)) {
	requests := map[int32]*kmsg.ListOffsetsRequest{}
	byName := make(map[string]*Topic, len(topics))
	for i := range topics {
		t := &topics[i]
		byName[t.Name] = t
		for j := range t.Partitions {
			p := &t.Partitions[j]
			ms, wanted := time(t, p)
			if p.Leader < 0 || !wanted {
				continue
			}
			req := requests[p.Leader]
			if req == nil {
				req = kmsg.NewPtrListOffsetsRequest()
				req.ReplicaID = -1
				requests[p.Leader] = req
			}
			if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != t.Name {
				req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: t.Name})
			}
			last := &req.Topics[len(req.Topics)-1]
			asked := kmsg.NewListOffsetsRequestTopicPartition()
			asked.Partition, asked.Timestamp, asked.MaxNumOffsets = p.ID, ms, 1
			last.Partitions = append(last.Partitions, asked)
		}
	}
	leaders := make([]int32, 0, len(requests))
	for id := range requests {
		leaders = append(leaders, id)
	}
	each(leaders, func(id int32) {
		resp, err := ask[*kmsg.ListOffsetsResponse](ctx, l, id, requests[id])
		if err != nil {
			return
		}
		for _, rt := range resp.Topics {
			t := byName[rt.Topic]
			for _, rp := range rt.Partitions {
				if !l.code(kmsg.ListOffsets, rp.ErrorCode) || t == nil {
					continue
				}
				// By index: others write to the neighbours meanwhile.
				j := sort.Search(len(t.Partitions), func(j int) bool { return t.Partitions[j].ID >= rp.Partition })
				if j < len(t.Partitions) && t.Partitions[j].ID == rp.Partition {
					take(t, &t.Partitions[j], rp.Offset, rp.Timestamp)
				}
			}
		}
	})
}

// ends asks for end and start of every partition. Commits must have been read
// before, or what was committed meanwhile would be beyond the end.
func (l *look) ends(ctx context.Context, topics []Topic) {
	defer l.timed(phaseOffsets)()
	at := func(ms int64) func(*Topic, *Partition) (int64, bool) {
		return func(*Topic, *Partition) (int64, bool) { return ms, true }
	}
	l.offsets(ctx, topics, at(-1), func(_ *Topic, p *Partition, offset, _ int64) { p.End = offset })
	l.offsets(ctx, topics, at(-2), func(_ *Topic, p *Partition, offset, _ int64) { p.Start = offset })
}

// quorum asks for the active controller and its log.
func (l *look) quorum(ctx context.Context, s *Snapshot) {
	s.Controller = -1
	switch {
	case l.apis == nil:
		return
	case !l.has(kmsg.DescribeQuorum):
		s.Mode = "zookeeper"
		return
	}
	s.Mode = "kraft"
	req := kmsg.NewPtrDescribeQuorumRequest()
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{partition}}}
	resp, ok := forwarded[*kmsg.DescribeQuorumResponse](ctx, l, req)
	if !ok || !l.code(kmsg.DescribeQuorum, resp.ErrorCode) || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 ||
		!l.code(kmsg.DescribeQuorum, resp.Topics[0].Partitions[0].ErrorCode) {
		return
	}
	p := &resp.Topics[0].Partitions[0]
	s.Controller, s.Epoch = p.LeaderID, p.LeaderEpoch
	s.Quorum = Quorum{HighWatermark: p.HighWatermark, Voters: map[int32]int64{}, Observers: map[int32]int64{}}
	for _, r := range p.CurrentVoters {
		s.Quorum.Voters[r.ReplicaID] = r.LogEndOffset
	}
	for _, r := range p.Observers {
		s.Quorum.Observers[r.ReplicaID] = r.LogEndOffset
	}
}

// settingsAge is how long we believe what does not change by itself.
const settingsAge = 5 * time.Minute

// versions learns which APIs the cluster has.
func (l *look) versions(ctx context.Context) {
	if l.apis != nil && l.now.Sub(l.apisAt) < settingsAge {
		return
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "candlestack-exporter", "1" // a broker refuses who has no name
	for _, id := range l.brokers {
		resp, err := ask[*kmsg.ApiVersionsResponse](ctx, l, id, req)
		if err != nil || resp.ErrorCode != 0 {
			continue
		}
		l.apis, l.apisAt = kversion.FromApiVersionsResponse(resp), l.now
		for api := range asked {
			value := 0.0
			if l.has(api) {
				value = 1
			}
			l.metrics.supported.WithLabelValues(api.Name()).Set(value)
		}
		return
	}
}

// has tells whether the cluster has an API in a version that serves us.
func (l *look) has(api kmsg.Key) bool {
	if l.apis == nil {
		return false
	}
	version, ok := l.apis.LookupMaxKeyVersion(int16(api))
	return ok && version >= asked[api]
}

// settings is what a topic's configuration says that we use.
type settings struct {
	id        [16]byte
	read      time.Time
	retention time.Duration
	minISR    int
}

// configs fills in settings of topics, and asks for those that are new or old.
func (l *look) configs(ctx context.Context, topics []Topic) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	before := l.configured
	l.configured = make(map[string]settings, len(topics))
	for _, t := range topics {
		if old, ok := before[t.Name]; ok && old.id == t.ID {
			l.configured[t.Name] = old
			if l.now.Sub(old.read) < settingsAge {
				continue
			}
		}
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, t.Name
		resource.ConfigNames = []string{"cleanup.policy", "min.insync.replicas", "retention.ms"}
		req.Resources = append(req.Resources, resource)
	}
	ids := map[string][16]byte{}
	for _, t := range topics {
		ids[t.Name] = t.ID
	}
	if len(req.Resources) > 0 && l.has(kmsg.DescribeConfigs) {
		for _, id := range l.brokers {
			resp, err := ask[*kmsg.DescribeConfigsResponse](ctx, l, id, req)
			if err != nil {
				continue
			}
			for _, r := range resp.Resources {
				s := settings{id: ids[r.ResourceName], read: l.now}
				if l.code(kmsg.DescribeConfigs, r.ErrorCode) {
					s.parse(r.Configs)
				}
				l.configured[r.ResourceName] = s
			}
			break
		}
	}
	for i := range topics {
		s := l.configured[topics[i].Name]
		topics[i].Retention, topics[i].MinISR = s.retention, s.minISR
	}
}

func (s *Snapshotter) timed(phase string) (done func()) {
	begin := time.Now()
	return func() { s.metrics.phase.WithLabelValues(phase).Observe(time.Since(begin).Seconds()) }
}

var _ kgo.Hook = (*metrics)(nil)
