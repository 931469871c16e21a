package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/command"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
)

// TestGaps makes holes in the table and finds and repairs them by command; what
// the exchange itself has not is confirmed and left alone.
func TestGaps(t *testing.T) {
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MARIADB", "CANDLESTACK_TEST_MYSQL")
	sim := simulate(t, defaultMarket)
	hole, begin := plantedHole(t, sim)
	sink := w.sink()
	venue := []string{"--kafka.brokers", w.kafka, "--rest-url", "http://" + sim.Addr(), "--stream-url", "ws://" + sim.Addr()}
	repair := []string{"gaps", "repair", "--mysql.dsn", w.dsn, "--kafka.brokers", w.kafka, "--binance.rest-url", "http://" + sim.Addr(), "--binance.stream-url", "ws://" + sim.Addr()}
	w.run(append([]string{"source", "binance", "--instruments", "BTC-USDT", "--ops.listen", "",
		"--since", begin.Time().Format(time.RFC3339), "--until", begin.Add(24 * time.Hour).Time().Format(time.RFC3339)}, venue...)...)
	w.eventually("the day is stored", func() bool { return w.drained(candleTopics...) })
	stored := w.count("SELECT COUNT(*) FROM candles WHERE origin = 'archive'")
	if n := w.count("SELECT COUNT(*) FROM gaps WHERE state = 'confirmed'"); n < 1 || stored < 1400 || stored >= 1440 {
		t.Fatalf("%d candles, %d confirmed gaps; the exchange has a hole at %s", stored, n, hole)
	}
	if list := w.run("gaps", "list", "--mysql.dsn", w.dsn); !strings.Contains(list, "confirmed") || strings.Contains(list, "unknown") {
		t.Errorf("gaps list says\n%s", list)
	}
	made := hole.Add(-30 * time.Minute)
	if _, err := w.db.Exec("DELETE FROM candles WHERE open_time >= ? AND open_time < ?", made.Time(), made.Add(7*time.Minute).Time()); err != nil {
		t.Fatal(err)
	}
	list := w.run("gaps", "list", "--mysql.dsn", w.dsn)
	if want := made.Time().Format(time.RFC3339) + "  " + made.Add(7*time.Minute).Time().Format(time.RFC3339) + "  7        unknown"; !strings.Contains(list, want) {
		t.Errorf("gaps list says\n%s\nwant %s", list, want)
	}
	if out := w.run(repair...); !strings.Contains(out, "holes asked for again: 1") {
		t.Errorf("gaps repair says %s", out)
	}
	w.eventually("the rows are back", func() bool { return w.count("SELECT COUNT(*) FROM candles") == stored })
	w.eventually("the gap is recorded", func() bool {
		return w.count("SELECT COUNT(*) FROM gaps WHERE state = 'repaired' AND cause = 'manual'") == 1
	})
	if out := w.run(repair...); out != "nothing to repair\n" {
		t.Errorf("a second gaps repair says %s", out)
	}
	sink.stop()
}

// plantedHole finds a hole of the exchange with a day around it.
func plantedHole(t *testing.T, sim *simulator.Simulator) (hole, begin market.Millis) {
	t.Helper()
	to := market.Interval("1d").Start(sim.Now())
	for _, a := range sim.Answers(to.Add(-60*24*time.Hour), to).Instruments {
		if a.Instrument.Base != "BTC" {
			continue
		}
		for _, at := range a.Missing {
			// Not at the edge of the day, with an hour of candles before it.
			if begin = at.Add(-12 * time.Hour); begin > to.Add(-58*24*time.Hour) && at.Add(13*time.Hour) < to {
				return at, market.Interval("1h").Start(begin)
			}
		}
	}
	t.Fatal("the market has no hole in two months")
	return 0, 0
}

