package probe

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lane probes one broker, one round at a time.
type lane struct {
	p      *Probe
	id     int32
	broker string // its label
	cancel context.CancelFunc
	ended  chan struct{}
	book   book

	place   place
	reading bool // its partition is read
	failing bool
}

// place is where a lane's canaries go.
type place struct {
	topic     [16]byte
	partition int32
}

func (l *lane) run(ctx context.Context) {
	tick := time.NewTicker(l.p.cfg.Interval)
	defer tick.Stop()
	for {
		l.round(ctx)
		select {
		case <-ctx.Done():
			l.leave()
			return
		case <-tick.C:
		}
	}
}

// round measures everything once. Answers and canary do not wait for each other.
func (l *lane) round(ctx context.Context) {
	v := l.p.view.Load()
	var asking, sending error
	var wg sync.WaitGroup
	wg.Go(func() {
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.ClientSoftwareName, versions.ClientSoftwareVersion = "candlestack-exporter", "1" // must not be empty
		asking = l.request(ctx, l.p.m.apiVersions, versions, nil)
		metadata := kmsg.NewPtrMetadataRequest()
		metadata.Topics = []kmsg.MetadataRequestTopic{} // none; nil are all
		if err := l.request(ctx, l.p.m.metadata, metadata, nil); asking == nil {
			asking = err
		}
	})
	wg.Go(func() {
		sending = l.send(ctx, v)
		if v.coordinator == l.id {
			if err := l.commit(ctx, v); sending == nil {
				sending = err
			}
		}
	})
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	err := sending
	if asking != nil {
		err = asking
	}
	switch {
	case err != nil && !l.failing:
		l.p.log.Warn("probing a broker fails", "broker", l.id, "error", err)
	case err == nil && l.failing:
		l.p.log.Info("probing a broker succeeds again", "broker", l.id)
	}
	l.failing = err != nil
}

