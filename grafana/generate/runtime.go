package main

// runtimeBoard answers: are the programs themselves well, and those that watch them?
func runtimeBoard() *dashboard {
	d := newBoard("runtime", "8 Runtime", "Are the programs themselves well, and those that watch them?",
		choice("job", "Job", `label_values(go_goroutines{job=~".+"}, job)`),
		choice("instance", "Instance", `label_values(go_goroutines{job=~"$job"}, instance)`))
	return d.
		section("", runtimeTiles()).
		section("Programs", process()...).
		section("Kafka client (librdkafka)", librdkafka()...).
		section("Exporter", watcher()...).
		section("Prometheus", prometheusItself()...).
		folded("Alertmanager (alertmanager)", alertmanager())
}

const programs = `{job=~"$job", instance=~"$instance"}`

func runtimeTiles() line {
	return across(4,
		stat("Targets up", describe("Targets that could be scraped, and all.", "the same.", "the Overview names them.", "TargetDown", "TargetsVanished", "ForeignTargetMissing"),
			unitNone, query(`sum(up{job=~".+"})`, "up"), query(`count(up{job=~".+"})`, "all")).noValue("Prometheus has no targets"),
		stat("Since the last start", describe("Time since the youngest of the chosen programs started.", "days.", "seconds: it crashed or was restarted; see its log."),
			unitDuration, query(`time() - max(process_start_time_seconds`+programs+`)`, "ago")).noValue("no program is scraped"),
		stat("Processor", describe("Processor cores that the chosen programs use together. In the demo all programs are one process, and each shows the whole.", "well below the cores of the machine.", "see which program it is."),
			unitNone, query(`max(rate(process_cpu_seconds_total`+programs+`[$__rate_interval]))`, "most")).decimals(2).trend().noValue("no program is scraped"),
		stat("Memory", describe("Resident memory of the largest of the chosen programs.", "steady after the back-fill.", "it grows for hours: a leak."),
			unitBytes, query(`max(process_resident_memory_bytes`+programs+`)`, "most")).trend().noValue("no program is scraped"),
		stat("File descriptors", describe("The greatest share of its file descriptors that a program has open.", "below 10 %.", "connections or files are not closed."),
			unitRatio, query(`max(process_open_fds`+programs+` / process_max_fds`+programs+`)`, "used")).levels(good, at(0.5, unusual), at(0.8, bad)).noValue("no program is scraped"),
		stat("Look at Kafka", describe("Age of what the exporter shows of Kafka.", "below its refresh interval and a second.", "its last looks failed.", "KafkaExporterStale"),
			unitSeconds, query(`time() - max(candlestack_exporter_last_success_timestamp_seconds{job="exporter"})`, "ago")).levels(good, at(30, unusual), at(60, bad)).decimals(0).noValue("exporter is silent"),
		stat("Series", describe("Series in Prometheus' head.", "below 20,000 in the classroom.", "a label that grows without bound: see the samples by target."),
			unitCount, query(`max(prometheus_tsdb_head_series{job="prometheus"})`, "series")).levels(good, at(20000, unusual), at(100000, bad)).noValue("Prometheus does not scrape itself"),
		stat("Rule failures", describe("Evaluations of rules that failed within five minutes.", "none.", "their alerts may be silent though there is cause.", "PrometheusRuleFailures"),
			unitNone, query(`sum(increase(prometheus_rule_evaluation_failures_total{job="prometheus"}[5m]))`, "failed")).levels(good, at(1, bad)).decimals(0).noValue("no rules are loaded"),
	)
}

func process() []line {
	by := func(expr string) string { return "sum by (job, component, instance) (" + expr + ")" }
	const name = "{{job}} {{component}}"
	return []line{
		across(8,
			graph("Processor", describe("Processor cores in use. In the demo all programs are one process, and each shows the whole.", "fractions of a core.", "a core for long: see goroutines and garbage."),
				unitNone, query(by(`rate(process_cpu_seconds_total`+programs+`[$__rate_interval])`), name)).listed().noValue("no program is scraped"),
			graph("Memory", describe("Resident memory.", "steady after the back-fill: everything that waits is bounded.", "it grows for hours: a leak."),
				unitBytes, query(by(`process_resident_memory_bytes`+programs), name)).listed().noValue("no program is scraped"),
			graph("Heap", describe("Bytes of Go objects that live or were not collected yet. The C client of Kafka is not in it.", "a saw-tooth.", "its valleys climb: a leak of ours."),
				unitBytes, query(by(`go_memstats_heap_alloc_bytes`+programs), name)).listed().noValue("no program is scraped"),
		),
		across(8,
			graph("Goroutines", describe("Goroutines that exist.", "steady.", "they climb: something waits for ever."),
				unitCount, query(by(`go_goroutines`+programs), name)).listed().noValue("no program is scraped"),
			graph("Garbage collection", describe("The longest pause for garbage of the last collections.", "below some milliseconds.", "the machine lacks processor time."),
				unitSeconds, query("max by (job, component, instance) (go_gc_duration_seconds"+programs+")", name)).listed().noValue("no program is scraped"),
			graph("File descriptors", describe("Files and connections that are open.", "steady.", "they climb: connections are not closed."),
				unitCount, query(by(`process_open_fds`+programs), name)).listed().noValue("no program is scraped"),
		),
	}
}

