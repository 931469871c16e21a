// Package mysql stores candles and gaps in MySQL 8.4 and later or MariaDB 10.11
// and later, with the same SQL. DATA.md describes the tables for those who read them.
package mysql

import (
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Sink is a pipeline.Sink, and a Preparer, an Examiner and a Closer.
type Sink struct {
	dsn         *driver.Config // the user's word, with what exactness needs on top
	db          *sql.DB
	log         *slog.Logger
	metrics     *metrics
	candles     *upsert[*market.Candle]
	gaps        *upsert[*market.Gap]
	packet      atomic.Int64 // longest statement in bytes
	buffers     sync.Pool    // of *[]byte, for statements
	connections int
}

var (
	_ pipeline.Sink     = (*Sink)(nil)
	_ pipeline.Preparer = (*Sink)(nil)
	_ pipeline.Examiner = (*Sink)(nil)
	_ pipeline.Closer   = (*Sink)(nil)
)

// New makes a sink of a valid Config. It does not connect: see Prepare.
func New(c Config, log *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	dsn, err := settle(parsed, c.Timeout)
	if err != nil {
		return nil, fmt.Errorf("setting the character set: %w", err)
	}
	db, err := open(dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(c.Connections)
	db.SetMaxIdleConns(c.Connections)
	s := &Sink{
		dsn: dsn, db: db, log: log, connections: c.Connections,
		candles: newCandleUpsert(c.OverwriteEqual),
		gaps:    newGapUpsert(),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
	s.packet.Store(defaultPacket)
	if s.metrics, err = newMetrics(reg, db); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

func open(dsn *driver.Config) (*sql.DB, error) {
	connector, err := driver.NewConnector(dsn)
	if err != nil {
		// Not quoted: it may hold a part of the DSN.
		return nil, &pipeline.ConfigError{Field: flagDSN, Value: redact(dsn), Err: fmt.Errorf("the driver refuses it")}
	}
	return sql.OpenDB(connector), nil
}

// Close lets go of the connections.
func (s *Sink) Close() error {
	s.metrics.unregister()
	return s.db.Close()
}
