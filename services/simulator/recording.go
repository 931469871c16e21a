package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// recording is a market that was: one-minute candles of the past. A row of five
// numbers gives open, high, low, close and volume; the rest is made up, the same
// at every start:
//
//	quote volume        volume × (open + high + low + close) / 4
//	trades              40 to 1063 by a hash of the minute, 0 without volume
//	taker volumes       40 to 60 % of both volumes by the same hash
//	within the minute   open, at 20 s the one extreme, at 40 s the other (low first
//	                    where the price rose), at 60 s the close; straight between,
//	                    volumes evenly spread
//	trade ids           60,000 kept free a minute
//
// Volumes that are made up are rounded down to 1e-8.
type recording struct {
	rows []recorded // ascending by minute
	lot  lot
}

type recorded struct {
	minute int64
	bar
}

// find returns the row of a minute.
func (r *recording) find(minute int64) (*recorded, bool) {
	i := int(minute - r.rows[0].minute) // right if nothing is missing
	if i < 0 || i >= len(r.rows) || r.rows[i].minute != minute {
		var found bool
		i, found = slices.BinarySearchFunc(r.rows, minute, func(a recorded, m int64) int { return int(a.minute - m) })
		if !found {
			return nil, false
		}
	}
	return &r.rows[i], true
}

func (r *recording) span() (first, end int64) {
	return r.rows[0].minute, r.rows[len(r.rows)-1].minute + 1
}

func (r *recording) jumps(_, _ int64) []Jump { return nil }

func (r *recording) slice(minute int64, from, to int) (bar, bool) {
	row, ok := r.find(minute)
	if !ok {
		return bar{}, false
	}
	b := row.bar
	if b.trades > 0 {
		b.first = minute * 60 * idsASecond
		b.last = b.first + b.trades - 1
	} else {
		b.first, b.last = -1, -1
	}
	if from == 0 && to == 60 {
		return b, true
	}
	knots := [4]int64{b.open, b.low, b.high, b.close}
	if b.close < b.open {
		knots[1], knots[2] = b.high, b.low
	}
	tick := r.lot.tick()
	at := func(s int) int64 {
		if s == 60 {
			return knots[3]
		}
		k, f := s/20, int64(s%20)
		way := knots[k+1] - knots[k]
		return (knots[k] + way/20*f + way%20*f/20) / tick * tick
	}
	part := bar{open: at(from), high: at(from), low: at(from), close: at(to), first: -1, last: -1}
	for s := from + 1; s <= to; s++ {
		part.high, part.low = max(part.high, at(s)), min(part.low, at(s))
	}
	share := func(a amount) amount { return a.scale(uint64(to), 60).sub(a.scale(uint64(from), 60)) }
	part.volume, part.quote = share(b.volume), share(b.quote)
	part.takerVolume, part.takerQuote = share(b.takerVolume), share(b.takerQuote)
	before, after := b.trades*int64(from)/60, b.trades*int64(to)/60
	if part.trades = after - before; part.trades > 0 {
		part.first, part.last = b.first+before, b.first+after-1
	}
	return part, true
}

// makeUp fills in what five numbers do not say.
func (r *recorded) makeUp() {
	h := mix(uint64(r.minute) * golden)
	sum := uint64(r.open) + uint64(r.high) + uint64(r.low) + uint64(r.close)
	r.quote = r.volume.scale(sum, 4*unit)
	if r.volume == (amount{}) {
		return
	}
	r.trades = 40 + int64(h&1023)
	share := 400 + h>>16%200
	r.takerVolume, r.takerQuote = r.volume.scale(share, 1000), r.quote.scale(share, 1000)
}

// openRecordings reads a folder of *.csv and *.csv.gz, or one file: CSV, or a
// page of klines as REST gives it (.json, .json.gz). The symbol is the start of
// the file's name: BTCUSDT-1m-2025-03.csv.gz. Files of one symbol are joined.
func openRecordings(path string) ([]*instrument, error) {
	files := []string{path}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.IsDir() {
		files = nil
		for _, pattern := range []string{"*.csv", "*.csv.gz"} {
			found, err := filepath.Glob(filepath.Join(path, pattern))
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		}
		slices.Sort(files)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("folder %s holds no *.csv or *.csv.gz", path)
	}
	bySymbol := make(map[string]*recording)
	var symbols []string
	for _, file := range files {
		name := filepath.Base(file)
		end := strings.IndexAny(name, "-_.")
		symbol := name[:max(end, 0)]
		if bySymbol[symbol] == nil {
			bySymbol[symbol] = &recording{}
			symbols = append(symbols, symbol)
		}
		if err := bySymbol[symbol].load(file); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	var all []*instrument
	for _, symbol := range symbols {
		i, err := splitSymbol(symbol)
		if err != nil {
			return nil, err
		}
		r := bySymbol[symbol]
		if err := r.finish(); err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", symbol, path, err)
		}
		all = append(all, newInstrument(i, r.lot, r))
	}
	return all, nil
}

