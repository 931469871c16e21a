package binance

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// Transports of live candles.
const (
	TransportStream = "stream"
	TransportPoll   = "poll"
)

// Config says what to follow and how. The defaults are the hosts that serve
// market data only: the others refuse many countries (exchanges.md §1.1).
type Config struct {
	Instruments    []string      `help:"Instruments to follow, as BASE-QUOTE." default:"BTC-USDT,ETH-USDT,XRP-USDT" placeholder:"BASE-QUOTE"`
	Intervals      []string      `help:"Intervals to follow: 1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M. Case matters: 1M is a month." default:"1m" placeholder:"INTERVAL"`
	Transport      string        `help:"How live candles come: stream (WebSocket), or poll (REST, for networks that block WebSockets)." default:"stream"`
	RestURL        string        `help:"REST address of the exchange." default:"https://data-api.binance.vision" placeholder:"URL"`
	StreamURL      string        `help:"WebSocket address of the exchange." default:"wss://data-stream.binance.vision" placeholder:"URL"`
	StateDir       string        `help:"Folder that keeps the exchange's bans over restarts. Default: bans are forgotten." placeholder:"DIR"`
	WeightShare    float64       `help:"Share of the exchange's request weight to use, above 0 and up to 1. The weight is counted by IP address." default:"0.8" placeholder:"SHARE"`
	Stall          time.Duration `help:"Silence after which a connection counts as dead. Raise it where all instruments trade rarely." default:"60s"`
	ConnectionLife time.Duration `help:"Age at which a connection is replaced; the exchange closes it after 24h." default:"23h50m"`
}

// Validate reports all settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(field, value, format string, args ...any) {
		errs = append(errs, &pipeline.ConfigError{Field: field, Value: value, Err: fmt.Errorf(format, args...)})
	}
	if len(c.Instruments) == 0 {
		wrong("--instruments", "", "must name one at least")
	}
	symbols := map[string]string{}
	for _, name := range c.Instruments {
		instrument, err := market.ParseInstrument(name)
		if err != nil {
			wrong("--instruments", name, "is not of the form BTC-USDT")
			continue
		}
		symbol := symbolOf(instrument)
		if other, ok := symbols[symbol]; ok {
			wrong("--instruments", name, "is %s for Binance, as is %s", symbol, other)
		}
		symbols[symbol] = name
	}
	if len(c.Intervals) == 0 {
		wrong("--intervals", "", "must name one at least")
	}
	for i, name := range c.Intervals {
		if _, err := market.ParseInterval(name); err != nil {
			wrong("--intervals", name, "is none of %s", intervals())
		} else if slices.Contains(c.Intervals[:i], name) {
			wrong("--intervals", name, "is named twice")
		}
	}
	if c.Transport != TransportStream && c.Transport != TransportPoll {
		wrong("--transport", c.Transport, "is neither %s nor %s", TransportStream, TransportPoll)
	}
	if !address(c.RestURL, "http", "https") {
		wrong("--rest-url", c.RestURL, "is not an http or https address")
	}
	if !address(c.StreamURL, "ws", "wss") {
		wrong("--stream-url", c.StreamURL, "is not a ws or wss address")
	}
	if !(c.WeightShare > 0 && c.WeightShare <= 1) {
		wrong("--weight-share", fmt.Sprint(c.WeightShare), "is not above 0 and up to 1")
	}
	if c.Stall <= 0 {
		wrong("--stall", c.Stall.String(), "must be above 0")
	}
	if c.ConnectionLife <= 0 {
		wrong("--connection-life", c.ConnectionLife.String(), "must be above 0")
	}
	return errors.Join(errs...)
}

func intervals() string {
	var names []string
	for _, i := range market.Intervals() {
		names = append(names, string(i))
	}
	return strings.Join(names, " ")
}

func address(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && slices.Contains(schemes, u.Scheme)
}
