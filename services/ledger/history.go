package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// record is one that will be sent, and what the book says of it.
type record struct {
	line
	key, value []byte
	headers    []kgo.RecordHeader
}

// history makes up records: valid lives of candles, gaps and posts, disordered as
// a bad day would do it, with poison between them. Equal seeds make equal histories.
type history struct {
	rng    *rand.Rand
	topics map[market.Kind]string
	tracks []*track
	recent []record // what may be sent once more
}

// track is one series, with the posts about its currency, and what of it is still
// to be sent.
type track struct {
	market.Series
	next  market.Millis  // open time of the next candle, first sight of the next post
	late  []market.Event // to come after the next ones
	queue []record
}

const (
	oldest    market.Millis = 1704067200000 // 2024-01-01
	minute    market.Millis = 60_000
	remember                = 500 // records that may come again
	oneAgain                = 40  // one in so many records is an old one, sent again
	onePoison               = 15  // one in so many candles or posts brings a poison
	oneGap                  = 10
	oneMixed                = 3 // one in so many candles or posts has its versions out of order
	oneTwin                 = 20
)

func newHistory(seed uint64, series int, topics map[market.Kind]string) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 1)), topics: topics}
	for i := range series {
		h.tracks = append(h.tracks, &track{
			Series: market.Series{Exchange: exchange, Instrument: market.Instrument{Base: fmt.Sprintf("COIN%d", i), Quote: "USDT"}, Interval: "1m"},
			next:   oldest,
		})
	}
	return h
}

// one is true once in n times.
func (h *history) one(n int) bool { return h.rng.IntN(n) == 0 }

// take returns the next record.
func (h *history) take() (record, error) {
	if len(h.recent) > 0 && h.one(oneAgain) {
		return h.recent[h.rng.IntN(len(h.recent))], nil
	}
	t := h.tracks[h.rng.IntN(len(h.tracks))]
	for len(t.queue) == 0 {
		if err := h.fill(t); err != nil {
			return record{}, err
		}
	}
	r := t.queue[0]
	t.queue = t.queue[1:]
	if len(h.recent) < remember {
		h.recent = append(h.recent, r)
	} else {
		h.recent[h.rng.IntN(remember)] = r
	}
	return r, nil
}

// fill queues the life of one candle, of one post, and now and then a gap or a poison.
func (h *history) fill(t *track) error {
	var events []market.Event
	late := t.late
	t.late = nil
	if _, wanted := h.topics[market.KindCandle]; wanted {
		events = append(events, h.life(t)...)
	}
	if _, wanted := h.topics[market.KindGap]; wanted && h.one(oneGap) {
		events = append(events, h.gap(t)...)
	}
	if _, wanted := h.topics[market.KindPost]; wanted {
		events = append(events, h.story(t)...)
	}
	events = append(events, late...)
	for _, e := range events {
		r, err := h.good(e)
		if err != nil {
			return err
		}
		t.queue = append(t.queue, r)
	}
	if len(events) > 0 && h.one(onePoison) {
		r, err := h.poison(events[h.rng.IntN(len(events))])
		if err != nil {
			return err
		}
		t.queue = slices.Insert(t.queue, h.rng.IntN(len(t.queue)+1), r)
	}
	t.next += minute
	return nil
}

// life is a candle that grows some times and then, mostly, is closed.
func (h *history) life(t *track) []market.Event {
	var life []market.Event
	for i := range 1 + h.rng.IntN(5) {
		life = append(life, h.candle(t, t.next+market.Millis(1+i)*7_000, false))
	}
	if !h.one(10) {
		life = append(life, h.candle(t, t.next+minute-1, true))
	}
	return h.disorder(t, life, func(e market.Event) market.Event {
		twin := *e.(*market.Candle)
		twin.Volume = h.decimal(3, 8)
		return &twin
	})
}

