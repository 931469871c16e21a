package snapshot

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Config tells where Kafka is and what of it is looked at. Names and defaults of
// flags are kafka_exporter's where it has them (kafka-observability.md §1.1).
type Config struct {
	Kafka   KafkaConfig   `embed:"" prefix:"kafka."`
	SASL    SASLConfig    `embed:"" prefix:"sasl."`
	TLS     TLSConfig     `embed:"" prefix:"tls."`
	Topic   TopicConfig   `embed:"" prefix:"topic."`
	Group   GroupConfig   `embed:"" prefix:"group."`
	Refresh RefreshConfig `embed:"" prefix:"refresh."`
}

// KafkaConfig is where the cluster is.
type KafkaConfig struct {
	Server []string `help:"Address to begin with; may be repeated." default:"kafka:9092" placeholder:"HOST:PORT"`
}

// SASLConfig is who we are.
type SASLConfig struct {
	Enabled      bool   `help:"Authenticate by SASL." negatable:""`
	Username     string `help:"User."`
	Password     string `help:"Password. It can be seen in the list of processes: better in a file."`
	PasswordFile string `help:"File that holds the password." placeholder:"PATH"`
	Mechanism    string `help:"plain, scram-sha256 or scram-sha512." default:"plain" placeholder:"NAME"`
}

// TLSConfig is how the way to the brokers is secured.
type TLSConfig struct {
	Enabled               bool   `help:"Connect by TLS." negatable:""`
	ServerName            string `help:"Name in the brokers' certificates, where it is not that of the address." placeholder:"NAME"`
	CAFile                string `name:"ca-file" help:"Certificates that are trusted; those of the system by default." placeholder:"PATH"`
	CertFile              string `help:"Our certificate." placeholder:"PATH"`
	KeyFile               string `help:"The key of our certificate." placeholder:"PATH"`
	InsecureSkipTLSVerify bool   `name:"insecure-skip-tls-verify" help:"Trust any certificate. Insecure." negatable:""`
}

// TopicConfig chooses topics.
type TopicConfig struct {
	Filter  string `help:"Topics that are shown." default:".*" placeholder:"REGEX"`
	Exclude string `help:"Topics that are not shown." default:"^$" placeholder:"REGEX"`

	match matcher
}

// GroupConfig chooses groups.
type GroupConfig struct {
	Filter         string        `help:"Groups that are shown." default:".*" placeholder:"REGEX"`
	Exclude        string        `help:"Groups that are not shown." default:"^$" placeholder:"REGEX"`
	HideEmptyAfter time.Duration `help:"Hide a group that has had no member for so long while we looked; 0: never."`
	Max            int           `help:"Most groups that are shown, the first by name; 0: all."`

	match matcher
}

// RefreshConfig is our clock.
type RefreshConfig struct {
	Interval      time.Duration `help:"Time from one look at the cluster to the next. Lag in seconds is exact to this." default:"15s"`
	Deadline      time.Duration `help:"Longest look; what has not answered by then is missing." default:"10s"`
	LogDirs       time.Duration `name:"log-dirs" help:"Time from one question for the sizes of logs and for transactions to the next; 0: never ask." default:"1m"`
	BrokerTimeout time.Duration `help:"Longest time that one broker may take for one answer; after it the broker is left out until the next look." default:"1s"`
}

// wrong is a setting that cannot work.
func wrong(flag string, value any, err error) error {
	return fmt.Errorf("%s %q: %w", flag, fmt.Sprint(value), err)
}

// matcher is a filter with its exception.
type matcher struct{ filter, exclude *regexp.Regexp }

func (m matcher) shows(name string) bool {
	return m.filter.MatchString(name) && !m.exclude.MatchString(name)
}

func compile(prefix, filter, exclude string) (m matcher, err error) {
	var errs []error
	if m.filter, err = regexp.Compile(filter); err != nil {
		errs = append(errs, wrong(prefix+"filter", filter, err))
	}
	if m.exclude, err = regexp.Compile(cmp.Or(exclude, "^$")); err != nil {
		errs = append(errs, wrong(prefix+"exclude", exclude, err))
	}
	return m, errors.Join(errs...)
}

