package binance

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/wire/rest"
	"github.com/candlestack/candlestack/services/wire/session"
)

// The venue's limits (exchanges.md §1.4, §1.5), with room for others at our address.
const (
	weightPerMinute = 6000             // until exchangeInfo says another
	restTimeout     = 15 * time.Second // the venue gives up after 10
	restBody        = 16 << 20
	pingInterval    = 20 * time.Second
	dialTimeout     = 10 * time.Second
	frameLimit      = 1 << 20
	attemptsPer5min = 100 // of 300
	attemptsAtOnce  = 10
	// urlLimit bounds what a proxy must take; streams that do not fit go to
	// another connection. It also keeps one below the venue's 1024 streams.
	urlLimit = 4000
)

const blocked = "this network may not reach it: data-api.binance.vision and data-stream.binance.vision serve the same data to more countries"

// Source is Binance spot. It is a pipeline.Source with History, Preparer,
// Examiner and Closer; its methods may be called concurrently.
type Source struct {
	cfg     Config
	log     *slog.Logger
	rest    *rest.Client
	session *session.Session // nil where the transport is poll
	urls    []string         // one a connection
	series  []market.Series
	lines   map[string]market.Instrument // by the venue's symbol
	asked   map[market.Interval]bool
	clock   clock
	metrics *metrics
}

var (
	_ pipeline.Source   = (*Source)(nil)
	_ pipeline.History  = (*Source)(nil)
	_ pipeline.Preparer = (*Source)(nil)
	_ pipeline.Examiner = (*Source)(nil)
	_ pipeline.Closer   = (*Source)(nil)
)

// New makes a source. It connects to nothing yet. Errors are those of
// Config.Validate, or a *pipeline.ConfigError for a state folder that cannot be written.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, log: log, lines: map[string]market.Instrument{}, asked: map[market.Interval]bool{}}
	var streams []string
	for _, name := range cfg.Instruments {
		instrument, err := market.ParseInstrument(name)
		if err != nil {
			return nil, err
		}
		s.lines[symbolOf(instrument)] = instrument
		for _, interval := range cfg.Intervals {
			s.asked[market.Interval(interval)] = true
			s.series = append(s.series, market.Series{Exchange: exchange, Instrument: instrument, Interval: market.Interval(interval)})
			streams = append(streams, strings.ToLower(symbolOf(instrument))+"@kline_"+interval)
		}
	}
	var err error
	if s.metrics, err = newMetrics(reg); err != nil {
		return nil, fmt.Errorf("registering metrics of binance: %w", err)
	}
	s.rest, err = rest.New(rest.Config{
		URL: cfg.RestURL, Limit: weightPerMinute, Share: cfg.WeightShare, StateDir: cfg.StateDir,
		Timeout: restTimeout, MaxBody: restBody, Routes: []string{routeKlines, routeInfo, routeTime},
		Used: usedWeight, Explain: explain, Blocked: blocked,
	}, log, reg)
	if err != nil {
		return nil, err
	}
	if cfg.Transport == TransportPoll {
		return s, nil
	}
	s.urls = streamURLs(cfg.StreamURL, streams)
	s.session, err = session.New(session.Config{
		Exchange: exchange, Life: cfg.ConnectionLife, Stall: cfg.Stall, Ping: pingInterval, DialTimeout: dialTimeout,
		ReadLimit: frameLimit, Attempts: rate.Every(5 * time.Minute / attemptsPer5min), Burst: attemptsAtOnce, Blocked: blocked,
	}, log, reg)
	return s, err
}

// symbolOf is the venue's spelling. The way back is Source.lines: where base
// ends and quote begins cannot be seen.
func symbolOf(i market.Instrument) string { return i.Base + i.Quote }

// streamURLs spreads streams over combined connections.
func streamURLs(base string, streams []string) []string {
	prefix := strings.TrimSuffix(base, "/") + "/stream?streams="
	var urls []string
	current := ""
	for _, name := range streams {
		if current != "" && len(current)+1+len(name) <= urlLimit {
			current += "/" + name
			continue
		}
		if current != "" {
			urls = append(urls, current)
		}
		current = prefix + name
	}
	return append(urls, current)
}

// Close lets go of idle connections.
func (s *Source) Close() error { return s.rest.Close() }

// Series lists what the source follows.
func (s *Source) Series() []market.Series { return s.series }

