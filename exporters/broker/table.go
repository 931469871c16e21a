package broker

import (
	"slices"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

// A dialect is how a set of jmx_exporter's rules names MBeans.
type dialect int

const (
	jmx     dialect = iota // jmx_exporter's own example, kafka-kraft-3_0_0.yml
	strimzi                // Strimzi's example, kafka-metrics.yaml
	dialects
)

var dialectNames = [dialects]string{jmx: "jmx", strimzi: "strimzi"}

// names are a signal's in each dialect; empty: the dialect does not have it.
type names [dialects]string

// both is a name that dialects share.
func both(name string) names { return names{jmx: name, strimzi: name} }

// raft are the names of an attribute of raft-metrics.
func raft(attribute string) names {
	return names{jmx: "kafka_server_raft_metrics_" + attribute, strimzi: "kafka_server_raftmetrics_" + attribute}
}

// Classes of fidelity.
const (
	exact       = "exact"       // the MBean's value
	approximate = "approximate" // within the bound of its help
)

// signal is what an MBean of a broker tells, or something of our own.
type signal struct {
	mbean  string // domain:type=…,name=…, or …#attribute; empty: there is none in Kafka 4, or it is text
	names  names
	kind   string
	class  string
	source string // APIs that it is made of
	users  string // who queries it; boards by their number on grafana.com
	help   string
	write  func(p *page) // its series, of the family that was begun
}

// families are a signal's in dialects that are wanted.
func (s *signal) families(wanted []dialect) (families []exposition.Family) {
	for _, d := range wanted {
		name := s.names[d]
		if name != "" && !slices.ContainsFunc(families, func(f exposition.Family) bool { return f.Name == name }) {
			families = append(families, exposition.Family{Name: name, Kind: s.kind, Help: s.help})
		}
	}
	return families
}

const (
	gauge   = "gauge"
	counter = "counter"
	untyped = "untyped"

	metadata     = "Metadata"
	configs      = "Metadata, DescribeConfigs"
	moves        = "Metadata, ListPartitionReassignments"
	quorum       = "DescribeQuorum"
	offsets      = "ListOffsets"
	logDirs      = "DescribeLogDirs"
	listing      = "ListGroups"
	transactions = "ListTransactions, DescribeTransactions"
	confluent    = "Confluent"
)

// ofBroker is the alias table of a broker's page: all that tells of names, in the
// order of the page. Exact is what is meant for topics that are shown.
var ofBroker = []signal{
	{"kafka.server:type=KafkaServer,name=BrokerState", both("kafka_server_kafkaserver_brokerstate"), gauge, approximate, metadata, "Confluent, Grafana",
		"Approximate: 3 (running) while the broker is alive and answers; its other states cannot be seen.",
		func(p *page) { p.Int(3) }},

	{"kafka.server:type=ReplicaManager,name=PartitionCount", both("kafka_server_replicamanager_partitioncount"), gauge, exact, metadata, "11962, Confluent, Grafana, Strimzi",
		"Partitions that have a replica on the broker.",
		func(p *page) { p.count(func(*replica) bool { return true }) }},
	{"kafka.server:type=ReplicaManager,name=LeaderCount", both("kafka_server_replicamanager_leadercount"), gauge, exact, metadata, "11962, Confluent, Strimzi",
		"Partitions that the broker leads.",
		func(p *page) { p.count(p.leads) }},
	{"kafka.server:type=ReplicaManager,name=UnderReplicatedPartitions", both("kafka_server_replicamanager_underreplicatedpartitions"), gauge, exact, moves, "11962, Confluent, Strimzi",
		"Partitions that the broker leads and that lack a replica in sync; one that a reassignment adds is not lacking.",
		func(p *page) { p.count(p.underReplicated) }},
	{"kafka.server:type=ReplicaManager,name=UnderMinIsrPartitionCount", both("kafka_server_replicamanager_underminisrpartitioncount"), gauge, exact, configs, "Strimzi",
		"Partitions that the broker leads and that have fewer replicas in sync than min.insync.replicas.",
		func(p *page) { p.countISR(p.underMinISR) }},
	{"kafka.server:type=ReplicaManager,name=AtMinIsrPartitionCount", both("kafka_server_replicamanager_atminisrpartitioncount"), gauge, exact, configs, "",
		"Partitions that the broker leads and that have just as many replicas in sync as min.insync.replicas.",
		func(p *page) { p.countISR(p.atMinISR) }},
	{"kafka.server:type=ReplicaManager,name=OfflineReplicaCount", both("kafka_server_replicamanager_offlinereplicacount"), gauge, exact, metadata, "",
		"Replicas of the broker on disks that failed.",
		func(p *page) { p.count(func(r *replica) bool { return slices.Contains(r.Offline, p.id) }) }},
	{"kafka.server:type=ReplicaManager,name=ReassigningPartitions", both("kafka_server_replicamanager_reassigningpartitions"), gauge, exact, moves, "",
		"Partitions that the broker leads and that a reassignment moves.",
		func(p *page) { p.count(func(r *replica) bool { return p.leads(r) && r.Reassigning }) }},
	{"kafka.server:type=ReplicaManager,name=IsrShrinksPerSec", both("kafka_server_replicamanager_isrshrinks_total"), counter, approximate, metadata, "11962, Confluent, Grafana",
		"Approximate: a partition counts once from one look to the next if a replica fell out of sync; shorter flaps are missed, the controller's changes count, which the MBean leaves out.",
		func(p *page) { p.Int(p.counts.shrinks[p.id]) }},
	{"kafka.server:type=ReplicaManager,name=IsrExpandsPerSec", both("kafka_server_replicamanager_isrexpands_total"), counter, approximate, metadata, "11962, Confluent, Grafana",
		"Approximate: a partition counts once from one look to the next if a replica came in sync; shorter flaps are missed, and those count that the broker read in the metadata log before its request was answered, which the MBean leaves out.",
		func(p *page) { p.Int(p.counts.expands[p.id]) }},

	{"kafka.cluster:type=Partition,name=ReplicasCount", both("kafka_cluster_partition_replicascount"), gauge, exact, moves, "Confluent, Strimzi",
		"Replicas of a partition on its leader, 0 on its followers.",
		func(p *page) { p.each(func(r *replica) int64 { return p.onLeader(r, replicas(r)) }) }},
	{"kafka.cluster:type=Partition,name=InSyncReplicasCount", both("kafka_cluster_partition_insyncreplicascount"), gauge, exact, metadata, "",
		"Replicas of a partition that are in sync, on its leader; 0 on its followers.",
		func(p *page) { p.each(func(r *replica) int64 { return p.onLeader(r, len(r.ISR)) }) }},
	{"kafka.cluster:type=Partition,name=UnderReplicated", both("kafka_cluster_partition_underreplicated"), gauge, exact, moves, "Confluent, Strimzi",
		"1 if the broker leads the partition and a replica is not in sync.",
		func(p *page) { p.each(func(r *replica) int64 { return number(p.underReplicated(r)) }) }},
	{"kafka.cluster:type=Partition,name=UnderMinIsr", both("kafka_cluster_partition_underminisr"), gauge, exact, configs, "11962, Confluent, Grafana, Strimzi",
		"1 if the broker leads the partition and fewer replicas are in sync than min.insync.replicas.",
		func(p *page) { p.eachISR(p.underMinISR) }},
	{"kafka.cluster:type=Partition,name=AtMinIsr", both("kafka_cluster_partition_atminisr"), gauge, exact, configs, "Confluent, Strimzi",
		"1 if the broker leads the partition and just as many replicas are in sync as min.insync.replicas.",
		func(p *page) { p.eachISR(p.atMinISR) }},

	{"kafka.log:type=Log,name=Size", both("kafka_log_log_size"), gauge, exact, logDirs, "11962, Confluent, Grafana, Strimzi",
		"Bytes of the partition's log on the broker, as last asked for (--refresh.log-dirs).",
		func(p *page) { p.each(p.size) }},
	{"kafka.log:type=Log,name=LogStartOffset", both("kafka_log_log_logstartoffset"), gauge, exact, offsets, "Confluent, Grafana",
		"First offset of a partition that the broker leads.",
		func(p *page) { p.each(func(r *replica) int64 { return p.leaders(r, r.Start) }) }},
	{"kafka.log:type=Log,name=LogEndOffset", both("kafka_log_log_logendoffset"), gauge, approximate, offsets, "Confluent, Grafana",
		"Approximate: the high watermark of a partition that the broker leads; less than the log's end by what followers in sync have not fetched, equal without followers.",
		func(p *page) { p.each(func(r *replica) int64 { return p.leaders(r, r.End) }) }},
	{"kafka.log:type=LogManager,name=OfflineLogDirectoryCount", both("kafka_log_logmanager_offlinelogdirectorycount"), gauge, exact, logDirs, "Strimzi",
		"Directories of logs on disks that failed, as last asked for (--refresh.log-dirs).",
		func(p *page) { p.offlineDirs() }},
	{"", both("kafka_log_directory_total_bytes"), gauge, exact, logDirs, "",
		"Bytes of the volume that holds a directory of logs.",
		func(p *page) { p.dirs(func(d *dir) int64 { return d.Total }) }},
	{"", both("kafka_log_directory_usable_bytes"), gauge, exact, logDirs, "",
		"Free bytes of the volume that holds a directory of logs.",
		func(p *page) { p.dirs(func(d *dir) int64 { return d.Usable }) }},
	{"", both("kafka_log_directory_used_bytes"), gauge, exact, logDirs, "",
		"Bytes of the logs in a directory.",
		func(p *page) { p.dirs(func(d *dir) int64 { return d.Used }) }},

	{"kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec", both("kafka_server_brokertopicmetrics_messagesin_total"), counter, approximate, offsets, "11962, 721, Confluent, Grafana, Strimzi",
		"Approximate: growth of the high watermarks of partitions that the broker leads since the exporter began; less by what was produced after the last look at a topic that was deleted. What came between two looks counts for who leads at the second.",
		func(p *page) { p.topics(func(t *total) int64 { return t.messages }) }},
	{"kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec", both("kafka_server_brokertopicmetrics_bytesin_total"), counter, approximate, "DescribeLogDirs, ListOffsets", "11962, 721, Confluent, Grafana, Strimzi",
		"Approximate: growth of the logs that the broker leads, as last asked for (--refresh.log-dirs), since the exporter began; equal while nothing is deleted or compacted, then messages times their mean size, within a tenth where sizes are even. What came between two sizes counts for who leads at the second.",
		func(p *page) { p.topics(func(t *total) int64 { return t.bytes }) }},

	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroups", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroups"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol that the broker coordinates.",
		func(p *page) { p.groups("") }},
	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsPreparingRebalance", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol that wait for members to join.",
		func(p *page) { p.groups("PreparingRebalance") }},
	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsCompletingRebalance", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol that wait for their leader's assignment.",
		func(p *page) { p.groups("CompletingRebalance") }},
	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsStable", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroupsstable"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol that read.",
		func(p *page) { p.groups("Stable") }},
	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsDead", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroupsdead"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol that are being removed.",
		func(p *page) { p.groups("Dead") }},
	{"kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsEmpty", names{jmx: "kafka_coordinator_group_groupmetadatamanager_numgroupsempty"}, gauge, exact, listing, confluent,
		"Groups of the classic protocol without a member.",
		func(p *page) { p.groups("Empty") }},

	{"kafka.server:type=raft-metrics#current-leader", raft("current_leader"), gauge, exact, quorum, "Confluent, Strimzi",
		"Id of the active controller.",
		func(p *page) { p.quorum(func(s *snapshot.Snapshot) int64 { return int64(s.Controller) }) }},
	{"kafka.server:type=raft-metrics#current-epoch", raft("current_epoch"), gauge, exact, quorum, "Confluent, Strimzi",
		"Epoch of the active controller.",
		func(p *page) { p.quorum(func(s *snapshot.Snapshot) int64 { return int64(s.Epoch) }) }},
	{"kafka.server:type=raft-metrics#high-watermark", raft("high_watermark"), gauge, approximate, quorum, "Confluent, Strimzi",
		"Approximate: the high watermark of the metadata log at the active controller; another broker's own is less by what it has not fetched.",
		func(p *page) { p.quorum(func(s *snapshot.Snapshot) int64 { return s.Quorum.HighWatermark }) }},
	{"kafka.server:type=raft-metrics#log-end-offset", raft("log_end_offset"), gauge, approximate, quorum, "Confluent, Strimzi",
		"Approximate: the end of the metadata log on the broker; on others than the active controller as it was when they last fetched.",
		func(p *page) { p.quorum(p.metadataEnd) }},
	{"", names{jmx: "kafka_server_raft_metrics_current_state_info"}, gauge, approximate, quorum, "Strimzi",
		"Approximate: what the broker is in the quorum: leader, follower or observer; always 1. That it is a candidate cannot be seen.",
		func(p *page) { p.role("state") }},
	{"", names{strimzi: "kafka_server_raftmetrics_current_state"}, untyped, approximate, quorum, "Strimzi",
		"Approximate: what the broker is in the quorum: leader, follower or observer; always 1. That it is a candidate cannot be seen.",
		func(p *page) { p.role("current_state") }},

	{"", names{jmx: "kafka_server_transaction_coordinator_metrics_transactional_id_count"}, gauge, exact, transactions, confluent,
		"Transactional ids that the broker coordinates, as last asked for (--refresh.log-dirs).",
		func(p *page) { p.transactions(func(t *snapshot.Transactions) int64 { return int64(t.IDs) }) }},
	{"", names{jmx: "kafka_server_transaction_coordinator_metrics_active_transaction_total_time_max"}, gauge, exact, transactions, confluent,
		"Milliseconds since the oldest transaction began that the broker coordinates and that is not complete, as last asked for (--refresh.log-dirs); 0 if there is none.",
		func(p *page) {
			p.transactions(func(t *snapshot.Transactions) int64 { return t.Longest.Milliseconds() })
		}},
}

