// Package simulator is an exchange that speaks Binance's wire formats, REST and
// WebSocket (exchanges.md §1), over a seeded market or a recording, with the
// exchange's limits, and with faults on demand. Beside it stand two news feeds,
// CryptoPanic's API v1 (§2) and RSS, over seeded posts, some of which move the
// prices, or over recorded pages. It imports nothing of the stack
// but the ground, so that what it proves of a source is not a mistake they share.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/market"
)

// Config is what can be chosen. The zero value of a field means its default.
type Config struct {
	Listen      string        `help:"Address to serve on; port 0 takes any that is free." default:"127.0.0.1:9700" placeholder:"HOST:PORT"`
	Seed        int64         `help:"Number that the market is made from." default:"1"`
	Instruments []string      `help:"Instruments of the seeded market." default:"BTC-USDT,ETH-USDT,XRP-USDT" placeholder:"BASE-QUOTE"`
	Replay      string        `help:"Serve recorded one-minute candles instead: a folder of *.csv and *.csv.gz, one such file, or a page of klines (.json, .json.gz). A file's name starts with its symbol." placeholder:"PATH"`
	ReplayExact bool          `help:"Keep the dates of the recording. Otherwise it is moved by whole days to end today."`
	Start       time.Time     `help:"Simulated clock at the start of the process, not after now. Default: now." placeholder:"2025-03-01T03:00:00Z"`
	Speed       float64       `help:"Simulated seconds in a second, until the simulated clock has reached the real one." default:"1"`
	Lifetime    time.Duration `help:"Time after which a WebSocket connection is closed." default:"24h"`
	WeightLimit int           `help:"Request weight that an IP may use in a minute." default:"6000"`
	ReplayNews  string        `help:"Serve recorded pages of CryptoPanic as news instead, with their dates: one *.json or a folder of them. Then no news moves the seeded prices." placeholder:"PATH"`
	NewsQuota   int           `help:"Requests that CryptoPanic answers in a calendar month; 0 is no end." default:"0"`
}

// usual fills in the defaults, for those who make a Config by hand.
func (c Config) usual() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:9700"
	}
	if len(c.Instruments) == 0 {
		c.Instruments = []string{"BTC-USDT", "ETH-USDT", "XRP-USDT"}
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	if c.Lifetime == 0 {
		c.Lifetime = 24 * time.Hour
	}
	if c.WeightLimit == 0 {
		c.WeightLimit = defaultWeightLimit
	}
	return c
}

// Validate names every field that cannot be right, and its value.
func (c *Config) Validate() error {
	u := c.usual()
	var all []error
	bad := func(field string, value any, why string) {
		all = append(all, fmt.Errorf("%s %q: %s", field, fmt.Sprint(value), why))
	}
	if _, _, err := net.SplitHostPort(u.Listen); err != nil {
		bad("--listen", u.Listen, "is not of the form host:port")
	}
	seen := make(map[string]bool)
	for _, name := range u.Instruments {
		i, err := market.ParseInstrument(name)
		switch {
		case err != nil:
			bad("--instruments", name, "is not of the form BTC-USDT")
		case seen[i.Base+i.Quote]:
			bad("--instruments", name, "is named twice")
		}
		seen[i.Base+i.Quote] = true
	}
	if u.Replay != "" {
		if _, err := os.Stat(u.Replay); err != nil {
			bad("--replay", u.Replay, "cannot be read: "+err.Error())
		}
	} else if u.ReplayExact {
		bad("--replay-exact", true, "needs --replay")
	}
	switch {
	case u.Start.After(time.Now()):
		bad("--start", u.Start.Format(time.RFC3339), "lies in the future")
	case !u.Start.IsZero() && u.Start.Before(genesis.Time()) && u.Replay == "":
		bad("--start", u.Start.Format(time.RFC3339), "is before the market opened, "+genesis.String())
	}
	if !(u.Speed > 0) {
		bad("--speed", u.Speed, "is not above 0")
	} else if u.Speed > 1 && u.Start.IsZero() {
		bad("--speed", u.Speed, "needs a --start in the past")
	}
	if u.Lifetime < time.Second {
		bad("--lifetime", u.Lifetime, "is under a second")
	}
	if u.WeightLimit < 0 {
		bad("--weight-limit", u.WeightLimit, "is negative")
	}
	if u.ReplayNews != "" {
		if _, err := openArchive(u.ReplayNews); err != nil {
			bad("--replay-news", u.ReplayNews, "cannot be read: "+err.Error())
		}
	}
	if u.NewsQuota < 0 {
		bad("--news-quota", u.NewsQuota, "is negative")
	}
	return errors.Join(all...)
}

// Simulator is the server. Make it with New, then call Run.
type Simulator struct {
	cfg      Config
	log      *slog.Logger
	wall     func() time.Time
	clock    *clock
	board    board
	news     news
	newsroom *newsroom // the same where the news is seeded, else nil
	newsdesk *newsdesk
	limits   *limits
	faults   *faults
	metrics  *metrics
	listener net.Listener
	sessions sync.WaitGroup
	open     atomic.Int64 // connections
	frames   atomic.Int64

	pingEvery, pongWithin time.Duration
}

// New loads the market and listens, so that Addr is known; the simulated clock
// starts here.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Simulator, error) {
	return NewAt(cfg, log, reg, time.Now)
}

