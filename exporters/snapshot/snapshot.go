// Package snapshot looks at a Kafka cluster on its own clock, through Kafka's
// own protocol, and gives out what it saw as one immutable value. A scrape never
// asks Kafka. It needs Kafka 3.0 or later (OffsetFetch of many groups at once).
//
// Of ACLs it needs Describe on topics and groups, and better has Describe on the
// cluster (the active controller) and on transactional ids, and DescribeConfigs on
// topics (retention, min.insync.replicas). What is refused is missing, and the rest is there.
package snapshot

import "time"

// Snapshot is the cluster as one look saw it. Nobody changes it after it was
// published. All lists are sorted by name or id.
type Snapshot struct {
	Time      time.Time // when end offsets were asked for; of the last look that succeeded
	Up        bool      // whether the last look succeeded
	ClusterID string
	Version   string // guessed from the APIs, for example v4.1; empty: not known yet
	Mode      string // kraft or zookeeper; empty: not known yet
	// Controller is the id of KRaft's active controller, or -1: not known. That of
	// Metadata is any broker's and says nothing (kafka-observability.md §0.8).
	Controller int32
	Epoch      int32 // of the active controller
	Quorum     Quorum
	Fenced     int // brokers that are registered and may not serve; -1: not known
	Brokers    []Broker
	Topics     []Topic
	Groups     []Group
	// Dropped counts the groups that hygiene left out, by reason: empty, max.
	Dropped map[string]int
}

// Quorum is KRaft's metadata log as the active controller tells it. Without one it is empty.
type Quorum struct {
	HighWatermark int64
	// Voters and Observers are the ends of the log on nodes, by their ids, when they
	// last fetched; -1: the controller does not know.
	Voters, Observers map[int32]int64
}

// Broker is one that is alive, or that is missing and still has replicas.
type Broker struct {
	ID    int32
	Host  string
	Port  int32
	Rack  string
	Alive bool // is in the cluster's metadata
	Up    bool // is alive and answered all that it was asked in this look
	// Groups counts the groups that it coordinates, also those that are not shown;
	// nil: not known.
	Groups map[GroupKind]int
	Logs   *Logs // nil: not known
	// Transactions are those that it coordinates; nil: not known.
	Transactions *Transactions
}

// GroupKind is what groups are counted by. Words are as in Group.
type GroupKind struct{ Type, State string }

// Logs is what a broker holds on its disks. It is asked for more seldom than the rest.
type Logs struct {
	Time  time.Time
	Dirs  []LogDir
	Sizes map[[16]byte][]int64 // bytes of each partition of a topic, by its id; -1: holds none
}

// LogDir is a directory of logs.
type LogDir struct {
	Path          string
	Offline       bool  // its disk failed
	Total, Usable int64 // bytes of the volume; -1: not known
	Used          int64 // bytes of the logs of topics that are shown
}

// Transactions are asked for as seldom as logs.
type Transactions struct {
	IDs     int           // transactional ids, also those without a transaction now
	Longest time.Duration // time since the oldest transaction that is not complete began; 0: there is none
}

// Topic is a topic with its partitions.
type Topic struct {
	Name string
	ID   [16]byte
	// Retention is how long records stay; 0: for ever, by other rules, or not known.
	Retention  time.Duration
	MinISR     int // of min.insync.replicas; 0: not known
	Partitions []Partition
}

// Partition is a partition of a topic.
type Partition struct {
	ID          int32
	Leader      int32 // -1: none
	LeaderEpoch int32
	Replicas    []int32
	ISR         []int32
	Offline     []int32 // replicas on brokers that are away, or on disks that failed
	Adding      []int32 // replicas that a reassignment adds
	Reassigning bool
	Start, End  int64 // log start and high watermark; -1: not known
}

// Group is a consumer group of any protocol.
type Group struct {
	Name         string
	Coordinator  int32
	State        string // Stable, Empty, …; empty: not known
	Type         string // classic, consumer (KIP-848), share, streams
	ProtocolType string // consumer, connect, …
	Assignor     string
	Described    bool // members and assignments are known
	Members      int
	EmptyMembers int   // members without a partition
	StateChanges int64 // seen since we began to look
	Topics       []GroupTopic

	emptySince time.Time // no member since then, as far as we saw
	read       time.Time // when its coordinator last told of it
}

// GroupTopic is what a group has to do with a topic.
type GroupTopic struct {
	Name       string
	Assigned   []int32
	Commits    []Commit
	LastCommit time.Time // when we first saw the newest commit; zero: none moved while we looked
}

// Commit is how far a group has read a partition.
type Commit struct {
	Partition int32
	Offset    int64 // of the next record to be read
	// Oldest is when the oldest record that is left to read was appended; zero:
	// nothing is left, or not known.
	Oldest time.Time
	// Known tells whether lag in time is known: that Oldest is set, or nothing is left.
	Known bool
}