// Stream is one life of the connections, or of the polling. It ends with
// ctx.Err(), the error of emit, or a *pipeline.Disconnected with a cause of
// session.Causes.
func (s *Source) Stream(ctx context.Context, emit pipeline.Emit) error {
	if s.session == nil {
		return s.poll(ctx, emit)
	}
	var m message // handle is called by one goroutine at a time
	return s.session.Run(ctx, s.urls, func(ctx context.Context, frame []byte, received time.Time) (session.Verdict, error) {
		kind, err := parseFrame(frame, &m)
		if err != nil {
			return session.Bad, err
		}
		switch kind {
		case frameShutdown:
			return session.Leaving, nil
		case frameProblem:
			return session.Control, &pipeline.Disconnected{Cause: pipeline.CauseProtocol, Err: fmt.Errorf("the exchange says: %s (%d)", m.Message, m.Code)}
		case frameKline:
			instrument, ok := s.lines[m.Data.Symbol]
			if !ok || !s.asked[m.Data.Kline.Interval] {
				return session.Bad, fmt.Errorf("a candle of %.40q %.10q, which nobody asked for", m.Data.Symbol, m.Data.Kline.Interval)
			}
			return session.Data, emit(ctx, m.Data.candle(instrument, market.MillisOf(received)))
		}
		return session.Control, nil
	})
}

// Routes of REST and their weights (exchanges.md §1.2, §1.3).
const (
	routeKlines, weightKlines = "/api/v3/klines", 2
	routeInfo, weightInfo     = "/api/v3/exchangeInfo", 20
	routeTime, weightTime     = "/api/v3/time", 1
)

// usedWeight reads the weight of the current minute.
func usedWeight(h http.Header) (int, bool) {
	used, err := strconv.Atoi(h.Get("X-Mbx-Used-Weight-1m"))
	return used, err == nil && used >= 0
}

// explain reads the venue's error. The end of a ban stands in the text:
// "…IP banned until 1770123456789…".
func explain(body []byte) rest.Complaint {
	var p problem
	if json.Unmarshal(body, &p, lenient) != nil || p.Message == "" {
		return rest.Complaint{}
	}
	c := rest.Complaint{Code: strconv.Itoa(p.Code), Message: shorten(p.Message)}
	if _, after, ok := strings.Cut(p.Message, "banned until "); ok {
		digits := after[:len(after)-len(strings.TrimLeft(after, "0123456789"))]
		if ms, err := strconv.ParseInt(digits, 10, 64); err == nil {
			c.BannedUntil = time.UnixMilli(ms)
		}
	}
	return c
}

func shorten(s string) string { return fmt.Sprintf("%.200s", s) }

// get asks and keeps an eye on the exchange's clock.
func (s *Source) get(ctx context.Context, r rest.Request) (rest.Reply, error) {
	reply, err := s.rest.Get(ctx, r)
	if err == nil {
		s.clock.check(reply)
	}
	return reply, err
}

// unreadable is an answer that no longer has the documented form.
func unreadable(err error) error {
	return &pipeline.Error{Class: pipeline.Environment, Code: "body", Err: err}
}

// newestRows is a start that asks for the newest rows, the open one included.
const newestRows market.Millis = -1

// page asks for rows from start on.
func (s *Source) page(ctx context.Context, line market.Series, start market.Millis, limit int, urgent bool) (page, error) {
	query := url.Values{
		"symbol": {symbolOf(line.Instrument)}, "interval": {string(line.Interval)}, "limit": {strconv.Itoa(limit)},
	}
	if start != newestRows {
		query.Set("startTime", strconv.FormatInt(int64(start), 10))
	}
	now, err := s.Now(ctx)
	if err != nil {
		return page{}, err
	}
	asked := time.Now()
	reply, err := s.get(ctx, rest.Request{Route: routeKlines, Query: query, Weight: weightKlines, Urgent: urgent})
	if err != nil {
		return page{}, err
	}
	rows, bad, total, err := parseRows(reply.Body)
	if err != nil {
		return page{}, unreadable(err)
	}
	if len(bad) > 0 {
		s.metrics.badRows.Add(float64(len(bad)))
		s.log.Warn("leaving out rows that cannot be read", "series", line.Key(), "rows", len(bad), "first", bad[0].OpenTime.String(), "error", bad[0].Err)
	}
	return page{
		rows: rows, bad: bad, full: total >= limit,
		now: now.Add(reply.Sent.Sub(asked)), received: market.MillisOf(reply.Received),
	}, nil
}

// page is what one request gave.
type page struct {
	rows     []row
	bad      []badRow
	full     bool          // there may be more
	now      market.Millis // the exchange's clock when we asked
	received market.Millis // our clock
}

// closed tells whether r was final when p was asked for. Both ends count: in an
// outage the venue has closed candles early, and the open one ends in future.
func (p *page) closed(r row, i market.Interval) bool {
	return r.CloseTime < p.now && i.Next(r.OpenTime) <= p.now
}
