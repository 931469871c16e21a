package broker

import (
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	transactionIDs     = "kafka_server_transaction_coordinator_metrics_transactional_id_count"
	longestTransaction = "kafka_server_transaction_coordinator_metrics_active_transaction_total_time_max"
)

// transaction begins one, which writes a record, and returns its end.
func (w *world) transaction(t *testing.T, addrs []string, id, topic string) (end func()) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.TransactionalID(id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("value")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTransactions(t *testing.T) {
	w := newWorld(t, 1, "jmx")
	w.create(t, "orders", 1, nil)
	w.look(t)
	w.has(t, brokerPage, map[string]string{transactionIDs: "0", longestTransaction: "0"})
	end := w.transaction(t, w.fake.ListenAddrs(), "writer", "orders")
	eventually(t, func() bool { // the clock must go on by a millisecond
		w.look(t)
		ms, _ := strconv.Atoi(w.series(t, brokerPage)[longestTransaction])
		return ms > 0
	})
	w.has(t, brokerPage, map[string]string{transactionIDs: "1"})
	end()
	w.look(t)
	w.has(t, brokerPage, map[string]string{transactionIDs: "1", longestTransaction: "0"})

	var refused atomic.Bool
	w.fake.ControlKey(int16(kmsg.ListTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.fake.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, refused.Load()
	})
	refused.Store(true)
	w.look(t)
	w.has(t, brokerPage, map[string]string{transactionIDs: "", longestTransaction: "", "kafka_server_replicamanager_leadercount": "1"})
	refused.Store(false)
	w.look(t)
	w.has(t, brokerPage, map[string]string{transactionIDs: "1"})
}

// A real broker tells the same of a transaction that is open for a while.
func TestRealTransactions(t *testing.T) {
	kafka := os.Getenv("CANDLESTACK_TEST_KAFKA")
	if kafka == "" {
		t.Skip("no real Kafka: set CANDLESTACK_TEST_KAFKA")
	}
	w := at(t, []string{kafka}, "jmx")
	topic := "transactions-" + rand.Text()
	t.Cleanup(func() { _, _ = w.admin.DeleteTopics(context.Background(), topic) })
	w.create(t, topic, 1, nil)
	w.look(t)
	path := "/broker/" + strconv.Itoa(int(w.snapshots.Current().Brokers[0].ID)) + "/metrics"
	number := func(name string) float64 {
		w.look(t)
		v, err := strconv.ParseFloat(w.series(t, path)[name], 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	before := number(transactionIDs)
	begin := time.Now()
	end := w.transaction(t, []string{kafka}, topic, topic)
	opened := time.Now()
	time.Sleep(time.Second)
	least := time.Since(opened) // others may have older ones
	if ms := number(longestTransaction); ms < float64(least.Milliseconds()) {
		t.Errorf("the oldest transaction is %v ms old, want %v at least", ms, least.Milliseconds())
	} else if most := time.Since(begin); ms > float64(most.Milliseconds()) {
		t.Logf("another's transaction is %v ms old", ms)
	}
	if got := number(transactionIDs); got < before+1 {
		t.Errorf("%v transactional ids, want one more than %v", got, before)
	}
	end()
	eventually(t, func() bool { return number(longestTransaction) < float64(least.Milliseconds()) })
}