// request measures a request to the broker. Any answer is a success unless check
// says otherwise.
func (l *lane) request(ctx context.Context, h *prometheus.HistogramVec, req kmsg.Request, check func(kmsg.Response) error) error {
	bounded, cancel := context.WithTimeout(ctx, l.p.cfg.Deadline)
	defer cancel()
	begin := time.Now()
	resp, err := l.p.client.Broker(int(l.id)).Request(bounded, req)
	took := time.Since(begin)
	if err == nil && check != nil {
		err = check(resp)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	observe(h, l.broker, took, err)
	if err != nil {
		return fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return nil
}

// send sends a canary to the partition that the broker leads, and waits for it.
func (l *lane) send(ctx context.Context, v *view) error {
	partition, ok := v.partitions[l.id]
	here := place{v.topic, partition}
	if !ok || here != l.place {
		l.leave()
	}
	if !ok {
		return nil
	}
	l.place = here
	begin := time.Now()
	// The first one tells by its offset where to read from: its way back is that of
	// beginning to read, and not measured.
	number, back := l.book.send(begin, l.reading)
	l.p.m.sent.WithLabelValues(l.broker).Inc()
	offset, err := l.produce(ctx, partition, number)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	observe(l.p.m.produce, l.broker, time.Since(begin), err)
	if err != nil {
		l.book.giveUp(number)
		return fmt.Errorf("sending a canary: %w", err)
	}
	if !l.reading {
		l.join(offset)
	}
	deadline := time.NewTimer(l.p.cfg.Deadline)
	defer deadline.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-back:
		return nil
	case <-deadline.C:
	}
	if !l.book.giveUp(number) {
		return nil
	}
	l.p.m.lost.WithLabelValues(l.broker).Inc()
	observe(l.p.m.endToEnd, l.broker, time.Since(begin), context.DeadlineExceeded)
	l.p.mu.RLock()
	defer l.p.mu.RUnlock()
	if l.p.fault != nil {
		return fmt.Errorf("a canary is lost: Fetch: %w", l.p.fault)
	}
	return fmt.Errorf("a canary is lost: acknowledged and not read again after %s", l.p.cfg.Deadline)
}

// produce returns the offset of a canary that is acknowledged.
func (l *lane) produce(ctx context.Context, partition int32, number uint64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.p.cfg.Deadline)
	defer cancel()
	type ack struct {
		offset int64
		err    error
	}
	acks := make(chan ack, 1)
	r := &kgo.Record{Topic: l.p.cfg.Topic, Partition: partition, Key: []byte(l.p.mark), Value: l.text(number)}
	l.p.producer.Produce(ctx, r, func(r *kgo.Record, err error) { acks <- ack{r.Offset, err} })
	select {
	case a := <-acks:
		return a.offset, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// text is the value of a canary's record.
func (l *lane) text(number uint64) []byte {
	return []byte(l.broker + "/" + strconv.FormatUint(number, 10))
}

// ours reads a record that may be a canary of this run.
func (p *Probe) ours(r *kgo.Record) (id int32, number uint64, ok bool) {
	if string(r.Key) != p.mark || len(r.Value) > 40 {
		return 0, 0, false
	}
	broker, rest, _ := strings.Cut(string(r.Value), "/")
	i, err := strconv.ParseInt(broker, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	number, err = strconv.ParseUint(rest, 10, 64)
	return int32(i), number, err == nil
}

// receive counts a canary that was read.
func (l *lane) receive(number uint64, at spot, now time.Time) {
	before, known := l.book.receive(number, at)
	if !known {
		return
	}
	switch before.fate {
	case underWay:
		l.p.m.received.WithLabelValues(l.broker).Inc()
		if before.timed {
			observe(l.p.m.endToEnd, l.broker, now.Sub(before.sent), nil)
		}
	case givenUp:
		l.p.m.late.WithLabelValues(l.broker).Inc()
	case came:
		l.p.m.duplicated.WithLabelValues(l.broker).Inc()
	}
}

// reader is a lane that reads a partition of a topic.
type reader struct {
	topic [16]byte
	id    int32
}

// join begins to read the lane's partition at an offset. Where another lane reads
// it still, the broker having taken the lead from another one, it takes that over.
func (l *lane) join(offset int64) {
	l.p.reading.Lock()
	defer l.p.reading.Unlock()
	partition := l.place.partition
	before, read := l.p.readers[partition]
	l.p.readers[partition] = reader{l.place.topic, l.id}
	l.reading = true
	if read && before.topic == l.place.topic {
		return
	}
	if read {
		l.p.client.RemoveConsumePartitions(map[string][]int32{l.p.cfg.Topic: {partition}})
	}
	l.p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{l.p.cfg.Topic: {partition: kgo.NewOffset().At(offset)}})
}

// leave ends the reading of the lane's partition, unless another lane has taken it over.
func (l *lane) leave() {
	l.p.reading.Lock()
	defer l.p.reading.Unlock()
	partition := l.place.partition
	if l.reading && l.p.readers[partition] == (reader{l.place.topic, l.id}) {
		delete(l.p.readers, partition)
		l.p.client.RemoveConsumePartitions(map[string][]int32{l.p.cfg.Topic: {partition}})
	}
	l.reading = false
}

// commit commits what was read of all partitions, so that the group has no lag
// that grows for ever.
func (l *lane) commit(ctx context.Context, v *view) error {
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = l.p.cfg.Topic, v.topic
	l.p.mu.RLock()
	for partition, offset := range l.p.next {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = partition, offset
		topic.Partitions = append(topic.Partitions, part)
	}
	l.p.mu.RUnlock()
	if len(topic.Partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = l.p.cfg.Group
	req.Topics = append(req.Topics, topic)
	return l.request(ctx, l.p.m.commit, req, func(resp kmsg.Response) error {
		for _, t := range resp.(*kmsg.OffsetCommitResponse).Topics {
			for _, part := range t.Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
