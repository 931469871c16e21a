package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/exchange/binance"
	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/news/cryptopanic"
	"github.com/candlestack/candlestack/services/news/rss"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/engine"
	"github.com/candlestack/candlestack/services/telemetry"
)

// sourceBinance is `candlestack source binance`.
type sourceBinance struct {
	service `embed:"" set:"ops_listen=127.0.0.1:9601"`
	Engine  engine.SourceConfig `embed:""`
	Binance binance.Config      `embed:""`
}

// Run streams for ever.
func (c *sourceBinance) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), c.Engine.Validate(), c.Binance.Validate()); err != nil {
		return err
	}
	return c.source(p, "binance", candleTopics, c.Engine, (*engine.Source).Run, func(reg prometheus.Registerer) (pipeline.Source, error) {
		return binance.New(c.Binance, p.log, reg)
	})
}

// Topics of a source and of the sink that stores what it says.
var (
	candleTopics = []string{market.TopicCandles, market.TopicGaps}
	newsTopics   = []string{market.TopicPosts}
)

// sourceCryptopanic is `candlestack source cryptopanic`.
type sourceCryptopanic struct {
	service     `embed:"" set:"ops_listen=127.0.0.1:9602"`
	Cryptopanic cryptopanic.Config `embed:""`
}

// Run polls for ever.
func (c *sourceCryptopanic) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), c.Cryptopanic.Validate()); err != nil {
		return err
	}
	return c.source(p, "cryptopanic", newsTopics, engine.SourceConfig{}, (*engine.Source).Run, func(reg prometheus.Registerer) (pipeline.Source, error) {
		return cryptopanic.New(c.Cryptopanic, p.log, reg)
	})
}

// sourceRSS is `candlestack source rss`.
type sourceRSS struct {
	service `embed:"" set:"ops_listen=127.0.0.1:9603"`
	RSS     rss.Config `embed:""`
}

// Run polls for ever.
func (c *sourceRSS) Run(p *process) error {
	if err := errors.Join(c.Ops.Validate(), c.Kafka.Validate(), c.RSS.Validate()); err != nil {
		return err
	}
	return c.source(p, "rss", newsTopics, engine.SourceConfig{}, (*engine.Source).Run, func(reg prometheus.Registerer) (pipeline.Source, error) {
		return rss.New(c.RSS, p.log, reg)
	})
}

// source wires any exchange or feed to Kafka and lets the loop do its work.
func (s *service) source(p *process, name string, topics []string, cfg engine.SourceConfig, work func(*engine.Source, context.Context) error, open func(prometheus.Registerer) (pipeline.Source, error)) error {
	return s.serve(p, func(report func(part, problem string), reg *prometheus.Registry) ([]telemetry.Part, error) {
		source, err := open(reg)
		if err != nil {
			return nil, err
		}
		admin, producer, err := s.connect(p, report, reg)
		if err != nil {
			return nil, err
		}
		loop := engine.NewSource(cfg, name, source, producer, admin, report, p.log, reg)
		return []telemetry.Part{{Name: name, Run: func(ctx context.Context) error {
			defer admin.Close()
			err := admin.Await(ctx, report, topics...)
			if err == nil {
				err = work(loop, ctx)
			}
			return errors.Join(err, closeSource(ctx, source, producer))
		}}}, nil
	})
}

// closeSource flushes what is on its way and lets go of the connections. What
// was not acknowledged is asked for again at the next start.
func closeSource(ctx context.Context, source pipeline.Source, producer *kafka.Producer) error {
	ctx, cancel := closing(ctx)
	defer cancel()
	var problems []error
	if lost := producer.Close(ctx); lost > 0 {
		problems = append(problems, fmt.Errorf("%d records were not acknowledged in time; the next start asks for them again", lost))
	}
	if c, ok := source.(pipeline.Closer); ok {
		problems = append(problems, c.Close())
	}
	return errors.Join(problems...)
}
