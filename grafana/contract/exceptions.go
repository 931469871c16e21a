package contract

// Exceptions are what may be otherwise, and why.
var Exceptions = []Exception{
	{Board: "candlestack-kafka", Panel: "Controller", Where: "demo", Rule: RuleEmpty,
		Reason: "the embedded broker does not know DescribeQuorum, so nobody says who its controller is"},
	{Board: "candlestack-runtime", Panel: "Configuration", Where: "demo", Rule: RuleEmpty,
		Reason: "Prometheus' main counts its reloads; the library that the demo runs has none"},
	{Board: "candlestack-stores", Panel: "Size", Chosen: "store=mongodb", Where: "demo", Rule: RuleEmpty,
		Reason: "FerretDB does not tell the bytes of a collection"},
	{Board: "candlestack-stores", Panel: "Bytes", Chosen: "store=mongodb", Where: "demo", Rule: RuleEmpty,
		Reason: "FerretDB does not tell the bytes of a collection"},
	{Board: "candlestack-stores", Panel: "Rows", Where: "demo", Rule: RuleEmpty, Sometimes: true,
		Reason: "MariaDB has ceased to count rows; MySQL, and what is replayed of it, counts them"},
	{Board: "candlestack-pipeline", Panel: "Us to Kafka", Chosen: "source=rss", Rule: RuleFresh, Sometimes: true,
		Reason: "news is rare, and a window without an event has no quantile"},
	{Board: "candlestack-pipeline", Panel: "Us to Kafka", Chosen: "source=cryptopanic", Rule: RuleFresh, Sometimes: true,
		Reason: "news is rare, and a window without an event has no quantile"},
	{Board: "candlestack-pipeline", Panel: "Latency by stage, p99", Chosen: "sink=sink-mongodb", Rule: RuleFresh, Sometimes: true,
		Reason: "news is rare, and a window without an event has no quantile"},
	{Board: "candlestack-pipeline", Panel: "Records a batch", Chosen: "sink=sink-mongodb", Rule: RuleFresh, Sometimes: true,
		Reason: "news is rare, and a window without an event has no quantile"},
	{Board: "candlestack-pipeline", Panel: "Write duration p99", Chosen: "sink=sink-mongodb", Rule: RuleFresh, Sometimes: true,
		Reason: "news is rare, and a window without an event has no quantile"},
	{Board: "candlestack-topics", Panel: "Time left", Rule: RuleEmpty, Sometimes: true,
		Reason: "a group that has read everything leaves nothing for retention to delete; noValue says so"},
}
