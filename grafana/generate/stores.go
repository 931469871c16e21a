package main

// stores answers: is what stands in the stores whole, true, and where it should be?
func stores() *dashboard {
	d := newBoard("stores", "7 Stores", "Is what is stored whole and true, and are the stores well?",
		choice("instrument", "Instrument", `label_values(candlestack_store_candles{job="stores"}, instrument)`),
		choice("store", "Store", `label_values(candlestack_store_up{job="stores"}, store)`))
	return d.
		section("", storeTiles()).
		section("Candles in MySQL", storedCandles()...).
		section("Both stores", sizes()...).
		folded("MySQL (mysqld_exporter)", mysqlServer()...).
		folded("MongoDB (mongodb_exporter)", mongodbServer()...)
}

func storeTiles() line {
	return across(4,
		stat("Stores", describe("Whether each store answered when it was last asked.", "up.", "events wait in Kafka until it is back, and nothing is lost.", "StoreDown"),
			unitNone, query(`min by (store) (candlestack_store_up{job="stores", store=~"$store"})`, "{{store}}")).
			isUp().noValue("store collector is silent"),
		stat("Complete", describe("The least share of the candles due in the last hour that are stored; what the exchange itself does not have is not due.", "100 %.", "see the gaps; the source repairs them.", "CandlesMissing"),
			unitRatio, query(`min(candlestack_store_completeness_ratio{job="stores", instrument=~"$instrument", window="hour"})`, "last hour")).
			levels(bad, at(0.95, unusual), at(1, good)).decimals(2).noValue("no whole hour is stored"),
		stat("Open gaps", describe("Stretches of candles that were missed and not fetched yet.", "none.", "the source fetches them within its weight budget.", "GapOpen"),
			unitNone, query(`sum(candlestack_store_gaps{job="stores", state="open"}) or 0 * max(candlestack_store_up{job="stores", store="mysql"})`, "open")).
			levels(good, at(1, unusual)).noValue("store collector is silent"),
		stat("Differences to Kafka", describe("Of the last six hours compared, those whose candles differ in count or checksum between Kafka and MySQL.", "none. A dead letter is a difference.", "compare with the dead letters, then replay the hour.", "ReconciliationDiffers"),
			unitNone, query(`sum(candlestack_store_reconciliation_differences{job="stores"})`, "hours")).
			levels(good, at(1, bad)).noValue("no hour was compared yet"),
		stat("Compared until", describe("Time since the end of the last hour that was compared between Kafka and MySQL.", "up to 1 h 10 min: an hour is compared ten minutes after its end.", "the sink is behind, or the exporter cannot read the topic.", "ReconciliationStale"),
			unitDuration, query(`time() - min(candlestack_store_reconciled_timestamp_seconds{job="stores"})`, "ago")).
			levels(good, at(5400, unusual), at(9000, bad)).noValue("no hour was compared yet"),
		stat("Conflicts", describe("Candles of which the same version also came with other values, which were not taken.", "none.", "somebody is wrong: `SELECT * FROM candles WHERE conflict` names them.", "CandlesConflict"),
			unitNone, query(`sum(candlestack_store_conflicting_candles{job="stores", instrument=~"$instrument"})`, "candles")).
			levels(good, at(1, unusual)).noValue("no candle is stored"),
		stat("Off the grid", describe("Candles whose open time does not lie on the grid of their interval.", "none.", "something wrote that is no source of ours.", "CandlesMisaligned"),
			unitNone, query(`sum(candlestack_store_misaligned_candles{job="stores", instrument=~"$instrument"})`, "candles")).
			levels(good, at(1, unusual)).noValue("no candle is stored"),
		stat("Size", describe("Bytes of the tables and collections, data and indexes, as the servers estimate them.", "it grows steadily.", "see which table it is."),
			unitBytes, query(`sum(candlestack_store_table_bytes{job="stores", store=~"$store"})`, "stored")).
			noValue("the server does not tell"),
	)
}

