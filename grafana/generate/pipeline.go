package main

// pipeline answers: which part of the way from the exchange to the stores is slow or losing?
func pipeline() *dashboard {
	topic := choice("topic", "Topic", `label_values(candlestack_sink_durable_offset{job="candlestack", component=~"$sink"}, topic)`)
	topic.AllValue = "" // all that sinks read, not all that Kafka has
	d := newBoard("pipeline", "3 Pipeline", "Which part of the way from the exchange to the stores is slow, or loses something?",
		choice("source", "Source", `label_values(candlestack_source_acknowledge_duration_seconds_count{job="candlestack"}, source)`),
		choice("sink", "Sink", `label_values(candlestack_sink_paused_partitions{job="candlestack"}, component)`),
		topic)
	return d.
		section("", pipelineTiles()).
		section("On the way", stages()...).
		section("Sources", sources()...).
		section("Sinks", sinks()...).
		section("Dead letters and losses", losses()).
		folded("Kafka clients", clients()...)
}

func pipelineTiles() line {
	return across(4,
		stat("Acknowledged", describe("Events that Kafka has acknowledged, a second.", "above 0 while the exchange is open; much more during a back-fill.", "see the connection and the reconnects."),
			unitEventRate, query(`sum(rate(candlestack_source_events_total{job="candlestack", source=~"$source"}[$__rate_interval]))`, "events")).
			trend().decimals(2).noValue("no source runs"),
		stat("Stream", describe("Whether every WebSocket connection that the streams need stands.", "up.", "the source reconnects by itself, and fetches what it missed; the causes are below.", "SourceDisconnected"),
			unitNone, query(`min(candlestack_session_connected{job="candlestack"})`, "stream")).
			isUp().noValue("no source with a stream runs"),
		stat("Reconnects", describe("Ends of the live streams within the time that is shown, planned ones too.", "one a day.", "see the causes below.", "SourceReconnectStorm"),
			unitNone, query(`sum(increase(candlestack_source_reconnects_total{job="candlestack", source=~"$source"}[$__range]))`, "reconnects")).
			levels(good, at(2, unusual), at(6, bad)).decimals(0).noValue("no source runs"),
		stat("Weight budget", describe("The greatest share of a host's request weight that is used in this minute, as the host counts it.", "below 80 %: that is what we allow ourselves.", "another program uses the same address: the host answers 429, then bans.", "RestWeightNearLimit"),
			unitRatio, query(`max(candlestack_rest_weight_used{job="candlestack"} / candlestack_rest_weight_limit{job="candlestack"})`, "used")).
			levels(good, at(0.8, unusual), at(0.9, bad)).trend().noValue("no host told its limit"),
		stat("Durable", describe("Rows and documents that the sinks have written, a second, whatever the write did to them.", "the same as acknowledged.", "less for long: lag grows, see the write duration."),
			unitRowRate, query(`sum(rate(candlestack_sink_rows_total{job="candlestack", component=~"$sink"}[$__rate_interval]))`, "rows")).
			trend().decimals(2).noValue("no sink runs"),
		stat("Append to durable p99", describe("Of a hundred live events, the slowest: time from the append to Kafka until it is durable in the store, over five minutes.", "below a second.", "see the latency by stage."),
			unitSeconds, query(`max(component:sink_durable_latency_seconds:p99_5m{component=~"$sink"})`, "p99")).
			levels(good, at(2, unusual), at(10, bad)).trend().noValue("no live event within five minutes"),
		stat("Paused partitions", describe("Partitions that a sink does not read at this moment, because its queue is full.", "none, but for a back-fill.", "the store is slow or away: see retries.", "SinkPaused"),
			unitNone, query(`sum(candlestack_sink_paused_partitions{job="candlestack", component=~"$sink"})`, "paused")).
			levels(good, at(1, unusual)).noValue("no sink runs"),
		stat("Dead letters", describe("Records that sinks gave up within the time that is shown, and kept in the dead-letter topics.", "none.", "the reasons are below; mend the cause, then replay.", "DeadLetters"),
			unitNone, query(`sum(increase(candlestack_sink_dead_letters_total{job="candlestack", component=~"$sink"}[$__range]))`, "given up")).
			levels(good, at(1, unusual)).decimals(0).noValue("no sink runs"),
	)
}

