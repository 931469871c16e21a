package main

// How true a number of the exporter's is to the broker's own (exporters/FIDELITY.md).
const (
	exact       = " *Exact.*"
	approximate = " *Approximate.*"
	measured    = " *Measured by the exporter's canaries, as a client sees it.*"
)

// kafka answers: does the cluster take writes, keep them safe and answer in time?
func kafka() *dashboard {
	d := newBoard("kafka", "4 Kafka cluster", "Does Kafka take records, keep them safe, and answer in time?",
		choice("broker", "Broker", `label_values(kafka_broker_info{job="kafka"}, id)`))
	return d.
		section("", kafkaTiles()).
		section("What a client feels", probe()...).
		section("What answers", answers()).
		section("Records and bytes", throughput()...).
		section("Replicas and leaders", replicas()...).
		section("Disks", disks()).
		folded("Controller and coordinators", controller())
}

func kafkaTiles() line {
	return across(4,
		stat("Brokers", describe("Brokers that are alive and answered everything, and the most that there were within an hour."+exact, "the same.", "the replicas on it fall behind; what has no other replica is offline.", "KafkaBrokerDown", "KafkaBrokersMissing"),
			unitNone, query(`sum(kafka_broker_up{job="kafka"})`, "up"), query(`max(max_over_time(kafka_brokers{job="kafka"}[1h]))`, "within an hour")).
			noValue("exporter is silent"),
		stat("Controller", describe("Active controllers of the quorum, and the id of the one that the exporter found."+exact, "1, and any id.", "no partition gets a new leader. A cluster before KRaft does not tell.", "KafkaNoActiveController"),
			unitNone, query(`sum(kafka_controller_kafkacontroller_activecontrollercount{job="kafka-broker"})`, "active"), query(`max(kafka_controller_id{job="kafka"})`, "id")).
			noValue("cluster does not tell"),
		stat("Offline partitions", describe("Partitions without a leader: they can be neither written nor read."+exact, "none.", "see which broker is down.", "KafkaOfflinePartitions"),
			unitNone, query(`sum(kafka_topic_partition_offline{job="kafka"})`, "offline")).
			levels(good, at(1, bad)).noValue("exporter is silent"),
		stat("Under min ISR", describe("Partitions with fewer replicas in sync than min.insync.replicas: writes with acks=all are refused."+exact, "none.", "see which broker is down or slow.", "KafkaUnderMinISR"),
			unitNone, query(`sum(kafka_topic_partition_under_min_isr{job="kafka"})`, "partitions")).
			levels(good, at(1, bad)).noValue("exporter is silent"),
		stat("Under-replicated", describe("Partitions that lack a replica in sync, not counting one that a reassignment adds."+exact, "none.", "the next failure may cost data.", "KafkaUnderReplicated"),
			unitNone, query(`sum(kafka_cluster_partition_underreplicated{job="kafka-broker"})`, "partitions")).
			levels(good, at(1, unusual)).noValue("no broker is scraped"),
		stat("Free disk", describe("The least share of a disk with logs that is free."+exact, "above 15 %.", "shorten the retention, or give it more disk; a full disk takes its logs offline.", "KafkaDiskLow", "KafkaDiskAlmostFull"),
			unitRatio, query(`clamp_max(min(kafka_log_directory_usable_bytes{job="kafka-broker"} / kafka_log_directory_total_bytes{job="kafka-broker"}), 1)`, "free")).
			levels(bad, at(0.05, unusual), at(0.15, good)).decimals(0).noValue("brokers before 3.3 do not tell"),
		stat("Canary p95", describe("Of twenty canaries, the slowest: from sending to reading, over five minutes, at the slowest broker."+measured, "below 100 ms.", "see which step is slow.", "KafkaProbeSlow"),
			unitSeconds, query("max("+quantile("0.95", "candlestack_probe_end_to_end_duration_seconds", `job="probe"`, "5m", "broker")+")", "end to end")).
			levels(good, at(0.5, unusual), at(1, bad)).trend().noValue("no canary came back"),
		stat("Canaries lost", describe("Canaries that were acknowledged and not read again, within the time that is shown."+measured, "none.", "Kafka lost what it had acknowledged, or a reader cannot reach it.", "KafkaCanariesLost"),
			unitNone, query(`sum(increase(candlestack_probe_canaries_lost_total{job="probe"}[$__range]))`, "lost")).
			levels(good, at(1, bad)).decimals(0).noValue("the probe is off"),
	)
}