func storedCandles() []line {
	return []line{
		across(8,
			graph("Age of the newest closed candle", describe("Time since the close of the newest closed candle, by series. The exporter looks every 15 s.", "a saw-tooth between 0 and one interval and a few seconds.", "a line that climbs on: nothing arrives.", "CandlesLate", "CandleFreshnessUnknown"),
				unitSeconds, query(`instrument:candle_age:seconds{instrument=~"$instrument"}`, "{{exchange}} {{instrument}} {{interval}}")).
				noValue("no closed candle stored"),
			graph("Completeness", describe("Share of the candles due in the last hour, day and week that are stored.", "100 %.", "see the gaps; confirmed ones are not due.", "CandlesMissing"),
				unitRatio, query(`min by (instrument, interval, window) (candlestack_store_completeness_ratio{job="stores", instrument=~"$instrument"})`, "{{instrument}} {{interval}} {{window}}")).
				to(1).listed().noValue("no whole interval is stored"),
			graph("Gaps", describe("Stretches of candles that were missed, by what became of them.", "no open ones.", "open for long: repair fails or waits.", "GapOpen"),
				unitCount, query(`sum by (state) (candlestack_store_gaps{job="stores"}) or on () label_replace(0 * max(candlestack_store_up{job="stores", store="mysql"}), "state", "open", "", "")`, "{{state}}")).
				noValue("store collector is silent"),
		),
		across(7,
			table("Series", describe("Each stored series: candles, how many of the last day are there, and what is wrong with them.", "present equals due; late, conflicts and off the grid are 0. Late is empty during a back-fill.", "missing: see the gaps.", "CandlesLate", "CandlesMissing", "CandlesConflict", "CandlesMisaligned"),
				[]string{"exchange", "instrument", "interval"},
				column{name: "Candles", unit: unitCount, expr: `sum by (exchange, instrument, interval) (candlestack_store_candles{job="stores", instrument=~"$instrument"})`},
				column{name: "Due in a day", unit: unitNone, expr: `sum by (exchange, instrument, interval) (candlestack_store_due_candles{job="stores", instrument=~"$instrument", window="day"})`},
				column{name: "Present", unit: unitNone, expr: `sum by (exchange, instrument, interval) (candlestack_store_present_candles{job="stores", instrument=~"$instrument", window="day"})`},
				column{name: "Late", unit: unitNone, expr: `max by (exchange, instrument, interval) (instrument:candle_late:bool{instrument=~"$instrument"})`, base: good, steps: []step{at(1, bad)}},
				column{name: "Conflicts", unit: unitNone, expr: `sum by (exchange, instrument, interval) (candlestack_store_conflicting_candles{job="stores", instrument=~"$instrument"})`, base: good, steps: []step{at(1, unusual)}},
				column{name: "Off the grid", unit: unitNone, expr: `sum by (exchange, instrument, interval) (candlestack_store_misaligned_candles{job="stores", instrument=~"$instrument"})`, base: good, steps: []step{at(1, unusual)}}).
				wide(16).noValue("no candle is stored"),
			graph("Hours compared with Kafka", describe("Hours of candles compared between Kafka and MySQL, by outcome. Skipped: Kafka does not keep all of the hour any more, or it holds too many.", "one more an hour, the same.", "different: a dead letter, or rows that somebody changed.", "ReconciliationDiffers"),
				unitCount, query(`sum by (outcome) (increase(candlestack_store_reconciliations_total{job="stores"}[1h]))`, "{{outcome}}")).
				noValue("nothing is compared"),
		),
	}
}

