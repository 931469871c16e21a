package stack

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// Mongo is a server in this process that knows a part of what MongoDB knows. Two
// traps: a bulk of updates ends at its first error, also an unordered one, and
// does not say what it left out; and an update whose filter names more than _id
// reads the whole collection.
type Mongo struct {
	Name string // what runs: FerretDB
	URI  string // mongodb://host:port/; nobody has to log in
	stop func() error
}

// Close stops the server; its data stays. Connections that clients still hold
// make it wait for some seconds.
func (m *Mongo) Close() error { return m.stop() }

// StartMongo starts a server on loopback that keeps its data in dir; port 0 is any.
func StartMongo(dir string, port int) (*Mongo, error) {
	dir, err := filepath.Abs(filepath.Join(dir, "mongodb"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	// Where FerretDB cannot listen it leaves things open, and panics when they are
	// collected: so try before it does.
	l, err := net.Listen("tcp", address)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("starting FerretDB: %w", err)
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: address},
		Logger:    slog.New(slog.DiscardHandler), // it logs every connection
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Path: dir + "/", OmitHost: true}).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("starting FerretDB: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	return &Mongo{Name: "FerretDB", URI: server.MongoDBURI(), stop: func() error {
		cancel()
		return <-ended
	}}, nil
}
