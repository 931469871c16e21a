package main

// topics answers: does everything that is written get read, in time?
func topics() *dashboard {
	d := newBoard("topics", "5 Kafka topics and groups", "Is everything that is written also read, and in time?",
		choice("topic", "Topic", `label_values(kafka_topic_partitions{job="kafka"}, topic)`),
		choice("group", "Group", `label_values(kafka_consumergroup_members{job="kafka"}, consumergroup)`))
	return d.
		section("", topicTiles()).
		section("Groups", groups()...).
		section("Topics", topicPanels()...).
		folded("Partitions", partitions())
}

func topicTiles() line {
	return across(4,
		stat("Lag", describe("Age of the oldest record that is left to read, the worst of the chosen groups."+exact, "a few seconds.", "its reader is slow or away.", "KafkaSinkLag"),
			unitSeconds, query(`max(group_topic:kafka_consumergroup_lag_seconds:max{consumergroup=~"$group"})`, "worst")).
			levels(good, at(30, unusual), at(60, bad)).decimals(1).trend().noValue("no group has committed"),
		stat("Records left to read", describe("Records between the commits and the ends of the logs, of the chosen groups. A partition without a commit does not count."+exact, "near 0.", "see lag in seconds: a number of records says little."),
			unitCount, query(`sum(clamp_min(group_topic:kafka_consumergroup_lag:sum{consumergroup=~"$group"}, 0))`, "records")).
			trend().noValue("no group has committed"),
		stat("Time left", describe("Least time until retention lets Kafka delete a record that is left to read."+exact, "days; nothing at all where all is read.", "below an hour: read on, or lengthen the retention.", "KafkaUnreadDataExpires"),
			unitDuration, query(`min(kafka_consumergroup_retention_remaining_seconds{job="kafka", consumergroup=~"$group"})`, "least")).
			levels(bad, at(3600, unusual), at(86400, good)).noValue("nothing is left to read"),
		stat("Lost unread", describe("Records that were deleted before a group had read them."+exact, "none, ever.", "they are lost for this group: fetch them again from where they came.", "KafkaUnreadDataLost"),
			unitCount, query(`sum(kafka_consumergroup_below_start_messages{job="kafka", consumergroup=~"$group"})`, "records")).
			levels(good, at(1, bad)).noValue("no group has committed"),
		stat("Groups", describe("Groups, and those of them that are stable: their members read."+exact, "the sinks' groups are stable.", "empty with lag: nobody reads.", "KafkaGroupWithoutMembers"),
			unitNone,
			query(`sum(kafka_consumergroup_state{job="kafka", consumergroup=~"$group", state="Stable"})`, "stable"),
			query(`count(kafka_consumergroup_members{job="kafka", consumergroup=~"$group"})`, "all")).
			noValue("no group"),
		stat("Written", describe("Records appended to the chosen topics, a second."+approximate, "above 0 while the exchange is open.", "the source has stopped."),
			unitMessageRate, query(`sum(rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", topic=~"$topic"}[$__rate_interval]))`, "records")).
			trend().decimals(2).noValue("no broker is scraped"),
		stat("Kept", describe("Records in the chosen topics now."+exact, "it grows until retention deletes.", "see which topic it is."),
			unitCount, query(`sum(kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"} - kafka_topic_partition_oldest_offset{job="kafka", topic=~"$topic"})`, "records")).
			noValue("exporter is silent"),
		stat("Partitions", describe("Topics chosen, and their partitions."+exact, "what `candlestack topics apply` made.", "a topic that nobody expects was made by hand."),
			unitNone,
			query(`count(kafka_topic_partitions{job="kafka", topic=~"$topic"})`, "topics"),
			query(`sum(kafka_topic_partitions{job="kafka", topic=~"$topic"})`, "partitions")).
			noValue("exporter is silent"),
	)
}

