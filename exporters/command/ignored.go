package command

import (
	"errors"

	"github.com/alecthomas/kong"
)

// ignored are kafka_exporter's flags, of 1.10 too, that mean nothing here: what
// they tune or choose does not exist.
type ignored struct {
	KafkaVersion        string `name:"kafka.version" hidden:""`
	AutoTopicCreation   bool   `name:"kafka.allow-auto-topic-creation" hidden:"" negatable:""`
	Handshake           bool   `name:"sasl.handshake" hidden:"" negatable:""`
	AWSRegion           string `name:"sasl.aws-region" hidden:""`
	OAuthTokenURL       string `name:"sasl.oauthbearer-token-url" hidden:""`
	OAuthScopes         string `name:"sasl.oauthbearer-scopes" hidden:""`
	ServiceName         string `name:"sasl.service-name" hidden:""`
	KerberosConfigPath  string `name:"sasl.kerberos-config-path" hidden:""`
	Realm               string `name:"sasl.realm" hidden:""`
	KerberosAuthType    string `name:"sasl.kerberos-auth-type" hidden:""`
	KeytabPath          string `name:"sasl.keytab-path" hidden:""`
	DisablePAFXFast     bool   `name:"sasl.disable-PA-FX-FAST" hidden:"" negatable:""`
	RefreshMetadata     string `name:"refresh.metadata" hidden:""`
	Concurrent          bool   `name:"concurrent.enable" hidden:"" negatable:""`
	TopicWorkers        string `name:"topic.workers" hidden:""`
	GroupWorkers        string `name:"group.workers" hidden:""`
	GroupMetricsTimeout string `name:"group.metrics.timeout" hidden:""`
	ConsumeLagZooKeeper bool   `name:"use.consumelag.zookeeper" hidden:"" negatable:""`
	ZooKeeperServer     string `name:"zookeeper.server" hidden:""`
	LogSarama           bool   `name:"log.enable-sarama" hidden:"" negatable:""`
	Verbosity           string `name:"verbosity" hidden:""`
	ServerTLS           bool   `name:"server.tls.enabled" hidden:"" negatable:""`
	ServerTLSMutual     bool   `name:"server.tls.mutual-auth-enabled" hidden:"" negatable:""`
	ServerTLSCAFile     string `name:"server.tls.ca-file" hidden:""`
	ServerTLSCertFile   string `name:"server.tls.cert-file" hidden:""`
	ServerTLSKeyFile    string `name:"server.tls.key-file" hidden:""`
}

// Validate refuses the one that must not be ignored: it would leave a server
// open that is meant to be closed.
func (i *ignored) Validate() error {
	if i.ServerTLS || i.ServerTLSMutual {
		return errors.New(`--server.tls.enabled "true": is not supported: use --web.config.file`)
	}
	return nil
}

// given names the flags on the command line that mean nothing.
func given(parsed *kong.Context) (names []string) {
	for _, p := range parsed.Path {
		if p.Flag != nil && p.Flag.Hidden {
			names = append(names, "--"+p.Flag.Name)
		}
	}
	return names
}
