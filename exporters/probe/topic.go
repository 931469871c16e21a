package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster is an answer about the brokers and the topic.
type cluster struct {
	brokers []int32 // ascending; those that are alive and those that should have a replica
	err     error   // why no canary can be sent
	topic   [16]byte
	led     map[int32][]int32 // partitions by leader, ascending
}

// ask asks any broker, and another one where the first does not answer.
func (p *Probe) ask(ctx context.Context) (found *cluster, err error) {
	for range 2 {
		if found, err = p.askOne(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	return found, err
}

func (p *Probe) askOne(ctx context.Context) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline/2)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(p.cfg.Topic)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return nil, err
	}
	found := &cluster{led: map[int32][]int32{}}
	members := map[int32]bool{}
	for _, b := range resp.Brokers {
		members[b.NodeID] = true
	}
	alive := len(members)
	if len(resp.Topics) != 1 {
		return nil, errors.New("the answer does not tell of the topic")
	}
	t := resp.Topics[0]
	found.err, found.topic = kerr.ErrorForCode(t.ErrorCode), t.TopicID
	for _, part := range t.Partitions {
		if part.Leader >= 0 {
			found.led[part.Leader] = append(found.led[part.Leader], part.Partition)
		}
		for _, id := range part.Replicas {
			members[id] = true
		}
	}
	for _, partitions := range found.led {
		slices.Sort(partitions)
	}
	found.brokers = slices.Sorted(maps.Keys(members))
	if errors.Is(found.err, kerr.UnknownTopicOrPartition) {
		found.err = errors.New("the topic is not there: make it, or give --probe.create-topic")
		if p.cfg.CreateTopic {
			found.err = p.create(ctx, alive)
		}
	}
	return found, nil
}

// retention is how long canaries are kept.
const retention = time.Hour

// errMade is that of a topic that the brokers may not know of yet.
var errMade = errors.New("the topic has just been made")

// create makes the topic with a partition for each broker, and returns errMade or
// why it could not.
func (p *Probe) create(ctx context.Context, brokers int) error {
	ms := strconv.FormatInt(retention.Milliseconds(), 10)
	configs := map[string]*string{"cleanup.policy": new("delete"), "retention.ms": &ms, "segment.ms": &ms}
	_, err := kadm.NewClient(p.client).CreateTopic(ctx, int32(brokers), int16(min(3, brokers)), configs, p.cfg.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("the topic is not there and cannot be made: %w", err)
	}
	p.log.Info("the canaries' topic is made", "topic", p.cfg.Topic, "partitions", brokers)
	return errMade
}

// openProducer makes the producer, an idempotent one if the cluster lets us.
func (p *Probe) openProducer(ctx context.Context) error {
	if p.producer != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, p.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	refused := errors.Is(err, kerr.ClusterAuthorizationFailed)
	if err != nil && !refused {
		return fmt.Errorf("asking for a producer id: %w", err)
	}
	if p.producer, err = kgo.NewClient(p.writeOpts(!refused)...); err != nil {
		return fmt.Errorf("making a producer: %w", err)
	}
	return nil
}

// coordinator finds the broker that takes our commits; -1 if there is none. Where
// the broker that was asked does not answer, it is the old one.
func (p *Probe) coordinator(ctx context.Context, old int32) int32 {
	bounded, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	begin := time.Now()
	found := kadm.NewClient(p.client).FindGroupCoordinators(bounded, p.cfg.Group)[p.cfg.Group]
	var answer *kerr.Error
	switch {
	case found.Err == nil:
		return found.NodeID
	case ctx.Err() != nil:
		return -1
	case old >= 0 && !errors.As(found.Err, &answer):
		return old
	}
	observe(p.m.commit, nobody, time.Since(begin), found.Err)
	return -1
}