// ofController is the alias table of the controller's page.
var ofController = []signal{
	{"kafka.controller:type=KafkaController,name=ActiveControllerCount", both("kafka_controller_kafkacontroller_activecontrollercount"), gauge, exact, quorum, "11962, Confluent, Grafana, Strimzi",
		"1 if there is an active controller.",
		func(p *page) {
			if p.snapshot.Controller >= 0 {
				p.Int(1)
			}
		}},
	{"kafka.controller:type=KafkaController,name=ActiveBrokerCount", both("kafka_controller_kafkacontroller_activebrokercount"), gauge, exact, metadata, confluent,
		"Brokers that are alive.",
		func(p *page) { p.Int(alive(p.snapshot)) }},
	{"kafka.controller:type=KafkaController,name=FencedBrokerCount", both("kafka_controller_kafkacontroller_fencedbrokercount"), gauge, exact, "DescribeCluster", confluent,
		"Brokers that are registered and may not serve. Absent before Kafka 4.0.",
		func(p *page) {
			if p.snapshot.Fenced >= 0 {
				p.Int(int64(p.snapshot.Fenced))
			}
		}},
	{"kafka.controller:type=KafkaController,name=GlobalTopicCount", both("kafka_controller_kafkacontroller_globaltopiccount"), gauge, exact, metadata, "11962, Confluent",
		"Topics, internal ones too.",
		func(p *page) { p.Int(int64(len(p.snapshot.Topics))) }},
	{"kafka.controller:type=KafkaController,name=GlobalPartitionCount", both("kafka_controller_kafkacontroller_globalpartitioncount"), gauge, exact, metadata, confluent,
		"Partitions of all topics.",
		func(p *page) { p.count(func(*replica) bool { return true }) }},
	{"kafka.controller:type=KafkaController,name=OfflinePartitionsCount", both("kafka_controller_kafkacontroller_offlinepartitionscount"), gauge, exact, metadata, "11962, Confluent, Grafana, Strimzi",
		"Partitions without a leader.",
		func(p *page) { p.count(func(r *replica) bool { return r.Leader < 0 }) }},
	{"kafka.controller:type=KafkaController,name=PreferredReplicaImbalanceCount", both("kafka_controller_kafkacontroller_preferredreplicaimbalancecount"), gauge, exact, metadata, "Confluent, Grafana",
		"Partitions that another than their first replica leads, or none.",
		func(p *page) {
			p.count(func(r *replica) bool { return len(r.Replicas) > 0 && r.Leader != r.Replicas[0] })
		}},
	{"", both("kafka_controller_controllerstats_leaderelectionrateandtimems_count"), counter, approximate, metadata, "11962",
		"Approximate: elections of leaders since the exporter began, by their epochs; one that was lost and found between two looks counts twice, and a change of replicas, in older Kafka of those in sync too, counts as one.",
		func(p *page) { p.Int(p.counts.elections) }},
	{"kafka.controller:type=ControllerStats,name=UncleanLeaderElectionsPerSec", both("kafka_controller_controllerstats_uncleanleaderelections_total"), counter, approximate, metadata, "Confluent, Grafana, Strimzi",
		"Approximate: leaders that were not in sync at the look before; one that came in sync and led since then counts too, one that led only between two looks does not.",
		func(p *page) { p.Int(p.counts.unclean) }},
}
