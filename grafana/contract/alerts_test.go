package contract_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Why an alert is left to promtool's tests.
const (
	realKafka = "the embedded broker is one, always up and without disks: nothing there can break so"
	oneOfAll  = "all parts of the demo are one process: none of them can go away alone"
	notHere   = "the demo does not run what it is about, nor load its rules"
	takesLong = "it takes hours to fire or to resolve"
)

// raised says for each alert which step of the story below makes it fire.
var raised = map[string]string{
	"CandleFreshnessBurnsFast": "exchange", "CandleFreshnessBurnsFastDemo": "exchange", "CandleFreshnessBurnsSlowlyDemo": "exchange",
	"CandlesLate": "exchange", "CandlesMissing": "exchange", "GapOpen": "exchange", "SourceDisconnected": "exchange", "SourceReconnectStorm": "exchange",
	"CandlesConflict": "rows", "CandlesMisaligned": "rows", "StoreSeriesDropped": "rows",
	"DeadLetters": "garbage", "SourceReadsGarbage": "garbage", "RestBanned": "ban",
	"SinkWaitsForStore": "table", "StoreQuestionsFail": "table",
	"StoreDown": "store", "KafkaSinkLag": "store", "CandleFreshnessUnknown": "store", "SinkRetriesOften": "store",
	"KafkaConsumerLag": "group", "KafkaGroupStuck": "group", "KafkaGroupWithoutMembers": "group",
	"KafkaUnreadDataExpires": "retention", "KafkaUnreadDataLost": "deletion", "KafkaRebalanceStorm": "members",
}

// left are the alerts of promtool's tests alone, with the reason.
var left = map[string]string{
	"Watchdog": "it fires from the start and never resolves",

	"CandleFreshnessBurnsSlowly": takesLong, "NewsFeedStale": takesLong, "CryptoPanicStale": takesLong, "RecordsLost": takesLong,
	"StoreQuestionStale": takesLong, "ReconciliationDiffers": takesLong, "ReconciliationStale": takesLong, "KafkaDiskFilling": takesLong,

	"TargetDown": oneOfAll, "TargetsVanished": oneOfAll, "KafkaExporterStale": oneOfAll, "KafkaMetricsMissing": oneOfAll,

	"CryptoPanicQuotaNearlyUsed": "the demo sets no quota",
	"RestWeightNearLimit":        "our own share of the weight is far from it, and the simulator bans who goes on",
	"SourceRejectsEvents":        "no fault of the simulator makes what cannot be true",
	"SinkPaused":                 "the queues hold more than the demo's market sends while a store is away",

	"PrometheusRuleFailures": oneOfAll, "PrometheusConfigReloadFailed": notHere, "PrometheusNotificationsDropped": notHere, "PrometheusScrapeLimitHit": "nothing of ours shows 50,000 series",

	"KafkaBrokerDown": realKafka, "KafkaBrokersMissing": realKafka, "KafkaLogDirOffline": realKafka, "KafkaDiskAlmostFull": realKafka, "KafkaDiskLow": realKafka,
	"KafkaUnreachable": realKafka, "KafkaNoActiveController": realKafka, "KafkaOfflinePartitions": realKafka, "KafkaUnderMinISR": realKafka,
	"KafkaUnderReplicated": realKafka, "KafkaUncleanLeaderElection": realKafka, "KafkaPreferredReplicaImbalance": realKafka,
	"KafkaProbeNotReady": realKafka, "KafkaProbeFailing": realKafka, "KafkaProbeSlow": realKafka, "KafkaCanariesLost": realKafka, "KafkaCanariesDuplicated": realKafka,

	"AlertmanagerNotificationsFailing": notHere, "AlertmanagerConfigRejected": notHere, "ForeignTargetMissing": notHere,
	"MongoDBDown": notHere, "MongoDBConnectionsHigh": notHere, "MongoDBSlowOperations": notHere,
	"MySQLDown": notHere, "MySQLConnectionsHigh": notHere, "MySQLSlowQueries": notHere, "MySQLRowLockWaits": notHere,
}

