package command_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every mechanism, over TLS, with the password from a file; a wrong password is
// the world's, not a setting's: kafka_up 0 and a line.
func TestSecureKafka(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	defer server.Close()
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	for mechanism, theirs := range map[string]string{"plain": "PLAIN", "scram-sha256": "SCRAM-SHA-256", "scram-sha512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(), kfake.Superuser(theirs, "watcher", "s3cret"),
				kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: server.TLS.Certificates}))
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			run := func(password string) (url string, log *output) {
				addr, log := start(t, "--kafka.server="+fake.ListenAddrs()[0], "--refresh.interval=200ms", "--tls.enabled", "--tls.ca-file="+ca,
					"--sasl.enabled", "--sasl.username=watcher", "--sasl.mechanism="+mechanism, "--sasl.password-file="+write(t, "password", password+"\n"))
				return "http://" + addr + "/metrics", log
			}
			url, _ := run("s3cret")
			eventually(t, func() bool { _, body := get(t, url); return strings.Contains(body, `topic="orders"`) })
			url, log := run("wr0ng")
			eventually(t, func() bool { return strings.Contains(log.String(), "not ready") })
			if _, body := get(t, url); !strings.Contains(body, "\nkafka_up 0\n") {
				t.Errorf("no kafka_up 0 in\n%s", body)
			}
			if strings.Contains(log.String(), "wr0ng") {
				t.Error("the log tells the password")
			}
		})
	}
}
