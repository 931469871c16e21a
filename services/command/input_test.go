package command_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/candlestack/candlestack/services/command"
)

// TestBadInput holds design §4.8: one clear line for each mistake, all at once,
// with field and value, and exit code 2.
func TestBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dsn := "--mysql.dsn=root:geheim@tcp(127.0.0.1:1)/market"
	f := func(args string, want ...string) {
		t.Helper()
		var stderr, stdout bytes.Buffer
		code := command.Run(context.Background(), strings.Fields(args), &stdout, &stderr)
		if code != 2 {
			t.Errorf("candlestack %s: code %d, want 2", args, code)
		}
		got := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if len(got) != len(want) {
			t.Errorf("candlestack %s says\n%s\nwant %d lines", args, stderr.String(), len(want))
			return
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("candlestack %s says\n%s\nwant\n%s", args, got[i], want[i])
			}
		}
		if strings.Contains(stderr.String()+stdout.String(), "geheim") {
			t.Errorf("candlestack %s tells the password", args)
		}
	}
	f("source kraken2", `unexpected argument kraken2`)
	f("sorce", `unexpected argument sorce, did you mean "source"?`)
	f("source binance --interval=1m", `unknown flag --interval, did you mean "--intervals"?`)
	f("source binance --intervals=7m", `--intervals "7m": is none of 1s 1m`)
	f("source binance --instruments=BTCUSDT,FOO", `--instruments "BTCUSDT": is not of the form BTC-USDT`, `--instruments "FOO"`)
	f("source binance --instruments=x --intervals=2m --transport=pigeon --kafka.brokers=here",
		`--kafka.brokers "here": is not of the form host:port`, `--instruments "x"`, `--intervals "2m"`, `--transport "pigeon"`)
	f("source binance --since=2025-02-01T00:00:00Z --until=2025-01-01T00:00:00Z", `--until "2025-01-01T00:00:00Z": must be after --since`)
	f("source binance --since=gestern", `--since "gestern": is not RFC 3339, like 2026-11-21T00:00:00Z`)
	f("source binance --state-dir="+file+"/x", `--state-dir "`+file+`/x"`)
	f("source binance --ops.listen="+busy.Addr().String(), `--ops.listen "`+busy.Addr().String()+`"`)
	f("source binance --kafka.config=acks=0", `--kafka.config "acks": is fixed`)
	f("source binance --kafka.config=no.such.setting=1", `--kafka.config "no.such.setting"`)
	f("sink mysql", `--mysql.dsn`)
	f("sink mysql --mysql.dsn=root:geheim@nowhere", `--mysql.dsn`)
	f("sink mysql --batch.rows=0 --batch.age=2h "+dsn, `--batch.rows "0": must be 1 to 100000`, `--batch.age "2h0m0s": must be 0 to 1m`)
	f("sink mysql --mysql.dsn-file=/does/not/exist", `--mysql.dsn-file "/does/not/exist"`)
	f("simulate --replay=/does/not/exist", `candlestack: --replay "/does/not/exist": cannot be read`)
	f("simulate --ops.listen= --listen=127.0.0.1:0 --replay="+file, `candlestack: --replay "`+file+`"`)
	f("simulate --listen="+busy.Addr().String(), `--listen "`+busy.Addr().String()+`"`)
	f("gaps list --mysql.dsn=u@tcp(h)/d --since=2026-01-02T00:00:00Z --until=2026-01-01T00:00:00Z", `--until "2026-01-01T00:00:00Z": must be after --since`)
	f("alerts --listen="+busy.Addr().String(), `--listen "`+busy.Addr().String()+`": the address is in use`)
	f("simulate --answers", `--from "": --answers needs it`, `--to "": --answers needs it`)
	f("simulate --answers --from=2026-01-01T00:00:00Z", `--to "": --answers needs it`)
	f("simulate --answers --from=2026-01-01T00:00:00Z --to=2026-01-01T00:00:00Z", `--to "2026-01-01T00:00:00Z": must be after --from`)
	f("topics apply --partitions=0 --replication=0", `--partitions "0": must be at least 1`, `--replication "0": must be at least 1`)
	f("deadletter list --topic=market.cakes", `--topic "market.cakes": is none of market.candles market.gaps news.posts`)
	f("source cryptopanic", `--token "": is missing, and the free API ended on 2026-04-01; news without a token: candlestack source rss`)
	f("source cryptopanic --token=geheim --pages=11 --filter=best", `--filter "best"`, `--pages "11"`)
	f("source rss --feed=ftp://x,nowhere --interval=1ms", `--feed "ftp://x"`, `--feed "nowhere"`, `--interval "1ms"`)
	f("sink mongodb --mongodb.uri=mysql://root:geheim@x/", `--mongodb.uri`)
	f("sink mongodb --mongodb.connections=0", `--mongodb.connections "0"`)
	f("doctor rss cryptopanic --rss.interval=1ms", `--rss.interval "1ms"`, `--cryptopanic.token "": `)
	f("doctor oracle", `dependency "oracle": is none of`)
	f("version --log.level=loud --log.format=xml", `--log.format "xml"`, `--log.level "loud"`)
}