// TestEveryAlertIsRaisedOrLeft holds that no alert is forgotten.
func TestEveryAlertIsRaisedOrLeft(t *testing.T) {
	alerts := facts(t).Alerts
	for name := range alerts {
		if (raised[name] == "") == (left[name] == "") {
			t.Errorf("alert %s: want either a step that raises it or a reason why none does", name)
		}
	}
	for _, list := range []map[string]string{raised, left} {
		for name := range list {
			if alerts[name] == nil {
				t.Errorf("there is no alert %s", name)
			}
		}
	}
}

// step is something that goes wrong, or ends to.
type step struct {
	at   time.Duration // since the start of the story
	name string
	do   func()
}

// Names of topics and groups that the story makes.
const (
	reader, loser, restless = "contract-reader", "contract-loser", "contract-restless"
	shortTopic, lostTopic   = "contract-short", "contract-lost"
)

// story breaks one thing after the other, and mends it once its alerts have fired.
// First the store, because what is asked of it begins anew after an outage.
func (d *demo) story() []step {
	all := []step{
		{0, "garbage: records and frames that nobody can read", d.garbage},
		{0, "ban: CryptoPanic bans us for two minutes", func() { d.fault("429", "cryptopanic", map[string]any{"delay": 120}) }},
		{0, "group: one that read once and never came back", func() { d.abandon(reader, "market.candles") }},
		{0, "retention: a topic that keeps ten minutes, and a group that does not read it", func() {
			d.topic(shortTopic, "600000")
			d.abandon(reader, shortTopic)
		}},
		{0, "deletion: records that go before they are read", func() {
			d.topic(lostTopic, "604800000")
			d.abandon(loser, lostTopic)
			d.deleteRecords(lostTopic, 5)
		}},
		{150 * time.Second, "deletion: gone", func() { d.forget(loser, lostTopic) }},
		{0, "table: candles are away", func() { d.sql("RENAME TABLE candles TO candles_away") }},
		{100 * time.Second, "table: candles are back", func() { d.sql("RENAME TABLE candles_away TO candles") }},
		{110 * time.Second, "store: MySQL stands still", func() { d.signalStore(syscall.SIGSTOP) }},
		{470 * time.Second, "store: MySQL goes on", func() { d.signalStore(syscall.SIGCONT) }},
		{490 * time.Second, "exchange: the end of a candle is not sent, and no REST for eighteen minutes", func() {
			d.fault("5xx", "exchange", map[string]any{"seconds": 1080})
			d.loseCandles()
		}},
		{500 * time.Second, "rows: a conflict, one off the grid, one of an unknown interval", d.plantRows},
		{580 * time.Second, "exchange: no stream for five minutes", func() {
			d.fault("refuse", "exchange", map[string]any{"seconds": 300})
			d.fault("disconnect", "exchange", map[string]any{"count": 8})
		}},
		{900 * time.Second, "rows: gone", d.removeRows},
		{900 * time.Second, "group, retention: gone", func() { d.forget(reader, shortTopic) }},
	}
	for i := range 8 {
		all = append(all, step{time.Duration(i) * 15 * time.Second, "members: one comes and goes", d.comeAndGo})
	}
	slices.SortStableFunc(all, func(a, b step) int { return int(a.at - b.at) })
	return all
}

