package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/pipeline"
)

// faults is `lab faults`.
type faults struct {
	span       `embed:""`
	DSN        string        `name:"mysql.dsn" help:"Server, user and database with the candles, in the Go driver's form." placeholder:"USER:PASSWORD@tcp(HOST:PORT)/market"`
	DSNFile    string        `name:"mysql.dsn-file" help:"File that holds the DSN." type:"path" placeholder:"PATH"`
	Database   string        `help:"Database to fill, on the same server; its tables are made anew." default:"lab"`
	Instrument string        `help:"Instrument whose candles are taken." default:"BTC-USDT"`
	Other      string        `help:"Instrument whose candles are mistaken for it." default:"ETH-USDT"`
	Seed       uint64        `help:"Which market it is; it also says where the faults are planted." default:"1"`
	Within     time.Duration `help:"How long to wait until the sink has stored the candles." default:"1h"`
}

// fault is one way in which data goes wrong: rows of candles (c) take values of
// rows of the market (s), or are deleted.
type fault struct {
	kind    string
	what    string
	minutes int
	at      string // the row s for a row c; FROM is the fault's begin
	set     string // empty: delete
}

const (
	same   = "c.open_time"
	values = "c.open = s.open, c.high = s.high, c.low = s.low, c.close = s.close, c.volume = s.volume, c.quote_volume = s.quote_volume, " +
		"c.trades = s.trades, c.taker_volume = s.taker_volume, c.taker_quote_volume = s.taker_quote_volume"
	alien = "alien" // the one for which s is another instrument
)

// planted, each on a day of its own.
var planted = []fault{
	{"missing", "rows were lost, and no gap was recorded", 37, same, ""},
	{"stuck", "the feed repeated its last price", 25, "FROM - INTERVAL 1 MINUTE",
		"c.open = s.close, c.high = s.close, c.low = s.close, c.close = s.close, c.volume = 0, c.quote_volume = 0, c.trades = 0, c.taker_volume = 0, c.taker_quote_volume = 0"},
	{"slip", "the point of a price is one digit too far right", 1, same, "c.high = s.high * 10"},
	{"swapped", "high and low are in each other's column", 1, same, "c.high = s.low, c.low = s.high"},
	{alien, "these are another instrument's", 5, same, values},
	{"float", "volumes went through a float", 60, same, "c.volume = s.volume + 0.000000000000003553"},
	{"early", "they were taken before their minute was over, and called closed", 10, same,
		"c.event_time = s.open_time + INTERVAL 31 SECOND, c.volume = s.volume / 2, c.quote_volume = s.quote_volume / 2, c.trades = s.trades DIV 2, " +
			"c.taker_volume = s.taker_volume / 2, c.taker_quote_volume = s.taker_quote_volume / 2"},
	{"shifted", "the clock was an hour wrong", 60, "c.open_time - INTERVAL 1 HOUR", values},
}

// settles is the time in which a sink that is not done would have written more.
const settles = 3 * time.Second

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// Run makes the tables and plants the faults.
func (c *faults) Run(ctx context.Context, stdout io.Writer) error {
	server, err := c.server()
	if err := errors.Join(err, c.validate()); err != nil {
		return err
	}
	market := "`" + server.DBName + "`"
	server.DBName = c.Database
	connector, err := driver.NewConnector(server)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if err := c.stored(ctx, db, market); err != nil {
		return err
	}
	instrument := "exchange = 'binance' AND instrument = ? AND `interval` = '1m'"
	for _, step := range []struct {
		statement string
		values    []any
	}{
		{"DROP TABLE IF EXISTS candles, gaps, faults", nil},
		{"CREATE TABLE candles LIKE " + market + ".candles", nil},
		{"CREATE TABLE gaps LIKE " + market + ".gaps", nil},
		{"CREATE TABLE faults (kind VARCHAR(16) PRIMARY KEY, from_time DATETIME(3) NOT NULL, to_time DATETIME(3) NOT NULL, what VARCHAR(100) NOT NULL)", nil},
		{"INSERT INTO candles SELECT * FROM " + market + ".candles WHERE closed AND " + instrument + " AND open_time >= ? AND open_time < ?",
			[]any{c.Instrument, c.Since.UTC(), c.Until.UTC()}},
		{"INSERT INTO gaps SELECT * FROM " + market + ".gaps WHERE " + instrument, []any{c.Instrument}},
	} {
		if _, err := db.ExecContext(ctx, step.statement, step.values...); err != nil {
			return fmt.Errorf("%.40s …: %w", step.statement, err)
		}
	}
	places, err := c.places(ctx, db)
	if err != nil {
		return err
	}
	for i, f := range planted {
		from := places[i]
		to := from.Add(time.Duration(f.minutes) * time.Minute)
		if err := c.plant(ctx, db, market, f, from, to); err != nil {
			return fmt.Errorf("planting %s: %w", f.kind, err)
		}
	}
	fmt.Fprintf(stdout, "%d faults planted in database %s\n", len(planted), c.Database)
	return nil
}