func groups() []line {
	return []line{
		across(7, table("Groups and their topics", describe("Each group and topic: what is left to read in seconds and records, how fast it commits, and its partitions that a member reads."+exact, "lag near 0, all partitions assigned.", "lag and no assigned partition: nobody reads; lag and no commits: it is stuck.", "KafkaSinkLag"),
			[]string{"consumergroup", "topic"},
			column{name: "Lag", unit: unitSeconds, expr: `max by (consumergroup, topic) (kafka_consumergroup_lag_seconds_max{job="kafka", consumergroup=~"$group"})`, base: good, steps: []step{at(30, unusual), at(60, bad)}},
			column{name: "Left to read", unit: unitCount, expr: `sum by (consumergroup, topic) (kafka_consumergroup_lag_sum{job="kafka", consumergroup=~"$group"})`},
			column{name: "Commits", unit: unitMessageRate, expr: `sum by (consumergroup, topic) (rate(kafka_consumergroup_current_offset_sum{job="kafka", consumergroup=~"$group"}[$__rate_interval]))`},
			column{name: "Since commit", unit: unitDuration, expr: `time() - max by (consumergroup, topic) (kafka_consumergroup_last_commit_timestamp_seconds{job="kafka", consumergroup=~"$group"})`},
			column{name: "Assigned", unit: unitNone, expr: `sum by (consumergroup, topic) (kafka_consumergroup_topic_assigned_partitions{job="kafka", consumergroup=~"$group"})`}).
			sorted("Lag", true).wide(14).noValue("no group has committed"),
			timeline("State", describe("State of each group: green is stable, yellow rebalances, blue is empty, red is dead."+exact, "stable; the canaries' group is empty, for the probe commits without joining.", "yellow for long: members come and go.", "KafkaRebalanceStorm"),
				query(`sum by (consumergroup) (kafka_consumergroup_state{job="kafka", consumergroup=~"$group", state="Empty"}) + 2 * sum by (consumergroup) (kafka_consumergroup_state{job="kafka", consumergroup=~"$group", state="Stable"}) + 3 * sum by (consumergroup) (kafka_consumergroup_state{job="kafka", consumergroup=~"$group", state!~"Empty|Stable|Dead"}) + 4 * sum by (consumergroup) (kafka_consumergroup_state{job="kafka", consumergroup=~"$group", state="Dead"})`, "{{consumergroup}}")).
				states(map[string]mappingTo{"0": {"unknown", "gray", 0}, "1": {"empty", neutral, 1}, "2": {"stable", good, 2}, "3": {"rebalances", unusual, 3}, "4": {"dead", bad, 4}}).
				noValue("no group").wide(10)),
		across(8,
			graph("Lag", describe("Age of the oldest record that is left to read. Exact to the refresh interval; older than what was watched, to a hundredth."+exact, "near 0.", "the dashed lines are the alerts: of the sinks at a minute, of other groups at five.", "KafkaSinkLag", "KafkaConsumerLag"),
				unitSeconds, query(`group_topic:kafka_consumergroup_lag_seconds:max{consumergroup=~"$group"}`, "{{consumergroup}} {{topic}}")).
				limits(good, at(60, unusual), at(300, bad)).noValue("no group has committed"),
			graph("Records left to read", describe("Records between the commit and the end of the log."+exact, "near 0; a hill during a back-fill.", "a plain climb: the reader does not keep up.", "KafkaGroupStuck"),
				unitCount, query(`clamp_min(group_topic:kafka_consumergroup_lag:sum{consumergroup=~"$group"}, 0)`, "{{consumergroup}} {{topic}}")).
				noValue("no group has committed"),
			graph("Commits", describe("Records that a group has committed, a second."+exact, "the same as is written.", "less: lag grows; nothing while more is written: stuck.", "KafkaGroupStuck"),
				unitMessageRate, query(`sum by (consumergroup, topic) (rate(kafka_consumergroup_current_offset_sum{job="kafka", consumergroup=~"$group"}[$__rate_interval]))`, "{{consumergroup}} {{topic}}")).
				noValue("no group has committed"),
		),
		across(7,
			graph("Members", describe("Members of each group, and those that no partition is assigned to."+exact, "one for each sink that runs; none idle.", "more members than partitions: some are idle.", "KafkaGroupWithoutMembers"),
				unitCount,
				query(`sum by (consumergroup) (kafka_consumergroup_members{job="kafka", consumergroup=~"$group"})`, "{{consumergroup}}"),
				query(`sum by (consumergroup) (kafka_consumergroup_empty_members{job="kafka", consumergroup=~"$group"})`, "{{consumergroup}} idle")).
				noValue("no group"),
			graph("Changes of state", describe("Changes of a group's state from one look to the next, within ten minutes. One restart is three at most; shorter ones than the refresh are missed."+approximate, "0.", "above the dashed line it does not come to rest: members answer too late, or crash.", "KafkaRebalanceStorm"),
				unitCount, query(`sum by (consumergroup) (increase(kafka_consumergroup_state_changes_total{job="kafka", consumergroup=~"$group"}[10m]))`, "{{consumergroup}}")).
				limits(good, at(6, bad)).noValue("no group"),
			graph("Deleted unread", describe("Offsets between a group's commit and the log start: deleted before the group had read them."+exact, "0.", "they are lost for this group.", "KafkaUnreadDataLost"),
				unitCount, query(`sum by (consumergroup, topic) (kafka_consumergroup_below_start_messages{job="kafka", consumergroup=~"$group"})`, "{{consumergroup}} {{topic}}")).
				noValue("no group has committed"),
		),
	}
}

