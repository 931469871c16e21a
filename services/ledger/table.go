package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/market"
)

// row is one row of a table or one document, as the event that it tells of.
type row struct {
	kind      market.Kind
	key       string
	version   int64 // the column, not the event's
	hash      string
	conflict  bool
	firstSeen market.Millis // of a post
}

// open connects to a database whose times come as text: the driver's own
// reading of them depends on settings.
func open(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("reading the DSN of the database: not of the form user:password@tcp(host:port)/database")
	}
	cfg.ParseTime = false
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("reading the DSN of the database: %w", err)
	}
	return sql.OpenDB(connector), nil
}

const candleColumns = "exchange, instrument, `interval`, open_time, open, high, low, close, volume, quote_volume, trades, " +
	"taker_volume, taker_quote_volume, closed, event_time, receive_time, origin, version, conflict"

const gapColumns = "exchange, instrument, `interval`, from_time, to_time, state, cause, changed, origin, version"

// readTables returns what the tables hold of the ledger's exchange.
func readTables(ctx context.Context, dsn string, topics map[market.Kind]string) ([]row, error) {
	db, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var rows []row
	add := func(e market.Event, version int64, conflict bool) error {
		sum, err := hashEvent(e)
		rows = append(rows, row{kind: e.Kind(), key: e.Key(), version: version, hash: sum, conflict: conflict})
		return err
	}
	if _, asked := topics[market.KindCandle]; asked {
		err := query(ctx, db, "SELECT "+candleColumns+" FROM candles WHERE exchange = ?", func(scan func(...any) error) error {
			var c market.Candle
			var version int64
			var conflict bool
			if err := scanCandle(scan, &c, &version, &conflict); err != nil {
				return err
			}
			return add(&c, version, conflict)
		}, exchange)
		if err != nil {
			return nil, fmt.Errorf("reading table candles: %w", err)
		}
	}
	if _, asked := topics[market.KindGap]; asked {
		err := query(ctx, db, "SELECT "+gapColumns+" FROM gaps WHERE exchange = ?", func(scan func(...any) error) error {
			var g market.Gap
			var version int64
			err := scan(&g.Exchange, text{&g.Instrument}, &g.Interval, clock{&g.FromTime}, clock{&g.ToTime}, &g.State, &g.Cause,
				clock{&g.Changed}, &g.Origin, &version)
			if err != nil {
				return err
			}
			return add(&g, version, false)
		}, exchange)
		if err != nil {
			return nil, fmt.Errorf("reading table gaps: %w", err)
		}
	}
	return rows, nil
}

func scanCandle(scan func(...any) error, c *market.Candle, version *int64, conflict *bool) error {
	return scan(&c.Exchange, text{&c.Instrument}, &c.Interval, clock{&c.OpenTime},
		text{&c.Open}, text{&c.High}, text{&c.Low}, text{&c.Close}, text{&c.Volume},
		decimal{&c.QuoteVolume}, &c.Trades, decimal{&c.TakerVolume}, decimal{&c.TakerQuote},
		&c.Closed, clock{&c.EventTime}, clock{&c.ReceivedTime}, &c.Origin, version, conflict)
}

func query(ctx context.Context, db *sql.DB, statement string, each func(scan func(...any) error) error, args ...any) error {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// text scans a column into what reads its own text.
type text struct {
	into interface{ UnmarshalText([]byte) error }
}

func (t text) Scan(column any) error {
	b, ok := column.([]byte)
	if !ok {
		return fmt.Errorf("%v is no text", column)
	}
	return t.into.UnmarshalText(b)
}

// decimal scans a number that may be NULL.
type decimal struct{ into **market.Decimal }

func (d decimal) Scan(column any) error {
	if column == nil {
		*d.into = nil
		return nil
	}
	*d.into = new(market.Decimal)
	return text{*d.into}.Scan(column)
}

// clock scans a DATETIME(3), which is UTC.
type clock struct{ into *market.Millis }

func (c clock) Scan(column any) error {
	b, ok := column.([]byte)
	if !ok {
		return fmt.Errorf("%v is no time", column)
	}
	t, err := time.Parse("2006-01-02 15:04:05.000", string(b))
	*c.into = market.MillisOf(t)
	return err
}