// alerts tells the story until each alert of it has fired and resolved.
func (d *demo) alerts(t *testing.T) {
	const most = 45 * time.Minute
	begun, story := time.Now(), d.story()
	fired, resolved := map[string]time.Duration{}, map[string]time.Duration{}
	for len(resolved) < len(raised) {
		now := time.Since(begun)
		for len(story) > 0 && story[0].at <= now {
			t.Logf("%4.0f s: %s", now.Seconds(), story[0].name)
			story[0].do()
			story = story[1:]
			now = time.Since(begun)
		}
		firing, err := d.live.Firing(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name := range raised {
			_, had := fired[name]
			_, over := resolved[name]
			switch {
			case firing[name] && !had:
				fired[name] = now
				t.Logf("%4.0f s: %s fires", now.Seconds(), name)
			case !firing[name] && had && !over:
				resolved[name] = now
				t.Logf("%4.0f s: %s is resolved", now.Seconds(), name)
			}
		}
		for name := range firing {
			if raised[name] == "" && name != "Watchdog" && fired[name] == 0 {
				fired[name] = now
				t.Logf("%4.0f s: %s fires too", now.Seconds(), name)
			}
		}
		if now > most {
			break
		}
		time.Sleep(2 * time.Second)
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "alert\tby\tfired\tresolved")
	for _, name := range slices.Sorted(maps.Keys(raised)) {
		if fired[name] == 0 || resolved[name] == 0 {
			t.Errorf("%s: fired %v, resolved %v", name, fired[name], resolved[name])
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f s\t%.0f s\n", name, raised[name], fired[name].Seconds(), resolved[name].Seconds())
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(w, "%s\tpromtool\t-\t-\t%s\n", name, left[name])
	}
	_ = w.Flush()
	t.Logf("%d alerts fired and resolved, %d are promtool's\n%s", len(resolved), len(left), table.String())
}

// loseCandles makes a gap in each instrument.
func (d *demo) loseCandles() {
	d.t.Helper()
	for _, symbol := range []string{"BTCUSDT", "ETHUSDT", "XRPUSDT"} {
		d.fault("lost_close", "exchange", map[string]any{"symbol": symbol})
	}
}

// garbage sends what nobody can read.
func (d *demo) garbage() {
	d.t.Helper()
	d.fault("truncated_frame", "exchange", nil)
	d.fault("bad_post", "cryptopanic", nil)
	for _, topic := range []string{"market.candles", "news.posts"} {
		d.produce(topic, 1)
	}
}

func (d *demo) produce(topic string, n int) {
	d.t.Helper()
	for range n {
		if err := d.kafka.ProduceSync(d.t.Context(), &kgo.Record{Topic: topic, Value: []byte("not an event")}).FirstErr(); err != nil {
			d.t.Fatal(err)
		}
	}
}

// topic makes a topic with a retention in ms, and ten records.
func (d *demo) topic(name, retention string) {
	d.t.Helper()
	if _, err := d.admin.CreateTopic(d.t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, name); err != nil {
		d.t.Fatal(err)
	}
	d.produce(name, 10)
}

// abandon commits the start of a topic for a group that has no members.
func (d *demo) abandon(group, topic string) {
	d.t.Helper()
	starts, err := d.admin.ListStartOffsets(d.t.Context(), topic)
	if err == nil {
		err = d.admin.CommitAllOffsets(d.t.Context(), group, starts.Offsets())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *demo) deleteRecords(topic string, before int64) {
	d.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, before, -1)
	if _, err := d.admin.DeleteRecords(d.t.Context(), offsets); err != nil {
		d.t.Fatal(err)
	}
}

// forget deletes a group and a topic that the story has made.
func (d *demo) forget(group, topic string) {
	d.t.Helper()
	_, err := d.admin.DeleteGroups(d.t.Context(), group)
	if err == nil {
		_, err = d.admin.DeleteTopics(d.t.Context(), topic)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// comeAndGo lets a member join a group and leave it after a few looks of the exporter.
func (d *demo) comeAndGo() {
	d.t.Helper()
	member, err := kgo.NewClient(kgo.SeedBrokers(d.brokers), kgo.ConsumerGroup(restless), kgo.ConsumeTopics("market.gaps"))
	if err != nil {
		d.t.Fatal(err)
	}
	time.AfterFunc(7*time.Second, member.Close)
}

// plantRows changes rows as no sink would.
func (d *demo) plantRows() {
	d.t.Helper()
	const newest = " FROM candles WHERE instrument = 'BTC-USDT' AND `interval` = '1m' AND closed ORDER BY open_time DESC LIMIT 1"
	d.sql("UPDATE candles SET conflict = 1 WHERE instrument = 'BTC-USDT' AND `interval` = '1m' AND closed ORDER BY open_time LIMIT 1")
	d.sql("CREATE TABLE planted AS SELECT *" + newest)
	d.sql("UPDATE planted SET open_time = open_time + INTERVAL 7 SECOND")
	d.sql("INSERT INTO candles SELECT * FROM planted")
	d.sql("UPDATE planted SET open_time = open_time - INTERVAL 7 SECOND, `interval` = '7m'")
	d.sql("INSERT INTO candles SELECT * FROM planted")
	d.sql("DROP TABLE planted")
}

func (d *demo) removeRows() {
	d.t.Helper()
	d.sql("UPDATE candles SET conflict = 0 WHERE conflict")
	d.sql("DELETE FROM candles WHERE `interval` = '7m' OR SECOND(open_time) <> 0")
}
