package kafka_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
)

func TestConfigValidate(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	brokers := []string{"127.0.0.1:1"}
	const fixed = `is fixed, the delivery promises rest on it`
	for name, f := range map[string]struct {
		config  kafka.Config
		problem string
	}{
		"plain":         {kafka.Config{Brokers: []string{"127.0.0.1:1", "[::1]:9092", "kafka.example:9092"}}, ""},
		"no broker":     {kafka.Config{}, `--kafka.brokers "": at least one address is needed`},
		"no port":       {kafka.Config{Brokers: []string{"localhost"}}, `--kafka.brokers "localhost": is not of the form host:port`},
		"empty port":    {kafka.Config{Brokers: []string{"localhost:"}}, `--kafka.brokers "localhost:": is not of the form host:port`},
		"no host":       {kafka.Config{Brokers: []string{":9092"}}, `--kafka.brokers ":9092": is not of the form host:port`},
		"tuning":        {kafka.Config{Brokers: brokers, Config: map[string]string{"linger.ms": "50", "session.timeout.ms": "6000"}}, ""},
		"acks":          {kafka.Config{Brokers: brokers, Config: map[string]string{"acks": "1"}}, `--kafka.config "acks": ` + fixed},
		"time-out":      {kafka.Config{Brokers: brokers, Config: map[string]string{"message.timeout.ms": "1000"}}, `--kafka.config "message.timeout.ms": ` + fixed},
		"its alias":     {kafka.Config{Brokers: brokers, Config: map[string]string{"delivery.timeout.ms": "1000"}}, `--kafka.config "delivery.timeout.ms": ` + fixed},
		"partitioner":   {kafka.Config{Brokers: brokers, Config: map[string]string{"partitioner": "random"}}, `--kafka.config "partitioner": ` + fixed},
		"offsets":       {kafka.Config{Brokers: brokers, Config: map[string]string{"enable.auto.offset.store": "true"}}, `--kafka.config "enable.auto.offset.store": ` + fixed},
		"reset":         {kafka.Config{Brokers: brokers, Config: map[string]string{"auto.offset.reset": "latest"}}, `--kafka.config "auto.offset.reset": ` + fixed},
		"its alias too": {kafka.Config{Brokers: brokers, Config: map[string]string{"auto.commit.enable": "false"}}, `--kafka.config "auto.commit.enable": ` + fixed},
		"rebalance":     {kafka.Config{Brokers: brokers, Config: map[string]string{"partition.assignment.strategy": "range"}}, `--kafka.config "partition.assignment.strategy": ` + fixed},
		"transactions":  {kafka.Config{Brokers: brokers, Config: map[string]string{"transactional.id": "x"}}, `--kafka.config "transactional.id": ` + fixed},
		"the binding's": {kafka.Config{Brokers: brokers, Config: map[string]string{"go.delivery.reports": "false"}}, `--kafka.config "go.delivery.reports": ` + fixed},
		"password":      {kafka.Config{Brokers: brokers, Config: map[string]string{"sasl.password": "secret"}}, `--kafka.config "sasl.password": would be seen in the list of processes: use --kafka.password-file`},
		"all at once": {kafka.Config{Brokers: []string{"a", "b"}, Config: map[string]string{"group.id": "x", "acks": "0"}},
			`--kafka.brokers "a": is not of the form host:port` + "\n" + `--kafka.brokers "b": is not of the form host:port` + "\n" +
				`--kafka.config "acks": ` + fixed + "\n" + `--kafka.config "group.id": ` + fixed},
		"unknown":              {kafka.Config{Brokers: brokers, Config: map[string]string{"nope": "1"}}, `--kafka.config "nope": No such configuration property: "nope"`},
		"wrong value":          {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "TLS"}}, `--kafka.config "security.protocol": Invalid value "TLS" for configuration property "security.protocol"`},
		"wrong mechanism":      {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "GSSAPI"}}, `--kafka.config "sasl.mechanism=GSSAPI": is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`},
		"no mechanism":         {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "sasl_ssl"}}, `--kafka.config "sasl.mechanism=": is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`},
		"no user":              {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}, PasswordFile: password}, `--kafka.config "sasl.mechanism,security.protocol": sasl.username and sasl.password must be set`},
		"missing CA":           {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SSL", "ssl.ca.location": "/absent/ca.pem"}}, `--kafka.config "ssl.ca.location=/absent/ca.pem": open /absent/ca.pem: no such file or directory`},
		"empty CA":             {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SSL", "ssl.ca.location": empty}}, `--kafka.config "ssl.ca.location=` + empty + `": holds no certificate`},
		"missing certificate":  {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SSL", "ssl.certificate.location": "/absent/c.pem"}}, `--kafka.config "ssl.certificate.location=/absent/c.pem": open /absent/c.pem: no such file or directory`},
		"missing password":     {kafka.Config{Brokers: brokers, PasswordFile: "/absent/password"}, `--kafka.password-file "/absent/password": open /absent/password: no such file or directory`},
		"password is no value": {kafka.Config{Brokers: brokers, Config: map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u", "linger.ms": "x"}, PasswordFile: password}, `--kafka.config "linger.ms,sasl.mechanism,sasl.username,security.protocol": Invalid value for configuration property "queue.buffering.max.ms"`},
	} {
		t.Run(name, func(t *testing.T) { refused(t, f.config.Validate(), f.problem) })
	}
}

// refused fails unless err has exactly the text and is the user's mistake.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(text, got); diff != "" {
		t.Error(diff)
	}
	var mistake *pipeline.ConfigError
	if err != nil && !errors.As(err, &mistake) {
		t.Errorf("%T is no *pipeline.ConfigError", err)
	}
}

func TestTopicConfigValidate(t *testing.T) {
	good := kafka.TopicConfig{Partitions: 6, OtherPartitions: 3, Replication: 1, Retention: 168 * time.Hour, DeadLetterRetention: 720 * time.Hour}
	refused(t, good.Validate(), "")
	refused(t, (&kafka.TopicConfig{Partitions: -1, Retention: time.Second}).Validate(), `--partitions "-1": must be at least 1
--other-partitions "0": must be at least 1
--replication "0": must be at least 1
--retention "1s": must be at least 1m
--dead-letter-retention "0s": must be at least 1m`)
}

func TestPlan(t *testing.T) {
	cfg := kafka.TopicConfig{Partitions: 6, OtherPartitions: 3, Replication: 2, Retention: 168 * time.Hour, DeadLetterRetention: 720 * time.Hour}
	live := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "1048576"}
	dead := map[string]string{"cleanup.policy": "delete", "retention.ms": "2592000000", "max.message.bytes": "2097152"}
	want := []kafka.Topic{
		{Name: "market.candles", Partitions: 6, Replication: 2, Config: live},
		{Name: "market.candles.dead", Partitions: 3, Replication: 2, Config: dead},
		{Name: "market.gaps", Partitions: 3, Replication: 2, Config: live},
		{Name: "market.gaps.dead", Partitions: 3, Replication: 2, Config: dead},
		{Name: "news.posts", Partitions: 3, Replication: 2, Config: live},
		{Name: "news.posts.dead", Partitions: 3, Replication: 2, Config: dead},
	}
	if diff := cmp.Diff(want, cfg.Plan()); diff != "" {
		t.Error(diff)
	}
}
