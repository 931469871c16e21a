package main

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sums is `lab sums`. It reads the recorded files themselves and shares no code
// with simulator and stores; only the form of its answer is that of
// `candlestack simulate --answers`. What a file does not say, the simulator makes
// up when it replays it: of that only the quote volume is here.
type sums struct {
	Files []string `arg:"" help:"CSV files, also .gz, whose names start with the symbol: BTCUSDT-1m-2025-03.csv.gz." type:"existingfile"`
}

type sheet struct {
	Seed        int    `json:"seed"`
	From        int64  `json:"from"` // ms since 1970: the first and after the last minute of all files
	To          int64  `json:"to"`
	Instruments []*sum `json:"instruments"`
}

type sum struct {
	Instrument   string  `json:"instrument"`
	Candles      int     `json:"candles"`
	Missing      []int64 `json:"missing"`
	FirstClose   string  `json:"first_close"`
	LastClose    string  `json:"last_close"`
	MinLow       string  `json:"min_low"`
	MaxHigh      string  `json:"max_high"`
	Volume       string  `json:"volume"`
	QuoteVolume  string  `json:"quote_volume"`
	SumClose     string  `json:"sum_close"`
	AverageClose string  `json:"average_close"`
	VWAP         string  `json:"vwap"`
	Changes      changes `json:"changes"`

	closes      map[int64]*big.Rat // by minute since 1970
	first, last int64
}

type changes struct {
	Days        int          `json:"days"`
	Moves       []move       `json:"moves"`
	Windows     int          `json:"windows"`
	Percentiles []percentile `json:"percentiles"`
}

type move struct {
	Percent  int `json:"percent"`
	DayUp    int `json:"day_up"`
	DayDown  int `json:"day_down"`
	HourUp   int `json:"hour_up"`
	HourDown int `json:"hour_down"`
}

type percentile struct {
	Percent int     `json:"percent"`
	Change  float64 `json:"change"`
}