// TestUsage holds what help owes to a reader: the commands where none is given,
// defaults that a placeholder would hide, and no name from the environment.
func TestUsage(t *testing.T) {
	f := func(args string, code int, want ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := command.Run(context.Background(), strings.Fields(args), &stdout, &stderr); got != code {
			t.Errorf("candlestack %s: code %d, want %d", args, got, code)
		}
		out := &stdout
		if code != 0 {
			out = &stderr
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("candlestack %s does not say %q:\n%s", args, w, out)
			}
		}
		if strings.Contains(text, "$CANDLESTACK") {
			t.Errorf("candlestack %s names the environment in a line:\n%s", args, out)
		}
	}
	f("", 2, "Usage: candlestack <command>", "source binance", "doctor")
	f("source binance --help", 0, "--instruments=BASE-QUOTE,... ", "Default: BTC-USDT,ETH-USDT,XRP-USDT.", "Default: 127.0.0.1:9092.", "Default: 127.0.0.1:9601.", "Default: 0.8.")
	f("source rss --help", 0, "Default: 127.0.0.1:9603.")
	f("sink mongodb --help", 0, "Default: candlestack-mongodb.")
	f("sink mysql --help", 0, "Default: candlestack-mysql.", "Default: info.")
}

// TestEnvironment holds the names of settings: shared parts have one name for
// all commands, a command's own flags have the command in theirs.
func TestEnvironment(t *testing.T) {
	for _, f := range []struct{ variable, command, want string }{
		{"CANDLESTACK_KAFKA_BROKERS", "source binance", `--kafka.brokers "nowhere"`},
		{"CANDLESTACK_KAFKA_BROKERS", "sink mongodb", `--kafka.brokers "nowhere"`},
		{"CANDLESTACK_BINANCE_INSTRUMENTS", "source binance", `--instruments "nowhere"`},
		{"CANDLESTACK_BINANCE_REST_URL", "doctor binance", `--binance.rest-url "nowhere"`},
		{"CANDLESTACK_RSS_FEED", "source rss", `--feed "nowhere"`},
		{"CANDLESTACK_RSS_FEED", "doctor rss", `--rss.feed "nowhere"`},
		{"CANDLESTACK_SIMULATE_LISTEN", "simulate", `--listen "nowhere"`},
	} {
		t.Run(f.variable+" "+f.command, func(t *testing.T) {
			t.Setenv(f.variable, "nowhere")
			var stderr bytes.Buffer
			if code := command.Run(t.Context(), strings.Fields(f.command), &bytes.Buffer{}, &stderr); code != 2 || !strings.Contains(stderr.String(), f.want) {
				t.Errorf("code %d, says\n%s\nwant %s", code, &stderr, f.want)
			}
		})
	}
}

// TestTopicsWaitsForKafka holds that an absent broker is the world's fault, told
// with its address once the patience is over.
func TestTopicsWaitsForKafka(t *testing.T) {
	var stderr bytes.Buffer
	code := command.Run(context.Background(), strings.Fields("topics list --wait=1s --kafka.brokers=127.0.0.1:1"), &bytes.Buffer{}, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), `candlestack: --kafka.brokers "127.0.0.1:1": listing topics`) || strings.Count(stderr.String(), "waiting for kafka") != 1 {
		t.Errorf("code %d, says\n%s", code, &stderr)
	}
}

// TestBadInputOfServers needs servers to be wrong about.
func TestBadInputOfServers(t *testing.T) {
	w := newWorld(t)
	w.store("CANDLESTACK_TEST_MYSQL", "CANDLESTACK_TEST_MARIADB")
	sim := simulate(t, defaultMarket)
	fails := func(want string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		if code := command.Run(context.Background(), append(args, "--ops.listen", "127.0.0.1:0"), &bytes.Buffer{}, &stderr); code != 2 {
			t.Errorf("candlestack %s: code %d, want 2\n%s", strings.Join(args, " "), code, &stderr)
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) || strings.Contains(stderr.String(), "geheim") {
			t.Errorf("candlestack %s says\n%s\nwant %s", strings.Join(args, " "), &stderr, want)
		}
	}
	fails(`--instruments "FOO-USDT"`, "source", "binance", "--kafka.brokers", w.kafka, "--rest-url", "http://"+sim.Addr(), "--stream-url", "ws://"+sim.Addr(), "--instruments", "BTC-USDT,FOO-USDT")
	fails(`--mysql.dsn`, "sink", "mysql", "--kafka.brokers", w.kafka, "--mysql.dsn", strings.Replace(w.dsn, "root@", "nobody:geheim@", 1))

	var stderr bytes.Buffer
	args := []string{"topics", "apply", "--kafka.brokers", w.kafka, "--partitions", "9"}
	if code := command.Run(context.Background(), args, &bytes.Buffer{}, &stderr); code != 2 || !strings.Contains(stderr.String(), `topic "market.candles": has 6 partitions, 9 were asked for`) {
		t.Errorf("code %d, says %s", code, &stderr)
	}
}

// TestWaitsForTheWorld holds design §4.7: what the user said is right, only
// nobody is there yet. The command waits, says so in one line, and /-/ready
// names what is missing; it begins when the world is there.
func TestWaitsForTheWorld(t *testing.T) {
	w := &world{t: t, kafka: "127.0.0.1:1", dsn: "root@tcp(127.0.0.1:1)/market"}
	t.Cleanup(w.commands.Wait)
	sink := w.sink()
	w.eventually("the sink says what it waits for", func() bool { return strings.Contains(sink.ready(), "topics") })
	sink.stop()
	if n := strings.Count(sink.log.String(), "part=topics"); n != 1 {
		t.Errorf("%d lines on the topics, want one:\n%s", n, sink.log)
	}
}
