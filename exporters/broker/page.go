package broker

import (
	"slices"
	"strconv"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

// page is a text that is being written, of a broker or of the controller.
type page struct {
	exposition.Encoder
	snapshot *snapshot.Snapshot
	counts   *counts
	id       int32            // of the broker
	broker   *snapshot.Broker // nil: the controller
	replicas []replica        // of the broker, or all partitions once
}

type dir = snapshot.LogDir

// replica is a partition that a broker has a replica of.
type replica struct {
	*snapshot.Partition
	topic           *snapshot.Topic
	name, partition string // labels
}

// write writes all that a table says, in dialects that are wanted.
func (p *page) write(table []signal, wanted []dialect) {
	for i := range table {
		for _, f := range table[i].families(wanted) {
			p.Of(f)
			table[i].write(p)
		}
	}
}

// count writes how many replicas are so.
func (p *page) count(is func(*replica) bool) {
	n := int64(0)
	for i := range p.replicas {
		n += number(is(&p.replicas[i]))
	}
	p.Int(n)
}

// countISR is count for what needs min.insync.replicas. A sum of which a part is
// not known is not shown.
func (p *page) countISR(is func(*replica) bool) {
	for i := range p.replicas {
		if r := &p.replicas[i]; p.leads(r) && r.topic.MinISR == 0 {
			return
		}
	}
	p.count(is)
}

// each writes a series of each replica; less than 0: there is none.
func (p *page) each(value func(*replica) int64) {
	for i := range p.replicas {
		r := &p.replicas[i]
		if v := value(r); v >= 0 {
			p.Int(v, r.name, r.partition)
		}
	}
}

// eachISR is each for what needs min.insync.replicas.
func (p *page) eachISR(is func(*replica) bool) {
	p.each(func(r *replica) int64 {
		if r.topic.MinISR == 0 {
			return -1
		}
		return number(is(r))
	})
}

func number(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func (p *page) leads(r *replica) bool { return r.Leader == p.id }

// onLeader is n on the leader and 0 on a follower, as MBeans of partitions are.
func (p *page) onLeader(r *replica, n int) int64 {
	if p.leads(r) {
		return int64(n)
	}
	return 0
}

// leaders is a value that only the leader tells.
func (p *page) leaders(r *replica, value int64) int64 {
	if p.leads(r) {
		return value
	}
	return -1
}

// replicas is how many a partition has, without those that a reassignment adds.
func replicas(r *replica) int { return len(r.Replicas) - len(r.Adding) }

func (p *page) underReplicated(r *replica) bool { return p.leads(r) && len(r.ISR) < replicas(r) }

// minISR is what Kafka asks for: no more than there are replicas.
func minISR(r *replica) int { return min(r.topic.MinISR, len(r.Replicas)) }

func (p *page) underMinISR(r *replica) bool { return p.leads(r) && len(r.ISR) < minISR(r) }

func (p *page) atMinISR(r *replica) bool { return p.leads(r) && len(r.ISR) == minISR(r) }

func (p *page) size(r *replica) int64 { return sizeOf(p.broker, r.topic, r.ID) }

// sizeOf is the size of a partition's log on a broker; -1: not known.
func sizeOf(b *snapshot.Broker, t *snapshot.Topic, partition int32) int64 {
	if b == nil || b.Logs == nil {
		return -1
	}
	if sizes := b.Logs.Sizes[t.ID]; partition >= 0 && int(partition) < len(sizes) {
		return sizes[partition]
	}
	return -1
}

func (p *page) offlineDirs() {
	if p.broker.Logs == nil {
		return
	}
	n := int64(0)
	for _, d := range p.broker.Logs.Dirs {
		n += number(d.Offline)
	}
	p.Int(n)
}

func (p *page) dirs(value func(*dir) int64) {
	if p.broker.Logs == nil {
		return
	}
	for i := range p.broker.Logs.Dirs {
		d := &p.broker.Logs.Dirs[i]
		if v := value(d); v >= 0 && !d.Offline {
			p.Int(v, exposition.Label("directory", d.Path))
		}
	}
}

// topics writes a total of each topic.
func (p *page) topics(value func(*total) int64) {
	for i := range p.snapshot.Topics {
		name := p.snapshot.Topics[i].Name
		if t := p.counts.totals[place{p.id, name}]; t != nil {
			p.Int(value(t), exposition.Label("topic", name))
		}
	}
}

// groups writes how many classic groups are in a state; "" is any.
func (p *page) groups(state string) {
	if p.broker.Groups == nil {
		return
	}
	n := 0
	for kind, of := range p.broker.Groups {
		if kind.Type == "classic" && (state == "" || kind.State == state) {
			n += of
		}
	}
	p.Int(int64(n))
}

// quorum writes what the active controller tells, where there is one; less than 0:
// it does not know.
func (p *page) quorum(value func(*snapshot.Snapshot) int64) {
	if p.snapshot.Controller < 0 {
		return
	}
	if v := value(p.snapshot); v >= 0 {
		p.Int(v)
	}
}

// metadataEnd is the end of the metadata log on the broker; -1: not known.
func (p *page) metadataEnd(s *snapshot.Snapshot) int64 {
	for _, nodes := range []map[int32]int64{s.Quorum.Voters, s.Quorum.Observers} {
		if end, ok := nodes[p.id]; ok {
			return end
		}
	}
	return -1
}

// role writes what the broker is in the quorum, as a label.
func (p *page) role(label string) {
	if p.snapshot.Controller < 0 {
		return
	}
	role := ""
	if _, ok := p.snapshot.Quorum.Observers[p.id]; ok {
		role = "observer"
	}
	if _, ok := p.snapshot.Quorum.Voters[p.id]; ok {
		role = "follower"
	}
	if p.snapshot.Controller == p.id {
		role = "leader"
	}
	if role != "" {
		p.Int(1, exposition.Label(label, role))
	}
}

func (p *page) transactions(value func(*snapshot.Transactions) int64) {
	if t := p.broker.Transactions; t != nil {
		p.Int(value(t))
	}
}

func alive(s *snapshot.Snapshot) (n int64) {
	for i := range s.Brokers {
		n += number(s.Brokers[i].Alive)
	}
	return n
}

// none is the id of no broker.
const none = -1

// spread lists the replicas of each broker, and under none all partitions once.
func spread(s *snapshot.Snapshot) map[int32][]replica {
	sizes := map[int32]int{}
	for i := range s.Topics {
		for _, p := range s.Topics[i].Partitions {
			sizes[none]++
			for _, id := range p.Replicas {
				sizes[id]++
			}
		}
	}
	lists := make(map[int32][]replica, len(sizes))
	for id, n := range sizes {
		lists[id] = make([]replica, 0, n)
	}
	var numbers exposition.Numbers
	for i := range s.Topics {
		t := &s.Topics[i]
		name := exposition.Label("topic", t.Name)
		for j := range t.Partitions {
			r := replica{&t.Partitions[j], t, name, numbers.Partition(t.Partitions[j].ID)}
			lists[none] = append(lists[none], r)
			for k, id := range r.Replicas {
				if !slices.Contains(r.Replicas[:k], id) {
					lists[id] = append(lists[id], r)
				}
			}
		}
	}
	return lists
}

func address(b *snapshot.Broker) string { return b.Host + ":" + strconv.Itoa(int(b.Port)) }
