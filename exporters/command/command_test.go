package command_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/candlestack/candlestack/exporters/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a writer that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var address = regexp.MustCompile(`msg=started .*address=(\S+)`)

// start runs the exporter until the test ends, and returns its address.
func start(t *testing.T, args ...string) (addr string, log *output) {
	t.Helper()
	log = &output{}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- command.Run(ctx, append([]string{"--web.listen-address=127.0.0.1:0"}, args...), io.Discard, log)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("exit code %d:\n%s", code, log)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	eventually(t, func() bool {
		found := address.FindStringSubmatch(log.String())
		if found != nil {
			addr = found[1]
		}
		return found != nil
	})
	return addr, log
}

func eventually(t *testing.T, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not there after a minute")
		}
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestMistakesAreToldAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("tls_server_config:\n  cert_file: /nowhere/cert.pem\n  key_file: /nowhere/key.pem\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want []string // one line each
	}{
		{[]string{"--kafka.server=nowhere"}, []string{`--kafka.server "nowhere": is not of the form host:port`}},
		{[]string{"--kafka.server=a:9092", "--kafka.server=b:port"}, []string{`--kafka.server "b:port"`}},
		{[]string{"--topic.filter=(", "--group.exclude=[", "--web.listen-address=here", "--web.telemetry-path=metrics", "--kafka.labels=x", "--refresh.interval=1ms", "--log.level=loud"},
			[]string{`--log.level "loud"`, `--web.listen-address "here"`, `--web.telemetry-path "metrics"`, `--topic.filter "("`, `--group.exclude "["`, `--refresh.interval "1ms"`, `--kafka.labels "x"`}},
		{[]string{"--sasl.enabled", "--sasl.username=me", "--sasl.password=secret", "--sasl.mechanism=gssapi"}, []string{`--sasl.mechanism "gssapi": is none of plain, scram-sha256, scram-sha512`}},
		{[]string{"--sasl.enabled"}, []string{`--sasl.username ""`}},
		{[]string{"--sasl.enabled", "--sasl.username=me", "--sasl.password-file=/nowhere/password"}, []string{`--sasl.password-file "/nowhere/password"`}},
		{[]string{"--tls.enabled", "--tls.ca-file=/nowhere/ca.pem"}, []string{`--tls.ca-file "/nowhere/ca.pem"`}},
		{[]string{"--tls.enabled", "--tls.ca-file=" + web}, []string{`--tls.ca-file "` + web + `": holds no certificate`}},
		{[]string{"--tls.enabled", "--tls.cert-file=/nowhere/cert.pem"}, []string{`--tls.cert-file "/nowhere/cert.pem"`}},
		{[]string{"--web.config.file=" + web}, []string{`--web.config.file "` + web + `"`}},
		{[]string{"--web.listen-address=" + taken.Addr().String()}, []string{`--web.listen-address "` + taken.Addr().String() + `": the address is in use`}},
		{[]string{"--server.tls.enabled"}, []string{"--web.config.file"}},
		{[]string{"--nonsense"}, []string{"nonsense"}},
		{[]string{"--refresh.interval=soon"}, []string{"--refresh.interval"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			var stderr bytes.Buffer
			ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
			defer stop()
			if code := command.Run(ctx, test.args, io.Discard, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(test.want), stderr.String())
			}
			for i, want := range test.want {
				if !strings.HasPrefix(lines[i], "candlestack-exporter: ") || !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %q, want %s", i, lines[i], want)
				}
			}
			if strings.Contains(stderr.String(), "secret") {
				t.Error("it tells the password")
			}
		})
	}
}