// NewAt is New with a wall clock of the caller's, who can so walk through the
// past: without Start the simulated clock is that clock.
func NewAt(cfg Config, log *slog.Logger, reg prometheus.Registerer, wall func() time.Time) (*Simulator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.usual()
	s := &Simulator{
		cfg: cfg, log: log, wall: wall,
		limits: newLimits(cfg.WeightLimit, wall), faults: newFaults(wall), newsdesk: &newsdesk{wall: wall, quota: cfg.NewsQuota},
		pingEvery: 20 * time.Second, pongWithin: time.Minute,
	}
	begun := wall()
	s.clock = &clock{wall: wall, begun: begun, start: cfg.Start, speed: cfg.Speed}
	if cfg.Start.IsZero() {
		s.clock.start = begun
	}
	if err := s.load(begun); err != nil {
		return nil, err
	}
	if err := s.openNews(); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(reg, s.routes(), s.newsRoutes(), func() float64 { return float64(s.clock.now()) / 1000 })
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", cfg.Listen, err)
	}
	return s, nil
}

// load makes the instruments: of the seed, or of a recording.
func (s *Simulator) load(now time.Time) error {
	var all []*instrument
	if s.cfg.Replay == "" {
		for _, name := range s.cfg.Instruments {
			i, err := market.ParseInstrument(name)
			if err != nil {
				return err
			}
			n := newNoise(s.cfg.Seed, i.Base+i.Quote)
			all = append(all, newInstrument(i, n.lot, n))
		}
		s.board = newBoard(all)
		return nil
	}
	all, err := openRecordings(s.cfg.Replay)
	if err != nil {
		return fmt.Errorf("opening recordings: %w", err)
	}
	if s.cfg.ReplayExact {
		var end int64
		for _, in := range all {
			_, e := in.tape.span()
			end = max(end, e)
		}
		s.clock.end = (market.Millis(end+1) * minute).Time()
	} else {
		shift(all, now)
	}
	s.board = newBoard(all)
	return nil
}

// openNews opens the feeds; the posts of a seed move what the seed trades.
func (s *Simulator) openNews() (err error) {
	if s.cfg.ReplayNews != "" {
		if s.news, err = openArchive(s.cfg.ReplayNews); err != nil {
			return fmt.Errorf("opening recorded news: %w", err)
		}
		return nil
	}
	var currencies []string
	for _, in := range s.board.order {
		currencies = append(currencies, in.Base)
	}
	s.newsroom = newNewsroom(s.cfg.Seed, currencies)
	s.news = s.newsroom
	for _, in := range s.board.order {
		if n, ok := in.tape.(*noise); ok {
			n.news = s.newsroom.desk(in.Base)
		}
	}
	return nil
}

// newsMoves tells whether posts move the prices: those of a seed do, where the
// prices are made from it too.
func (s *Simulator) newsMoves() bool { return s.newsroom != nil && s.cfg.Replay == "" }

// Run serves until ctx ends, then closes what is open and waits for it.
func (s *Simulator) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.Info("simulator serves", "address", s.Addr(), "seed", s.cfg.Seed, "replay", s.cfg.Replay,
		"instruments", len(s.board.order), "clock", s.Now().String(), "speed", s.cfg.Speed)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(s.listener) }()
	var err error
	select {
	case <-ctx.Done():
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(within) != nil {
			err = server.Close() // who did not leave in time is thrown out
		}
		<-failed //nolint:errcheck // it was closed, as it was told
	case err = <-failed:
		err = fmt.Errorf("serving %s: %w", s.Addr(), err)
	}
	s.sessions.Wait()
	return err
}

// Addr is host:port; REST is at http://ADDR, streams at ws://ADDR.
func (s *Simulator) Addr() string { return s.listener.Addr().String() }

// Now is the simulated clock.
func (s *Simulator) Now() market.Millis { return s.clock.now() }

// Candle is the truth about a candle once it is closed, as REST gives it; false
// for a planted hole, a time off the grid or outside the market's life. It
// depends on the seed or recording alone, not on the clock.
func (s *Simulator) Candle(i market.Instrument, iv market.Interval, open market.Millis) (market.Candle, bool) {
	in, ok := s.board.bySymbol[i.Base+i.Quote]
	g := grid{interval: iv}
	if !ok || !iv.Valid() || g.start(open) != open {
		return market.Candle{}, false
	}
	b, ok := in.between(open, g.next(open))
	if !ok {
		return market.Candle{}, false
	}
	return b.candle(in.Instrument, g, open), true
}

// Inject makes a fault happen from now on; the error names what is wrong with it.
func (s *Simulator) Inject(f Fault) error {
	if err := f.validate(&s.board); err != nil {
		return err
	}
	if f.Kind == faultShift && s.newsroom == nil {
		return errors.New("kind shift needs seeded news: a recording takes no new post")
	}
	s.faults.inject(f)
	return nil
}

// ClearFaults ends all faults.
func (s *Simulator) ClearFaults() { s.faults.clear() }

// Accounting is what clients cost so far.
func (s *Simulator) Accounting() Accounting {
	a := s.limits.accounting()
	a.Connections, a.Frames = s.open.Load(), s.frames.Load()
	a.News = s.newsdesk.accounting()
	return a
}
