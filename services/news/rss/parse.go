package rss

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"
	"golang.org/x/net/html/charset"

	"github.com/candlestack/candlestack/services/market"
)

// source is the name under which the stack knows these posts.
const source = "rss"

const (
	maxItems = 500 // of one feed
	maxID    = 300 // bytes; a longer id is hashed
	// maxDepth and maxTokens are what a feed is not: gofeed recurses into elements
	// that it does not know, without an end.
	maxDepth  = 100
	maxTokens = 200_000
)

// contents is what a feed shows.
type contents struct {
	posts   []*market.Post // oldest first, each id once
	items   int            // before any was left out
	leftOut int            // cannot be told apart or have nothing to show, or beyond maxItems
	undated int
}

// parse reads a feed that was configured as feed and came from base. now is our
// clock. What it says of an item depends on the item, the feed's title and
// language, and on now only where a date lies ahead.
func parse(body []byte, feed, base *url.URL, now time.Time) (*contents, error) {
	if err := bounded(body); err != nil {
		return nil, err
	}
	parser := gofeed.NewParser()
	parser.RSSTranslator = &gofeed.DefaultRSSTranslator{DisableContentImageScan: true} // picture is cheaper
	f, err := parser.Parse(bytes.NewReader(body))
	switch {
	case errors.Is(err, gofeed.ErrFeedTypeNotDetected) && isHTML(body):
		return nil, errors.New("the body is an HTML page, not a feed")
	case errors.Is(err, gofeed.ErrFeedTypeNotDetected):
		return nil, errors.New("the body is neither RSS nor Atom nor a JSON feed")
	case err != nil:
		return nil, fmt.Errorf("reading the feed: %.200w", err)
	}
	c := &contents{items: len(f.Items)}
	publisher := market.Publisher{
		Title: market.CleanText(plain(f.Title), market.MaxWord), Domain: strings.TrimPrefix(strings.ToLower(feed.Hostname()), "www."),
		Region: language(f.Language), Type: "feed",
	}
	known := map[string]bool{}
	for _, item := range f.Items {
		p := post(item, publisher, strings.ToLower(feed.Host), base, now)
		if p == nil {
			c.leftOut++
			continue
		}
		if known[p.ID] { // shown twice: the first is the newer in most feeds
			continue
		}
		known[p.ID] = true
		c.posts = append(c.posts, p)
	}
	slices.Reverse(c.posts)
	oldestFirst(c.posts)
	if surplus := len(c.posts) - maxItems; surplus > 0 {
		c.posts = c.posts[surplus:]
		c.leftOut += surplus
	}
	for _, p := range c.posts {
		if p.PublishedTime == undated {
			c.undated++
		}
	}
	return c, nil
}

func oldestFirst(posts []*market.Post) {
	slices.SortStableFunc(posts, func(a, b *market.Post) int { return cmp.Compare(a.PublishedTime, b.PublishedTime) })
}

// post is an item as a post, or nil where it has nothing to show.
func post(item *gofeed.Item, publisher market.Publisher, host string, base *url.URL, now time.Time) *market.Post {
	link := address(base, item.Link, market.MaxURL)
	if link == "" && len(item.Links) > 0 {
		link = address(base, item.Links[0], market.MaxURL)
	}
	if link == "" && strings.HasPrefix(item.GUID, "http") { // RSS: a permanent link
		link = address(base, item.GUID, market.MaxURL)
	}
	title := market.CleanText(plain(item.Title), market.MaxTitle)
	summary := text(item.Description)
	if summary == "" {
		summary = text(item.Content)
	}
	if title == "" { // a microblog
		title = market.CleanText(summary, 140)
	}
	if title == "" {
		title = market.CleanText(link, market.MaxTitle)
	}
	if title == "" {
		return nil
	}
	categories := strings.Join(item.Categories, " · ")
	name, _, _ := strings.Cut(strings.NewReplacer(" | ", " - ", ": ", " - ", " – ", " - ", " — ", " - ").Replace(publisher.Title), " - ")
	return &market.Post{
		Source: source, ID: identity(host, item.GUID, link, title), Type: "news",
		Title: title, Summary: summary, URL: link, ImageURL: address(base, image(item), market.MaxURL), Author: author(item), Publisher: publisher,
		Instruments:   instruments(name, title, summary, plain(categories)),
		PublishedTime: published(item, link, now), ObservedTime: market.MillisOf(now), Origin: market.OriginLive,
	}
}

func text(s string) string {
	return market.CleanText(withoutFooter(plain(s)), market.MaxSummary)
}

// identity is the host and what the feed calls the item: its guid, else its
// link, else a hash of its title. Two feeds of one host may so show one post.
func identity(host, guid, link, title string) string {
	id := market.CleanText(guid, len(guid)*3)
	if id == "" {
		id = link
	}
	hashed := id
	if id == "" {
		hashed = title
	}
	if id == "" || len(host)+1+len(id) > maxID {
		id = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(hashed)))
	}
	return host + "/" + id
}

// image is the address of an item's picture: its own, that of the media
// extension, or the first of its text.
func image(item *gofeed.Item) string {
	if item.Image != nil && item.Image.URL != "" {
		return item.Image.URL
	}
	if thumbnails := item.Extensions["media"]["thumbnail"]; len(thumbnails) > 0 && thumbnails[0].Attrs["url"] != "" {
		return thumbnails[0].Attrs["url"]
	}
	for _, e := range item.Enclosures {
		if strings.HasPrefix(e.Type, "image/") {
			return e.URL
		}
	}
	if src := picture(item.Content); src != "" {
		return src
	}
	return picture(item.Description)
}

// author is the names of who wrote an item. Addresses of mail are nobody's business.
func author(item *gofeed.Item) string {
	var names []string
	for _, p := range item.Authors {
		if name := market.CleanText(plain(p.Name), market.MaxWord); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return market.CleanText(strings.Join(names, ", "), market.MaxWord)
}

// language is the first part of a tag like en-US.
func language(tag string) string {
	tag, _, _ = strings.Cut(strings.ReplaceAll(strings.TrimSpace(tag), "_", "-"), "-")
	if len(tag) != 2 && len(tag) != 3 || strings.ContainsFunc(tag, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
		return ""
	}
	return strings.ToLower(tag)
}

func isHTML(body []byte) bool {
	start := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 512)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// bounded refuses XML that is no feed by its shape. What cannot be read at all
// is left to the parser and its words.
func bounded(body []byte) error {
	if !bytes.HasPrefix(bytes.TrimLeft(body, "\uFEFF \t\r\n"), []byte("<")) {
		return nil
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	d.CharsetReader = charset.NewReaderLabel
	depth := 0
	for n := range maxTokens {
		token, err := d.RawToken()
		if err != nil {
			if errors.Is(err, io.EOF) || n > 0 {
				return nil
			}
			return fmt.Errorf("reading the feed: %.200w", err)
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return fmt.Errorf("elements are nested deeper than %d", maxDepth)
		}
	}
	return fmt.Errorf("the feed has more than %d elements and texts", maxTokens)
}