// It starts before Kafka does, and says so in one line.
func TestKafkaComesLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	addr, log := start(t, fmt.Sprintf("--kafka.server=127.0.0.1:%d", port), "--refresh.interval=100ms")
	url := "http://" + addr
	eventually(t, func() bool { status, _ := get(t, url+"/-/ready"); return status == 503 })
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "\nkafka_up 0\n") {
		t.Errorf("no kafka_up 0 in\n%s", body)
	}
	for _, path := range []string{"/healthz", "/-/healthy", "/"} {
		if status, _ := get(t, url+path); status != 200 {
			t.Errorf("%s is %d", path, status)
		}
	}
	eventually(t, func() bool { return strings.Contains(log.String(), "not ready") })
	time.Sleep(500 * time.Millisecond)
	if n := strings.Count(log.String(), "not ready"); n != 1 {
		t.Errorf("%d lines of one change:\n%s", n, log)
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer fake.Close()
	eventually(t, func() bool { _, body := get(t, url+"/metrics"); return strings.Contains(body, "\nkafka_up 1\n") })
	eventually(t, func() bool { status, _ := get(t, url+"/-/ready"); return status == 200 })
	for _, path := range []string{"/broker/0/metrics", "/controller/metrics", "/sd"} {
		eventually(t, func() bool { status, _ := get(t, url+path); return status == 200 })
	}
	if _, body := get(t, url+"/exporter/metrics"); !strings.Contains(body, "candlestack_exporter_refresh_duration_seconds_count") {
		t.Error("own metrics are missing")
	}
}

// All of kafka_exporter's flags are taken, those of 1.10 too.
func TestFlagsOfKafkaExporter(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "orders", "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	addrs := fake.ListenAddrs()
	addr, log := start(t, "--kafka.server="+addrs[0], "--kafka.server", addrs[1], "--kafka.version=3.8.0", "--kafka.labels=env=dev",
		"--no-kafka.allow-auto-topic-creation", "--no-sasl.enabled", "--no-sasl.handshake", "--sasl.mechanism=", "--sasl.aws-region=x", "--sasl.oauthbearer-token-url=x",
		"--sasl.oauthbearer-scopes=x", "--sasl.service-name=x", "--sasl.kerberos-config-path=x", "--sasl.realm=x", "--sasl.kerberos-auth-type=x", "--sasl.keytab-path=x",
		"--sasl.disable-PA-FX-FAST", "--no-tls.enabled", "--tls.server-name=x", "--tls.insecure-skip-tls-verify", "--no-server.tls.enabled", "--server.tls.ca-file=x",
		"--server.tls.cert-file=x", "--server.tls.key-file=x", "--topic.filter=.*", "--topic.exclude=^hid", "--group.filter=.*", "--group.exclude=^$",
		"--web.telemetry-path=/kafka", "--refresh.metadata=1m", "--no-offset.show-all", "--concurrent.enable", "--topic.workers=10", "--group.workers=10",
		"--group.metrics.timeout=5m", "--no-use.consumelag.zookeeper", "--zookeeper.server=x:2181", "--log.enable-sarama", "--verbosity=1", "--log.level=info", "--log.format=text")
	eventually(t, func() bool {
		_, body := get(t, "http://"+addr+"/kafka")
		return strings.Contains(body, `kafka_topic_partitions{topic="orders",env="dev"} 1`) && !strings.Contains(body, "hidden")
	})
	if n := strings.Count(log.String(), "mean nothing here"); n != 1 {
		t.Errorf("%d lines about flags without a meaning:\n%s", n, log)
	}
}

func TestEnvironment(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	t.Setenv("CANDLESTACK_EXPORTER_KAFKA_SERVER", fake.ListenAddrs()[0])
	t.Setenv("CANDLESTACK_EXPORTER_WEB_TELEMETRY_PATH", "/there")
	addr, _ := start(t)
	eventually(t, func() bool {
		_, body := get(t, "http://"+addr+"/there")
		return strings.Contains(body, `topic="orders"`)
	})
}

func TestHelpAndVersion(t *testing.T) {
	for _, arg := range []string{"--help", "--version"} {
		var stdout bytes.Buffer
		if code := command.Run(t.Context(), []string{arg}, &stdout, io.Discard); code != 0 || stdout.Len() == 0 {
			t.Errorf("%s: exit code %d, %q", arg, code, stdout.String())
		}
	}
}

func TestUsersOfTheServer(t *testing.T) {
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("basic_auth_users:\n  scraper: "+hash(t, "open")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, "--web.config.file="+web, "--kafka.server=127.0.0.1:1")
	if status, _ := get(t, "http://"+addr+"/metrics"); status != 401 {
		t.Errorf("without a password: %d", status)
	}
	if status, _ := get(t, "http://scraper:open@"+addr+"/metrics"); status != 200 {
		t.Errorf("with it: %d", status)
	}
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}