func librdkafka() []line {
	return []line{
		across(8,
			graph("Round trip", describe("Round trip to a broker within the client's last window of statistics, the slower one of a hundred. A consumer's holds the time that the broker waits for records.", "a producer below 100 ms; a consumer about the wait for records, 100 ms.", "see the probe on the board Kafka cluster."),
				unitSeconds, query(`max by (component, client, broker) (candlestack_kafka_client_rtt_seconds{job="candlestack", percentile="99"})`, "{{component}} {{client}} {{broker}}")).listed().noValue("no part runs"),
			graph("Traffic", describe("Bytes to and from brokers, a second.", "some kilobytes; megabytes during a back-fill.", "received far above what is written: something reads all anew."),
				unitBytesRate,
				query(`sum by (component) (rate(candlestack_kafka_client_sent_bytes_total{job="candlestack"}[$__rate_interval]))`, "{{component}} sent"),
				query(`sum by (component) (rate(candlestack_kafka_client_received_bytes_total{job="candlestack"}[$__rate_interval]))`, "{{component}} received")).listed().noValue("no part runs"),
			graph("Requests to brokers", describe("Requests of each part to brokers, and the answers, a second.", "as many answers as requests: some a second for a consumer, few for a producer at rest.", "answers fall behind: the broker does not answer."),
				unitRequestRate,
				query(`sum by (component) (rate(candlestack_kafka_client_requests_total{job="candlestack"}[$__rate_interval]))`, "{{component}} asked"),
				query(`sum by (component) (rate(candlestack_kafka_client_responses_total{job="candlestack"}[$__rate_interval]))`, "{{component}} answered")).listed().noValue("no part runs"),
		),
		across(6,
			timeline("Connections to brokers", describe("Whether each client has a connection that is up.", "up.", "no broker is reached from there.", "KafkaUnreachable"),
				query(`min by (component, client) (candlestack_kafka_client_brokers_up{job="candlestack"} > bool 0)`, "{{component}} {{client}}")).isUp().noValue("no part runs"),
			graph("Bytes in the clients' queues", describe("Bytes that wait in the clients, outside Go's heap.", "near 0; bounded at some megabytes.", "full for long: the broker or the store is slow."),
				unitBytes, query(`sum by (component, client) (candlestack_kafka_client_queue_bytes{job="candlestack"})`, "{{component}} {{client}}")).listed().noValue("no part runs"),
		),
	}
}

func watcher() []line {
	return []line{
		across(7,
			graph("Look at Kafka", describe("Time of a look at the cluster and of encoding it, mean by outcome.", "some milliseconds.", "error: a broker does not answer."),
				unitSeconds, query(`sum by (outcome) (rate(candlestack_exporter_refresh_duration_seconds_sum{job="exporter"}[1m])) / (sum by (outcome) (rate(candlestack_exporter_refresh_duration_seconds_count{job="exporter"}[1m])) > 0)`, "{{outcome}}"),
				query(`sum by (phase) (rate(candlestack_exporter_phase_duration_seconds_sum{job="exporter"}[1m])) / (sum by (phase) (rate(candlestack_exporter_phase_duration_seconds_count{job="exporter"}[1m])) > 0)`, "of it {{phase}}")).listed().noValue("exporter is silent"),
			graph("Requests to Kafka", describe("Requests of the exporter to Kafka, a second, by API and code.", "ok only, some a second, however many topics there are.", "another code than ok: that API was not answered."),
				unitRequestRate, query(`sum by (api, code) (rate(candlestack_exporter_kafka_requests_total{job="exporter"}[$__rate_interval]))`, "{{api}} {{code}}")).listed().noValue("exporter is silent"),
			graph("Refused by Kafka", describe("What Kafka refused the exporter within five minutes, by API and error code; no_answer is a whole request.", "none.", "authorization: give its user the right to describe."),
				unitCount, query(`sum by (api, code) (increase(candlestack_exporter_errors_total{job="exporter"}[5m]))`, "{{api}} {{code}}")).listed().noValue("exporter is silent"),
		),
		across(6,
			graph("Series shown", describe("Series that the exporter shows of the cluster and of brokers.", "steady.", "topics or groups that come and go."),
				unitCount,
				query(`sum(candlestack_exporter_series{job="exporter"})`, "cluster"),
				query(`sum(candlestack_exporter_broker_series{job="exporter"})`, "brokers"),
				query(`sum(candlestack_exporter_groups_dropped{job="exporter"})`, "groups left out")).noValue("exporter is silent"),
			graph("Bytes to and from Kafka", describe("What looking costs Kafka, bytes a second.", "some kilobytes.", "more than that: very many partitions."),
				unitBytesRate, query(`sum by (direction) (rate(candlestack_exporter_kafka_bytes_total{job="exporter"}[$__rate_interval]))`, "{{direction}}")).noValue("exporter is silent"),
			table("What the cluster lets us ask", describe("Whether the cluster has each API in a version that serves us, and allows us to use it.", "1 and 1; DescribeQuorum is 0 before KRaft.", "0: the series made of it are missing.", "KafkaNoActiveController"),
				[]string{"api"},
				column{name: "Supported", unit: unitNone, expr: `min by (api) (candlestack_exporter_api_supported{job="exporter"})`, base: unusual, steps: []step{at(1, good)}},
				column{name: "Authorized", unit: unitNone, expr: `min by (api) (candlestack_exporter_api_authorized{job="exporter"})`, base: bad, steps: []step{at(1, good)}}).noValue("exporter is silent"),
		),
	}
}