// TestDeadLetters lets poison die, looks at it, and sends it again.
func TestDeadLetters(t *testing.T) {
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MARIADB")
	sink := w.sink()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	contract, kind, origin := header(market.HeaderContract, "1"), header(market.HeaderKind, "candle"), header(market.HeaderOrigin, "live")
	fine := `{"exchange":"binance","instrument":"BTC-USDT","interval":"1m","open_time":1795000020000,"open":"%s","high":"9","low":"1","close":"2","volume":"0","closed":true,"event_time":1795000079999,"receive_time":1795000080000}`
	digits := fmt.Sprintf(fine, "1.1234567890123456789") // 19 after the point: the column has 18
	for _, r := range []*kgo.Record{
		{Topic: market.TopicCandles, Key: []byte("k"), Value: []byte("not JSON"), Headers: []kgo.RecordHeader{contract, kind, origin}},
		{Topic: market.TopicCandles, Key: []byte("k"), Value: []byte(digits), Headers: []kgo.RecordHeader{contract, kind, origin}},
		{Topic: market.TopicCandles, Key: []byte("k"), Value: []byte("{}"), Headers: []kgo.RecordHeader{header(market.HeaderContract, "2"), kind, origin}},
		{Topic: market.TopicCandles, Key: []byte("k"), Value: fmt.Appendf(nil, fine, "10"), Headers: []kgo.RecordHeader{contract, kind, origin}},
		{Topic: market.TopicCandles, Key: []byte("k"), Value: fmt.Appendf(nil, fine, "1.5"), Headers: []kgo.RecordHeader{contract, kind, origin}},
	} {
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all is read", func() bool { return w.drained(market.TopicCandles) })
	if n := w.count("SELECT COUNT(*) FROM candles"); n != 1 {
		t.Errorf("%d rows, want the one that is fine", n)
	}
	list := w.run("deadletter", "list", "--kafka.brokers", w.kafka)
	for _, reason := range []string{"decode", "contract", "invalid", "1265"} {
		if !strings.Contains(list, market.TopicCandles+"  "+reason) {
			t.Errorf("deadletter list does not tell of %s:\n%s", reason, list)
		}
	}
	left := func(want ...string) {
		t.Helper()
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(w.run("deadletter", "list", "--kafka.brokers", w.kafka)), "\n") {
			fields := strings.Fields(line)
			got = append(got, fields[len(fields)-2])
		}
		if diff := cmp.Diff(append([]string{"LEFT"}, want...), got); diff != "" {
			t.Errorf("deadletter list:\n%s", diff)
		}
	}
	left("1", "1", "1", "1")
	show := w.run("deadletter", "show", "--kafka.brokers", w.kafka)
	for _, want := range []string{`value   "not JSON"`, "1.1234567890123456789 has 19 digits after the point", `header candlestack-contract is "2", not "1"`, "high 9 is below open 10"} {
		if !strings.Contains(show, want) {
			t.Errorf("deadletter show does not tell %q:\n%s", want, show)
		}
	}
	sink.stop()
	if out := w.run("deadletter", "replay", "--kafka.brokers", w.kafka); !strings.Contains(out, "market.candles: 4 sent again") {
		t.Errorf("deadletter replay says\n%s", out)
	}
	left("0", "0", "0", "0")
	if out := w.run("deadletter", "replay", "--kafka.brokers", w.kafka); !strings.Contains(out, "market.candles: 0 sent again") {
		t.Errorf("a second deadletter replay says\n%s", out)
	}
}

// TestDoctor is well and unwell.
func TestDoctor(t *testing.T) {
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MARIADB")
	sim := simulate(t, defaultMarket)
	args := []string{"doctor", "kafka", "mysql", "binance", "--kafka.brokers", w.kafka, "--mysql.dsn", w.dsn, "--binance.rest-url", "http://" + sim.Addr(), "--binance.stream-url", "ws://" + sim.Addr()}
	out := w.run(args...)
	for _, want := range []string{"kafka", "topic market.candles", "mysql", "binance"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor says nothing of %s:\n%s", want, out)
		}
	}
	t.Logf("\n%s", out)
	var stdout, stderr bytes.Buffer
	code := command.Run(context.Background(), []string{"doctor", "kafka", "mysql", "--within", "2s", "--kafka.brokers", "127.0.0.1:1", "--mysql.dsn", "root@tcp(127.0.0.1:1)/market"}, &stdout, &stderr)
	if code != 1 || strings.Count(stdout.String(), "PROBLEM") < 2 {
		t.Errorf("code %d, doctor says\n%s%s", code, &stdout, &stderr)
	}
}

// TestAnswers prints an answer key that a program can read.
func TestAnswers(t *testing.T) {
	w := &world{t: t}
	out := w.run("simulate", "--answers", "--seed", "5", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")
	if !json.Valid([]byte(out)) || !strings.Contains(out, `"BTC-USDT"`) {
		t.Errorf("the answer key is\n%s", out)
	}
}
