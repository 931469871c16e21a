// Package binance is the Binance spot exchange as a source of candles: REST
// klines for the past, combined WebSocket streams for now, or REST alone
// (exchanges.md §1).
package binance

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/candlestack/candlestack/services/market"
)

// message is any frame of a combined stream. Names differ by case alone (t and
// T), so it must be read by a decoder that minds case.
type message struct {
	Stream  string   `json:"stream"`
	Data    payload  `json:"data"`
	Event   string   `json:"e"`     // of an event outside of an envelope
	Problem *problem `json:"error"` // the answer to a bad request, wrapped
	problem          // and bare
}

// payload is the part of a stream's event that candles are made of.
type payload struct {
	Event  string        `json:"e"`
	Time   market.Millis `json:"E"`
	Symbol string        `json:"s"`
	Kline  kline         `json:"k"`
}

// kline is a candle in a frame, with all members of the documented format.
type kline struct {
	OpenTime    market.Millis   `json:"t"`
	CloseTime   market.Millis   `json:"T"`
	Symbol      string          `json:"s"`
	Interval    market.Interval `json:"i"`
	FirstTrade  int64           `json:"f"` // -1 without trades
	LastTrade   int64           `json:"L"`
	Open        market.Decimal  `json:"o"`
	Close       market.Decimal  `json:"c"`
	High        market.Decimal  `json:"h"`
	Low         market.Decimal  `json:"l"`
	Volume      market.Decimal  `json:"v"`
	Trades      int64           `json:"n"`
	Closed      bool            `json:"x"`
	QuoteVolume market.Decimal  `json:"q"`
	TakerVolume market.Decimal  `json:"V"`
	TakerQuote  market.Decimal  `json:"Q"`
	Ignore      market.Decimal  `json:"B"`
}

// needed are the members without which a kline is no candle.
const needed = "tTsiochlvnxqVQ"

