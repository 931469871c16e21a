// Package rss follows news feeds that need no key: RSS, Atom and JSON feeds.
package rss

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Config says which feeds to follow. The defaults are public feeds of well-known
// publishers, in English; a publisher may refuse a network or a country.
type Config struct {
	Feeds    []string      `name:"feed" help:"Addresses of RSS, Atom or JSON feeds." default:"https://www.coindesk.com/arc/outboundfeeds/rss/,https://cointelegraph.com/rss,https://decrypt.co/feed,https://bitcoinmagazine.com/feed,https://www.theblock.co/rss.xml" placeholder:"URL"`
	Interval time.Duration `help:"How often each feed is asked." default:"10m"`
}

// maxFeeds bounds the memory of a round: maxBody each.
const maxFeeds = 32

// Validate reports all settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(field, value, format string, args ...any) {
		errs = append(errs, &pipeline.ConfigError{Field: field, Value: value, Err: fmt.Errorf(format, args...)})
	}
	if len(c.Feeds) == 0 {
		wrong("--feed", "", "must name one at least")
	}
	if len(c.Feeds) > maxFeeds {
		wrong("--feed", fmt.Sprint(len(c.Feeds)), "are more feeds than %d", maxFeeds)
	}
	for i, feed := range c.Feeds {
		switch u, err := url.Parse(feed); {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			wrong("--feed", printable(feed), "is not an http or https address")
		case u.User != nil:
			wrong("--feed", printable(feed), "names a user: passwords are not supported")
		case slices.Contains(c.Feeds[:i], feed):
			wrong("--feed", printable(feed), "is named twice")
		}
	}
	if c.Interval < time.Second {
		wrong("--interval", c.Interval.String(), "must be 1s at least")
	}
	return errors.Join(errs...)
}

// printable is an address without what may be a secret: user and query.
func printable(feed string) string {
	feed, _, _ = strings.Cut(feed, "?")
	if i := strings.LastIndex(feed, "@"); i >= 0 {
		scheme, _, ok := strings.Cut(feed[:i], "//")
		if !ok {
			return feed[i+1:]
		}
		return scheme + "//" + feed[i+1:]
	}
	return feed
}

// labels are short names of feeds for people and metrics, each once: the host,
// with the path where hosts repeat, with the position where even that does.
func labels(feeds []*url.URL) []string {
	count := map[string]int{}
	for _, u := range feeds {
		count[u.Host]++
		count[u.Host+u.Path]++
	}
	names := make([]string, len(feeds))
	for i, u := range feeds {
		switch {
		case count[u.Host] == 1:
			names[i] = u.Host
		case count[u.Host+u.Path] == 1:
			names[i] = u.Host + u.Path
		default:
			names[i] = fmt.Sprintf("%s%s#%d", u.Host, u.Path, i+1)
		}
	}
	return names
}
