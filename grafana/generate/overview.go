package main

import "fmt"

// overview answers: is the stack healthy, and is the data fresh?
func overview() *dashboard {
	d := newBoard("overview", "1 Overview", "Is the stack healthy, and is the data fresh?")
	return d.
		section("", across(4,
			stat("Alerts", describe("Alerts that fire, without those of severity info.", "none.", "the table below names them; each has a runbook."),
				unitNone, query(`count(ALERTS{alertstate="firing", severity=~"critical|warning"}) or vector(0)`, "firing")).
				levels(good, at(1, bad)),
			stat("Targets down", describe("Targets that Prometheus cannot scrape.", "none.", "the timeline below names them; of what is down nothing is known.", "TargetDown"),
				unitNone, query(`count(up{job=~".+"} == 0) or vector(0)`, "down")).
				levels(good, at(1, bad)).opens("Runtime", uid("runtime")),
			stat("Kafka", describe("Whether Kafka answered the exporter's last look.", "up.", "nothing can be written or read: see the brokers.", "KafkaUnreachable"),
				unitNone, query(`min(kafka_up{job="kafka"})`, "Kafka")).
				isUp().noValue("exporter is silent").opens("Kafka cluster", uid("kafka")),
			stat("Stores", describe("Whether MySQL and MongoDB both answer.", "up.", "events wait in Kafka and nothing is lost; see which store it is.", "StoreDown"),
				unitNone, query(`min(candlestack_store_up{job="stores"})`, "stores")).
				isUp().noValue("store collector is silent").opens("Stores", uid("stores")),
			stat("Candles overdue", describe("How long the next closed candle of the worst series has been due in MySQL: the age of its newest one, less one interval. The exporter looks every 15 s.",
				"below 20 s.", "see which instrument it is, then follow the flow from the exchange on. More than an interval and 30 s is an alert: 90 s for a minute."),
				unitSeconds, query(`max(clamp_min(instrument:candle_age:seconds - on (exchange, instrument, interval) instrument:interval:seconds, 0))`, "worst")).
				levels(good, at(60, unusual), at(90, bad)).decimals(0).trend().noValue("no closed candle stored").opens("Pipeline", uid("pipeline")),
			stat("Lag", describe("Age of the oldest record that a sink has not yet stored, the worst of all topics.", "a few seconds.", "the store is slow or away: see the sinks.", "KafkaSinkLag"),
				unitSeconds, query(`max(group_topic:kafka_consumergroup_lag_seconds:max{consumergroup!="candlestack-canary"})`, "worst")).
				levels(good, at(30, unusual), at(60, bad)).decimals(1).trend().noValue("no group has committed").opens("Topics and groups", uid("topics")),
			stat("Open gaps", describe("Stretches of candles that were missed and not fetched yet.", "none; a few for a minute after a disconnect.", "the source repairs them within its weight budget: see the budget.", "GapOpen"),
				unitNone, query(`sum(candlestack_store_gaps{job="stores", state="open"}) or 0 * max(candlestack_store_up{job="stores", store="mysql"})`, "open")).
				levels(good, at(1, unusual)).noValue("store collector is silent").opens("Pipeline", uid("pipeline")),
			stat("Dead letters", describe("Records in the dead-letter topics, from sources and sinks, until retention deletes them.", "none.", "read the reasons on the Pipeline board, mend the cause, then replay them.", "DeadLetters"),
				unitNone, query(`sum(kafka_topic_partition_current_offset{job="kafka", topic=~".+[.]dead"} - kafka_topic_partition_oldest_offset{job="kafka", topic=~".+[.]dead"})`, "kept")).
				levels(good, at(1, unusual)).noValue("no dead-letter topic").opens("Pipeline", uid("pipeline")),
		)).
		section("From the exchange to the stores",
			across(4, stat("Flow", describe("Events a second at each stage, in the order of their way: received live from the exchange, acknowledged by Kafka (posts and history too), appended to Kafka's logs, read by the sinks, written to each store.",
				"the middle stages are the same within a few seconds; news is rare.", "the first stage that is lower than the one before it is where to look."),
				unitEventRate,
				query(`sum(rate(candlestack_source_event_receive_seconds_count{job="candlestack"}[$__rate_interval]))`, "1 received"),
				query(`sum(rate(candlestack_source_events_total{job="candlestack"}[$__rate_interval]))`, "2 acknowledged"),
				query(`sum(rate(kafka_server_brokertopicmetrics_messagesin_total{job="kafka-broker", topic=~"market.*|news.*"}[$__rate_interval]))`, "3 in Kafka"),
				query(`sum(rate(candlestack_sink_consumed_records_total{job="candlestack"}[$__rate_interval]))`, "4 read"),
				query(`sum(rate(candlestack_sink_rows_total{job="candlestack", component="sink-mysql"}[$__rate_interval]))`, "5 MySQL"),
				query(`sum(rate(candlestack_sink_rows_total{job="candlestack", component="sink-mongodb"}[$__rate_interval]))`, "5 MongoDB"),
			).decimals(2).trend().noValue("not running").opens("Pipeline", uid("pipeline"))),
			across(8,
				graph("Age of the newest closed candle", describe("Time since the close of the newest closed candle in MySQL, by series: what a reader of the table sees.",
					"a saw-tooth between 0 and one interval and a few seconds.", "a line that climbs on is a series that nothing arrives for.", "CandlesLate"),
					unitSeconds, query(`instrument:candle_age:seconds`, "{{exchange}} {{instrument}} {{interval}}")).
					noValue("no closed candle stored"),
				lateShare(),
				graph("Append to durable", describe("Time from the append to Kafka until the event is durable in the store, live events only, over five minutes.",
					"p99 below a second.", "compare with the write duration on the Pipeline board: the store, or the queue before it."),
					unitSeconds,
					query(`component:sink_durable_latency_seconds:p50_5m`, "{{component}} p50"),
					query(`component:sink_durable_latency_seconds:p99_5m`, "{{component}} p99")).
					noValue("no live event within five minutes"),
				graph("Lag by group", describe("Age of the oldest record that a group has not committed, by topic. Exact to the exporter's refresh.", "near 0.", "the dashed line is where the alert is: the store is slow or away.", "KafkaSinkLag"),
					unitSeconds, query(`group_topic:kafka_consumergroup_lag_seconds:max{consumergroup!="candlestack-canary"}`, "{{consumergroup}} {{topic}}")).
					limits(good, at(60, bad)).noValue("no group has committed"),
			)).
		section("What is wrong, and what runs",
			across(9,
				alerts().wide(13),
				timeline("Targets", describe("Whether each target could be scraped.", "all up.", "a part that is down stops the flow behind it; Kafka keeps what waits.", "TargetDown", "TargetsVanished"),
					query(`min by (job, component, instance) (up{job=~".+"})`, "{{job}} {{component}} {{instance}}")).
					isUp().wide(11),
			))
}

