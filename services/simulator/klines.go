package simulator

import (
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

const (
	usualLimit = 500
	maxLimit   = 1000
)

// klines answers GET /api/v3/klines by the rules of exchanges.md §1.2. A limit
// beyond 1000 gives 1000 rows.
func (s *Simulator) klines(q url.Values) ([]byte, error) {
	for name := range q {
		switch name {
		case "symbol", "interval", "startTime", "endTime", "timeZone", "limit":
		default:
			return nil, &apiError{-1104, "Not all sent parameters were read; read '" + strconv.Itoa(len(q)-1) +
				"' parameter(s) but was sent '" + strconv.Itoa(len(q)) + "'."}
		}
	}
	for _, name := range []string{"symbol", "interval"} {
		if q.Get(name) == "" {
			return nil, &apiError{-1102, "Mandatory parameter '" + name + "' was not sent, was empty/null, or malformed."}
		}
	}
	in, err := s.symbol(q.Get("symbol"))
	if err != nil {
		return nil, err
	}
	g := grid{interval: market.Interval(q.Get("interval"))}
	if !g.interval.Valid() {
		return nil, &apiError{-1120, "Invalid interval."}
	}
	if q.Has("timeZone") {
		if g.zone, err = parseZone(q.Get("timeZone")); err != nil {
			return nil, err
		}
	}
	from, err := integer(q, "startTime", 0)
	if err != nil {
		return nil, err
	}
	to, err := integer(q, "endTime", math.MaxInt64)
	if err != nil {
		return nil, err
	}
	limit, err := integer(q, "limit", usualLimit)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		return nil, &apiError{-1130, "Data sent for parameter 'limit' is not valid."}
	}
	rows := in.page(g, fromMicros(from), fromMicros(to), s.clock.now(), int(min(limit, maxLimit)), !q.Has("startTime"))
	b := make([]byte, 0, 2+len(rows)*180)
	b = append(b, '[')
	for k := range rows {
		if k > 0 {
			b = append(b, ',')
		}
		b = rows[k].append(b)
	}
	return append(b, ']'), nil
}

// append writes the twelve elements of a row.
func (r *row) append(b []byte) []byte {
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(r.open), 10)
	for _, price := range [...]int64{r.bar.open, r.high, r.low, r.bar.close} {
		b = quoted(b, amountOf(price))
	}
	b = quoted(b, r.volume)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(r.close), 10)
	b = quoted(b, r.quote)
	b = append(b, ',')
	b = strconv.AppendInt(b, r.trades, 10)
	b = quoted(b, r.takerVolume)
	b = quoted(b, r.takerQuote)
	return append(b, `,"0"]`...)
}

func quoted(b []byte, a amount) []byte {
	b = append(b, ',', '"')
	b = a.append(b)
	return append(b, '"')
}

var zoneForm = regexp.MustCompile(`^([+-]?)([0-9]{1,2})(?::([0-9]{2}))?$`)

// parseZone reads 0, 8, -1:00, 05:45: from -12:00 to +14:00. A plus that nobody
// escaped in a URL arrives as a space.
func parseZone(s string) (market.Millis, error) {
	m := zoneForm.FindStringSubmatch(strings.TrimPrefix(s, " "))
	if m == nil {
		return 0, &apiError{-1100, "Illegal characters found in parameter 'timeZone'."}
	}
	hours, _ := strconv.Atoi(m[2])
	minutes, _ := strconv.Atoi(m[3])
	d := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if m[1] == "-" {
		d = -d
	}
	if d < -12*time.Hour || d > 14*time.Hour || minutes > 59 {
		return 0, &apiError{-1130, "Data sent for parameter 'timeZone' is not valid."}
	}
	return market.Millis(d.Milliseconds()), nil
}
