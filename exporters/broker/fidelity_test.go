package broker

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var (
	generic = regexp.MustCompile(`^kafka\.([a-z.]+):type=([A-Za-z]+),name=([A-Za-z]+?)(PerSec)?$`)
	perSec  = map[bool]string{true: "_total", false: ""}
)

// The table says what rules of jmx_exporter make of an MBean, and help says what
// is not exact.
func TestNamesFollowTheirMBeans(t *testing.T) {
	seen := map[string]bool{}
	for _, table := range [][]signal{ofBroker, ofController} {
		for _, s := range table {
			if (s.class == approximate) != strings.HasPrefix(s.help, "Approximate: ") {
				t.Errorf("%s is %s: %s", s.names[jmx], s.class, s.help)
			}
			if s.class != approximate && s.class != exact {
				t.Errorf("%s has the class %q", s.names[jmx], s.class)
			}
			total, count := strings.HasSuffix(s.names[jmx], "_total"), strings.HasSuffix(s.names[jmx], "_count") // some gauges are of things counted
			if total && s.kind != counter || s.kind == counter && !total && !count {
				t.Errorf("%s is a %s", s.names[jmx], s.kind)
			}
			for _, f := range s.families([]dialect{jmx, strimzi}) {
				if seen[f.Name] {
					t.Errorf("%s is there twice", f.Name)
				}
				seen[f.Name] = true
			}
			if m := generic.FindStringSubmatch(s.mbean); m != nil {
				want := strings.ToLower(fmt.Sprintf("kafka_%s_%s_%s%s", strings.ReplaceAll(m[1], ".", "_"), m[2], m[3], perSec[m[4] != ""]))
				if got := s.names[jmx]; got != want {
					t.Errorf("%s is %s, want %s", s.mbean, got, want)
				}
			}
		}
	}
}

// absent is what boards and alerts ask for and we do not show, and why
// (kafka-observability.md §2.2). A name that ends in * is a prefix.
var absent = []struct{ names, users, why string }{
	{"kafka_server_brokertopicmetrics_bytesout_total", "11962, 721, Confluent, Grafana, Strimzi", "Brokers do not tell who reads. Commits of groups, times the mean size of a record, would miss who reads without committing, by no known bound."},
	{"kafka_server_brokertopicmetrics_replicationbytes*, kafka_server_brokertopicmetrics_reassignmentbytes*", "", "Only inside the broker; a log that is copied and one that is written grow alike."},
	{"kafka_server_brokertopicmetrics_total*, kafka_server_brokertopicmetrics_failed*, kafka_server_brokertopicmetrics_producemessageconversions_total, kafka_server_brokertopicmetrics_fetchmessageconversions_total", "11962, Confluent, Grafana, Strimzi", "Only inside the broker."},
	{"kafka_network_requestmetrics_*", "11962, Confluent, Grafana", "Only inside the broker. `/probe/metrics` measures what a client feels."},
	{"kafka_server_kafkarequesthandlerpool_*, kafka_network_socketserver_*, kafka_network_requestchannel_*, kafka_network_acceptor_*", "11962, Confluent, Strimzi", "Only inside the broker. A broker without idle threads is slow to answer `/probe/metrics`."},
	{"kafka_server_delayedoperationpurgatory_*, kafka_server_fetchsessioncache_*", "11962, Confluent", "Only inside the broker."},
	{"kafka_server_socket_server_metrics_*, kafka_server_socketservermetrics_*", "Confluent, Strimzi", "Only inside the broker; the host knows its connections."},
	{"kafka_server_replicafetchermanager_*", "Confluent", "Only inside the broker: DescribeLogDirs tells every follower a lag of 0. `kafka_cluster_partition_underreplicated` tells of one that fell behind."},
	{"kafka_cluster_partition_laststableoffsetlag", "", "It would cost each broker a request at every look, and no board asks for it. `kafka_server_transaction_coordinator_metrics_active_transaction_total_time_max` tells of a transaction that hangs."},
	{"kafka_server_raft_metrics_append_records_rate, kafka_server_raft_metrics_fetch_records_rate", "Confluent, Strimzi", "The MBean's is a mean over a time that cannot be known: query `deriv(kafka_server_raft_metrics_log_end_offset[1m])`."},
	{"kafka_server_raft_metrics_current_vote, kafka_server_raft_metrics_commit_latency_*, kafka_server_raft_metrics_election_latency_*, kafka_server_raft_channel_metrics_*", "Confluent, Strimzi", "Only inside the broker."},
	{"kafka_controller_kafkacontroller_lastappliedrecordlagms", "Confluent", "DescribeQuorum tells what was fetched, not what was applied, and of the active controller nothing but now."},
	{"kafka_controller_kafkacontroller_controllerstate, kafka_controller_kafkacontroller_metadataerrorcount, kafka_controller_controllereventmanager_*", "11962, Confluent", "Only inside the controller; the first is gone in Kafka 4."},
	{"kafka_server_transaction_coordinator_metrics_partition*, kafka_server_transaction_coordinator_metrics_prepare*", "Confluent", "Only inside the broker."},
	{"kafka_server_produce_*, kafka_server_fetch_*, kafka_server_request_*", "Confluent", "Only inside the broker, which tells limits and not use."},
	{"kafka_log_logflushstats_*, kafka_server_replicamanager_straypartitions*", "11962, Confluent", "Only inside the broker."},
	{"kafka_log_log_tiersize, kafka_tier_tasks_*", "Confluent", "Of Confluent's own server."},
	{"kafka_server_kafkaserver_linux_disk_*", "Confluent, Strimzi", "Of the host: node_exporter has them."},
	{"jvm_*, java_lang_*, process_*", "11962, 721, Confluent, Grafana, Strimzi", "Of the JVM; its container's memory and processor are cAdvisor's."},
	{"kafka_server_sessionexpirelistener_*, kafka_server_zookeeperclientmetrics_*", "11962, Confluent, Grafana", "Of ZooKeeper, which is gone in Kafka 4."},
}