// Validate reports all settings that cannot work, each with flag and value, and
// compiles the filters.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, flag string, value any, why string) {
		if !ok {
			errs = append(errs, wrong(flag, value, errors.New(why)))
		}
	}
	check(len(c.Kafka.Server) > 0, "--kafka.server", "", "at least one address is needed")
	for _, s := range c.Kafka.Server {
		host, port, err := net.SplitHostPort(s)
		check(err == nil && host != "" && validPort(port), "--kafka.server", s, "is not of the form host:port")
	}
	var err error
	if c.Topic.match, err = compile("--topic.", c.Topic.Filter, c.Topic.Exclude); err != nil {
		errs = append(errs, err)
	}
	if c.Group.match, err = compile("--group.", c.Group.Filter, c.Group.Exclude); err != nil {
		errs = append(errs, err)
	}
	check(c.Group.HideEmptyAfter >= 0, "--group.hide-empty-after", c.Group.HideEmptyAfter, "is negative")
	check(c.Group.Max >= 0, "--group.max", c.Group.Max, "is negative")
	r := c.Refresh
	check(r.Interval >= 100*time.Millisecond, "--refresh.interval", r.Interval, "is less than 100ms")
	check(r.Deadline >= 100*time.Millisecond, "--refresh.deadline", r.Deadline, "is less than 100ms")
	check(r.LogDirs >= 0, "--refresh.log-dirs", r.LogDirs, "is negative")
	check(r.BrokerTimeout >= 100*time.Millisecond && r.BrokerTimeout <= r.Deadline, "--refresh.broker-timeout", r.BrokerTimeout, "is not between 100ms and --refresh.deadline")
	if _, err := c.mechanism(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.tls(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func validPort(port string) bool {
	n, err := net.LookupPort("tcp", port)
	return err == nil && n > 0
}

// mechanism is nil where SASL is off.
func (c *Config) mechanism() (sasl.Mechanism, error) {
	s := c.SASL
	if !s.Enabled {
		return nil, nil
	}
	password := s.Password
	if s.PasswordFile != "" {
		if password != "" {
			return nil, wrong("--sasl.password-file", s.PasswordFile, errors.New("stands beside --sasl.password; give one of them"))
		}
		text, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, wrong("--sasl.password-file", s.PasswordFile, errors.Unwrap(err))
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	if s.Username == "" {
		return nil, wrong("--sasl.username", "", errors.New("is needed by --sasl.enabled"))
	}
	switch strings.ToLower(s.Mechanism) {
	case "", "plain":
		return plain.Auth{User: s.Username, Pass: password}.AsMechanism(), nil
	case "scram-sha256", "scram-sha-256":
		return scram.Auth{User: s.Username, Pass: password}.AsSha256Mechanism(), nil
	case "scram-sha512", "scram-sha-512":
		return scram.Auth{User: s.Username, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, wrong("--sasl.mechanism", s.Mechanism, errors.New("is none of plain, scram-sha256, scram-sha512"))
}

// tls is nil where TLS is off.
func (c *Config) tls() (*tls.Config, error) {
	t := c.TLS
	if !t.Enabled {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipTLSVerify}
	var errs []error
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		config.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			errs = append(errs, wrong("--tls.ca-file", t.CAFile, errors.Unwrap(err)))
		case !config.RootCAs.AppendCertsFromPEM(pem):
			errs = append(errs, wrong("--tls.ca-file", t.CAFile, errors.New("holds no certificate")))
		}
	}
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		errs = append(errs, wrong("--tls.cert-file", t.CertFile, errors.New("and --tls.key-file go together")))
	case t.CertFile != "":
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			errs = append(errs, wrong("--tls.cert-file", t.CertFile, err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, errors.Join(errs...)
}

// Options are franz-go's, for all who speak to the cluster.
func (c *Config) Options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Kafka.Server...),
		kgo.ClientID("candlestack-exporter"),
		kgo.DialTimeout(c.Refresh.BrokerTimeout),
		kgo.RequestTimeoutOverhead(c.Refresh.BrokerTimeout),
		kgo.RequestRetries(3),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.DisableClientMetrics(),
		kgo.MetadataMaxAge(time.Hour), // the client's own; we ask for ours at each refresh
	}
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	secure, err := c.tls()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		opts = append(opts, kgo.DialTLSConfig(secure))
	}
	return opts, nil
}
