// Package mongodb stores posts and their votes in MongoDB 6 and later, and, with
// what they know of it, in FerretDB 1 and 2. DATA.md describes the documents for
// those who read them.
package mongodb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Sink is a pipeline.Sink, and a Preparer, an Examiner and a Closer.
type Sink struct {
	server    string // the user's URI without its secret, for people
	client    *mongo.Client
	posts     *mongo.Collection
	snapshots *mongo.Collection
	log       *slog.Logger
	metrics   *metrics

	mu    sync.Mutex
	lacks map[feature]bool // told of
}

var (
	_ pipeline.Sink     = (*Sink)(nil)
	_ pipeline.Preparer = (*Sink)(nil)
	_ pipeline.Examiner = (*Sink)(nil)
	_ pipeline.Closer   = (*Sink)(nil)
)

// Names of the collections.
const (
	collectionPosts     = "posts"
	collectionSnapshots = "vote_snapshots"
	collectionLayout    = "layout"
)

// New makes a sink of a valid Config. It waits for no server: see Prepare.
func New(c Config, log *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o, err := c.parse()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	server := redact(o, c.Database)
	client, err := mongo.Connect(settle(o, c).SetPoolMonitor(m.pool()))
	if err != nil {
		m.unregister()
		// Not quoted: it may hold a part of the URI.
		return nil, &pipeline.ConfigError{Field: flagURI, Value: server, Err: errors.New("the driver refuses it")}
	}
	db := client.Database(c.Database)
	return &Sink{
		server: server, client: client, log: log, metrics: m,
		posts: db.Collection(collectionPosts), snapshots: db.Collection(collectionSnapshots),
		lacks: map[feature]bool{},
	}, nil
}

// closeTimeout bounds the farewell to a server that does not answer.
const closeTimeout = 5 * time.Second

// Close lets go of the connections.
func (s *Sink) Close() error {
	s.metrics.unregister()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.client.Disconnect(ctx)
}
