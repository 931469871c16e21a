package market_test

import (
	"strings"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

func TestGapValidate(t *testing.T) {
	for problem, change := range map[string]func(g *market.Gap){
		"":                                      func(*market.Gap) {},
		`exchange "" is not 1 to 32 bytes long`: func(g *market.Gap) { g.Exchange = "" },
		`interval "" is unknown`:                func(g *market.Gap) { g.Interval = "" },
		`from 0 is not a time in ms between 2009 and 2100`:                       func(g *market.Gap) { g.FromTime = 0 },
		`to -1 is not a time in ms between 2009 and 2100`:                        func(g *market.Gap) { g.ToTime = -1 },
		`changed 0 is not a time in ms between 2009 and 2100`:                    func(g *market.Gap) { g.Changed = 0 },
		`to 2024-09-04T02:27:00.000Z is not after from 2024-09-04T02:27:00.000Z`: func(g *market.Gap) { g.ToTime = g.FromTime },
		`state "" is unknown`:       func(g *market.Gap) { g.State = "" },
		`state "closed" is unknown`: func(g *market.Gap) { g.State = "closed" },
		`cause "` + strings.Repeat("c", 33) + `" is longer than 32 bytes`: func(g *market.Gap) { g.Cause = strings.Repeat("c", 33) },
		`origin "Live" is unknown`:                                        func(g *market.Gap) { g.Origin = "Live" },
	} {
		g := openGap()
		change(g)
		wants(t, g.Validate(), problem)
	}
}

func TestGapNames(t *testing.T) {
	g := openGap()
	repaired := openGap()
	repaired.State, repaired.Changed = market.GapRepaired, g.Changed+1
	if g.Key() != repaired.Key() || g.Version() >= repaired.Version() {
		t.Error("a later state does not follow an earlier one of the same gap")
	}
	event, received := g.Clocks()
	if event != g.Changed || received != g.Changed {
		t.Errorf("clocks are %s and %s, want %s", event, received, g.Changed)
	}
	for _, f := range []struct{ what, got, want string }{
		{"kind", string(g.Kind()), "gap"},
		{"topic", g.Kind().Topic(), "market.gaps"},
		{"partition key", g.PartitionKey(), "binance/BTC-USDT/1m"},
		{"key", g.Key(), "binance/BTC-USDT/1m/1725416820000"},
	} {
		if f.got != f.want {
			t.Errorf("%s is %q, want %q", f.what, f.got, f.want)
		}
	}
}

func TestParseInstrument(t *testing.T) {
	for _, text := range []string{"BTC-USDT", "1INCH-USDT", "A-B", strings.Repeat("X", 20) + "-" + strings.Repeat("9", 20)} {
		if i, err := market.ParseInstrument(text); err != nil || i.String() != text {
			t.Errorf("%s is read as %s, %v", text, i, err)
		}
	}
	for _, text := range []string{"", "-", "BTC", "BTCUSDT", "BTC-", "-USDT", "btc-USDT", "BTC-USDT-X", "BTC/USDT", "BTC -USDT", "ÄTH-USDT", strings.Repeat("X", 21) + "-USDT"} {
		if i, err := market.ParseInstrument(text); err == nil {
			t.Errorf("%q is read as %s", text, i)
		}
	}
	if text := (market.Instrument{}).String(); text != "" {
		t.Errorf("no instrument is written %q", text)
	}
}

func TestMillis(t *testing.T) {
	m := market.MillisOf(time.Date(2024, 2, 29, 12, 0, 0, 123_999_999, time.FixedZone("", 3600)))
	if got, want := m.String(), "2024-02-29T11:00:00.123Z"; got != want {
		t.Errorf("is %s, want %s", got, want)
	}
	if got := m.Add(90 * time.Second).Sub(m); got != 90*time.Second {
		t.Errorf("moved by %s", got)
	}
	if m.Time().Location() != time.UTC {
		t.Error("is not in UTC")
	}
}
