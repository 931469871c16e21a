package cluster

// family is a metric of the exposition.
type family struct{ name, kind, help string }

// Families of kafka_exporter: names, labels, types and help are its own, to the
// letter (kafka-observability.md §1.1), whatever a lint thinks of them.
var (
	brokers         = family{"kafka_brokers", "gauge", "Number of Brokers in the Kafka Cluster."}
	brokerInfo      = family{"kafka_broker_info", "gauge", "Information about the Kafka Broker."}
	topicPartitions = family{"kafka_topic_partitions", "gauge", "Number of partitions for this Topic"}
	currentOffset   = family{"kafka_topic_partition_current_offset", "gauge", "Current Offset of a Broker at Topic/Partition"}
	oldestOffset    = family{"kafka_topic_partition_oldest_offset", "gauge", "Oldest Offset of a Broker at Topic/Partition"}
	leader          = family{"kafka_topic_partition_leader", "gauge", "Leader Broker ID of this Topic/Partition"}
	replicas        = family{"kafka_topic_partition_replicas", "gauge", "Number of Replicas for this Topic/Partition"}
	inSync          = family{"kafka_topic_partition_in_sync_replica", "gauge", "Number of In-Sync Replicas for this Topic/Partition"}
	preferred       = family{"kafka_topic_partition_leader_is_preferred", "gauge", "1 if Topic/Partition is using the Preferred Broker"}
	underReplicated = family{"kafka_topic_partition_under_replicated_partition", "gauge", "1 if Topic/Partition is under Replicated"}
	groupOffset     = family{"kafka_consumergroup_current_offset", "gauge", "Current Offset of a ConsumerGroup at Topic/Partition"}
	groupOffsetSum  = family{"kafka_consumergroup_current_offset_sum", "gauge", "Current Offset of a ConsumerGroup at Topic for all partitions"}
	groupLag        = family{"kafka_consumergroup_lag", "gauge", "Current Approximate Lag of a ConsumerGroup at Topic/Partition"}
	groupLagSum     = family{"kafka_consumergroup_lag_sum", "gauge", "Current Approximate Lag of a ConsumerGroup at Topic for all partitions"}
	groupMembers    = family{"kafka_consumergroup_members", "gauge", "Amount of members in a consumer group"}
	buildInfo       = family{"kafka_exporter_build_info", "gauge", "A metric with a constant '1' value labeled by version, revision, branch, goversion from which kafka_exporter was built, and the goos and goarch for the build."}
)

// Families beyond kafka_exporter.
var (
	up                = family{"kafka_up", "gauge", "1 if the last look at the cluster succeeded."}
	clusterInfo       = family{"kafka_cluster_info", "gauge", "What cluster it is, its version as its APIs tell, and kraft or zookeeper; always 1."}
	controllerID      = family{"kafka_controller_id", "gauge", "Id of KRaft's active controller."}
	brokerUp          = family{"kafka_broker_up", "gauge", "1 if the broker is alive and answered everything at the last look."}
	offline           = family{"kafka_topic_partition_offline", "gauge", "1 if the partition has no leader."}
	underMinISR       = family{"kafka_topic_partition_under_min_isr", "gauge", "1 if fewer replicas are in sync than min.insync.replicas asks for."}
	groupInfo         = family{"kafka_consumergroup_info", "gauge", "Coordinator, protocol and assignor of a group; always 1."}
	groupState        = family{"kafka_consumergroup_state", "gauge", "1 for the state that the group is in, 0 for the others."}
	groupStateChanges = family{"kafka_consumergroup_state_changes_total", "counter", "Changes of state from one look to another, since we first saw the group."}
	groupEmpty        = family{"kafka_consumergroup_empty_members", "gauge", "Members that no partition is assigned to."}
	groupAssigned     = family{"kafka_consumergroup_topic_assigned_partitions", "gauge", "Partitions of the topic that are assigned to members."}
	groupLagSeconds   = family{"kafka_consumergroup_lag_seconds", "gauge", "Age of the oldest record that is left to read, 0 if there is none. Exact to the refresh interval; older than what we watched, to a hundredth, by timestamps of records."}
	groupLagMax       = family{"kafka_consumergroup_lag_seconds_max", "gauge", "The greatest lag in seconds of the topic's partitions."}
	groupBelowStart   = family{"kafka_consumergroup_below_start_messages", "gauge", "Offsets between the group's commit and the log start: deleted before the group had read them."}
	groupRetention    = family{"kafka_consumergroup_retention_remaining_seconds", "gauge", "Least time until retention.ms lets Kafka delete the oldest record that is left to read. Retention by size is not regarded."}
	groupLastCommit   = family{"kafka_consumergroup_last_commit_timestamp_seconds", "gauge", "When we saw a commit of the group for the topic move."}
)
