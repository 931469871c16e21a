package simulator

import (
	"github.com/shopspring/decimal"

	"github.com/candlestack/candlestack/services/market"
)

// Answers is what an analyst of the one-minute candles with open times in
// [From, To) must find. It depends on the seed, or the recording, alone: also
// for a time that has not come yet.
type Answers struct {
	Seed        int64         `json:"seed"`
	From        market.Millis `json:"from"`
	To          market.Millis `json:"to"`
	Instruments []Answer      `json:"instruments"`
	Posts       int           `json:"posts"`   // published in [From, To), also about what is not traded here or about nothing
	Effects     []Effect      `json:"effects"` // by instrument, then time
}

// Answer is the key of one instrument. Sums are exact; averages have 16 decimals.
type Answer struct {
	Instrument   market.Instrument `json:"instrument"`
	Candles      int               `json:"candles"`
	Missing      []market.Millis   `json:"missing"` // open times of minutes that the exchange has no candle for
	Jumps        []Jump            `json:"jumps"`
	FirstClose   market.Decimal    `json:"first_close"`
	LastClose    market.Decimal    `json:"last_close"`
	MinLow       market.Decimal    `json:"min_low"`
	MaxHigh      market.Decimal    `json:"max_high"`
	Volume       market.Decimal    `json:"volume"`
	QuoteVolume  market.Decimal    `json:"quote_volume"`
	Trades       int64             `json:"trades"`
	SumClose     market.Decimal    `json:"sum_close"`
	AverageClose market.Decimal    `json:"average_close"`
	VWAP         market.Decimal    `json:"vwap"`  // quote volume by volume
	Posts        int               `json:"posts"` // published in [From, To) that name the base currency
	Changes      Changes           `json:"changes"`
}

// Jump is a planted move of the price: within the minute that opens at Time it
// moves by Percent (beside the noise), and fades away over two days.
type Jump struct {
	Time    market.Millis `json:"time"`
	Percent int           `json:"percent"`
}

// Effect is a post that moves the price of an instrument: from the minute after
// its publication on by Percent within a quarter of an hour (beside the noise),
// which fades away within the day.
type Effect struct {
	ID         int64             `json:"id"`   // of the post
	Time       market.Millis     `json:"time"` // of publication
	Instrument market.Instrument `json:"instrument"`
	Percent    int               `json:"percent"`
}

// Answers adds up the one-minute candles with open times in [from, to). Times
// before the first or after the last candle of an instrument count as outside,
// not as missing.
func (s *Simulator) Answers(from, to market.Millis) Answers {
	all := Answers{Seed: s.cfg.Seed, From: from, To: to, Effects: []Effect{}}
	var about map[string]int
	all.Posts, about = s.news.count(from, to)
	for _, in := range s.board.order {
		a := in.answer(from, to)
		a.Posts = about[in.Base]
		all.Instruments = append(all.Instruments, a)
		if s.newsMoves() {
			all.Effects = append(all.Effects, s.newsroom.effects(in.Instrument, from, to)...)
		}
	}
	return all
}

const averageDigits = 16

func (in *instrument) answer(from, to market.Millis) Answer {
	first, end := in.tape.span()
	first = max(first, int64((from+minute-1)/minute))
	end = min(end, int64((to+minute-1)/minute))
	a := Answer{Instrument: in.Instrument, Missing: []market.Millis{}, Jumps: []Jump{}, Changes: changesOf(nil, 0)}
	if first >= end {
		return a
	}
	var total sum
	var sumClose amount
	closes := make([]int64, end-first)
	for m := first; m < end; m++ {
		b, ok := in.tape.slice(m, 0, 60)
		if !ok {
			a.Missing = append(a.Missing, market.Millis(m)*minute)
			continue
		}
		if a.Candles == 0 {
			a.FirstClose = amountOf(b.close).decimal()
		}
		a.Candles++
		closes[m-first] = b.close
		sumClose = sumClose.add(amountOf(b.close))
		total.add(b, true)
	}
	a.Jumps = append(a.Jumps, in.tape.jumps(first, end)...)
	a.Changes = changesOf(closes, first)
	if a.Candles == 0 {
		return a
	}
	a.LastClose = amountOf(total.close).decimal()
	a.MinLow, a.MaxHigh = amountOf(total.low).decimal(), amountOf(total.high).decimal()
	a.Volume, a.QuoteVolume, a.Trades = total.volume.decimal(), total.quote.decimal(), total.trades
	a.SumClose = sumClose.decimal()
	a.AverageClose = ratio(a.SumClose, decimal.NewFromInt(int64(a.Candles)))
	if total.volume != (amount{}) {
		a.VWAP = ratio(a.QuoteVolume, decimal.RequireFromString(a.Volume.String()))
	}
	return a
}

func ratio(a market.Decimal, b decimal.Decimal) market.Decimal {
	q := decimal.RequireFromString(a.String()).DivRound(b, averageDigits)
	d, err := market.ParseDecimal(q.String())
	if err != nil {
		panic(err) // a decimal's text is a number
	}
	return d
}
