package binance

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/candlestack/candlestack/services/market"
)

// exchange is the name under which the stack knows this venue.
const exchange = "binance"

// lenient lets repeated names pass: the last counts, as with every other client.
var lenient = jsontext.AllowDuplicateNames(true)

// frameKind is what a frame of a stream is.
type frameKind int

const (
	frameOther    frameKind = iota // an acknowledgement, or a stream that is not ours
	frameKline                     // a candle
	frameShutdown                  // the venue will close this connection soon
	frameProblem                   // the venue did not like what we asked for
)

// pageRows is the most that one request gives.
const pageRows = 1000

const shutdown = "serverShutdown"

// parseFrame reads a frame into m, which it empties before.
func parseFrame(frame []byte, m *message) (frameKind, error) {
	*m = message{}
	if err := json.Unmarshal(frame, m, lenient); err != nil {
		return frameOther, fmt.Errorf("decoding a frame: %w", err)
	}
	switch {
	case m.Data.Event == "kline" && (m.Data.Time <= 0 || m.Data.Kline.OpenTime <= 0):
		return frameOther, errors.New("decoding a frame: E or k is missing")
	case m.Data.Event == "kline":
		return frameKline, nil
	case m.Data.Event == shutdown, m.Event == shutdown:
		return frameShutdown, nil
	case m.Problem != nil:
		m.problem = *m.Problem
		return frameProblem, nil
	case m.Message != "":
		return frameProblem, nil
	}
	return frameOther, nil
}

// candle is the live candle of a frame. Clocks: E, and ours.
func (p *payload) candle(i market.Instrument, received market.Millis) *market.Candle {
	k := p.Kline
	return &market.Candle{
		Exchange: exchange, Instrument: i, Interval: k.Interval, OpenTime: k.OpenTime,
		Open: k.Open, High: k.High, Low: k.Low, Close: k.Close, Volume: k.Volume,
		QuoteVolume: &k.QuoteVolume, Trades: &k.Trades, TakerVolume: &k.TakerVolume, TakerQuote: &k.TakerQuote,
		Closed: k.Closed, EventTime: p.Time, ReceivedTime: received, Origin: market.OriginLive,
	}
}

// candle is a row as a candle of s. A closed row's event time is its close time
// (design §3: the version of a REST candle).
func (r row) candle(s market.Series, closed bool, event, received market.Millis, origin market.Origin) *market.Candle {
	return &market.Candle{
		Exchange: exchange, Instrument: s.Instrument, Interval: s.Interval, OpenTime: r.OpenTime,
		Open: r.Open, High: r.High, Low: r.Low, Close: r.Close, Volume: r.Volume,
		QuoteVolume: &r.QuoteVolume, Trades: &r.Trades, TakerVolume: &r.TakerVolume, TakerQuote: &r.TakerQuote,
		Closed: closed, EventTime: event, ReceivedTime: received, Origin: origin,
	}
}

// latest is 2100-01-01. A time in µs, which the venue can send too, lies after it
// and would look like proof that everything before it is there.
const latest market.Millis = 4102444800000

// badRow is a row that cannot be read.
type badRow struct {
	OpenTime market.Millis // zero where not even that can be read
	Err      error
}

// parseRows reads a page of klines. total counts the rows that the venue sent:
// it tells whether a page is full. A page whose every row is bad is no page.
func parseRows(body []byte) (rows []row, bad []badRow, total int, err error) {
	dec := jsontext.NewDecoder(bytes.NewReader(body), lenient)
	fail := func(err error) ([]row, []badRow, int, error) {
		return nil, nil, 0, fmt.Errorf("decoding klines: %w", err)
	}
	if start, err := dec.ReadToken(); err != nil || start.Kind() != '[' {
		return fail(cannot("page", start.Kind(), err))
	}
	rows = make([]row, 0, pageRows)
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return fail(err)
		}
		total++
		r, err := parseRow(value)
		if err != nil {
			bad = append(bad, badRow{r.OpenTime, err})
			continue
		}
		rows = append(rows, r)
	}
	if _, err := dec.ReadToken(); err != nil {
		return fail(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return fail(errors.New("something follows the page"))
	}
	if len(rows) == 0 && total > 0 {
		return fail(fmt.Errorf("none of %d rows can be read: %w", total, bad[0].Err))
	}
	return rows, bad, total, nil
}

func parseRow(value jsontext.Value) (r row, err error) {
	err = json.Unmarshal(value, &r, lenient)
	if r.OpenTime < 0 || r.OpenTime > latest {
		err = errors.Join(err, fmt.Errorf("open time %d is not in ms", r.OpenTime))
		r.OpenTime = 0
	}
	return r, err
}

func parseExchangeInfo(body []byte) (info exchangeInfo, err error) {
	if err := json.Unmarshal(body, &info, lenient); err != nil {
		return info, fmt.Errorf("decoding exchangeInfo: %w", err)
	}
	return info, nil
}

// weightLimit is the request weight allowed a minute; false where it does not say.
func (info *exchangeInfo) weightLimit() (int, bool) {
	for _, l := range info.RateLimits {
		if l.Type == "REQUEST_WEIGHT" && l.Interval == "MINUTE" && l.Count == 1 && l.Limit > 0 {
			return l.Limit, true
		}
	}
	return 0, false
}

func parseTime(body []byte) (market.Millis, error) {
	var t serverTime
	if err := json.Unmarshal(body, &t, lenient); err != nil {
		return 0, fmt.Errorf("decoding time: %w", err)
	}
	if t.Time <= 0 {
		return 0, errors.New("decoding time: serverTime is missing")
	}
	return t.Time, nil
}