func stages() []line {
	p99 := func(histogram, selector, by string) string {
		return quantile("0.99", histogram, `job="candlestack"`+selector, rateInterval, by)
	}
	return []line{
		across(9,
			graph("Latency by stage, p99", describe("Of a hundred events, the slowest at each stage: exchange to us (live), us to Kafka's acknowledgement, one write to a store, append to durable, exchange to durable (live).",
				"the exchange to us and the write dominate; all below a second.", "the stage that rises is the one to look at; network and clock for the first, the broker for the second, the store for the third."),
				unitSeconds,
				query(p99("candlestack_source_event_receive_seconds", "", ""), "exchange to us"),
				query(p99("candlestack_source_acknowledge_duration_seconds", `, outcome="ok"`, ""), "us to Kafka"),
				query(p99("candlestack_sink_write_duration_seconds", `, outcome="ok", component=~"$sink"`, "component"), "write {{component}}"),
				query(p99("candlestack_sink_append_durable_seconds", `, component=~"$sink"`, "component"), "append to durable {{component}}"),
				query(p99("candlestack_sink_event_durable_seconds", `, component=~"$sink"`, "component"), "exchange to durable {{component}}")).
				anyMin().listed().noValue("no event"),
			graph("Offsets: appended, durable, committed", describe("Records appended to Kafka, durable in the store, and committed by the group, summed over the partitions of a topic.",
				"three lines in one, and committed is never above durable.", "the distance from appended to durable is what waits; from durable to committed what would be read again after a crash, which changes nothing.", "KafkaSinkLag"),
				unitCount,
				query(`sum by (topic) (kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"})`, "{{topic}} appended"),
				query(`sum by (topic) (candlestack_sink_durable_offset{job="candlestack", component=~"$sink", topic=~"$topic"})`, "{{topic}} durable"),
				query(`sum by (topic) (kafka_consumergroup_current_offset{job="kafka", consumergroup=~"candlestack-(mysql|mongodb)", topic=~"$topic"})`, "{{topic}} committed")).
				anyMin().listed().noValue("no offset is known"),
		),
		across(8,
			graph("Age of the newest event", describe("Time since the venue's clock of the newest live event, by series: when Kafka has acknowledged it, and when it is durable. News ages until the next post.",
				"a few seconds for candles.", "acknowledged old: the source or the exchange; durable alone old: the sink."),
				unitSeconds,
				query(`time() - max by (exchange, instrument, interval) (candlestack_source_newest_event_timestamp_seconds{job="candlestack", interval!=""})`, "{{instrument}} {{interval}} acknowledged"),
				query(`time() - max by (exchange, instrument, interval) (candlestack_sink_newest_event_timestamp_seconds{job="candlestack", interval!=""})`, "{{instrument}} {{interval}} durable")).
				listed().noValue("no live event yet"),
			graph("Waiting in Kafka", describe("Records that are appended and not durable in the store yet. Both ends are looked at up to 5 s apart.", "a few; a hill during a back-fill that goes down by itself.", "a plain climb: the store does not keep up.", "KafkaSinkLag"),
				unitCount, query(`clamp_min(sum by (topic) (kafka_topic_partition_current_offset{job="kafka", topic=~"$topic"}) - sum by (topic) (candlestack_sink_durable_offset{job="candlestack", component=~"$sink", topic=~"$topic"}), 0)`, "{{topic}}")).
				noValue("no offset is known"),
		),
	}
}