// What is said to be absent is nowhere shown.
func TestAbsent(t *testing.T) {
	for _, table := range [][]signal{ofBroker, ofController} {
		for _, s := range table {
			for _, f := range s.families([]dialect{jmx, strimzi}) {
				for _, a := range absent {
					for name := range strings.SplitSeq(a.names, ", ") {
						if prefix, wild := strings.CutSuffix(name, "*"); f.Name == name || wild && strings.HasPrefix(f.Name, prefix) {
							t.Errorf("%s is shown, and said to be absent as %s", f.Name, name)
						}
					}
				}
			}
		}
	}
}

func TestFidelityDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Fidelity of brokers' metrics\n\nThis page is generated: a test of exporters/broker writes it with -update, and compares it without.\n\n" +
		"The exporter shows families under the names that Kafka's MBeans have behind jmx_exporter, made of what Kafka's own protocol tells. " +
		"An exact one has the MBean's value, for the topics that are shown (`--topic.filter`). An approximate one stays within the bound of its help. " +
		"What the protocol does not tell is not shown: no data is better than an invented zero. " +
		"Numbers are those of boards on grafana.com. `candlestack_exporter_metric_fidelity` tells the same to Prometheus.\n\n" +
		"Each broker is a target of its own, and so is the controller; one that is gone answers 503, so that `up` is 0. Prometheus finds them:\n\n" +
		"```yaml\n- job_name: kafka-broker\n  http_sd_configs: [{url: \"http://candlestack-exporter:9308/sd\"}]\n```\n\n" +
		"Strimzi's boards choose by labels that Kubernetes would give. This adds them, to the job of `/metrics` too:\n\n" +
		"```yaml\n  relabel_configs:\n    - {target_label: namespace, replacement: kafka}\n    - {target_label: strimzi_io_cluster, replacement: candlestack}\n" +
		"    - {source_labels: [broker_id], regex: (.+), target_label: kubernetes_pod_name, replacement: candlestack-kafka-$1}\n```\n\n" +
		"`exporters/command/testdata/boards.json` lists, panel by panel, what three public boards show then, and a test holds it to that.\n")
	for _, part := range []struct {
		title string
		table []signal
	}{
		{"Brokers, at `/broker/{id}/metrics`", ofBroker},
		{"The controller, at `/controller/metrics`", ofController},
	} {
		b.WriteString("\n## " + part.title + "\n\n| name | class | source | queried by | meaning |\n|---|---|---|---|---|\n")
		for _, s := range part.table {
			var all []string
			for d, name := range s.names {
				switch {
				case name == "":
				case d > 0 && name == s.names[0]:
				case s.names[jmx] == s.names[strimzi]:
					all = append(all, "`"+name+"`")
				default:
					all = append(all, "`"+name+"` ("+dialectNames[d]+")")
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", strings.Join(all, ", "), s.class, s.source, s.users, s.help)
		}
	}
	b.WriteString("\n## Absent\n\nWhat boards and alerts ask for too, and is not shown:\n\n| name | queried by | why |\n|---|---|---|\n")
	for _, a := range absent {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", "`"+strings.ReplaceAll(a.names, ", ", "`, `")+"`", a.users, a.why)
	}
	golden(t, "../FIDELITY.md", b.String())
}