func prometheusItself() []line {
	return []line{
		across(7,
			graph("Samples", describe("Samples that Prometheus takes in, a second.", "steady: as many series as are scraped every 5 s.", "a jump: a new target, or a label that grows."),
				unitPerSecond, query(`sum(rate(prometheus_tsdb_head_samples_appended_total{job="prometheus"}[$__rate_interval]))`, "samples")).noValue("Prometheus does not scrape itself"),
			graph("Scrapes", describe("How long each target took to answer the last scrape.", "milliseconds.", "near the timeout of 4 s: soon it counts as down.", "TargetDown"),
				unitSeconds, query(`max by (job, component, instance) (scrape_duration_seconds{job=~".+"})`, "{{job}} {{component}} {{instance}}")).listed().noValue("no target is scraped"),
			graph("Samples by target", describe("Samples of each target's last scrape.", "steady; some hundreds.", "a target that grows has a label without bound: at the limit it is refused whole.", "PrometheusScrapeLimitHit"),
				unitCount, query(`max by (job, component, instance) (scrape_samples_scraped{job=~".+"})`, "{{job}} {{component}} {{instance}}")).listed().noValue("no target is scraped"),
		),
		across(7,
			graph("Rules", describe("Time that the last evaluation of all groups of rules took.", "well below the 5 s between two.", "above: alerts come late."),
				unitSeconds, query(`sum(prometheus_rule_group_last_duration_seconds{job="prometheus"})`, "all groups"), query(`max(prometheus_rule_group_last_duration_seconds{job="prometheus"})`, "slowest group")).noValue("no rules are loaded"),
			graph("Failures", describe("Failed evaluations of rules, scrapes over the limit of samples, and notifications that were dropped, within five minutes.", "none.", "rules: see Prometheus' page of rules; notifications: the Alertmanager is away.", "PrometheusRuleFailures", "PrometheusScrapeLimitHit", "PrometheusNotificationsDropped"),
				unitCount,
				query(`sum(increase(prometheus_rule_evaluation_failures_total{job="prometheus"}[5m]))`, "rules"),
				query(`sum(increase(prometheus_target_scrapes_exceeded_sample_limit_total{job="prometheus"}[5m]))`, "scrapes"),
				query(`sum(increase(prometheus_notifications_dropped_total{job="prometheus"}[5m])) or 0 * max(prometheus_notifications_alertmanagers_discovered{job="prometheus"})`, "notifications")).noValue("Prometheus does not scrape itself"),
			stat("Configuration", describe("Whether Prometheus took its configuration when it last read it.", "taken.", "it goes on with the one before.", "PrometheusConfigReloadFailed"),
				unitNone, query(`min(prometheus_config_last_reload_successful{job="prometheus"})`, "read")).
				levels(bad, at(1, good)).states(map[string]mappingTo{"0": {"refused", bad, 0}, "1": {"taken", good, 1}}).wide(4).noValue("Prometheus does not scrape itself"),
		),
	}
}

func alertmanager() line {
	const absent = "the Alertmanager does not run"
	return across(7,
		stat("Configuration", describe("Whether the Alertmanager took its configuration when it last read it.", "taken.", "it goes on with the one before.", "AlertmanagerConfigRejected"),
			unitNone, query(`min(alertmanager_config_last_reload_successful{job="alertmanager"})`, "read")).
			levels(bad, at(1, good)).states(map[string]mappingTo{"0": {"refused", bad, 0}, "1": {"taken", good, 1}}).wide(4).noValue(absent),
		graph("Alerts", describe("Alerts that the Alertmanager has, by state.", "Watchdog alone.", "suppressed: silenced, or inhibited by another."),
			unitCount, query(`sum by (state) (alertmanager_alerts{job="alertmanager"})`, "{{state}}")).noValue(absent),
		graph("Notifications", describe("Notifications a second, by integration, and those that failed.", "few; none failed.", "the receiver is away: nobody is told.", "AlertmanagerNotificationsFailing"),
			unitPerSecond,
			query(`sum by (integration) (rate(alertmanager_notifications_total{job="alertmanager", integration="webhook"}[$__rate_interval]))`, "{{integration}}"),
			query(`sum by (integration) (rate(alertmanager_notifications_failed_total{job="alertmanager", integration="webhook"}[$__rate_interval]))`, "{{integration}} failed")).noValue(absent),
	)
}