func sources() []line {
	return []line{
		across(8,
			graph("Events acknowledged", describe("Events that Kafka has acknowledged, by source, kind and origin: live, backfill (history at the start), repair (a gap), archive.",
				"live only, once the history is there.", "no live events: see the stream; many repairs: the connection breaks often."),
				unitEventRate, query(`sum by (source, kind, origin) (rate(candlestack_source_events_total{job="candlestack", source=~"$source"}[$__rate_interval]))`, "{{source}} {{kind}} {{origin}}")).
				listed().noValue("no source runs"),
			graph("Exchange to us", describe("From the venue's event time to our receiving it, live events only. Negative where clocks differ.", "tens of milliseconds to the real exchange, less to the simulator.", "compare the clock of this machine, then the network."),
				unitSeconds, quantiles("candlestack_source_event_receive_seconds", `job="candlestack"`, "source")...).
				anyMin().noValue("no live event"),
			graph("Us to Kafka", describe("From handing an event to the Kafka client to the broker's acknowledgement.", "tens of milliseconds; seconds while a back-fill fills the queue.", "see the broker and the client's queue."),
				unitSeconds, quantiles("candlestack_source_acknowledge_duration_seconds", `job="candlestack", source=~"$source"`, "source")...).
				listed().noValue("no event"),
		),
		across(8,
			graph("REST requests", describe("Requests to exchanges and feeds, a second, by outcome.", "ok only; candles are asked for after a start and a gap, feeds all the time.", "limited: we are too fast for the host; timeout and error: the host or the network."),
				unitRequestRate, query(`sum by (component, outcome) (rate(candlestack_rest_request_duration_seconds_count{job="candlestack"}[$__rate_interval]))`, "{{component}} {{outcome}}")).
				listed().noValue("no request yet"),
			graph("REST latency p99", describe("Of a hundred requests, the slowest with its body, by route.", "below a second.", "the host is slow, or the network."),
				unitSeconds, query(quantile("0.99", "candlestack_rest_request_duration_seconds", `job="candlestack"`, rateInterval, "component, route"), "{{component}} {{route}}")).
				noValue("no request within the window"),
			graph("Weight budget", describe("Request weight that is used in this minute and what the host allows, as the host counts.", "used stays below 80 % of the limit.", "at the limit the host answers 429, and bans who goes on.", "RestWeightNearLimit"),
				unitCount,
				query(`max by (component) (candlestack_rest_weight_used{job="candlestack"})`, "{{component}} used"),
				query(`max by (component) (candlestack_rest_weight_limit{job="candlestack"})`, "{{component}} limit")).
				limitLines(".* limit").noValue("no host told its limit"),
			stat("Ban", describe("Time until the host lets us ask again, after it answered 429 or 418.", "0: no ban.", "wait, nothing is lost; then ask less, or find who else uses this address.", "RestBanned"),
				unitSeconds, query(`max(clamp_min(candlestack_rest_ban_until_timestamp_seconds{job="candlestack"} - time(), 0))`, "left")).
				levels(good, at(1, bad)).wide(3).noValue("no source runs"),
		),
		across(7,
			graph("Ends of the live stream", describe("Ends of the live stream by cause, counted within a window.", "none; planned once a day, as the exchange wants it.", "stall and half_dead: no frame came; refused and ban: the host does not want us; protocol: it says what we cannot read.", "SourceReconnectStorm"),
				unitNone, query(`sum by (cause) (increase(candlestack_source_reconnects_total{job="candlestack", source=~"$source"}[$__rate_interval]))`, "{{cause}}")).
				bars().noValue("no source runs"),
			graph("Gaps recorded", describe("Stretches of candles that the source missed, within five minutes, by what became of them: open, repaired, or confirmed (the exchange itself has nothing there); and those that are open in MySQL now.", "0; open and repaired rise together after a disconnect, and none is open in MySQL.", "open in MySQL: repair fails or waits for weight.", "GapOpen"),
				unitCount, query(`sum by (source, state) (increase(candlestack_source_gaps_total{job="candlestack"}[5m]))`, "{{source}} {{state}}"),
				query(`sum(candlestack_store_gaps{job="stores", state="open"}) or 0 * max(candlestack_store_up{job="stores", store="mysql"})`, "open in MySQL")).
				noValue("no source with a history runs"),
			graph("Left out and rejected", describe("What a source could not use, within a window: frames, rows and posts that cannot be read, and events that cannot be true, which become dead letters.", "none.", "the venue has changed its format, or sends nonsense: the log tells once.", "SourceRejectsEvents", "SourceReadsGarbage"),
				unitNone,
				query(`sum(increase(candlestack_session_undecodable_frames_total{job="candlestack"}[$__rate_interval]))`, "frames"),
				query(`sum(increase(candlestack_binance_unreadable_rows_total{job="candlestack"}[$__rate_interval]))`, "rows"),
				query(`sum(increase(candlestack_cryptopanic_unreadable_posts_total{job="candlestack"}[$__rate_interval]))`, "posts"),
				query(`sum by (source) (increase(candlestack_source_rejected_events_total{job="candlestack", source=~"$source"}[$__rate_interval]))`, "{{source}} rejected")).
				bars().noValue("no source runs"),
		),
	}
}

