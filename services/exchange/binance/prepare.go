package binance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/wire/rest"
)

// codeBadSymbol answers a request in which any symbol is unknown.
const codeBadSymbol = "-1121"

// symbolsAtOnce keeps the URL short.
const symbolsAtOnce = 100

// Prepare asks the exchange for the symbols and its limits. Instruments that it
// does not know are *pipeline.ConfigError, all of them joined; one that is not
// traded now is a line in the log.
func (s *Source) Prepare(ctx context.Context) error {
	infos, unknown, err := s.symbols(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, symbol := range unknown {
		errs = append(errs, &pipeline.ConfigError{Field: "--instruments", Value: s.lines[symbol].String(), Err: errors.New("is not known to Binance")})
	}
	for _, info := range infos {
		if info.Status != "TRADING" {
			s.log.Warn("instrument is not traded", "exchange", exchange, "instrument", s.lines[info.Symbol].String(), "status", info.Status)
		}
	}
	return errors.Join(errs...)
}

// symbols returns what the exchange says of our symbols, and those that it does
// not know.
func (s *Source) symbols(ctx context.Context) (known []symbolInfo, unknown []string, err error) {
	for names := range slices.Chunk(s.names(), symbolsAtOnce) {
		k, u, err := s.symbolsOf(ctx, names)
		if err != nil {
			return nil, nil, err
		}
		known, unknown = append(known, k...), append(unknown, u...)
	}
	return known, unknown, nil
}

// names are our symbols in the order of the configuration.
func (s *Source) names() []string {
	var names []string
	for _, line := range s.series {
		if name := symbolOf(line.Instrument); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// symbolsOf asks for all names at once. One unknown symbol spoils the answer,
// so the guilty are found by halving.
func (s *Source) symbolsOf(ctx context.Context, names []string) (known []symbolInfo, unknown []string, err error) {
	list, err := json.Marshal(names)
	if err != nil {
		return nil, nil, err
	}
	query := url.Values{"symbols": {string(list)}, "showPermissionSets": {"false"}}
	reply, err := s.get(ctx, rest.Request{Route: routeInfo, Query: query, Weight: weightInfo, Urgent: true})
	if _, code := pipeline.ClassOf(err); err != nil && code == codeBadSymbol {
		if len(names) == 1 {
			return nil, names, nil
		}
		for half := range slices.Chunk(names, (len(names)+1)/2) {
			k, u, err := s.symbolsOf(ctx, half)
			if err != nil {
				return nil, nil, err
			}
			known, unknown = append(known, k...), append(unknown, u...)
		}
		return known, unknown, nil
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := parseExchangeInfo(reply.Body)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	if limit, ok := info.weightLimit(); ok {
		s.rest.SetLimit(limit)
	}
	for _, name := range names {
		i := slices.IndexFunc(info.Symbols, func(i symbolInfo) bool { return i.Symbol == name })
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		known = append(known, info.Symbols[i])
	}
	return known, unknown, nil
}

// tolerable is how far clocks may differ before doctor finds fault: candles are
// closed by the exchange's clock, but latencies are measured across both.
const tolerable = time.Second

// Examine looks at REST, clock, weight, instruments and stream.
func (s *Source) Examine(ctx context.Context) []pipeline.Finding {
	finding := func(subject string, ok bool, format string, args ...any) pipeline.Finding {
		return pipeline.Finding{Subject: exchange + " " + subject, OK: ok, Detail: fmt.Sprintf(format, args...)}
	}
	var found []pipeline.Finding
	reply, err := s.get(ctx, rest.Request{Route: routeTime, Weight: weightTime, Urgent: true})
	server, parseErr := parseTime(reply.Body)
	switch {
	case err != nil:
		found = append(found, finding("rest", false, "%v", err))
	case parseErr != nil:
		found = append(found, finding("rest", false, "%s: %v", s.rest.Host(), parseErr))
	default:
		took := reply.Received.Sub(reply.Sent)
		offset := server.Time().Sub(reply.Sent.Add(took / 2))
		used, limit := s.rest.Budget()
		found = append(found,
			finding("rest", true, "%s answers in %s", s.rest.Host(), took.Round(time.Millisecond)),
			finding("clock", offset.Abs() <= tolerable+took/2, "the exchange's clock is %s from ours", offset.Round(time.Millisecond)),
			finding("weight", float64(used) <= float64(limit)*s.cfg.WeightShare, "%d of %d used in this minute, ours is a share of %g", used, limit, s.cfg.WeightShare))
		known, unknown, err := s.symbols(ctx)
		if err != nil {
			found = append(found, finding("instruments", false, "%v", err))
		}
		for _, info := range known {
			found = append(found, finding(s.lines[info.Symbol].String(), info.Status == "TRADING", "status %s", info.Status))
		}
		for _, symbol := range unknown {
			found = append(found, finding(s.lines[symbol].String(), false, "is not known to Binance"))
		}
	}
	if s.session != nil {
		took, err := s.session.Probe(ctx, s.urls[0])
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(s.cfg.StreamURL, "wss://"), "ws://"), "/")
		if err != nil {
			found = append(found, finding("stream", false, "%s: %v", host, err))
		} else {
			found = append(found, finding("stream", true, "%s shakes hands in %s", host, took.Round(time.Millisecond)))
		}
	}
	return found
}