// alerts is the table of what fires or is about to.
func alerts() *panel {
	p := table("Active alerts", describe("Alerts that fire (1) or wait for their time to pass (pending).", "Watchdog alone, which always fires: it proves that rules are evaluated.", "open the runbook of the name, in prometheus/runbooks/.", "Watchdog"),
		[]string{"alertname", "alertstate", "severity", "part", "component", "instrument", "consumergroup", "topic"},
		column{name: "Series", unit: unitNone, expr: `count by (alertname, alertstate, severity, part, component, instrument, consumergroup, topic) (ALERTS)`})
	p.series("Severity", property{"mappings", []mapping{{"value", map[string]mappingTo{
		"critical": {"critical", bad, 0}, "warning": {"warning", unusual, 1}, "info": {"info", neutral, 2},
	}}}}, property{"custom.cellOptions", cellKind{"color-text"}})
	return p.sorted("Severity", false).noValue("no alert, not even Watchdog: are the rules loaded?")
}

// lateShare is the service level indicator of freshness over the windows of its
// alerts; the two shortest are recorded in the demo and the classroom alone.
func lateShare() *panel {
	shares := ""
	for i, window := range [][2]string{{"25s", "25 s"}, {"150s", "2.5 min"}, {"5m", "5 min"}, {"30m", "30 min"}, {"1h", "1 h"}, {"6h", "6 h"}} {
		if i > 0 {
			shares += " or "
		}
		shares += fmt.Sprintf(`label_replace(exchange:candle_late:ratio_%s, "window", "%s", "", "")`, window[0], window[1])
	}
	return graph("Late candles", describe("Share of looks that found the newest closed candle late, over several windows: late is older than two intervals and 30 s. The lines at 6 % and 14.4 % are those of the burn rates.",
		"0; 1 % over 30 days is the objective.", "above 14.4 % for an hour: what 30 days allow is spent in two.",
		"CandleFreshnessBurnsFast", "CandleFreshnessBurnsSlowly", "CandleFreshnessBurnsFastDemo", "CandleFreshnessBurnsSlowlyDemo"),
		unitRatio, query(shares, "{{exchange}} {{window}}")).
		limits(good, at(0.06, unusual), at(0.144, bad)).to(1).noValue("too few looks yet")
}