func probe() []line {
	p95 := func(step string) string {
		return quantile("0.95", "candlestack_probe_"+step+"_duration_seconds", `job="probe", broker=~"$broker", outcome="ok"`, "1m", "broker")
	}
	return []line{across(8,
		graph("Canaries: time of each step, p95", describe("Of twenty requests, the slowest within a minute, by step and broker: the bare round trip (ApiVersions), metadata, writing with acks=all, committing, and from sending to reading."+measured,
			"the round trip is a few milliseconds, the others tens.", "the round trip alone: network or queue of the broker; writing alone: its disk or a replica; committing alone: the coordinator.", "KafkaProbeSlow", "KafkaProbeFailing"),
			unitSeconds,
			query(p95("api_versions"), "round trip {{broker}}"), query(p95("metadata"), "metadata {{broker}}"),
			query(p95("produce"), "write {{broker}}"), query(p95("commit"), "commit {{broker}}"), query(p95("end_to_end"), "end to end {{broker}}")).
			listed().wide(12).noValue("no canary came back"),
		heatmap("Canaries: end to end", describe("From sending to reading, as a distribution: the darker, the more canaries."+measured, "one dark band.", "a second band above: some wait, for a leader or a replica."),
			unitCount, buckets(`sum by (le) (increase(candlestack_probe_end_to_end_duration_seconds_bucket{job="probe", broker=~"$broker", outcome="ok"}[1m]))`)).
			yUnit(unitSeconds).noValue("no canary came back"),
		graph("Canaries: fate", describe("Canaries sent and read again, and those that were lost, late or doubled, a minute."+measured, "as many received as sent: six a minute for each broker.", "lost: acknowledged and not found; late: found after all; doubled: stored twice.", "KafkaCanariesLost", "KafkaCanariesDuplicated"),
			unitCount,
			query(`sum(increase(candlestack_probe_canaries_sent_total{job="probe", broker=~"$broker"}[1m]))`, "sent"),
			query(`sum(increase(candlestack_probe_canaries_received_total{job="probe", broker=~"$broker"}[1m]))`, "received"),
			query(`sum(increase(candlestack_probe_canaries_lost_total{job="probe", broker=~"$broker"}[1m]))`, "lost"),
			query(`sum(increase(candlestack_probe_canaries_late_total{job="probe", broker=~"$broker"}[1m]))`, "late"),
			query(`sum(increase(candlestack_probe_canaries_duplicated_total{job="probe", broker=~"$broker"}[1m]))`, "doubled")).
			series("lost", inColor(bad)).noValue("the probe is off"),
	)}
}

func answers() line {
	return across(6,
		timeline("Cluster, brokers, probe", describe("Whether the cluster answered the last look, each broker all of its questions, and the probe can send canaries; a broker's state (runs) is approximate, the rest exact.",
			"up.", "the cluster is down: nothing can be written or read; a broker alone: its replicas fall behind.", "KafkaUnreachable", "KafkaBrokerDown", "KafkaProbeNotReady", "KafkaMetricsMissing"),
			query(`min(kafka_up{job="kafka"})`, "cluster"),
			query(`min by (id) (kafka_broker_up{job="kafka", id=~"$broker"})`, "broker {{id}} answers"),
			query(`min by (broker_id) (kafka_server_kafkaserver_brokerstate{job="kafka-broker", broker_id=~"$broker"} == bool 3)`, "broker {{broker_id}} runs"),
			query(`min(candlestack_probe_ready{job="probe"})`, "probe")).
			isUp().wide(16).noValue("exporter is silent"),
		graph("Age of what is known", describe("Time since the exporter last looked at Kafka with success: all of this board is that old."+exact, "below its refresh interval and 5 s.", "above the dashed line nothing here can be believed.", "KafkaExporterStale"),
			unitSeconds, query(`time() - max(candlestack_exporter_last_success_timestamp_seconds{job="exporter"})`, "age")).
			limits(good, at(60, bad)).wide(8).noValue("exporter is silent"),
	)
}

