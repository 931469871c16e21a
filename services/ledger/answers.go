package ledger

import (
	"context"
	"fmt"
	"iter"

	"github.com/candlestack/candlestack/services/market"
)

// CheckAnswers tells whether table candles holds, closed, each candle of an
// answer key, such as the simulator's, with its five numbers as exact decimals.
// What else the table holds is no breach; the detail counts it. dsn is of the
// Go driver's form, with the database. An error means that the table could not
// be read.
func CheckAnswers(ctx context.Context, dsn string, answers iter.Seq[market.Candle]) (Invariant, error) {
	db, err := open(dsn)
	if err != nil {
		return Invariant{}, err
	}
	defer db.Close()
	stored := map[string]market.Candle{} // by natural key
	err = query(ctx, db, "SELECT "+candleColumns+" FROM candles WHERE closed", func(scan func(...any) error) error {
		var c market.Candle
		var version int64
		var conflict bool
		if err := scanCandle(scan, &c, &version, &conflict); err != nil {
			return err
		}
		stored[c.Key()] = c
		return nil
	})
	if err != nil {
		return Invariant{}, fmt.Errorf("reading table candles: %w", err)
	}
	var p problems
	asked := 0
	for want := range answers {
		asked++
		got, ok := stored[want.Key()]
		switch {
		case !ok:
			p.add("%s is missing, or not closed", want.Key())
		case got.Open != want.Open || got.High != want.High || got.Low != want.Low || got.Close != want.Close || got.Volume != want.Volume:
			p.add("%s is %s, not %s", want.Key(), numbers(&got), numbers(&want))
		}
	}
	return p.verdict("answer key", "%d closed candles asked for, all stored exactly; the table holds %d", asked, len(stored)), nil
}

func numbers(c *market.Candle) string {
	return fmt.Sprintf("o=%s h=%s l=%s c=%s v=%s", c.Open, c.High, c.Low, c.Close, c.Volume)
}
