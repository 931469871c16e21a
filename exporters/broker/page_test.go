package broker

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/candlestack/candlestack/exporters/snapshot"
)

// One broker cannot show what replicas do: here are three.
func TestReplicas(t *testing.T) {
	three := []int32{1, 2, 3}
	partition := func(id, leader int32, replicas, isr []int32) snapshot.Partition {
		return snapshot.Partition{ID: id, Leader: leader, Replicas: replicas, ISR: isr, Start: 5, End: 9}
	}
	moving := partition(3, 1, []int32{1, 2, 3}, []int32{1, 2})
	moving.Reassigning, moving.Adding = true, []int32{3}
	broken := partition(5, -1, []int32{2}, []int32{2})
	broken.Offline = []int32{2}
	s := &snapshot.Snapshot{Time: time.Unix(100, 0), Up: true, ClusterID: "id", Controller: 2, Epoch: 7, Fenced: 1,
		Quorum: snapshot.Quorum{HighWatermark: 90, Voters: map[int32]int64{1: 88, 2: 91}, Observers: map[int32]int64{3: -1}},
		Topics: []snapshot.Topic{{Name: "orders", MinISR: 2, Partitions: []snapshot.Partition{
			partition(0, 1, three, three),
			partition(1, 2, three, []int32{2, 3}),   // at the least
			partition(2, 3, three, []int32{3}),      // below it, and 1 is preferred
			moving,                                  // lacks only what is being added
			partition(4, 1, []int32{1}, []int32{1}), // has no more than 1 replica to ask for
			broken,
		}}},
	}
	for id := int32(1); id <= 3; id++ {
		s.Brokers = append(s.Brokers, snapshot.Broker{ID: id, Host: "kafka", Port: 9092, Alive: true, Up: true,
			Groups: map[snapshot.GroupKind]int{{Type: "classic", State: "Stable"}: 2, {Type: "classic", State: "Empty"}: 1, {Type: "consumer", State: "Stable"}: 4},
			Logs: &snapshot.Logs{Time: s.Time, Sizes: map[[16]byte][]int64{{}: {10, 20, -1, 30, 40, 50}},
				Dirs: []snapshot.LogDir{{Path: "/a", Total: 100, Usable: 40, Used: 60}, {Path: "/b", Offline: true, Total: -1, Usable: -1}}}})
	}
	w := world{mux: http.NewServeMux()}
	shown, err := New(Config{Dialects: []string{"jmx", "strimzi"}}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for path, h := range shown.Handlers() {
		w.mux.Handle("GET "+path, h)
	}
	of := func(family string, id int) string {
		return fmt.Sprintf(`kafka_%s{topic="orders",partition="%d"}`, family, id)
	}
	shown.Show(s)
	w.has(t, "/broker/1/metrics", map[string]string{
		"kafka_server_replicamanager_partitioncount":                        "5",
		"kafka_server_replicamanager_leadercount":                           "3",
		"kafka_server_replicamanager_underreplicatedpartitions":             "0",
		"kafka_server_replicamanager_reassigningpartitions":                 "1",
		"kafka_server_replicamanager_underminisrpartitioncount":             "0",
		"kafka_server_replicamanager_atminisrpartitioncount":                "2",
		"kafka_server_replicamanager_offlinereplicacount":                   "0",
		of("cluster_partition_replicascount", 0):                            "3",
		of("cluster_partition_replicascount", 1):                            "0",
		of("cluster_partition_replicascount", 3):                            "2",
		of("cluster_partition_replicascount", 5):                            "",
		of("cluster_partition_insyncreplicascount", 3):                      "2",
		of("cluster_partition_underreplicated", 3):                          "0",
		of("cluster_partition_atminisr", 4):                                 "1",
		of("cluster_partition_underminisr", 4):                              "0",
		of("log_log_size", 1):                                               "20",
		of("log_log_size", 2):                                               "",
		of("log_log_logstartoffset", 0):                                     "5",
		of("log_log_logstartoffset", 1):                                     "",
		of("log_log_logendoffset", 0):                                       "9",
		"kafka_log_logmanager_offlinelogdirectorycount":                     "1",
		`kafka_log_directory_total_bytes{directory="/a"}`:                   "100",
		`kafka_log_directory_usable_bytes{directory="/a"}`:                  "40",
		`kafka_log_directory_used_bytes{directory="/a"}`:                    "60",
		`kafka_log_directory_used_bytes{directory="/b"}`:                    "",
		"kafka_coordinator_group_groupmetadatamanager_numgroups":            "3",
		"kafka_coordinator_group_groupmetadatamanager_numgroupsstable":      "2",
		"kafka_coordinator_group_groupmetadatamanager_numgroupsempty":       "1",
		"kafka_server_raft_metrics_current_leader":                          "2",
		"kafka_server_raftmetrics_current_leader":                           "2",
		"kafka_server_raft_metrics_current_epoch":                           "7",
		"kafka_server_raft_metrics_high_watermark":                          "90",
		"kafka_server_raft_metrics_log_end_offset":                          "88",
		"kafka_server_raftmetrics_log_end_offset":                           "88",
		`kafka_server_raft_metrics_current_state_info{state="follower"}`:    "1",
		`kafka_server_raftmetrics_current_state{current_state="follower"}`:  "1",
		`kafka_server_brokertopicmetrics_messagesin_total{topic="orders"}`:  "0",
		`kafka_server_brokertopicmetrics_messagesin_total{topic="nothing"}`: "",
	})
	w.has(t, "/broker/2/metrics", map[string]string{
		"kafka_server_raft_metrics_log_end_offset":                     "91",
		`kafka_server_raft_metrics_current_state_info{state="leader"}`: "1",
		"kafka_server_replicamanager_underreplicatedpartitions":        "1",
		"kafka_server_replicamanager_atminisrpartitioncount":           "1",
		"kafka_server_replicamanager_offlinereplicacount":              "1",
		of("cluster_partition_underreplicated", 1):                     "1",
		of("cluster_partition_underreplicated", 2):                     "0",
	})
	w.has(t, "/broker/3/metrics", map[string]string{
		"kafka_server_raft_metrics_log_end_offset":                       "",
		`kafka_server_raft_metrics_current_state_info{state="observer"}`: "1",
		"kafka_server_replicamanager_underminisrpartitioncount":          "1",
		of("cluster_partition_underminisr", 2):                           "1",
	})
	w.has(t, "/controller/metrics", map[string]string{
		"kafka_controller_kafkacontroller_activecontrollercount":          "1",
		"kafka_controller_kafkacontroller_activebrokercount":              "3",
		"kafka_controller_kafkacontroller_fencedbrokercount":              "1",
		"kafka_controller_kafkacontroller_globaltopiccount":               "1",
		"kafka_controller_kafkacontroller_globalpartitioncount":           "6",
		"kafka_controller_kafkacontroller_offlinepartitionscount":         "1",
		"kafka_controller_kafkacontroller_preferredreplicaimbalancecount": "3",
	})
	// What is not known is missing, and no zero.
	s.Controller, s.Fenced, s.Topics[0].MinISR, s.Quorum = -1, -1, 0, snapshot.Quorum{}
	for i := range s.Brokers {
		s.Brokers[i].Groups, s.Brokers[i].Logs = nil, nil
	}
	shown.Show(s)
	w.has(t, "/broker/1/metrics", map[string]string{
		"kafka_server_replicamanager_leadercount":                        "3",
		"kafka_server_replicamanager_atminisrpartitioncount":             "",
		of("cluster_partition_atminisr", 0):                              "",
		of("log_log_size", 1):                                            "",
		"kafka_log_logmanager_offlinelogdirectorycount":                  "",
		"kafka_coordinator_group_groupmetadatamanager_numgroups":         "",
		"kafka_server_raft_metrics_current_leader":                       "",
		"kafka_server_raft_metrics_high_watermark":                       "",
		"kafka_server_raft_metrics_log_end_offset":                       "",
		`kafka_server_raft_metrics_current_state_info{state="follower"}`: "",
	})
	w.has(t, "/controller/metrics", map[string]string{
		"kafka_controller_kafkacontroller_activecontrollercount": "",
		"kafka_controller_kafkacontroller_fencedbrokercount":     "",
		"kafka_controller_kafkacontroller_activebrokercount":     "3",
	})
}

// A broker that is slow with sizes of logs, or refuses them, lacks only them.
func TestSizesThatAreNotTold(t *testing.T) {
	const size = `kafka_log_log_size{topic="orders",partition="0"}`
	refused := func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	for name, answer := range map[string]func(kmsg.Request) kmsg.Response{"silent": func(kmsg.Request) kmsg.Response { return nil }, "refused": refused} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, "jmx")
			w.create(t, "orders", 1, nil)
			var stopped atomic.Bool
			w.fake.ControlKey(int16(kmsg.DescribeLogDirs), func(req kmsg.Request) (kmsg.Response, error, bool) {
				w.fake.KeepControl()
				return answer(req), nil, !stopped.Load()
			})
			w.look(t)
			w.has(t, brokerPage, map[string]string{size: "", "kafka_server_replicamanager_leadercount": "1"})
			stopped.Store(true)
			w.look(t)
			w.has(t, brokerPage, map[string]string{size: "0"})
			stopped.Store(false)
			w.look(t)
			w.has(t, brokerPage, map[string]string{size: "0"}) // as it was told last
		})
	}
}