func sizes() []line {
	return []line{
		across(8,
			graph("Rows", describe("Rows of each table, documents of each collection; those of MongoDB are what its own books say.", "candles grow by one a minute for each instrument.", "a fall: somebody deleted."),
				unitCount, query(`sum by (store, table) (candlestack_store_rows{job="stores", store=~"$store"})`, "{{store}} {{table}}")).
				listed().noValue("the server does not tell"),
			graph("Bytes", describe("Bytes of each table and collection, by part: data or index. The servers estimate.", "it grows with the rows.", "an index as large as the data: too many indexes."),
				unitBytes, query(`sum by (store, table, part) (candlestack_store_table_bytes{job="stores", store=~"$store"})`, "{{store}} {{table}} {{part}}")).
				listed().noValue("the server does not tell"),
			graph("Questions of the exporter", describe("Mean time of the exporter's questions to the stores.", "below a second; a slow one is asked less often.", "the store is loaded, or the table has grown large."),
				unitSeconds, query(`sum by (store, query) (rate(candlestack_exporter_store_query_duration_seconds_sum{job="exporter", store=~"$store"}[5m])) / (sum by (store, query) (rate(candlestack_exporter_store_query_duration_seconds_count{job="exporter", store=~"$store"}[5m])) > 0)`, "{{store}} {{query}}")).
				listed().noValue("nothing was asked within five minutes"),
		),
		across(7,
			graph("Questions that failed", describe("Questions to the stores that failed, within five minutes, by reason.", "none; some while a store starts.", "connection: the store is away; denied: a right is missing; timeout: it is overloaded.", "StoreQuestionsFail"),
				unitCount, query(`sum by (store, reason) (increase(candlestack_exporter_store_query_errors_total{job="exporter", store=~"$store"}[5m]))`, "{{store}} {{reason}}")).
				noValue("store collector is silent"),
			graph("Since the last answer", describe("Time since each question was last answered.", "below its own interval, minutes at most.", "what it measures is older than it looks.", "StoreQuestionStale"),
				unitDuration, query(`time() - (max by (store, query) (candlestack_exporter_store_last_success_timestamp_seconds{job="exporter", store=~"$store"}) > 0)`, "{{store}} {{query}}")).
				listed().noValue("nothing was answered yet"),
			stat("Series not watched", describe("Series of candles that are stored and not shown: of an unknown interval, or too many.", "none.", "see what is stored: `SELECT DISTINCT instrument FROM candles`.", "StoreSeriesDropped"),
				unitNone, query(`sum(candlestack_exporter_store_series_dropped{job="exporter"})`, "series")).
				levels(good, at(1, unusual)).wide(4).noValue("store collector is silent"),
		),
	}
}

const noMySQLExporter = "mysqld_exporter does not run"

func mysqlServer() []line {
	return []line{
		across(4,
			stat("MySQL", describe("Whether mysqld_exporter reaches MySQL.", "up.", "candles wait in Kafka.", "MySQLDown"),
				unitNone, query(`min(mysql_up{job="mysql"})`, "MySQL")).isUp().noValue(noMySQLExporter),
			stat("Uptime", describe("Time since MySQL was started.", "days.", "seconds: it has just restarted."),
				unitDuration, query(`min(mysql_global_status_uptime{job="mysql"})`, "up")).noValue(noMySQLExporter),
			stat("Connections used", describe("Share of max_connections in use.", "below a half.", "beyond 100 % the sink, Grafana and notebooks are refused.", "MySQLConnectionsHigh"),
				unitRatio, query(`max(mysql_global_status_threads_connected{job="mysql"} / mysql_global_variables_max_connections{job="mysql"})`, "used")).
				levels(good, at(0.6, unusual), at(0.8, bad)).noValue(noMySQLExporter),
			stat("Slow queries", describe("Queries a minute that take longer than long_query_time.", "none.", "a notebook without an index, or a disk that is too slow.", "MySQLSlowQueries"),
				unitCount, query(`sum(rate(mysql_global_status_slow_queries{job="mysql"}[5m])) * 60`, "a minute")).
				levels(good, at(1, unusual), at(2, bad)).decimals(1).noValue(noMySQLExporter),
			stat("Buffer pool hits", describe("Share of reads that InnoDB answered from memory.", "above 99 %.", "the buffer pool is too small for what is read."),
				unitRatio, query(`1 - sum(rate(mysql_global_status_innodb_buffer_pool_reads{job="mysql"}[5m])) / (sum(rate(mysql_global_status_innodb_buffer_pool_read_requests{job="mysql"}[5m])) > 0)`, "hits")).
				levels(bad, at(0.95, unusual), at(0.99, good)).decimals(1).noValue(noMySQLExporter),
			stat("Waiting for locks", describe("Seconds that statements wait each second for rows that others have locked.", "near 0.", "two writers on the same rows.", "MySQLRowLockWaits"),
				unitSeconds, query(`sum(rate(mysql_global_status_innodb_row_lock_time{job="mysql"}[5m])) / 1000`, "a second")).
				levels(good, at(0.5, unusual), at(1, bad)).noValue(noMySQLExporter)),
		across(8,
			graph("Statements", describe("Statements a second by command, the eight most.", "insert as often as the sink writes, select by Grafana and the exporter.", "rollback: writes are given up."),
				unitPerSecond, query(`topk(8, sum by (command) (rate(mysql_global_status_commands_total{job="mysql"}[$__rate_interval])))`, "{{command}}")).
				listed().noValue(noMySQLExporter),
			graph("Rows", describe("Rows that InnoDB read and changed, a second.", "reads far above writes.", "reads that jump: a full scan."),
				unitRowRate, query(`sum by (operation) (rate(mysql_global_status_innodb_row_ops_total{job="mysql"}[$__rate_interval]))`, "{{operation}}")).
				noValue(noMySQLExporter),
			graph("Traffic", describe("Bytes that MySQL received and sent, a second.", "some kilobytes.", "sent far above: somebody reads a lot."),
				unitBytesRate,
				query(`sum(rate(mysql_global_status_bytes_received{job="mysql"}[$__rate_interval]))`, "received"),
				query(`sum(rate(mysql_global_status_bytes_sent{job="mysql"}[$__rate_interval]))`, "sent")).
				noValue(noMySQLExporter)),
	}
}

