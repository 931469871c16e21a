package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// ProducerConfig says what to write, and where.
type ProducerConfig struct {
	Path    string                 // of the ledger; must not exist
	Brokers []string               // host:port
	Topics  map[market.Kind]string // which kinds to write, and where to; they exist
	Seed    uint64                 // equal seeds write equal records
	Series  int                    // lines of candles, at least 1; they spread over the partitions
	Rate    int                    // records a second at most, at least 1
	Records int                    // how many in all; 0: until ctx ends
}

// Validate reports all settings that cannot work.
func (c *ProducerConfig) Validate() error {
	var problems []error
	for _, p := range []struct {
		wrong bool
		text  string
	}{
		{c.Path == "", "no path"},
		{len(c.Brokers) == 0, "no brokers"},
		{len(c.Topics) == 0, "no topics"},
		{c.Series < 1, fmt.Sprintf("series %d is not at least 1", c.Series)},
		{c.Rate < 1, fmt.Sprintf("rate %d is not at least 1", c.Rate)},
		{c.Records < 0, fmt.Sprintf("records %d is negative", c.Records)},
	} {
		if p.wrong {
			problems = append(problems, errors.New("ledger: "+p.text))
		}
	}
	return errors.Join(problems...)
}

// Producer writes records and keeps book of them.
type Producer struct {
	cfg     ProducerConfig
	client  *kgo.Client
	history *history
	book    *book
}

// tick is how often records are sent; each time the book is synced once.
const tick = 50 * time.Millisecond

// flushWait bounds how long the end waits for acknowledgements.
const flushWait = 10 * time.Second

// NewProducer opens the book. Brokers may be absent as yet.
func NewProducer(cfg ProducerConfig) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.RequiredAcks(kgo.AllISRAcks()), // with it the producer is idempotent, and retries for ever
		kgo.ProducerLinger(0),
	)
	if err != nil {
		return nil, fmt.Errorf("making the ledger's client: %w", err)
	}
	b, err := openBook(cfg.Path)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &Producer{cfg: cfg, client: client, history: newHistory(cfg.Seed, cfg.Series, cfg.Topics), book: b}, nil
}

// Run writes until ctx ends or all records are sent, and closes the book. It
// returns nil then, also where some records are not acknowledged: the book says
// which. An error means that the book is not to be trusted.
func (p *Producer) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	err := p.write(ctx, ticker.C)
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
	defer cancel()
	if p.client.Flush(flush) != nil {
		// What is not acknowledged by now has no second line.
		err = errors.Join(err, p.client.AbortBufferedRecords(context.WithoutCancel(ctx)))
	}
	p.client.Close()
	return errors.Join(err, p.book.close())
}

func (p *Producer) write(ctx context.Context, ticks <-chan time.Time) error {
	sent, begin := 0, time.Now()
	for p.cfg.Records == 0 || sent < p.cfg.Records {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		due := int(time.Since(begin).Seconds()*float64(p.cfg.Rate)) - sent
		due = min(due, p.cfg.Rate) // after a stop of this process, no flood
		if p.cfg.Records > 0 {
			due = min(due, p.cfg.Records-sent)
		}
		if due <= 0 {
			continue
		}
		if err := p.send(ctx, sent, due); err != nil {
			return err
		}
		sent += due
	}
	return nil
}

// send puts n records into the book and then on their way: nothing may reach
// Kafka of which the book knows nothing.
func (p *Producer) send(ctx context.Context, before, n int) error {
	records := make([]record, n)
	for i := range records {
		r, err := p.history.take()
		if err != nil {
			return fmt.Errorf("making up a record: %w", err)
		}
		r.Sent = int64(before + i + 1)
		p.book.write(r.line)
		records[i] = r
	}
	if err := p.book.sync(); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	for _, r := range records {
		p.client.Produce(ctx, &kgo.Record{Topic: r.Topic, Key: r.key, Value: r.value, Headers: r.headers}, func(k *kgo.Record, err error) {
			if err == nil {
				p.book.write(line{Acked: r.Sent, Partition: k.Partition, Offset: k.Offset})
			}
		})
	}
	return nil
}