func topicPanels() []line {
	return []line{
		across(7, table("Topics", describe("Each topic: its partitions and replicas, what is kept, how fast it grows, and its bytes on all brokers. *Exact, but what is written: approximate.*", "dead-letter topics are empty.", "a topic that nobody reads grows until retention deletes."),
			[]string{"topic"},
			column{name: "Partitions", unit: unitNone, expr: `sum by (topic) (kafka_topic_partitions{job="kafka", topic=~"$topic"})`},
			column{name: "Replicas", unit: unitNone, expr: `max by (topic) (kafka_topic_partition_replicas{job="kafka", topic=~"$topic"})`},
			column{name: "In sync", unit: unitNone, expr: `min by (topic) (kafka_topic_partition_in_sync_replica{job="kafka", topic=~"$topic"})`},
			column{name: "Kept", unit: unitCount, expr: `sum by (topic) (kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"} - kafka_topic_partition_oldest_offset{job="kafka", topic=~"$topic"})`},
			column{name: "Written", unit: unitMessageRate, expr: `sum by (topic) (rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", topic=~"$topic"}[$__rate_interval]))`},
			column{name: "Size", unit: unitBytes, expr: `sum by (topic) (kafka_log_log_size{job="kafka-broker", topic=~"$topic"})`}).
			sorted("Kept", true).noValue("exporter is silent")),
		across(8,
			graph("Written", describe("Records appended, a second."+approximate, "candles while the exchange is open.", "the source has stopped, or repeats itself."),
				unitMessageRate, query(`sum by (topic) (rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", topic=~"$topic"}[$__rate_interval]))`, "{{topic}}")).
				listed().noValue("no broker is scraped"),
			graph("Kept", describe("Records between the start and the end of the logs."+exact, "it grows until retention deletes as fast as records come.", "dead letters: mend and replay."),
				unitCount, query(`sum by (topic) (kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"} - kafka_topic_partition_oldest_offset{job="kafka", topic=~"$topic"})`, "{{topic}}")).
				listed().noValue("exporter is silent"),
			graph("Size", describe("Bytes of the logs on all brokers, as last asked for (every minute)."+exact, "it grows with what is kept.", "see the disks on the board Kafka cluster."),
				unitBytes, query(`sum by (topic) (kafka_log_log_size{job="kafka-broker", topic=~"$topic"})`, "{{topic}}")).
				listed().noValue("no broker is scraped"),
		),
	}
}

func partitions() line {
	return across(9,
		graph("Lag by partition", describe("The twelve partitions with the oldest unread record."+exact, "near 0.", "one partition alone: a record that its reader cannot take, or a hot key."),
			unitSeconds, query(`topk(12, kafka_consumergroup_lag_seconds{job="kafka", consumergroup=~"$group"})`, "{{consumergroup}} {{topic}} {{partition}}")).
			listed().noValue("no group has committed"),
		graph("Written by partition", describe("The twelve partitions that grow fastest, records a second."+exact, "instruments are spread over partitions by key, so unevenly when they are few.", "one far above the others: a hot key."),
			unitMessageRate, query(`topk(12, rate(kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"}[$__rate_interval]))`, "{{topic}} {{partition}}")).
			listed().noValue("exporter is silent"),
	)
}