// disorder adds, now and then, the same version with other values, which is a
// conflict, and puts versions out of order.
func (h *history) disorder(t *track, versions []market.Event, twin func(market.Event) market.Event) []market.Event {
	if h.one(oneTwin) {
		e := versions[len(versions)-1]
		if h.one(2) {
			e = versions[h.rng.IntN(len(versions))]
		}
		if h.one(2) {
			versions = append(versions, twin(e))
		} else {
			t.late = append(t.late, twin(e)) // for another batch than its like
		}
	}
	if h.one(oneMixed) {
		h.rng.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
	}
	return versions
}

func (h *history) candle(t *track, at market.Millis, closed bool) *market.Candle {
	integer, fraction := 1+h.rng.IntN(6), h.rng.IntN(9)
	if h.one(20) {
		integer, fraction = 20, 18 // all that the columns hold
	}
	prices := make([]market.Decimal, 4)
	for i := range prices {
		prices[i] = h.decimal(integer, fraction)
	}
	slices.SortFunc(prices, market.Decimal.Cmp)
	c := &market.Candle{
		Exchange: t.Exchange, Instrument: t.Instrument, Interval: t.Interval, OpenTime: t.next,
		Low: prices[0], Open: prices[1], Close: prices[2], High: prices[3],
		Volume: h.decimal(integer, fraction),
		Closed: closed, EventTime: at, ReceivedTime: at + market.Millis(h.rng.IntN(500)),
		Origin: h.origin(),
	}
	if !h.one(4) { // else a source that does not give them
		quote, taker, takerQuote, trades := h.decimal(integer, fraction), h.decimal(integer, fraction), h.decimal(integer, fraction), h.rng.Int64N(1e6)
		c.QuoteVolume, c.TakerVolume, c.TakerQuote, c.Trades = &quote, &taker, &takerQuote, &trades
	}
	return c
}

func (h *history) gap(t *track) []market.Event {
	open := &market.Gap{
		Exchange: t.Exchange, Instrument: t.Instrument, Interval: t.Interval,
		FromTime: t.next, ToTime: t.next + minute*market.Millis(1+h.rng.IntN(100)),
		State: market.GapOpen, Cause: "reconnect", Changed: t.next + minute, Origin: market.OriginLive,
	}
	ended := *open
	ended.Changed += market.Millis(1 + h.rng.IntN(10_000))
	ended.Origin = market.OriginRepair
	ended.State = market.GapRepaired
	if h.one(3) {
		ended.State = market.GapConfirmed
	}
	return []market.Event{open, &ended}
}

func (h *history) origin() market.Origin {
	return []market.Origin{market.OriginLive, market.OriginBackfill, market.OriginRepair, market.OriginArchive}[h.rng.IntN(4)]
}

// decimal makes up a number with at most so many digits before and after the point.
func (h *history) decimal(integer, fraction int) market.Decimal {
	digits := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = '0' + byte(h.rng.IntN(10))
		}
		return b
	}
	d, err := market.ParseDecimal(string(digits(integer)) + "." + string(digits(fraction)))
	if err != nil {
		panic(err) // digits and a point are a number
	}
	return d
}

// good makes the record of an event, in the wire form of market's codec.
func (h *history) good(e market.Event) (record, error) {
	sum, err := hashEvent(e)
	if err != nil {
		return record{}, err
	}
	value, err := market.Encode(e)
	if err != nil {
		return record{}, err
	}
	l := line{Kind: e.Kind(), Topic: h.topics[e.Kind()], Key: e.Key(), Version: e.Version(), Hash: sum}
	if p, ok := e.(*market.Post); ok {
		if err := l.tell(p); err != nil {
			return record{}, err
		}
	}
	return record{
		line:  l,
		key:   []byte(e.PartitionKey()),
		value: value,
		headers: []kgo.RecordHeader{
			{Key: market.HeaderKind, Value: []byte(e.Kind())},
			{Key: market.HeaderContract, Value: []byte(market.ContractVersion)},
			{Key: market.HeaderOrigin, Value: []byte(e.From())},
			{Key: market.HeaderSource, Value: []byte(exchange)},
		},
	}, nil
}
