package stores

import (
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// desk is a topic, a sink's group and a table, written by hand.
type desk struct {
	*reconciler
	t      *testing.T
	client *kgo.Client
	admin  *kadm.Client
	log    *book
	hour   market.Millis // the last one that is due
	dsn    string
}

func newDesk(t *testing.T, brokers []string, dsn string) *desk {
	t.Helper()
	opts := []kgo.Opt{kgo.SeedBrokers(brokers...)}
	client, err := kgo.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	d := &desk{t: t, client: client, admin: kadm.NewClient(client), log: &book{}, dsn: dsn}
	name := "stores-test-" + strings.ToLower(rand.Text()[:10])
	if _, err := d.admin.CreateTopic(t.Context(), 2, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.admin.DeleteTopics(context.Background(), name); err != nil {
			t.Error(err)
		}
		if _, err := d.admin.DeleteGroups(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	d.hour = market.Interval("1h").Start(market.MillisOf(time.Now().Add(-settled))) - hourly
	d.reconciler = newReconciler(asker(t, dsn, time.Now()), opts, name, d.log.logger())
	d.topic, d.wait = name, 0
	d.now = func() time.Time { return d.hour.Add(time.Hour + settled + time.Second).Time() }
	return d
}

// again forgets what was compared.
func (d *desk) again() {
	d.hours, d.outcomes, d.newest = map[market.Millis]state{}, [3]int{}, 0
}

func (d *desk) produce(partition int32, c *market.Candle) {
	d.t.Helper()
	value, err := market.Encode(c)
	if err != nil {
		d.t.Fatal(err)
	}
	d.record(partition, value, market.ContractVersion)
}

func (d *desk) record(partition int32, value []byte, contract string) {
	d.t.Helper()
	if err := d.client.ProduceSync(d.t.Context(), &kgo.Record{Topic: d.topic, Partition: partition, Value: value, Headers: []kgo.RecordHeader{
		{Key: market.HeaderKind, Value: []byte(market.KindCandle)}, {Key: market.HeaderContract, Value: []byte(contract)}, {Key: market.HeaderOrigin, Value: []byte(market.OriginLive)},
	}}).FirstErr(); err != nil {
		d.t.Fatal(err)
	}
}

// commit says that the sink has stored what the topic holds now.
func (d *desk) commit() {
	d.t.Helper()
	ends, err := d.admin.ListEndOffsets(d.t.Context(), d.topic)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.admin.CommitAllOffsets(d.t.Context(), d.group, ends.Offsets()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) expect(what, want string) {
	d.t.Helper()
	if diff := cmp.Diff(sorted(strings.ReplaceAll(want, "TOPIC", d.topic)), lines(d.t, d.reconcile)); diff != "" {
		d.t.Fatalf("%s: -want +got\n%s", what, diff)
	}
}

func amount(t testing.TB, text string) market.Decimal {
	t.Helper()
	d, err := market.ParseDecimal(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReconciliation(t *testing.T) {
	onMySQL(t, func(t *testing.T, dsn string) {
		t.Run("kfake", func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			testReconciliation(t, newDesk(t, cluster.ListenAddrs(), dsn))
		})
		t.Run("Kafka", func(t *testing.T) {
			address := os.Getenv("CANDLESTACK_TEST_KAFKA")
			if address == "" {
				t.Skip("no Kafka: set CANDLESTACK_TEST_KAFKA to host:port")
			}
			testReconciliation(t, newDesk(t, []string{address}, dsn))
		})
	})
}

func testReconciliation(t *testing.T, d *desk) {
	db := connect(t, d.dsn)
	exec(t, db, "DROP VIEW IF EXISTS Bitcoin, Ethereum, Ripple, candles_hourly, candles_daily, candles_completeness")
	exec(t, db, "DROP TABLE IF EXISTS candles, gaps")
	tables(t, db)

	quote, trades := amount(t, "0.1"), int64(3)
	of := func(instrument market.Instrument, interval market.Interval, open market.Millis, price string, closed bool) *market.Candle {
		p := amount(t, price)
		c := &market.Candle{Exchange: "binance", Instrument: instrument, Interval: interval, OpenTime: open, Open: p, High: p, Low: p, Close: p,
			Volume: amount(t, "1E2"), QuoteVolume: &quote, Trades: &trades, Closed: closed, EventTime: interval.Next(open) - 1, ReceivedTime: interval.Next(open), Origin: market.OriginLive}
		if !closed {
			c.EventTime = open + 1
		}
		return c
	}
	store := func(c *market.Candle) {
		exec(t, db, "REPLACE INTO candles (exchange,instrument,`interval`,open_time,open,high,low,close,volume,quote_volume,trades,closed,event_time,receive_time,version,origin) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			c.Exchange, c.Instrument.String(), string(c.Interval), c.OpenTime.Time(), c.Open.String(), c.High.String(), c.Low.String(), c.Close.String(), c.Volume.String(), c.QuoteVolume.String(), *c.Trades,
			c.Closed, c.EventTime.Time(), c.ReceivedTime.Time(), c.Version(), string(c.Origin))
	}
	btc, eth := market.Instrument{Base: "BTC", Quote: "USDT"}, market.Instrument{Base: "ETH", Quote: "USDT"}
	for i := range market.Millis(60) {
		open := d.hour + i*60_000
		d.produce(0, of(btc, "1m", open, "100."+strconv.Itoa(int(i)), false))
		closed := of(btc, "1m", open, "200."+strconv.Itoa(int(i)), true)
		d.produce(0, closed)
		store(closed)
	}
	d.produce(0, of(btc, "1m", d.hour, "1", false))    // older, and delivered late
	d.produce(0, of(btc, "1m", d.hour, "300", true))   // of the same version: the first one counts
	d.produce(0, of(btc, "1m", d.hour-1, "300", true)) // of the hour before
	store(of(btc, "1m", d.hour-1, "300", true))
	d.record(0, []byte("no candle"), market.ContractVersion)
	d.record(0, []byte("{}"), "99")
	for i := range market.Millis(12) {
		c := of(eth, "5m", d.hour+i*300_000, "3.5", i < 11)
		d.produce(1, c)
		store(c)
	}
	// Of the hour that is not over: stored, and not in Kafka.
	store(of(eth, "5m", d.hour+hourly, "3.5", false))

	d.expect("the sink has stored nothing", `
		reconciliations_total{outcome="same"} 0
		reconciliations_total{outcome="different"} 0
		reconciliations_total{outcome="skipped"} 0
		reconciliation_differences{topic="TOPIC"} 0`)
	d.commit()
	all := func(same, different, differences int) string {
		return `reconciliations_total{outcome="same"} ` + strconv.Itoa(same) + `
			reconciliations_total{outcome="different"} ` + strconv.Itoa(different) + `
			reconciliations_total{outcome="skipped"} 0
			reconciliation_differences{topic="TOPIC"} ` + strconv.Itoa(differences) + `
			reconciled_timestamp_seconds{topic="TOPIC"} ` + strconv.FormatFloat(seconds(d.hour+hourly), 'g', -1, 64)
	}
	d.expect("all is stored", all(6, 0, 0))
	d.expect("asked again", all(6, 0, 0))
	if d.log.String() != "" {
		t.Errorf("well is silent: %s", d.log)
	}

	spoil := func(what, statement string, args ...any) {
		t.Helper()
		d.again()
		exec(t, db, statement, args...)
		d.expect(what, all(5, 1, 1))
		if !strings.Contains(d.log.String(), "binance/BTC-USDT/1") {
			t.Errorf("%s: the log does not name the series: %s", what, d.log)
		}
		d.expect(what+", asked again", all(5, 1, 1))
	}
	at := d.hour.Add(7 * time.Minute)
	healthy := of(btc, "1m", at, "200.7", true)
	spoil("a value changed", "UPDATE candles SET close=close+0.000000000000000001 WHERE instrument='BTC-USDT' AND open_time=?", at.Time())
	store(healthy)
	d.expect("mended", all(6, 1, 0))
	if n := strings.Count(d.log.String(), "\n"); n != 2 || !strings.Contains(d.log.String(), "the same again") {
		t.Errorf("want two lines, got\n%s", d.log)
	}
	spoil("NULL for a number", "UPDATE candles SET trades=NULL WHERE instrument='BTC-USDT' AND open_time=?", at.Time())
	spoil("a row lost", "DELETE FROM candles WHERE instrument='BTC-USDT' AND open_time=?", at.Time())
	store(healthy)
	spoil("a series too many", "INSERT INTO candles SELECT exchange,instrument,'15m',open_time,open,high,low,close,volume,quote_volume,trades,taker_volume,taker_quote_volume,closed,event_time,receive_time,write_time,version,origin,conflict "+
		"FROM candles WHERE instrument='BTC-USDT' AND open_time=?", d.hour.Time())
	exec(t, db, "DELETE FROM candles WHERE `interval`='15m'")

	// A correction that Kafka holds and the sink does not yet is late, not lost.
	d.again()
	late := of(btc, "1m", at, "201", true)
	late.EventTime++
	d.produce(0, late)
	before := d.log.String()
	lines(t, d.reconcile)
	if d.hours[d.hour] != unknown || d.log.String() != before {
		t.Errorf("late data were called a difference: %v, %s", d.hours, d.log)
	}
	store(late)
	d.commit()
	d.expect("the correction is stored", all(6, 0, 0))

	d.again()
	d.limit = 10
	lines(t, d.reconcile)
	if d.hours[d.hour] != skipped {
		t.Errorf("an hour of too many candles is %v", d.hours[d.hour])
	}
	d.limit = 1000
	d.again()
	if _, err := d.admin.DeleteRecords(t.Context(), kadm.Offsets{d.topic: {0: {Topic: d.topic, Partition: 0, At: 5}}}); err != nil {
		t.Fatal(err)
	}
	lines(t, d.reconcile)
	if d.hours[d.hour] != skipped {
		t.Errorf("an hour that Kafka does not keep is %v", d.hours[d.hour])
	}
	d.again()
	d.topic = "stores-test-none"
	if _, err := d.reconcile(t.Context()); err == nil {
		t.Error("a topic that is not there is no error")
	}
}