func throughput() []line {
	return []line{across(8,
		graph("Records in by broker", describe("Records appended to the partitions that a broker leads, a second."+approximate, "even between brokers.", "one broker alone: leaders are not where they should be.", "KafkaPreferredReplicaImbalance"),
			unitMessageRate, query(`sum by (broker_id) (rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", broker_id=~"$broker"}[$__rate_interval]))`, "broker {{broker_id}}")).
			noValue("no broker is scraped"),
		graph("Records in by topic", describe("Records appended, a second."+approximate, "candles while the exchange is open, few posts, fewer gaps, no dead letters.", "the source has stopped, or repeats itself."),
			unitMessageRate, query(`sum by (topic) (rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", broker_id=~"$broker"}[$__rate_interval]))`, "{{topic}}")).
			listed().noValue("no broker is scraped"),
		graph("Bytes in by topic", describe("Bytes appended, a second, over the five minutes in which the logs are asked for several times."+approximate, "some hundred bytes a candle.", "more bytes with as many records: records have grown."),
			unitBytesRate, query(`sum by (topic) (rate(kafka_server_brokertopicmetrics_bytesin_total{job="kafka-broker", broker_id=~"$broker"}[5m]))`, "{{topic}}")).
			listed().noValue("no broker is scraped"),
	)}
}

func replicas() []line {
	return []line{across(8,
		graph("Partitions and leaders", describe("Partitions with a replica on the broker, and those that it leads."+exact, "even between brokers.", "a broker that leads none after a restart: run an election of preferred leaders.", "KafkaPreferredReplicaImbalance"),
			unitCount,
			query(`sum by (broker_id) (kafka_server_replicamanager_partitioncount{job="kafka-broker", broker_id=~"$broker"})`, "{{broker_id}} partitions"),
			query(`sum by (broker_id) (kafka_server_replicamanager_leadercount{job="kafka-broker", broker_id=~"$broker"})`, "{{broker_id}} leads")).
			noValue("no broker is scraped"),
		graph("Partitions in danger", describe("Partitions that lack a replica in sync, have fewer than min.insync.replicas, are led by none, or are being moved, and disks that failed."+exact, "0.", "offline is worst; then under min ISR: writes are refused; then under-replicated.", "KafkaUnderReplicated", "KafkaUnderMinISR", "KafkaOfflinePartitions", "KafkaLogDirOffline"),
			unitCount,
			query(`sum(kafka_topic_partition_offline{job="kafka"})`, "offline"),
			query(`sum(kafka_server_replicamanager_underminisrpartitioncount{job="kafka-broker", broker_id=~"$broker"})`, "under min ISR"),
			query(`sum(kafka_server_replicamanager_underreplicatedpartitions{job="kafka-broker", broker_id=~"$broker"})`, "under-replicated"),
			query(`sum(kafka_log_logmanager_offlinelogdirectorycount{job="kafka-broker", broker_id=~"$broker"})`, "failed disks"),
			query(`sum(kafka_server_replicamanager_offlinereplicacount{job="kafka-broker", broker_id=~"$broker"})`, "replicas on failed disks"),
			query(`sum(kafka_server_replicamanager_reassigningpartitions{job="kafka-broker", broker_id=~"$broker"})`, "being moved")).
			listed().noValue("no broker is scraped"),
		graph("Changes of replicas and leaders", describe("Replicas that fell out of sync or came back, and elections of leaders, within five minutes. Shorter flaps than the exporter's refresh are missed."+approximate, "0; some around a restart.", "flapping replicas: disk or network of a broker; unclean: acknowledged records may be lost.", "KafkaUncleanLeaderElection"),
			unitCount,
			query(`sum(increase(kafka_server_replicamanager_isrshrinks_total{job="kafka-broker", broker_id=~"$broker"}[5m]))`, "out of sync"),
			query(`sum(increase(kafka_server_replicamanager_isrexpands_total{job="kafka-broker", broker_id=~"$broker"}[5m]))`, "in sync again"),
			query(`sum(increase(kafka_controller_controllerstats_leaderelectionrateandtimems_count{job="kafka-broker"}[5m]))`, "elections"),
			query(`sum(increase(kafka_controller_controllerstats_uncleanleaderelections_total{job="kafka-broker"}[5m]))`, "unclean elections")).
			series("unclean elections", inColor(bad)).noValue("no broker is scraped"),
	)}
}

