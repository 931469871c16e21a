package simulator

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"

	"github.com/candlestack/candlestack/services/market"
)

func newTestStopped(t *testing.T) *Simulator {
	t.Helper()
	s, err := New(Config{Listen: "127.0.0.1:0"}, quietLog, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// All that is wrong is said at once, a line each.
func TestValidate(t *testing.T) {
	c := Config{
		Listen: "nowhere", Instruments: []string{"BTC-USDT", "BTC-USDT", "btcusdt"}, ReplayExact: true,
		Start: time.Now().Add(time.Hour), Speed: math.NaN(), Lifetime: time.Millisecond, WeightLimit: -1, ReplayNews: "/nowhere", NewsQuota: -1,
	}
	want := []string{
		`--listen "nowhere": `, `--instruments "BTC-USDT": is named twice`, `--instruments "btcusdt": `, `--replay-exact "true": `,
		`--start "`, `--speed "NaN": `, `--lifetime "1ms": `, `--weight-limit "-1": `,
		`--replay-news "/nowhere": cannot be read: `, `--news-quota "-1": `,
	}
	lines := strings.Split(c.Validate().Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for k, line := range lines {
		if !strings.HasPrefix(line, want[k]) {
			t.Errorf("%q does not start with %q", line, want[k])
		}
	}
	for _, f := range []struct {
		name string
		c    Config
		want string
	}{
		{"defaults", Config{}, ""},
		{"speed without start", Config{Speed: 2}, `--speed "2": needs a --start in the past`},
		{"before the market", Config{Start: time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)}, `--start "2016-01-01T00:00:00Z": `},
		{"no recording", Config{Replay: "/nowhere"}, `--replay "/nowhere": `},
	} {
		err := f.c.Validate()
		if f.want == "" && err != nil || f.want != "" && (err == nil || !strings.HasPrefix(err.Error(), f.want)) {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

func TestPortInUse(t *testing.T) {
	s := newTest(t, Config{})
	_, err := New(Config{Listen: s.Addr()}, quietLog, prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("got %v", err)
	}
}

func TestCandleOutside(t *testing.T) {
	s := newTestStopped(t)
	defer s.listener.Close()
	for _, f := range []struct {
		name string
		i    market.Instrument
		iv   market.Interval
		open string
	}{
		{"off the grid", btc, "1m", "2025-03-05 12:00:01"},
		{"before the market opened", btc, "1m", "2017-08-16 23:59:00"},
		{"unknown instrument", market.Instrument{Base: "A", Quote: "B"}, "1m", "2025-03-05 12:00:00"},
		{"unknown interval", btc, "7m", "2025-03-05 12:00:00"},
	} {
		if c, ok := s.Candle(f.i, f.iv, at(f.open)); ok {
			t.Errorf("%s: %+v", f.name, c)
		}
	}
}

// The answer key is the sum over Candle, computed here in another way.
func TestAnswers(t *testing.T) {
	s := newTest(t, Config{Seed: 5})
	from, to := at("2025-03-01 00:00:00"), at("2025-03-15 00:00:00")
	var served Answers
	a := get(t, s, "/simulator/answers?from=2025-03-01T00:00:00Z&to=1741996800000")
	if err := json.Unmarshal([]byte(a.body), &served); err != nil {
		t.Fatal(err)
	}
	got := s.Answers(from, to)
	same := cmp.AllowUnexported(market.Decimal{})
	if d := cmp.Diff(got, served, same); d != "" {
		t.Error(d)
	}
	holes := 0
	for _, in := range s.board.order {
		want := Answer{Instrument: in.Instrument, Missing: []market.Millis{}, Jumps: in.tape.jumps(int64(from/minute), int64(to/minute))}
		var volume, quote, closes, low, high decimal.Decimal
		number := func(d market.Decimal) decimal.Decimal { return decimal.RequireFromString(d.String()) }
		for open := from; open < to; open += minute {
			c, ok := s.Candle(in.Instrument, "1m", open)
			if !ok {
				want.Missing = append(want.Missing, open)
				continue
			}
			if want.Candles == 0 {
				want.FirstClose, low = c.Close, number(c.Low)
			}
			want.Candles++
			want.LastClose = c.Close
			want.Trades += *c.Trades
			volume, quote = volume.Add(number(c.Volume)), quote.Add(number(*c.QuoteVolume))
			closes = closes.Add(number(c.Close))
			low, high = decimal.Min(low, number(c.Low)), decimal.Max(high, number(c.High))
		}
		text := func(d decimal.Decimal) market.Decimal {
			m, err := market.ParseDecimal(d.String())
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		for m := int64(from / minute); m < int64(to/minute); m++ {
			for _, p := range s.newsroom.minute(m) {
				if slices.ContainsFunc(p.about(), func(c coin) bool { return c.code == in.Base }) {
					want.Posts++
				}
			}
		}
		want.MinLow, want.MaxHigh, want.Volume, want.QuoteVolume = text(low), text(high), text(volume), text(quote)
		want.SumClose = text(closes)
		want.AverageClose = text(closes.DivRound(decimal.NewFromInt(int64(want.Candles)), 16))
		want.VWAP = text(quote.DivRound(volume, 16))
		k := 0
		for got.Instruments[k].Instrument != in.Instrument {
			k++
		}
		if len(want.Jumps) == 0 {
			want.Jumps = []Jump{}
		}
		want.Changes = got.Instruments[k].Changes // TestChanges looks at them
		if d := cmp.Diff(want, got.Instruments[k], same); d != "" {
			t.Errorf("%s: %s", in, d)
		}
		holes += len(want.Missing)
	}
	if holes == 0 {
		t.Error("two weeks of three instruments without a hole: choose another seed")
	}
	for _, query := range []string{"", "?from=yesterday", "?from=2025-03-01T00:00:00Z&to=x", "?from=2&to=4102444800000"} {
		if a := get(t, s, "/simulator/answers"+query); a.status != 400 || strings.Count(a.body, "\n") != 1 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// What is counted reads 0 from the start, and moves.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := New(Config{Listen: "127.0.0.1:0"}, quietLog, reg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	series := func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "candlestack_simulator_")
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return all
	}
	if n := len(series()); n != 4*6+3*8+len(FaultKinds())+2+2 {
		t.Errorf("%d series at the start: %v", n, series())
	}
	get(t, s, "/api/v3/time")
	inject(t, s, Fault{Kind: "403"})
	get(t, s, "/api/v3/time")
	got := series()
	for name, want := range map[string]float64{"requests_total 200 time": 1, "requests_total 403 time": 1, "faults_total 403": 1, "faults_total 418": 0, "connections": 0} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, %v, want %v", name, v, ok, want)
		}
	}
}