func sinks() []line {
	return []line{
		across(8,
			graph("Read and written", describe("Records read from Kafka, and rows or documents by what the write did to them. Kept: inserted or unchanged, where the store cannot tell.",
				"as many written as read; candles that still grow are updated.", "read and not written: retries or dead letters."),
				unitRowRate,
				query(`sum by (component) (rate(candlestack_sink_consumed_records_total{job="candlestack", component=~"$sink"}[$__rate_interval]))`, "{{component}} read"),
				query(`sum by (component, effect) (rate(candlestack_sink_rows_total{job="candlestack", component=~"$sink"}[$__rate_interval]))`, "{{component}} {{effect}}")).
				listed().noValue("no sink runs"),
			graph("Records a batch", describe("Size of the batches that are written at once.", "one or few while live, thousands during a back-fill.", "small batches with growing lag: the store answers slowly."),
				unitCount, quantiles("candlestack_sink_batch_records", `job="candlestack", component=~"$sink"`, "component")...).
				noValue("no batch within the window"),
			graph("Write duration p99", describe("Of a hundred writes to the store, the slowest, by outcome. A failed write counts with its time.", "below 100 ms; ok only.", "slow: disk or locks of the store; environment: it is down or refuses; transient: deadlocks or lost connections.", "SinkWaitsForStore", "SinkRetriesOften"),
				unitSeconds, query(quantile("0.99", "candlestack_sink_write_duration_seconds", `job="candlestack", component=~"$sink"`, rateInterval, "component, outcome"), "{{component}} {{outcome}}")).
				noValue("no write within the window"),
		),
		across(7,
			heatmap("Append to durable", describe("How long live events took from the append to Kafka until durable, as a distribution: the darker, the more events.", "one dark band below a second.", "a second band above: some batches wait or are tried again."),
				unitCount, buckets(`sum by (le) (increase(candlestack_sink_append_durable_seconds_bucket{job="candlestack", component=~"$sink"}[$__rate_interval]))`)).
				yUnit(unitSeconds).noValue("no live event"),
			graph("Retries", describe("Writes tried again, by class and the store's code: environment (the store is down or refuses), transient (deadlock, lost connection).", "none.", "DATA.md lists the codes.", "SinkWaitsForStore", "SinkRetriesOften"),
				unitPerSecond, query(`sum by (component, class, code) (rate(candlestack_sink_retries_total{job="candlestack", component=~"$sink"}[$__rate_interval])) or on (component) label_replace(label_replace(0 * sum by (component) (candlestack_sink_paused_partitions{job="candlestack", component=~"$sink"}), "class", "no", "", ""), "code", "retries", "", "")`, "{{component}} {{class}} {{code}}")).
				noValue("no sink runs"),
			graph("Connections to the stores", describe("Open connections of the sinks, by state.", "a few, mostly idle.", "all in use for long: the store is slow."),
				unitCount,
				query(`sum by (component, state) (candlestack_mysql_connections{job="candlestack"})`, "{{component}} {{state}}"),
				query(`sum by (component, state) (candlestack_mongodb_connections{job="candlestack"})`, "{{component}} {{state}}")).
				noValue("no sink runs"),
		),
	}
}

func losses() line {
	return across(7,
		graph("Dead letters by reason", describe("Records that sinks gave up, within a window, by reason: decode (bad bytes), contract (unknown version), invalid (cannot be true), store (it will never take this).",
			"none.", "read one with `candlestack dead list`, mend the cause, replay.", "DeadLetters"),
			unitNone, query(`sum by (component, reason) (increase(candlestack_sink_dead_letters_total{job="candlestack", component=~"$sink"}[$__rate_interval]))`, "{{component}} {{reason}}")).
			bars().noValue("no sink runs"),
		graph("Dead letters kept", describe("Records in the dead-letter topics.", "none.", "retention deletes them in the end: replay them before.", "DeadLetters"),
			unitCount, query(`sum by (topic) (kafka_topic_partition_current_offset{job="kafka", topic=~".+[.]dead"} - kafka_topic_partition_oldest_offset{job="kafka", topic=~".+[.]dead"})`, "{{topic}}")).
			noValue("no dead-letter topic"),
		graph("Deleted before they were read", describe("Records that retention deleted before a sink had read them, within five minutes: they are lost.", "none, ever.", "fetch them again: the source fills gaps from the exchange; lengthen the retention.", "RecordsLost"),
			unitCount, query(`sum by (component, topic) (increase(candlestack_kafka_client_skipped_records_total{job="candlestack", component=~"$sink"}[5m]))`, "{{component}} {{topic}}")).
			levels(good, at(1, bad)).noValue("no sink runs"),
	)
}

func clients() []line {
	return []line{across(8,
		graph("Deliveries", describe("Records that the broker acknowledged (ok) or that were given up (error).", "ok only: nothing is ever given up for time.", "error: a record is too large, or the topic is gone."),
			unitMessageRate, query(`sum by (component, outcome) (rate(candlestack_kafka_client_deliveries_total{job="candlestack"}[$__rate_interval]))`, "{{component}} {{outcome}}")).
			listed().noValue("no part runs"),
		graph("Records in the clients' queues", describe("Records that wait in a client: to be sent by a producer, to be read from a consumer.", "near 0, thousands during a back-fill.", "a producer's queue that stays full holds up the source: see the broker."),
			unitCount, query(`sum by (component, client) (candlestack_kafka_client_queue_records{job="candlestack"})`, "{{component}} {{client}}")).
			listed().noValue("no part runs"),
		graph("Queue full, rebalances", describe("Times that a producer's queue was full and the source had to wait, and rebalances of the sinks' groups, within five minutes.", "0 but for starts and back-fills.", "rebalances that go on: a sink does not answer in time.", "KafkaRebalanceStorm"),
			unitCount,
			query(`sum by (component) (increase(candlestack_kafka_client_queue_full_total{job="candlestack"}[5m]))`, "{{component}} queue full"),
			query(`sum by (component) (increase(candlestack_kafka_client_rebalances_total{job="candlestack"}[5m]))`, "{{component}} rebalances")).
			noValue("no part runs"),
	)}
}
