package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/stack"
)

const (
	outage        = 5 * time.Second
	recoveryEvery = 10 * time.Millisecond // between events, questions and scrapes
)

// benchRecovery stops the store, then Kafka, while events flow, and measures from
// the server's first answer to the next durable row.
func benchRecovery(ctx context.Context, w *world, f flags) (err error) {
	database, err := w.database(ctx, "recovery")
	if err != nil {
		return err
	}
	p, err := w.startSink(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	end, err := w.flow(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	w.report.note("a server is stopped for %s while an event comes every %s; the time is from its first good answer, asked every %s on a new connection, to the next offset that the sink calls durable", outage, recoveryEvery, recoveryEvery)
	for _, s := range []struct {
		name        string
		stop, start func(context.Context) error
		answers     func(context.Context) error
	}{
		{"store", w.controlled(0, "stop"), w.controlled(0, "start"), w.storeAnswers},
		{"Kafka", w.stopKafka(), w.startKafka(), w.kafkaAnswers},
	} {
		if s.stop == nil {
			w.report.note("%s: not measured, nothing here can stop it (CANDLESTACK_TEST_…_CONTROL)", s.name)
			continue
		}
		var times []float64
		for range f.Runs {
			if err := p.grows(ctx); err != nil {
				return err
			}
			if err := s.stop(ctx); err != nil {
				return fmt.Errorf("stopping the %s: %w", s.name, err)
			}
			time.Sleep(outage)
			begun := make(chan error, 1)
			go func() { begun <- s.start(ctx) }()
			err := every(ctx, recoveryEvery, func() (bool, error) {
				asking, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return s.answers(asking) == nil, nil
			})
			answered := time.Now()
			if err == nil {
				err = p.grows(ctx)
			}
			times = append(times, time.Since(answered).Seconds())
			if err := errors.Join(err, <-begun); err != nil {
				return fmt.Errorf("after the outage of the %s: %w", s.name, err)
			}
		}
		w.report.add(s.name+": back to durable rows", "s", times, worstAtMost(5))
	}
	return nil
}

// controlled runs the command that stops or starts the store (0) or Kafka (1); nil where there is none.
func (w *world) controlled(server int, verb string) func(context.Context) error {
	if w.control[server] == "" {
		return nil
	}
	return func(ctx context.Context) error {
		if out, err := exec.CommandContext(ctx, w.control[server], verb).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", w.control[server], verb, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
}

func (w *world) stopKafka() func(context.Context) error {
	if w.kfake == nil {
		return w.controlled(1, "stop")
	}
	return func(context.Context) error { w.kfake.Close(); return nil }
}

func (w *world) startKafka() func(context.Context) error {
	if w.kfake == nil {
		return w.controlled(1, "start")
	}
	return func(context.Context) (err error) {
		w.kfake, err = stack.StartKafka(w.dir, port(w.kafka))
		return err
	}
}

func (w *world) storeAnswers(ctx context.Context) error {
	db, err := w.open("")
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// kafkaAnswers is nil when all partitions have a leader that tells its end.
func (w *world) kafkaAnswers(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, market.TopicCandles)
	return errors.Join(err, ends.Error())
}

// flow appends an event every recoveryEvery until it is ended. Its client asks
// often, so that it is not what is measured.
func (w *world) flow(ctx context.Context) (end func() error, err error) {
	client, err := w.producer(kgo.ProducerLinger(0), kgo.MetadataMinAge(20*time.Millisecond), kgo.DialTimeout(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	var problem error
	wait.Go(func() {
		i := 0
		problem = every(ctx, recoveryEvery, func() (bool, error) {
			c, err := candle(i, 0)
			if err != nil {
				return false, err
			}
			r, err := record(c, partitionOf(i))
			if err != nil {
				return false, err
			}
			i++
			client.TryProduce(ctx, r, nil)
			return false, nil
		})
	})
	return func() error {
		cancel()
		wait.Wait()
		client.Close()
		if errors.Is(problem, context.Canceled) {
			return nil
		}
		return problem
	}, nil
}

// grows returns when more is durable than when it was called.
func (p *process) grows(ctx context.Context) error {
	before := -1.0
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return every(ctx, recoveryEvery, func() (bool, error) {
		s, err := p.scrape(ctx)
		if err != nil {
			return false, err
		}
		durable, _ := s.sum("candlestack_sink_durable_offset", "topic", market.TopicCandles)
		if before < 0 {
			before = durable
		}
		return durable > before, nil
	})
}