// UnmarshalJSONFrom reads a kline member by member: faster than by reflection,
// and it knows what was missing, which a zero price would not tell.
func (k *kline) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if start, err := dec.ReadToken(); err != nil || start.Kind() != '{' {
		return cannot("k", start.Kind(), err)
	}
	var seen [128]bool
	for dec.PeekKind() != '}' {
		name, err := dec.ReadValue()
		if err != nil {
			return err
		}
		letter := byte(0)
		if len(name) == 3 && name[1] < 128 {
			letter = name[1]
		}
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := k.set(letter, value); err != nil {
			return fmt.Errorf("k.%c: %w", letter, err)
		}
		seen[letter] = true
	}
	for i := range len(needed) {
		if !seen[needed[i]] {
			return fmt.Errorf("k.%c is missing", needed[i])
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (k *kline) set(letter byte, v jsontext.Value) (err error) {
	switch letter {
	case 't':
		return integer(v, (*int64)(&k.OpenTime))
	case 'T':
		return integer(v, (*int64)(&k.CloseTime))
	case 's':
		k.Symbol, err = text(v)
	case 'i':
		var s string
		s, err = text(v)
		k.Interval = market.Interval(s)
	case 'f':
		return integer(v, &k.FirstTrade)
	case 'L':
		return integer(v, &k.LastTrade)
	case 'o':
		return decimal(v, &k.Open)
	case 'c':
		return decimal(v, &k.Close)
	case 'h':
		return decimal(v, &k.High)
	case 'l':
		return decimal(v, &k.Low)
	case 'v':
		return decimal(v, &k.Volume)
	case 'n':
		return integer(v, &k.Trades)
	case 'x':
		return boolean(v, &k.Closed)
	case 'q':
		return decimal(v, &k.QuoteVolume)
	case 'V':
		return decimal(v, &k.TakerVolume)
	case 'Q':
		return decimal(v, &k.TakerQuote)
	case 'B':
		return decimal(v, &k.Ignore)
	}
	return err
}

// row is a candle of GET /api/v3/klines: an array of 12 elements, of which the
// last means nothing.
type row struct {
	OpenTime, CloseTime                          market.Millis
	Open, High, Low, Close                       market.Decimal
	Volume, QuoteVolume, TakerVolume, TakerQuote market.Decimal
	Trades                                       int64
}

// rowElements are those that are read; more are let be.
const rowElements = 11

// UnmarshalJSONFrom reads a row. OpenTime is set even where what follows is bad.
func (r *row) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if start, err := dec.ReadToken(); err != nil || start.Kind() != '[' {
		return cannot("row", start.Kind(), err)
	}
	for i := 0; ; i++ {
		if dec.PeekKind() == ']' {
			if i < rowElements {
				return fmt.Errorf("a row of %d elements", i)
			}
			_, err := dec.ReadToken()
			return err
		}
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := r.set(i, value); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
}

func (r *row) set(i int, v jsontext.Value) error {
	switch i {
	case 0:
		return integer(v, (*int64)(&r.OpenTime))
	case 1:
		return decimal(v, &r.Open)
	case 2:
		return decimal(v, &r.High)
	case 3:
		return decimal(v, &r.Low)
	case 4:
		return decimal(v, &r.Close)
	case 5:
		return decimal(v, &r.Volume)
	case 6:
		return integer(v, (*int64)(&r.CloseTime))
	case 7:
		return decimal(v, &r.QuoteVolume)
	case 8:
		return integer(v, &r.Trades)
	case 9:
		return decimal(v, &r.TakerVolume)
	case 10:
		return decimal(v, &r.TakerQuote)
	}
	return nil
}

// exchangeInfo is the part of GET /api/v3/exchangeInfo that we use.
type exchangeInfo struct {
	RateLimits []struct {
		Type     string `json:"rateLimitType"`
		Interval string `json:"interval"`
		Count    int    `json:"intervalNum"`
		Limit    int    `json:"limit"`
	} `json:"rateLimits"`
	Symbols []symbolInfo `json:"symbols"`
}

type symbolInfo struct {
	Symbol string `json:"symbol"`
	Status string `json:"status"` // TRADING, HALT, BREAK, …: the list is open
}

// serverTime is GET /api/v3/time.
type serverTime struct {
	Time market.Millis `json:"serverTime"`
}

// problem is the venue's error, of REST and of streams.
type problem struct {
	Code    int    `json:"code"`
	Message string `json:"msg"`
}

// The readers of values accept numbers as strings and as numbers.

func decimal(v jsontext.Value, into *market.Decimal) (err error) {
	s, err := bare(v)
	if err == nil {
		*into, err = market.ParseDecimal(s)
	}
	return err
}

func integer(v jsontext.Value, into *int64) (err error) {
	s, err := bare(v)
	if err == nil {
		*into, err = strconv.ParseInt(s, 10, 64)
	}
	return err
}

func boolean(v jsontext.Value, into *bool) error {
	if k := v.Kind(); k != 't' && k != 'f' {
		return cannot("boolean", k, nil)
	}
	*into = v.Kind() == 't'
	return nil
}

// bare is the text of a number, quoted or not. No number needs an escape.
func bare(v jsontext.Value) (string, error) {
	switch v.Kind() {
	case '"':
		return string(v[1 : len(v)-1]), nil
	case '0':
		return string(v), nil
	}
	return "", cannot("number", v.Kind(), nil)
}

func text(v jsontext.Value) (string, error) {
	if v.Kind() != '"' {
		return "", cannot("string", v.Kind(), nil)
	}
	if len(v) > 1 && len(v) <= 40 {
		return string(v[1 : len(v)-1]), nil // symbols and intervals hold no escapes; one that does matches none of ours
	}
	return "", fmt.Errorf("a string of %d bytes", len(v))
}

func cannot(what string, kind jsontext.Kind, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: found %s", what, kind)
}
