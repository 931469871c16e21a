package stores

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// sum is a hash of what a candle says.
type sum [16]byte

// sumOf hashes the canonical form of what a row holds: numbers without zeros
// that do not count, a field that the source does not give apart from zero.
// Our own clock and the origin are left out: they tell of the delivery.
func sumOf(c *market.Candle) (s sum) {
	b := strings.Builder{}
	b.WriteString(c.Key())
	for _, d := range []*market.Decimal{&c.Open, &c.High, &c.Low, &c.Close, &c.Volume, c.QuoteVolume, c.TakerVolume, c.TakerQuote} {
		b.WriteByte('|')
		if d != nil {
			b.WriteString(d.String())
		}
	}
	b.WriteByte('|')
	if c.Trades != nil {
		b.WriteString(strconv.FormatInt(*c.Trades, 10))
	}
	b.WriteByte('|')
	b.WriteString(strconv.FormatInt(c.Version(), 10)) // closed and event time are in it
	h := sha256.Sum256([]byte(b.String()))
	copy(s[:], h[:])
	return s
}

func compareSeries(a, b series) int {
	return cmp.Or(cmp.Compare(a.exchange, b.exchange), cmp.Compare(a.instrument, b.instrument), cmp.Compare(a.interval, b.interval))
}

// hour digests the rows that open in the hour at h, of the series that are stored
// and of those in more. A series without a row is absent.
func (y *mysql) hour(ctx context.Context, h market.Millis, more map[series]digest) (map[series]digest, error) {
	all, err := y.list(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[series]bool{}
	for _, s := range all {
		wanted[keyOf(&s)] = true
	}
	for s := range more {
		wanted[s] = true
	}
	stored := map[series]digest{}
	for s := range wanted {
		var d digest
		err := y.rows(ctx, func(r *sql.Rows) error {
			c, err := scanCandle(r, &s)
			if err == nil {
				d.add(sumOf(c))
			}
			return err
		}, "SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_volume, taker_quote_volume, closed, event_time FROM candles WHERE "+
			ofSeries+" AND open_time>=? AND open_time<?", s.key(h.Time(), (h+hourly).Time())...)
		if err != nil {
			return nil, err
		}
		if d.count > 0 {
			stored[s] = d
		}
	}
	return stored, nil
}

func scanCandle(r *sql.Rows, s *series) (*market.Candle, error) {
	c := &market.Candle{Exchange: s.exchange, Interval: s.interval}
	var open, event time.Time
	var numbers [5]string
	var optional [3]sql.NullString
	var trades sql.NullInt64
	err := r.Scan(&open, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &optional[0], &trades, &optional[1], &optional[2], &c.Closed, &event)
	if err != nil {
		return nil, err
	}
	if c.Instrument, err = market.ParseInstrument(s.instrument); err != nil {
		return nil, err
	}
	c.OpenTime, c.EventTime = market.MillisOf(open), market.MillisOf(event)
	for i, into := range []*market.Decimal{&c.Open, &c.High, &c.Low, &c.Close, &c.Volume} {
		if *into, err = market.ParseDecimal(numbers[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Key(), err)
		}
	}
	for i, into := range []**market.Decimal{&c.QuoteVolume, &c.TakerVolume, &c.TakerQuote} {
		if !optional[i].Valid {
			continue
		}
		d, err := market.ParseDecimal(optional[i].String)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Key(), err)
		}
		*into = &d
	}
	if trades.Valid {
		c.Trades = &trades.Int64
	}
	return c, nil
}