func disks() line {
	return across(8,
		graph("Free disk", describe("Free bytes of the volume that holds a directory of logs."+exact, "level, in a saw-tooth as old segments are deleted.", "a straight way down: see which topic grows.", "KafkaDiskFilling", "KafkaLogDirOffline"),
			unitBytes, query(`min by (instance, directory) (kafka_log_directory_usable_bytes{job="kafka-broker", broker_id=~"$broker"})`, "{{instance}} {{directory}}")).
			noValue("brokers before 3.3 do not tell"),
		graph("Logs by broker", describe("Bytes of the logs in a directory."+exact, "it grows until retention deletes as fast as records come.", "see the topics beside it."),
			unitBytes, query(`sum by (instance, directory) (kafka_log_directory_used_bytes{job="kafka-broker", broker_id=~"$broker"})`, "{{instance}} {{directory}}")).
			noValue("no broker is scraped"),
		gauges("Logs by topic", describe("Bytes of a topic's logs, all replicas."+exact, "candles are the most.", "a topic that nobody expects: delete it, or shorten its retention."),
			unitBytes, query(`sort_desc(topk(12, sum by (topic) (kafka_log_log_size{job="kafka-broker", broker_id=~"$broker"})))`, "{{topic}}")).
			noValue("no broker is scraped"),
	)
}

func controller() line {
	return across(8,
		graph("What the controller counts", describe("Brokers alive and fenced, topics, partitions, and partitions that another than their preferred replica leads."+exact, "nothing fenced, no imbalance.", "fenced: a broker is registered and may not serve.", "KafkaPreferredReplicaImbalance"),
			unitCount,
			query(`max(kafka_controller_kafkacontroller_activebrokercount{job="kafka-broker"})`, "brokers"),
			query(`max(kafka_controller_kafkacontroller_fencedbrokercount{job="kafka-broker"})`, "fenced"),
			query(`max(kafka_controller_kafkacontroller_globaltopiccount{job="kafka-broker"})`, "topics"),
			query(`max(kafka_controller_kafkacontroller_globalpartitioncount{job="kafka-broker"})`, "partitions"),
			query(`max(kafka_controller_kafkacontroller_preferredreplicaimbalancecount{job="kafka-broker"})`, "not led as preferred")).
			listed().noValue("no controller is scraped"),
		graph("Groups by state", describe("Groups of the classic protocol by the broker that coordinates them and their state."+exact, "stable, and empty ones of readers that commit without joining.", "rebalancing for long: members come and go, or answer too late.", "KafkaRebalanceStorm"),
			unitCount,
			query(`sum by (broker_id) (kafka_coordinator_group_groupmetadatamanager_numgroupsstable{job="kafka-broker", broker_id=~"$broker"})`, "{{broker_id}} stable"),
			query(`sum by (broker_id) (kafka_coordinator_group_groupmetadatamanager_numgroupsempty{job="kafka-broker", broker_id=~"$broker"})`, "{{broker_id}} empty"),
			query(`sum by (broker_id) (kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance{job="kafka-broker", broker_id=~"$broker"} + kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance{job="kafka-broker", broker_id=~"$broker"})`, "{{broker_id}} rebalancing")).
			noValue("no broker is scraped"),
		table("Cluster", describe("What cluster it is, as its APIs tell."+exact, "one line.", "two lines: two clusters are watched under one name."), []string{"cluster_id", "version", "mode"},
			column{name: "Exporters", unit: unitNone, expr: `count by (cluster_id, version, mode) (kafka_cluster_info{job="kafka"})`}).
			noValue("exporter is silent"),
	)
}
