package mysql

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Digits of the DECIMAL(38,18) columns. 38 is what the decimal128 of Arrow,
// Parquet and most warehouses holds, so an export loses nothing; 18 after the point
// is the finest unit of any large currency (wei).
const (
	precision, scale = 38, 18
	integerDigits    = precision - scale
)

// Write stores the batch with one statement a table, or several where it is longer
// than the server's max_allowed_packet. There is no transaction around them: each
// changes a row only for a greater version, so a part that is written again does no
// harm, and locks are held shorter. Rows are sorted by key, so that two writers
// wait for each other instead of running into a deadlock.
//
// What cannot fit is found before anything is written, all of it at once.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch) (pipeline.Effects, error) {
	candles := make([]row[*market.Candle], 0, len(b))
	var gaps []row[*market.Gap]
	var poison *pipeline.Error
	for i, e := range b {
		var bad *misfit
		switch e := e.(type) {
		case *market.Candle:
			bad = checkCandle(e)
			candles = append(candles, row[*market.Candle]{event: e, at: i})
		case *market.Gap:
			bad = checkTexts(e.Exchange, e.Cause)
			gaps = append(gaps, row[*market.Gap]{event: e, at: i})
		default:
			bad = &misfit{"kind", fmt.Errorf("kind %q has no table in this store", e.Kind())}
		}
		if bad == nil {
			continue
		}
		if poison == nil {
			poison = &pipeline.Error{Class: pipeline.Poison, Code: bad.code, Err: fmt.Errorf("%s: %w", e.Key(), bad.err)}
		}
		poison.Items = append(poison.Items, i)
	}
	if poison != nil {
		return pipeline.Effects{}, poison
	}
	effects, err := write(ctx, s, s.candles, candles)
	if err != nil {
		return effects, fmt.Errorf("writing candles: %w", err)
	}
	more, err := write(ctx, s, s.gaps, gaps)
	if err != nil {
		err = fmt.Errorf("writing gaps: %w", err)
	}
	return effects.Add(more), err
}

// misfit is why an event does not fit into the tables, with MySQL's code for it.
type misfit struct {
	code string
	err  error
}

// checkCandle looks for what MySQL would round and tell nobody.
func checkCandle(c *market.Candle) *misfit {
	for _, d := range [...]*market.Decimal{&c.Open, &c.High, &c.Low, &c.Close, &c.Volume, c.QuoteVolume, c.TakerVolume, c.TakerQuote} {
		if d == nil {
			continue
		}
		switch integer, fraction := d.Digits(); {
		case integer > integerDigits:
			return &misfit{"1264", fmt.Errorf("%s has %d digits before the point, the column has %d", d, integer, integerDigits)}
		case fraction > scale:
			return &misfit{"1265", fmt.Errorf("%s has %d digits after the point, the column has %d", d, fraction, scale)}
		}
	}
	return checkTexts(c.Exchange)
}

// checkTexts refuses what is not UTF-8, and a space at the end: MySQL does not see
// it when it compares keys, so "a " would overwrite "a".
func checkTexts(texts ...string) *misfit {
	for _, t := range texts {
		if !utf8.ValidString(t) || strings.HasSuffix(t, " ") {
			return &misfit{"1366", fmt.Errorf("text %.40q is not UTF-8, or ends in a space", t)}
		}
	}
	return nil
}

// write sends rows of one table.
func write[E market.Event](ctx context.Context, s *Sink, u *upsert[E], rows []row[E]) (effects pipeline.Effects, err error) {
	if len(rows) == 0 {
		return effects, nil
	}
	kept := u.reduce(rows)
	effects.Unchanged = len(rows) - len(kept) // older ones of the same key
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	limit := int(s.packet.Load())
	for len(kept) > 0 {
		var n int
		*buffer, n = u.statement((*buffer)[:0], kept, limit)
		e, err := s.exec(ctx, string(*buffer), n)
		if err != nil {
			return effects, s.failed(err, len(*buffer), func(k int) (int, bool) {
				if k < 0 || k >= n {
					return 0, false
				}
				return kept[k].at, true
			})
		}
		effects = effects.Add(e)
		if kept = kept[n:]; len(kept) > 0 {
			s.metrics.splits.Inc()
		}
	}
	return effects, nil
}

// statement writes as many rows as fit into limit bytes, at least one.
func (u *upsert[E]) statement(b []byte, rows []row[E], limit int) ([]byte, int) {
	b = append(b, u.head...)
	for i := range rows {
		end := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		b = u.append(b, &rows[i], i == 0)
		if i > 0 && len(b)+len(u.tail) > limit {
			return append(b[:end], u.tail...), i
		}
	}
	return append(b, u.tail...), len(rows)
}

// exec runs a statement of n rows.
func (s *Sink) exec(ctx context.Context, statement string, n int) (pipeline.Effects, error) {
	result, err := s.db.ExecContext(ctx, statement)
	if err != nil {
		return pipeline.Effects{}, err
	}
	affected, err := result.RowsAffected()
	if err != nil {
		return pipeline.Effects{}, err
	}
	found, err := result.LastInsertId() // see upsert
	if err != nil {
		return pipeline.Effects{}, err
	}
	updated := int(affected) - n
	return pipeline.Effects{Inserted: n - int(found), Updated: updated, Unchanged: int(found) - updated}, nil
}