const noMongoDBExporter = "mongodb_exporter does not run"

func mongodbServer() []line {
	return []line{
		across(4,
			stat("MongoDB", describe("Whether mongodb_exporter reaches MongoDB.", "up.", "posts wait in Kafka.", "MongoDBDown"),
				unitNone, query(`min(mongodb_up{job="mongodb"})`, "MongoDB")).isUp().noValue(noMongoDBExporter),
			stat("Uptime", describe("Time since MongoDB was started.", "days.", "seconds: it has just restarted."),
				unitDuration, query(`min(mongodb_instance_uptime_seconds{job="mongodb"})`, "up")).noValue(noMongoDBExporter),
			stat("Connections used", describe("Share of the connections that MongoDB allows that are in use.", "below a half.", "beyond it the sink is refused.", "MongoDBConnectionsHigh"),
				unitRatio, query(`max(mongodb_connections{job="mongodb", state="current"} / ignoring (state) (mongodb_connections{job="mongodb", state="current"} + ignoring (state) mongodb_connections{job="mongodb", state="available"}))`, "used")).
				levels(good, at(0.6, unusual), at(0.8, bad)).noValue(noMongoDBExporter),
			stat("Memory", describe("Memory of the server that is resident.", "steady.", "it grows until the machine has no more: limit the cache of WiredTiger."),
				unitBytes, query(`max(mongodb_ss_mem_resident{job="mongodb"}) * 1024 * 1024`, "resident")).noValue(noMongoDBExporter),
			stat("Queue", describe("Operations that wait for a lock.", "0.", "the server is overloaded."),
				unitCount, query(`sum(mongodb_mongod_global_lock_current_queue{job="mongodb", type=~"reader|writer"})`, "waiting")).
				levels(good, at(1, unusual), at(10, bad)).noValue(noMongoDBExporter),
			stat("Size", describe("Bytes that all databases take on disk.", "it grows with the posts.", "see which collection it is, above."),
				unitBytes, query(`sum(mongodb_dbstats_storageSize{job="mongodb"})`, "on disk")).noValue(noMongoDBExporter)),
		across(8,
			graph("Operations", describe("Operations a second by type.", "few; commands come from the exporters too.", "many queries: somebody reads without an index."),
				unitPerSecond, query(`sum by (type) (rate(mongodb_op_counters_total{job="mongodb"}[$__rate_interval]))`, "{{type}}")).
				listed().noValue(noMongoDBExporter),
			graph("Latency", describe("Mean time of an operation, by type.", "a few milliseconds.", "a slow disk, or a query without an index.", "MongoDBSlowOperations"),
				unitSeconds, query(`sum by (type) (rate(mongodb_mongod_op_latencies_latency_total{job="mongodb", type=~"read|write"}[5m])) / (sum by (type) (rate(mongodb_mongod_op_latencies_ops_total{job="mongodb", type=~"read|write"}[5m])) > 0) / 1e6`, "{{type}}")).
				limits(good, at(0.1, bad)).noValue(noMongoDBExporter),
			graph("Documents", describe("Documents returned and changed, a second.", "as many inserted and updated as the sink writes.", "returned far above: full scans."),
				unitRowRate, query(`sum by (state) (rate(mongodb_mongod_metrics_document_total{job="mongodb"}[$__rate_interval]))`, "{{state}}")).
				noValue(noMongoDBExporter)),
	}
}
