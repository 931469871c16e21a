package rss

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"

	"github.com/candlestack/candlestack/services/market"
)

// undated is the published time of a post that has none: the first block of
// Bitcoin. Our own clock would change the post at every poll.
const undated market.Millis = 1231006505000

// published is the first date of an item that can be true: published, updated,
// the day in its address. A date ahead of us is none yet; it comes true once.
func published(item *gofeed.Item, address string, now time.Time) market.Millis {
	for _, d := range []struct {
		text   string
		parsed *time.Time
	}{{item.Published, item.PublishedParsed}, {item.Updated, item.UpdatedParsed}} {
		at, ok := readDate(d.text)
		if !ok && d.parsed != nil {
			at, ok = *d.parsed, true
		}
		if ok && credible(at, now) {
			return market.MillisOf(at)
		}
	}
	if m := dayInAddress.FindStringSubmatch(address); m != nil {
		if at, err := time.Parse("2006/1/2", m[1]); err == nil && credible(at, now) {
			return market.MillisOf(at)
		}
	}
	return undated
}

// dayInAddress is the form of many blogs: /2026/11/21/title.
var dayInAddress = regexp.MustCompile(`/(20\d\d/\d{1,2}/\d{1,2})(?:/|$)`)

func credible(at, now time.Time) bool {
	return market.MillisOf(at) >= undated && !at.After(now)
}

// zones are offsets in hours of the names that feeds write. gofeed takes the
// names beyond RFC 822 and Western Europe for UTC, or for what the zone of our
// machine calls so. Of two meanings this is the one of more feeds.
var zones = map[string]float64{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "TRT": 3,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
	"BRT": -3, "ART": -3, "GST": 4, "PKT": 5, "IST": 5.5, "ICT": 7, "WIB": 7, "SGT": 8, "HKT": 8, "PHT": 8, "AWST": 8, "JST": 9, "KST": 9,
	"ACST": 9.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}

// layouts are the usual forms without weekday and name of a zone. All others
// are left to gofeed.
var layouts = []string{
	"2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05", "2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04",
	"2 Jan 06 15:04:05 -0700", "2 Jan 06 15:04:05", "2 Jan 06 15:04 -0700", "2 Jan 06 15:04",
	"2 January 2006 15:04:05 -0700", "2 January 2006 15:04:05",
	"2006-01-02 15:04:05", "Jan 2, 2006 15:04:05", "January 2, 2006 15:04:05",
}

// readDate reads what gofeed reads wrong or not at all: names of zones that it
// does not know, a zone twice, weekdays in other languages, seconds since 1970.
func readDate(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch len(text) {
		case 10:
			return time.Unix(n, 0), true
		case 13:
			return time.UnixMilli(n), true
		}
		return time.Time{}, false
	}
	if i := strings.LastIndex(text, " ("); i > 0 && strings.HasSuffix(text, ")") { // +0000 (UTC)
		text = text[:i]
	}
	if weekday, rest, ok := strings.Cut(text, ","); ok && !strings.ContainsAny(weekday, "0123456789") {
		text = rest
	}
	words := strings.Fields(strings.Replace(text, "Sept ", "Sep ", 1))
	if len(words) < 2 {
		return time.Time{}, false
	}
	zone := time.UTC
	last := len(words) - 1
	if hours, ok := zones[strings.ToUpper(words[last])]; ok {
		zone = time.FixedZone("", int(hours*3600))
		words = words[:last]
	}
	text = strings.Join(words, " ")
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