// quotes are the quote currencies that a symbol is searched for at its end.
var quotes = []string{
	"FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "KRW", "GBP", "USD",
}

func splitSymbol(symbol string) (market.Instrument, error) {
	for _, quote := range quotes {
		if base, ok := strings.CutSuffix(symbol, quote); ok {
			if i, err := market.ParseInstrument(base + "-" + quote); err == nil {
				return i, nil
			}
		}
	}
	return market.Instrument{}, fmt.Errorf("file name starts with %q, which is no symbol like BTCUSDT", symbol)
}

func (r *recording) load(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if strings.HasSuffix(file, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	if strings.Contains(file, ".json") {
		return r.readPage(raw)
	}
	return r.readCSV(raw)
}

// readCSV reads rows of time, open, high, low, close, volume, where the time is
// UTC text or ms or µs since the epoch; and rows of twelve columns as in
// data.binance.vision (exchanges.md §1.6). A header is skipped.
func (r *recording) readCSV(raw []byte) error {
	c := csv.NewReader(bytes.NewReader(raw))
	c.ReuseRecord = true
	for line := 1; ; line++ {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if line == 1 && fields[0] != "" && (fields[0][0] < '0' || fields[0][0] > '9') {
			continue
		}
		if err := r.row(fields); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// readPage reads a page of klines: an array of arrays of twelve.
func (r *recording) readPage(raw []byte) error {
	var page [][]json.RawMessage
	if err := json.Unmarshal(raw, &page); err != nil {
		return err
	}
	for i, elements := range page {
		fields := make([]string, len(elements))
		for k, e := range elements {
			fields[k] = strings.Trim(string(e), `"`)
		}
		if err := r.row(fields); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func (r *recording) row(fields []string) error {
	if len(fields) < 6 {
		return fmt.Errorf("%d columns, not 6 or more", len(fields))
	}
	at, err := parseTime(fields[0])
	if err != nil {
		return err
	}
	if at <= 0 || at >= endOfTime {
		return fmt.Errorf("time %s is not between 1970 and 2100", at)
	}
	if at%minute != 0 {
		return fmt.Errorf("time %s is not a whole minute", at)
	}
	row := recorded{minute: int64(at / minute)}
	for k, price := range []*int64{&row.open, &row.high, &row.low, &row.close} {
		if *price, err = parseAmount(fields[k+1]); err != nil {
			return err
		}
		r.lot.price = max(r.lot.price, decimals(fields[k+1]))
	}
	if row.low <= 0 || row.low > min(row.open, row.close) || row.high < max(row.open, row.close) {
		return fmt.Errorf("open %s, high %s, low %s, close %s contradict each other", fields[1], fields[2], fields[3], fields[4])
	}
	if err := row.read(&row.volume, fields[5]); err != nil {
		return err
	}
	r.lot.quantity = max(r.lot.quantity, decimals(fields[5]))
	row.makeUp()
	if len(fields) >= 11 {
		err := errors.Join(row.read(&row.quote, fields[7]),
			row.read(&row.takerVolume, fields[9]), row.read(&row.takerQuote, fields[10]))
		trades, bad := strconv.ParseInt(fields[8], 10, 64)
		if err := errors.Join(err, bad); err != nil {
			return err
		}
		row.trades = trades
	}
	r.rows = append(r.rows, row)
	return nil
}

// endOfTime is 2100-01-01.
const endOfTime = market.Millis(4102444800000)

func (r *recorded) read(into *amount, s string) error {
	n, err := parseAmount(s)
	*into = amountOf(n)
	return err
}

// decimals of a number, without trailing zeros.
func decimals(s string) int {
	_, part, _ := strings.Cut(s, ".")
	return min(len(strings.TrimRight(part, "0")), 8)
}

func parseTime(s string) (market.Millis, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			return 0, err
		}
		return market.MillisOf(t), nil
	}
	return fromMicros(n), nil
}

// fromMicros takes ms or µs since the epoch, told apart by size.
func fromMicros(n int64) market.Millis {
	if n >= 1e15 {
		n /= 1000
	}
	return market.Millis(n)
}

// finish sorts, and refuses two rows for one minute.
func (r *recording) finish() error {
	if len(r.rows) == 0 {
		return errors.New("no candle in it")
	}
	slices.SortFunc(r.rows, func(a, b recorded) int { return int(a.minute - b.minute) })
	for k := 1; k < len(r.rows); k++ {
		if r.rows[k].minute == r.rows[k-1].minute {
			return fmt.Errorf("two candles at %s", market.Millis(r.rows[k].minute)*minute)
		}
	}
	return nil
}

// shift moves recordings by whole days so that the last of them ends today.
func shift(all []*instrument, today time.Time) {
	var end int64
	for _, in := range all {
		_, e := in.tape.span()
		end = max(end, e)
	}
	days := today.Unix()/86400 - (end-1)/dayMinutes
	for _, in := range all {
		if r, ok := in.tape.(*recording); ok {
			for k := range r.rows {
				r.rows[k].minute += days * dayMinutes
			}
		}
	}
}
