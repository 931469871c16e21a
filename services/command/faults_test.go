package command_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/ledger"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
)

// TestSourceFaults lets the exchange do everything that exchanges do, and then
// finds every closed candle of the answer key stored.
func TestSourceFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("faults take a minute: not with -short")
	}
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MARIADB", "CANDLESTACK_TEST_MYSQL")
	w.sayServers()
	begin := time.Now().Add(-4 * time.Hour)
	sim := simulate(t, simulator.Config{Seed: 3, Start: begin, Speed: 240})
	source := w.source(sim, "--state-dir", t.TempDir(), "--stall", "3s")
	sink := w.sink()
	w.eventually("the source streams", func() bool {
		return source.metric("candlestack_source_events_total", "kind", "candle", "origin", "live") > 10
	})
	// A ban of minutes is the business of wire/rest's tests; here it is short.
	for _, f := range []simulator.Fault{
		{Kind: "disconnect"}, {Kind: "lost_close", Count: 3}, {Kind: "duplicate", Count: 5}, {Kind: "out_of_order", Count: 5}, {Kind: "truncated_frame", Count: 3},
		{Kind: "5xx", Count: 3}, {Kind: "close"}, {Kind: "html", Count: 2}, {Kind: "disconnect"}, {Kind: "429", Count: 2}, {Kind: "truncated_body", Count: 2},
		{Kind: "stall", Seconds: 5}, {Kind: "403", Count: 2}, {Kind: "refuse", Seconds: 2}, {Kind: "disconnect"}, {Kind: "418", Seconds: 3}, {Kind: "slow", Count: 2, Delay: 1},
	} {
		if !slices.Contains(simulator.FaultKinds(), f.Kind) {
			t.Fatalf("the simulator has no fault %s", f.Kind)
		}
		if err := sim.Inject(f); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond)
	}
	sim.ClearFaults()
	until := market.Interval("1m").Start(sim.Now())
	w.eventually("the source has caught up", func() bool {
		return w.count("SELECT COUNT(*) FROM candles WHERE closed AND open_time = ?", until.Add(-time.Minute).Time()) == 3
	})
	w.eventually("repairs have ended", func() bool {
		inv, err := ledger.CheckAnswers(context.Background(), w.dsn, answers(sim, market.Interval("1m").Start(market.MillisOf(begin)), until))
		return err == nil && inv.OK
	})
	if n := source.metric("candlestack_source_reconnects_total"); n < 3 {
		t.Errorf("%v reconnects: the faults were not felt", n)
	}
	if n := source.metric("candlestack_source_gaps_total", "state", "repaired"); n < 3 {
		t.Errorf("%v gaps repaired: the faults were not felt", n)
	}
	t.Logf("%v reconnects, %v gaps repaired", source.metric("candlestack_source_reconnects_total"), source.metric("candlestack_source_gaps_total", "state", "repaired"))
	source.stop()
	w.eventually("the topics are drained", func() bool { return w.drained(candleTopics...) })
	sink.stop()
	if n := w.count("SELECT COUNT(*) FROM gaps WHERE state = 'repaired'"); n == 0 {
		t.Error("table gaps tells of no repair")
	}
	if n := w.count("SELECT COUNT(*) FROM gaps WHERE state = 'open'"); n != 0 {
		t.Errorf("%d gaps stay open", n)
	}
	if n := w.count("SELECT COUNT(*) FROM candles WHERE conflict"); n != 0 {
		t.Errorf("%d conflicts", n)
	}
}
