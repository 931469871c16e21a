package cryptopanic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/wire/rest"
)

// source is the name under which the stack knows this feed.
const source = "cryptopanic"

// lenient lets repeated names and bytes that are no UTF-8 pass: one bad title
// must not cost the page. Names keep their case.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// page is what one answer shows.
type page struct {
	posts []*market.Post // valid, but for the clocks that are the engine's
	bad   []error        // one for each post that cannot be read
	last  bool           // the feed names no page after it
}

// Parse reads an answer of the API that was received at a time. Posts that cannot
// be read are left out; the clocks that are the engine's are not filled in.
func Parse(body []byte, received market.Millis) ([]*market.Post, error) {
	p, err := parsePage(body, received)
	return p.posts, err
}

// parsePage reads an answer. A post that cannot be read costs itself only; an
// answer without a list of results is an error.
func parsePage(body []byte, received market.Millis) (page, error) {
	var answer feedPage
	if err := json.Unmarshal(body, &answer, lenient); err != nil {
		return page{}, fmt.Errorf("decoding posts: %w", err)
	}
	if answer.Results == nil {
		return page{}, errors.New("decoding posts: results are missing")
	}
	p := page{last: answer.Next == ""}
	for _, value := range answer.Results {
		post, err := parsePost(value, received)
		if err != nil {
			p.bad = append(p.bad, err)
			continue
		}
		p.posts = append(p.posts, post)
	}
	return p, nil
}

// parsePost reads one post and checks that it will be valid once the engine has
// filled in its clocks.
func parsePost(value jsontext.Value, received market.Millis) (*market.Post, error) {
	if value.Kind() != '{' {
		return nil, fmt.Errorf("a post that is %s", value.Kind())
	}
	var raw rawPost
	if err := json.Unmarshal(value, &raw, lenient); err != nil {
		return nil, err
	}
	p, err := raw.post(received)
	if err != nil {
		return nil, fmt.Errorf("post %.60q: %w", raw.ID, err)
	}
	filled := *p
	filled.FirstSeenTime, filled.VotesTime = received, received
	return p, filled.Validate()
}

// post maps the members of all generations (exchanges.md §2.1, §2.2).
func (r *rawPost) post(received market.Millis) (*market.Post, error) {
	created, err := millis(r.CreatedAt)
	published := created
	if r.PublishedAt != "" {
		published, err = millis(r.PublishedAt)
	}
	if err != nil {
		return nil, fmt.Errorf("published_at: %w", err)
	}
	return &market.Post{
		Source: source, ID: strings.TrimSpace(string(r.ID)), Type: word(r.Kind),
		Title:   plain(r.Title, market.MaxTitle),
		Summary: plain(first(r.Description, r.Metadata.Description, r.Body, r.Content.Clean, r.Content.Original), market.MaxSummary),
		URL:     link(r.URL), ArticleURL: link(r.OriginalURL), ImageURL: link(first(r.Image, r.Metadata.Image)),
		Slug: word(r.Slug), Author: plain(r.Author.name, market.MaxWord),
		Publisher: market.Publisher{
			Title: plain(r.Source.Title, market.MaxWord), Domain: word(first(r.Source.Domain, r.Domain)),
			Region: word(r.Source.Region), Type: word(r.Source.Type), Path: word(r.Source.Path),
		},
		Instruments: instruments(r.Currencies, r.Instruments), Votes: r.Votes.votes(), PanicScore: r.PanicScore.value,
		PublishedTime: published, CreatedTime: created, ObservedTime: received, Origin: market.OriginLive,
	}, nil
}

func word(t text) string { return market.CleanText(string(t), market.MaxWord) }

// millis is zero where t cannot be read.
func millis(t text) (market.Millis, error) {
	at, err := time.Parse(time.RFC3339, string(t))
	if err != nil {
		return 0, err
	}
	return market.MillisOf(at), nil
}

// instruments are the currencies of either generation: upper case, sorted, each
// once. What cannot be a code is left out.
func instruments(lists ...[]rawCurrency) []string {
	var found []string
	for _, list := range lists {
		for _, c := range list {
			code := strings.ToUpper(market.CleanText(string(c.Code), market.MaxWord))
			if code != "" && len(code) <= maxCode && !strings.Contains(code, " ") {
				found = append(found, code)
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), market.MaxTags)]
}

// maxCode is the longest code that a market.Post takes, in bytes.
const maxCode = 32

// votes is nil where none of the counts is given.
func (r *rawVotes) votes() *market.Votes {
	v := market.Votes{
		Negative: r.Negative.value, Positive: r.Positive.value, Important: r.Important.value, Liked: r.Liked.value, Disliked: r.Disliked.value,
		LOL: r.LOL.value, Toxic: r.Toxic.value, Saved: r.Saved.value, Comments: r.Comments.value,
	}
	if v == (market.Votes{}) {
		return nil
	}
	return &v
}

// resets are words of the service's complaints and when what they speak of
// begins anew.
var resets = []struct {
	word  string
	every market.Interval
}{{"hour", "1h"}, {"daily", "1d"}, {"day", "1d"}, {"week", "1w"}, {"month", "1M"}, {"quota", "1M"}}

// explain reads the service's error. One of a quota, {"status":"api_error",
// "info":"API monthly quota exceeded…"}, holds until the calendar's next turn,
// because its answers have no Retry-After.
func explain(body []byte, now time.Time) rest.Complaint {
	var p problem
	if json.Unmarshal(body, &p, lenient) != nil {
		return rest.Complaint{}
	}
	message := plain(first(p.Info, p.Detail), 200)
	if message == "" {
		return rest.Complaint{}
	}
	c := rest.Complaint{Code: market.CleanText(string(first(p.Status, "detail")), 40), Message: message}
	said := strings.ToLower(message)
	if !strings.Contains(said, "quota") && !strings.Contains(said, "exceeded") {
		return c
	}
	for _, r := range resets {
		if strings.Contains(said, r.word) {
			c.BannedUntil = r.every.Next(r.every.Start(market.MillisOf(now))).Time()
			break
		}
	}
	return c
}
