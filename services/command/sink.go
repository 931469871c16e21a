package command

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/store/mongodb"
	"github.com/candlestack/candlestack/services/store/mysql"
	"github.com/candlestack/candlestack/services/telemetry"
)

// sinkMySQL is `candlestack sink mysql`.
type sinkMySQL struct {
	service  `embed:"" set:"ops_listen=127.0.0.1:9611"`
	Consumer kafka.ConsumerConfig `embed:"" prefix:"kafka." set:"group=candlestack-mysql"`
	Batch    engine.SinkConfig    `embed:"" prefix:"batch."`
	MySQL    mysql.Config         `embed:"" prefix:"mysql."`
}

// Run stores for ever.
func (c *sinkMySQL) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), c.Batch.Validate(), c.MySQL.Validate()); err != nil {
		return err
	}
	return c.sink(p, "mysql", c.Consumer, c.Batch, candleTopics, func(reg prometheus.Registerer) (pipeline.Sink, error) {
		return mysql.New(c.MySQL, p.log, reg)
	})
}

// sinkMongoDB is `candlestack sink mongodb`.
type sinkMongoDB struct {
	service  `embed:"" set:"ops_listen=127.0.0.1:9612"`
	Consumer kafka.ConsumerConfig `embed:"" prefix:"kafka." set:"group=candlestack-mongodb"`
	Batch    engine.SinkConfig    `embed:"" prefix:"batch."`
	MongoDB  mongodb.Config       `embed:"" prefix:"mongodb."`
}

// Run stores for ever.
func (c *sinkMongoDB) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), c.Batch.Validate(), c.MongoDB.Validate()); err != nil {
		return err
	}
	return c.sink(p, "mongodb", c.Consumer, c.Batch, newsTopics, func(reg prometheus.Registerer) (pipeline.Sink, error) {
		return mongodb.New(c.MongoDB, p.log, reg)
	})
}

// sink wires Kafka to any store.
func (s *service) sink(p *process, name string, member kafka.ConsumerConfig, batch engine.SinkConfig, topics []string, open func(prometheus.Registerer) (pipeline.Sink, error)) error {
	return s.serve(p, func(report func(part, problem string), reg *prometheus.Registry) ([]telemetry.Part, error) {
		store, err := open(reg)
		if err != nil {
			return nil, err
		}
		admin, producer, err := s.connect(p, report, reg)
		if err != nil {
			return nil, err
		}
		consumer, err := kafka.NewConsumer(s.Kafka, member, topics, report, p.log, reg)
		if err != nil {
			return nil, err
		}
		loop := engine.NewSink(batch, store, consumer, producer, member.Group, report, p.log, reg)
		return []telemetry.Part{{Name: name, Run: func(ctx context.Context) error {
			err := admin.Await(ctx, report, topics...)
			if err == nil {
				err = loop.Run(ctx)
			}
			ctx, cancel := closing(ctx)
			defer cancel()
			producer.Close(ctx) // every dead letter that counts was acknowledged before
			if c, ok := store.(pipeline.Closer); ok {
				err = errors.Join(err, c.Close())
			}
			return errors.Join(err, admin.Close())
		}}}, nil
	})
}