// stored waits until the candles are there. They come in ascending order, so the
// newest of both instruments tells of all before them; it has come to rest once it
// stays for a while, since the exchange may have a hole at the end.
func (c *faults) stored(ctx context.Context, db *sql.DB, market string) error {
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	newest := func() (at time.Time, err error) {
		var text sql.NullString
		err = db.QueryRowContext(ctx, "SELECT CAST(MIN(newest) AS CHAR) FROM (SELECT MAX(open_time) AS newest FROM "+market+".candles WHERE closed AND exchange = 'binance' AND `interval` = '1m' "+
			"AND instrument IN (?, ?) AND open_time < ? GROUP BY instrument) AS each_one HAVING COUNT(*) = 2", c.Instrument, c.Other, c.Until.UTC()).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !text.Valid {
			return time.Time{}, nil
		}
		if err == nil {
			at, err = time.Parse("2006-01-02 15:04:05.999", text.String)
		}
		return at, err
	}
	for last := (time.Time{}); ; {
		at, err := newest()
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the candles up to %s were not stored within %v: the newest that both instruments have is of %s", c.Until.Format(time.RFC3339), c.Within, last.Format(time.RFC3339))
		case err != nil:
			return fmt.Errorf("looking for the newest candle: %w", err)
		case at.Equal(last) && c.Until.Sub(at) <= time.Hour:
			return nil
		}
		last = at
		select {
		case <-ctx.Done():
		case <-time.After(settles):
		}
	}
}

// plant makes one fault and writes it down.
func (c *faults) plant(ctx context.Context, db *sql.DB, market string, f fault, from, to time.Time) error {
	text := func(t time.Time) string { return t.UTC().Format("'2006-01-02 15:04:05'") }
	where := " WHERE c.open_time >= " + text(from) + " AND c.open_time < " + text(to)
	statement := "DELETE c FROM candles c" + where
	var values []any
	if f.set != "" {
		statement = "UPDATE candles c JOIN " + market + ".candles s ON s.exchange = c.exchange AND s.`interval` = c.`interval` AND s.instrument = ? AND s.open_time = " +
			strings.ReplaceAll(f.at, "FROM", "CAST("+text(from)+" AS DATETIME)") + " SET " + f.set + where
		values = []any{c.Instrument}
		if f.kind == alien {
			values = []any{c.Other}
		}
	}
	result, err := db.ExecContext(ctx, statement, values...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != int64(f.minutes) {
		return errors.Join(err, fmt.Errorf("%d rows of %d changed", n, f.minutes))
	}
	_, err = db.ExecContext(ctx, "INSERT INTO faults VALUES (?, ?, ?, ?)", f.kind, from.UTC(), to.UTC(), f.what)
	return err
}

// places are the begins of the faults: each on a day of its own that has all its
// candles, not in its first two hours or its last four.
func (c *faults) places(ctx context.Context, db *sql.DB) ([]time.Time, error) {
	rows, err := db.QueryContext(ctx, "SELECT UNIX_TIMESTAMP(DATE(open_time)) FROM candles GROUP BY 1 HAVING COUNT(*) = 1440 ORDER BY 1")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var days []time.Time
	for rows.Next() {
		var seconds int64
		if err := rows.Scan(&seconds); err != nil {
			return nil, err
		}
		days = append(days, time.Unix(seconds, 0))
	}
	if len(days) < len(planted) {
		return nil, errors.Join(rows.Err(), fmt.Errorf("%d whole days of %s between --since and --until: %d are needed", len(days), c.Instrument, len(planted)))
	}
	dice := rand.New(rand.NewPCG(c.Seed, 0))
	dice.Shuffle(len(days), func(i, j int) { days[i], days[j] = days[j], days[i] })
	for i := range planted {
		days[i] = days[i].Add(time.Duration(120+dice.IntN(18*60)) * time.Minute)
	}
	return days, rows.Err()
}

// server reads the DSN. Its errors do not quote it.
func (c *faults) server() (*driver.Config, error) {
	dsn := c.DSN
	if c.DSNFile != "" {
		text, err := os.ReadFile(c.DSNFile)
		if err != nil {
			return nil, &pipeline.ConfigError{Field: "--mysql.dsn-file", Value: c.DSNFile, Err: err}
		}
		dsn = strings.TrimSpace(string(text))
	}
	server, err := driver.ParseDSN(dsn)
	switch {
	case err != nil || server.DBName == "":
		return nil, &pipeline.ConfigError{Field: "--mysql.dsn", Value: "(hidden)", Err: errors.New("is not of the form user:password@tcp(host:port)/database")}
	case !nameForm.MatchString(c.Database) || !nameForm.MatchString(server.DBName) || c.Database == server.DBName:
		return nil, &pipeline.ConfigError{Field: "--database", Value: c.Database, Err: errors.New("is not the plain name of a database beside that of --mysql.dsn")}
	}
	server.Loc, server.Params = time.UTC, map[string]string{"time_zone": "'+00:00'"}
	return server, nil
}
