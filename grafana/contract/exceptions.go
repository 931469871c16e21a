package contract

import "slices"

// Exceptions are what may be otherwise, and why.
var Exceptions = slices.Concat([]Exception{
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
	{Board: "candlestack-topics", Panel: "Time left", Rule: RuleEmpty, Sometimes: true,
		Reason: "a group that has read everything leaves nothing for retention to delete; noValue says so"},
},
	rare("Us to Kafka", "source=rss"), rare("Us to Kafka", "source=cryptopanic"),
	rare("Latency by stage, p99", "sink=sink-mongodb"), rare("Records a batch", "sink=sink-mongodb"), rare("Write duration p99", "sink=sink-mongodb"))

// rare excuses a panel of the Pipeline board where only news is chosen.
func rare(panel, chosen string) (all []Exception) {
	for _, rule := range []Rule{RuleEmpty, RulePoints, RuleFresh} {
		all = append(all, Exception{Board: "candlestack-pipeline", Panel: panel, Chosen: chosen, Rule: rule, Sometimes: true,
			Reason: "news is rare, and a window without an event has no quantile"})
	}
	return all
}
