package kafka_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
)

const secret = "correct horse battery staple"

// Both libraries must read the same settings, or a source connects and cannot
// ask for its topics.
func TestBothClientsReadTheSameSettings(t *testing.T) {
	server, ca := certificate(t)
	for name, f := range map[string]struct {
		opts   []kfake.Opt
		config map[string]string
	}{
		"SASL_PLAINTEXT PLAIN": {
			[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", secret)},
			map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "ada"},
		},
		"SASL_PLAINTEXT SCRAM-SHA-256": {
			[]kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", secret)},
			map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "ada"},
		},
		"SASL_SSL SCRAM-SHA-512": {
			[]kfake.Opt{kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "ada", secret)},
			map[string]string{"security.protocol": "sasl_ssl", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "ada", "ssl.ca.location": ca},
		},
		"SSL": {[]kfake.Opt{kfake.TLS(server)}, map[string]string{"security.protocol": "SSL", "ssl.ca.location": ca}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := secured(t, secret, f.config, f.opts...)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			p := producer(t, cfg, &reports{}, prometheus.NewRegistry())
			var acked acknowledgements
			if err := p.Produce(t.Context(), pipeline.Record{Topic: "candles", Key: []byte("k")}, acked.done); err != nil {
				t.Fatal(err)
			}
			acked.await(t, 1)
			admin, err := kafka.NewAdmin(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			n := 0
			if err := admin.ReadAll(t.Context(), func(*pipeline.Record) error { n++; return nil }, "candles"); err != nil || n != 1 {
				t.Errorf("read %d records, %v", n, err)
			}
		})
	}
}

// Promise 6: a secret reaches no log, metric, report or error, not even where
// it is wrong and libraries complain.
func TestPasswordIsNeverTold(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		t.Run(mechanism, func(t *testing.T) {
			const wrong = "Tr0ub4dor&3 is not it"
			cfg := secured(t, wrong, map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": "ada", "debug": "security,broker"},
				kfake.EnableSASL(), kfake.Superuser(mechanism, "ada", secret))
			var log buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			var told reports
			reg := prometheus.NewRegistry()
			p, err := kafka.NewProducer(cfg, told.set, logger, reg)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the refusal is reported and logged", func() bool {
				return len(told.of("kafka producer")) > 0 && strings.Contains(log.String(), "SASL authentication error")
			})
			admin, err := kafka.NewAdmin(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, refusal := admin.List(ctx, []kafka.Topic{{Name: "candles"}})
			if refusal == nil {
				t.Error("a wrong password was taken")
			}
			admin.Close()
			p.Close(ctx)
			broken := cfg
			broken.Config = map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": "ada", "linger.ms": "soon"}
			for what, text := range map[string]string{
				"log": log.String(), "reports": strings.Join(told.of("kafka producer"), "\n"), "metrics": exposition(t, reg),
				"error of the administrator": refusal.Error(), "error of the settings": broken.Validate().Error(),
			} {
				if strings.Contains(text, wrong) || strings.Contains(text, "Tr0ub4dor") {
					t.Errorf("the password stands in the %s:\n%s", what, text)
				}
			}
		})
	}
}

// secured starts a broker with opts and returns how to reach it with a password.
func secured(t *testing.T, password string, settings map[string]string, opts ...kfake.Opt) kafka.Config {
	t.Helper()
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "candles"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := kafka.Config{Brokers: cluster.ListenAddrs(), Config: settings}
	if settings["sasl.username"] != "" {
		cfg.PasswordFile = path
	}
	return cfg
}

// certificate makes a server's settings for 127.0.0.1 and the file of who signed it.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, path
}

func exposition(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// buffer can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
