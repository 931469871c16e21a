package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

const (
	partitions = 6  // of market.candles, the default
	seriesOf   = 16 // series in each partition
	// preloadBatch is in bytes before compression: some 130 candles, as the source
	// sends them in a back-fill. A live stream's batches hold one or a few.
	preloadBatch = 64 << 10
	begin        = market.Millis(1735689600000)
)

// candle is row i of a backlog: each minute has a candle of every series, as if
// they had been live. A later edition has a greater version and other values.
func candle(i, edition int) (*market.Candle, error) {
	series, minute := i%(partitions*seriesOf), i/(partitions*seriesOf)
	open := openTime(i)
	price := 100*(series+1)*1000 + (minute*7919+series*104729)%50_000 // in thousandths
	var problem error
	decimal := func(n int, digits int) market.Decimal {
		s := strconv.Itoa(n)
		for len(s) <= digits {
			s = "0" + s
		}
		d, err := market.ParseDecimal(s[:len(s)-digits] + "." + s[len(s)-digits:])
		if err != nil {
			problem = err
		}
		return d
	}
	trades := int64(1 + (minute*31+series)%5000)
	volume := 1_000_00000 + (minute*15485863+series*32452843)%99_999_99999
	quote, taker, takerQuote := decimal(volume*7+1, 8), decimal(volume/2+3, 8), decimal(volume*3+7, 8)
	return &market.Candle{
		Exchange: "bench", Instrument: instrument(series), Interval: "1m", OpenTime: open,
		Open: decimal(price, 3), High: decimal(price+900+edition, 3), Low: decimal(price-900, 3), Close: decimal(price+edition, 3), Volume: decimal(volume, 8),
		QuoteVolume: &quote, Trades: &trades, TakerVolume: &taker, TakerQuote: &takerQuote,
		Closed: true, EventTime: open + 59_999 + market.Millis(edition), ReceivedTime: open + 60_050, Origin: market.OriginLive,
	}, problem
}

// openTime of row i.
func openTime(i int) market.Millis { return begin + market.Millis(i/(partitions*seriesOf))*60_000 }

func instrument(series int) market.Instrument {
	return market.Instrument{Base: fmt.Sprintf("COIN%02d", series), Quote: "USDT"}
}

// partitionOf deals the series out evenly: with hashed keys one partition has
// more, and the end of a measurement is one lane at work.
func partitionOf(i int) int32 { return int32(i % partitions) }

// record is the Kafka form of an event for a partition.
func record(e market.Event, partition int32) (*kgo.Record, error) {
	r, err := pipeline.NewRecord(e, "bench")
	if err != nil {
		return nil, err
	}
	k := &kgo.Record{Topic: r.Topic, Partition: partition, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
	}
	return k, nil
}

// producer makes a client whose records say their partition.
func (w *world) producer(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.kafka), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
}

// preload makes the topics anew and fills market.candles with an edition of rows candles.
func (w *world) preload(ctx context.Context, rows, edition int) error {
	if err := w.freshTopics(ctx); err != nil {
		return err
	}
	client, err := w.producer(kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchMaxBytes(preloadBatch))
	if err != nil {
		return err
	}
	defer client.Close()
	var once sync.Once
	var failed error
	for i := range rows {
		c, err := candle(i, edition)
		if err != nil {
			return err
		}
		r, err := record(c, partitionOf(i))
		if err != nil {
			return err
		}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("filling the topic: %w", err)
	}
	return failed
}
