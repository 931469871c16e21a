package simulator

import (
	"net/url"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

func BenchmarkKlinesPage(b *testing.B) {
	for _, f := range []struct {
		name, interval string
		cold           bool
	}{
		{"1m", "1m", false}, {"1h", "1h", false}, {"1d-first", "1d", true}, {"1d", "1d", false}, {"1M-first", "1M", true},
	} {
		b.Run(f.name, func(b *testing.B) {
			s := newTest(b, Config{})
			q := url.Values{"symbol": {"BTCUSDT"}, "interval": {f.interval}, "limit": {"1000"}}
			b.ReportAllocs()
			for b.Loop() {
				if f.cold {
					in := s.board.order[0]
					in.days.bars, in.hours.bars = nil, nil
				}
				if _, err := s.klines(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFrame(b *testing.B) {
	s := newTest(b, Config{})
	now := market.MillisOf(time.Date(2025, 3, 5, 13, 0, 0, 0, time.UTC))
	l := newLine("btcusdt@kline_1m", &s.board, now)
	var buffer []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := now + market.Millis(2+i%29*2)*1000
		l.begin(now)
		k, ok := l.update(at)
		if !ok {
			b.Fatal("no update")
		}
		buffer = l.frame(buffer[:0], true, &k, at, false)
	}
}

func BenchmarkPrice(b *testing.B) {
	for _, news := range []string{"without", "with"} {
		b.Run(news, func(b *testing.B) {
			n := newNoise(1, "BTCUSDT")
			if news == "with" {
				n.news = newNewsroom(1, nil).desk("BTC")
			}
			m := int64(at("2025-03-05 12:00:00") / minute)
			for b.Loop() {
				m++
				n.price(m)
			}
		})
	}
}
