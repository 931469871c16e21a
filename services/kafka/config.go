// Package kafka is the data path: producer and consumer of the engine by
// confluent-kafka-go (librdkafka), topics, offsets and reading back by franz-go.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	confluent "github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Config tells where Kafka is. Config passes settings on under librdkafka's
// names (TLS, SASL, tuning); what a password is comes from a file.
type Config struct {
	Brokers      []string          `help:"Addresses to begin with." default:"127.0.0.1:9092" placeholder:"HOST:PORT"`
	Config       map[string]string `help:"Setting of librdkafka, for example security.protocol=SASL_SSL; see its CONFIGURATION.md." placeholder:"KEY=VALUE" mapsep:","`
	PasswordFile string            `help:"File with the value of sasl.password." placeholder:"PATH" type:"path"`
}

// ours are settings on which the promises rest, with their aliases.
var ours = []string{
	"acks", "auto.commit.enable", "auto.offset.reset", "bootstrap.servers", "delivery.timeout.ms", "enable.auto.commit",
	"enable.auto.offset.store", "enable.idempotence", "group.id", "message.timeout.ms", "metadata.broker.list",
	"partition.assignment.strategy", "partitioner", "request.required.acks", "transactional.id",
}

// Validate reports all settings that cannot work.
func (c *Config) Validate() error {
	var problems []error
	if len(c.Brokers) == 0 {
		problems = append(problems, &pipeline.ConfigError{Field: "--kafka.brokers", Err: errors.New("at least one address is needed")})
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			problems = append(problems, &pipeline.ConfigError{Field: "--kafka.brokers", Value: b, Err: errors.New("is not of the form host:port")})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Config)) {
		switch {
		case slices.Contains(ours, key) || strings.HasPrefix(key, "go."): // the latter decide how Go sees librdkafka
			problems = append(problems, &pipeline.ConfigError{Field: "--kafka.config", Value: key, Err: errors.New("is fixed, the delivery promises rest on it")})
		case key == "sasl.password":
			problems = append(problems, &pipeline.ConfigError{Field: "--kafka.config", Value: key, Err: errors.New("would be seen in the list of processes: use --kafka.password-file")})
		}
	}
	if len(problems) == 0 {
		if err := c.check(); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// check lets both libraries look at the settings; ours first, because librdkafka
// writes lines of its own about a file that it cannot read.
func (c *Config) check() error {
	if _, err := c.options(); err != nil {
		return err
	}
	settings, err := c.settings()
	if err != nil {
		return err
	}
	settings["go.events.channel.size"], settings["go.produce.channel.size"] = 1, 1 // the defaults of both reserve 24 MB
	p, err := confluent.NewProducer(&settings)
	if err != nil {
		return &pipeline.ConfigError{Field: "--kafka.config", Value: strings.Join(slices.Sorted(maps.Keys(c.Config)), ","), Err: err}
	}
	p.Close()
	return nil
}

func (c *Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", &pipeline.ConfigError{Field: "--kafka.password-file", Value: c.PasswordFile, Err: err}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// settings are librdkafka's, the same for producer and consumer.
func (c *Config) settings() (confluent.ConfigMap, error) {
	m := confluent.ConfigMap{
		"bootstrap.servers":        strings.Join(c.Brokers, ","),
		"client.id":                "candlestack",
		"log_level":                6,
		"go.logs.channel.enable":   true,
		"statistics.interval.ms":   2000,
		"reconnect.backoff.max.ms": 2000, // back to normal within 5 s of the broker's return
		"socket.keepalive.enable":  true,
	}
	for k, v := range c.Config {
		m[k] = v
	}
	password, err := c.password()
	if err == nil && password != "" {
		m["sasl.password"] = password
	}
	return m, err
}

// metadataAge is how long franz-go answers from memory: its own five seconds
// would hide a topic that was just made.
const metadataAge = 100 * time.Millisecond

// options are franz-go's, read from librdkafka's names.
func (c *Config) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("candlestack"), kgo.MetadataMinAge(metadataAge)}
	wrong := func(key string, err error) error {
		return &pipeline.ConfigError{Field: "--kafka.config", Value: key + "=" + c.Config[key], Err: err}
	}
	protocol := strings.ToUpper(c.Config["security.protocol"])
	if strings.HasSuffix(protocol, "SSL") {
		t := &tls.Config{MinVersion: tls.VersionTLS12}
		if path := c.Config["ssl.ca.location"]; path != "" {
			pem, err := os.ReadFile(path)
			if err != nil {
				return nil, wrong("ssl.ca.location", err)
			}
			t.RootCAs = x509.NewCertPool()
			if !t.RootCAs.AppendCertsFromPEM(pem) {
				return nil, wrong("ssl.ca.location", errors.New("holds no certificate"))
			}
		}
		if path := c.Config["ssl.certificate.location"]; path != "" {
			pair, err := tls.LoadX509KeyPair(path, c.Config["ssl.key.location"])
			if err != nil {
				return nil, wrong("ssl.certificate.location", err)
			}
			t.Certificates = []tls.Certificate{pair}
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if strings.HasPrefix(protocol, "SASL") {
		password, err := c.password()
		if err != nil {
			return nil, err
		}
		user, mechanism := c.Config["sasl.username"], c.Config["sasl.mechanism"]
		if mechanism == "" {
			mechanism = c.Config["sasl.mechanisms"]
		}
		switch mechanism {
		case "PLAIN":
			opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
		default:
			return nil, &pipeline.ConfigError{Field: "--kafka.config", Value: "sasl.mechanism=" + mechanism, Err: errors.New("is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")}
		}
	}
	return opts, nil
}

// forward sends librdkafka's own log lines to log. They are about single
// connections; changes of state are reported from its statistics.
func forward(logs <-chan confluent.LogEvent, log *slog.Logger) {
	for line := range logs {
		log.Debug("librdkafka", "level", line.Level, "tag", line.Tag, "message", line.Message)
	}
}

func partitionOf(tp confluent.TopicPartition) (topic string, id int32) {
	return *tp.Topic, tp.Partition
}

func reportError(err confluent.Error) string { return fmt.Sprintf("%s: %s", err.Code(), err.Error()) }
