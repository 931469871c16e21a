// Package stack starts the servers that the pipeline needs on this machine, in
// this process or beside it, and says where they are: for the demo, tests and
// benchmarks. The shipped binary never imports it.
package stack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a broker in this process that speaks Kafka's protocol.
type Kafka struct {
	Addr    string // host:port
	cluster *kfake.Cluster
	admin   *kadm.Client
}

// StartKafka starts a broker on loopback that keeps its data in dir; port 0 is any.
func StartKafka(dir string, port int) (*Kafka, error) {
	if port == 0 {
		var err error
		if port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(filepath.Join(dir, "kafka")),
		// A killed member must not hold its partitions for long: nothing here is far away.
		kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "1000"}))
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker: %w", err)
	}
	addrs := cluster.ListenAddrs()
	if len(addrs) != 1 {
		cluster.Close()
		return nil, errors.New("starting the embedded broker: it has no address")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return &Kafka{Addr: addrs[0], cluster: cluster, admin: kadm.NewClient(client)}, nil
}

// Records counts what the topics hold, by their offsets.
func (k *Kafka) Records(ctx context.Context, topics ...string) (n int64, err error) {
	ends, err := k.admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, err
}

// Close stops the broker; its data stays.
func (k *Kafka) Close() {
	k.admin.Close()
	k.cluster.Close()
}

// FreePort returns a port of loopback that nobody listened on a moment ago. It
// lies below those that systems give to outgoing connections (from 32768 on Linux,
// 49152 elsewhere), or one of these might take it before the server does.
func FreePort() (port int, err error) {
	for range 100 {
		port = 10_000 + rand.IntN(22_000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("looking for a free port: %w", err)
}