// Run prints the sums of all files as one sheet.
func (c *sums) Run(stdout io.Writer) error {
	s := sheet{Seed: 1, From: math.MaxInt64}
	for _, name := range c.Files {
		one, err := read(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.Instruments = append(s.Instruments, one)
		s.From, s.To = min(s.From, one.first*60_000), max(s.To, (one.last+1)*60_000)
	}
	slices.SortFunc(s.Instruments, func(a, b *sum) int { return strings.Compare(a.Instrument, b.Instrument) })
	out := json.NewEncoder(stdout)
	out.SetIndent("", "  ")
	return out.Encode(s)
}

// read adds one file up.
func read(name string) (*sum, error) {
	rows, err := rowsOf(name)
	if err != nil {
		return nil, err
	}
	symbol, _, _ := strings.Cut(filepath.Base(name), "-")
	base, ok := strings.CutSuffix(symbol, "USDT")
	if !ok || len(rows) < 2 {
		return nil, errors.New("is not the minutes of a pair with USDT")
	}
	s := &sum{Instrument: base + "-USDT", Missing: []int64{}, closes: map[int64]*big.Rat{}}
	var low, high *big.Rat
	volume, quote, closes := new(big.Rat), new(big.Rat), new(big.Rat)
	for _, row := range rows[1:] {
		at, err := time.Parse(time.DateTime, row[0])
		if err != nil {
			return nil, err
		}
		minute := at.Unix() / 60
		var n [5]*big.Rat
		for i := range n {
			var ok bool
			if n[i], ok = new(big.Rat).SetString(row[i+1]); !ok {
				return nil, fmt.Errorf("%s: %q is no number", row[0], row[i+1])
			}
		}
		if s.Candles == 0 {
			s.first, s.FirstClose, low, high = minute, row[4], n[2], n[1]
		}
		for s.Candles > 0 && s.last+1 < minute {
			s.last++
			s.Missing = append(s.Missing, s.last*60_000)
		}
		s.Candles, s.last, s.LastClose, s.closes[minute] = s.Candles+1, minute, row[4], n[3]
		if n[2].Cmp(low) < 0 {
			low = n[2]
		}
		if n[1].Cmp(high) > 0 {
			high = n[1]
		}
		volume.Add(volume, n[4])
		closes.Add(closes, n[3])
		quote.Add(quote, madeUpQuote(n))
	}
	s.MinLow, s.MaxHigh, s.Volume, s.QuoteVolume, s.SumClose = text(low, 8), text(high, 8), text(volume, 8), text(quote, 8), text(closes, 8)
	s.AverageClose = text(new(big.Rat).Quo(closes, big.NewRat(int64(s.Candles), 1)), 16)
	s.VWAP = text(new(big.Rat).Quo(quote, volume), 16)
	s.change()
	return s, nil
}

func rowsOf(name string) ([][]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	return csv.NewReader(r).ReadAll()
}

// madeUpQuote is volume × (open + high + low + close) / 4, rounded down to 1e-8,
// as the simulator documents it.
func madeUpQuote(n [5]*big.Rat) *big.Rat {
	q := new(big.Rat)
	for _, price := range n[:4] {
		q.Add(q, price)
	}
	q.Mul(q, n[4]).Mul(q, big.NewRat(1e8, 4))
	return new(big.Rat).SetFrac(new(big.Int).Quo(q.Num(), q.Denom()), big.NewInt(1e8))
}

// text is a number with at most so many decimals, rounded half away from zero.
func text(r *big.Rat, decimals int) string {
	return strings.TrimSuffix(strings.TrimRight(r.FloatString(decimals), "0"), ".")
}

// between is b/a − 1 of the closes of two minutes; nil where one is missing.
func (s *sum) between(from, to int64) *big.Rat {
	a, b := s.closes[from], s.closes[to]
	if a == nil || b == nil {
		return nil
	}
	q := new(big.Rat).Quo(b, a)
	return q.Sub(q, big.NewRat(1, 1))
}

// change fills in how often the price moved, and how far.
func (s *sum) change() {
	const day = 24 * 60
	for _, percent := range []int64{1, 5, 10} {
		m := move{Percent: int(percent)}
		up, half := big.NewRat(percent, 100), big.NewRat(percent, 200)
		down, halfDown := new(big.Rat).Neg(up), new(big.Rat).Neg(half)
		s.Changes.Days = 0
		armedUp, armedDown := true, true
		for minute := s.first; minute <= s.last; minute++ {
			if c := s.between(minute-day, minute); c != nil && minute%day == day-1 {
				s.Changes.Days++
				m.DayUp += count(c.Cmp(up) >= 0)
				m.DayDown += count(c.Cmp(down) <= 0)
			}
			c := s.between(minute-60, minute)
			if c == nil {
				continue
			}
			m.HourUp += count(armedUp && c.Cmp(up) >= 0)
			m.HourDown += count(armedDown && c.Cmp(down) <= 0)
			armedUp = c.Cmp(half) < 0 || armedUp && c.Cmp(up) < 0
			armedDown = c.Cmp(halfDown) > 0 || armedDown && c.Cmp(down) > 0
		}
		s.Changes.Moves = append(s.Changes.Moves, m)
	}
	var all []float64
	for minute := s.first; minute <= s.last; minute++ {
		if c := s.between(minute-day, minute); c != nil {
			f, _ := c.Float64()
			all = append(all, f)
		}
	}
	s.Changes.Windows = len(all)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	for _, percent := range []int{1, 5, 25, 50, 75, 95, 99} {
		at := float64(percent*(len(all)-1)) / 100
		low := int(at)
		s.Changes.Percentiles = append(s.Changes.Percentiles, percentile{percent, all[low]*(1-at+float64(low)) + all[min(low+1, len(all)-1)]*(at-float64(low))})
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
