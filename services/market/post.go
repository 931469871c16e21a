package market

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Post is a news post as a feed showed it when it was last seen to change.
// Texts are plain, without markup. What the source does not give is empty, nil
// or zero. A source sets ObservedTime alone of our clocks; the others follow
// from what was observed before.
type Post struct {
	Source        string    `json:"source"`               // cryptopanic, rss
	ID            string    `json:"id"`                   // unique within the source
	Type          string    `json:"type,omitzero"`        // news, media, blog, twitter, reddit
	Title         string    `json:"title"`                //
	Summary       string    `json:"summary,omitzero"`     // description or body
	URL           string    `json:"url,omitzero"`         // of the post at the feed
	ArticleURL    string    `json:"article_url,omitzero"` // of the article, where the feed tells it apart
	ImageURL      string    `json:"image_url,omitzero"`
	Slug          string    `json:"slug,omitzero"`
	Author        string    `json:"author,omitzero"`
	Publisher     Publisher `json:"publisher,omitzero"`
	Instruments   []string  `json:"instruments,omitzero"`  // currencies that it is about: BTC, ETH; sorted, each once
	Votes         *Votes    `json:"votes,omitzero"`        //
	PanicScore    *int64    `json:"panic_score,omitzero"`  // 0 to 100, CryptoPanic's own
	PublishedTime Millis    `json:"published_time"`        // the feed's clock
	CreatedTime   Millis    `json:"created_time,omitzero"` // the feed's clock: when it took the post up
	FirstSeenTime Millis    `json:"first_seen_time"`       // our clock: first observation
	ObservedTime  Millis    `json:"observed_time"`         // our clock: observation of the last change
	VotesTime     Millis    `json:"votes_time,omitzero"`   // our clock: observation of the last change of Votes
	Origin        Origin    `json:"-"`
}

// Publisher is who wrote what the feed shows.
type Publisher struct {
	Title  string `json:"title,omitzero"`
	Domain string `json:"domain,omitzero"` // tokenist.com
	Region string `json:"region,omitzero"` // en
	Type   string `json:"type,omitzero"`   // feed, blog, twitter
	Path   string `json:"path,omitzero"`
}

// Votes are counts of readers' votes, as CryptoPanic has them; nil where the
// source does not give the count (pages of 2018 have three).
type Votes struct {
	Negative  *int64 `json:"negative,omitzero"`
	Positive  *int64 `json:"positive,omitzero"`
	Important *int64 `json:"important,omitzero"`
	Liked     *int64 `json:"liked,omitzero"`
	Disliked  *int64 `json:"disliked,omitzero"`
	LOL       *int64 `json:"lol,omitzero"`
	Toxic     *int64 `json:"toxic,omitzero"`
	Saved     *int64 `json:"saved,omitzero"`
	Comments  *int64 `json:"comments,omitzero"`
}

// Count is a named count of votes.
type Count struct {
	Name  string
	Value *int64
}

// Counts are all counts by name, in the order of the fields.
func (v *Votes) Counts() []Count {
	return []Count{
		{"negative", v.Negative}, {"positive", v.Positive}, {"important", v.Important}, {"liked", v.Liked}, {"disliked", v.Disliked},
		{"lol", v.LOL}, {"toxic", v.Toxic}, {"saved", v.Saved}, {"comments", v.Comments},
	}
}

// Kind is KindPost.
func (p *Post) Kind() Kind { return KindPost }

// PartitionKey is the natural key: posts have no order among each other.
func (p *Post) PartitionKey() string { return p.Key() }

// Key is source and id.
func (p *Post) Key() string { return p.Source + "/" + p.ID }

// Version is the time at which the last change was observed.
func (p *Post) Version() int64 { return int64(p.ObservedTime) }

// Clocks are both the time of the observation: a feed does not tell when a post
// or its votes changed, and what it calls published may be a day old.
func (p *Post) Clocks() (event, received Millis) { return p.ObservedTime, p.ObservedTime }

// From returns the origin.
func (p *Post) From() Origin { return p.Origin }

// Print is a fingerprint of what a post says.
type Print [sha256.Size]byte

// Prints tell posts apart by all they say, clocks of ours aside, and by their
// votes alone.
func (p *Post) Prints() (all, votes Print, err error) {
	q := *p
	q.FirstSeenTime, q.ObservedTime, q.VotesTime = 0, 0, 0
	if all, err = fingerprint(&q); err == nil {
		votes, err = fingerprint(&Post{Votes: p.Votes})
	}
	return all, votes, err
}

func fingerprint(p *Post) (Print, error) {
	value, err := Encode(p)
	return sha256.Sum256(value), err
}

// Limits of a post's texts, in bytes, and of its instruments: a source cuts what
// is longer, and drops a URL, which would lead elsewhere.
const (
	maxPostKey = 512
	MaxTitle   = 2 << 10
	MaxSummary = 32 << 10
	MaxURL     = 4 << 10
	MaxWord    = 512
	MaxTags    = 100
)

// Validate reports the first field that cannot be true.
func (p *Post) Validate() error {
	switch {
	case p.Source == "" || len(p.Source) > 32 || strings.Contains(p.Source, "/"):
		return fmt.Errorf("source %.40q is not 1 to 32 bytes without a slash", p.Source)
	case p.ID == "" || len(p.ID) > maxPostKey:
		return fmt.Errorf("id %.60q is not 1 to %d bytes long", p.ID, maxPostKey)
	case p.Title == "":
		return fmt.Errorf("title of %.60q is empty", p.ID)
	case len(p.Instruments) > MaxTags:
		return fmt.Errorf("instruments of %.60q are %d, more than %d", p.ID, len(p.Instruments), MaxTags)
	case !p.Origin.Valid():
		return fmt.Errorf("origin %.20q is unknown", string(p.Origin))
	}
	for _, text := range []struct {
		field, value string
		max          int
	}{
		{"id", p.ID, maxPostKey}, {"title", p.Title, MaxTitle}, {"summary", p.Summary, MaxSummary},
		{"url", p.URL, MaxURL}, {"article_url", p.ArticleURL, MaxURL}, {"image_url", p.ImageURL, MaxURL},
		{"type", p.Type, MaxWord}, {"slug", p.Slug, MaxWord}, {"author", p.Author, MaxWord},
		{"publisher.title", p.Publisher.Title, MaxWord}, {"publisher.domain", p.Publisher.Domain, MaxWord},
		{"publisher.region", p.Publisher.Region, MaxWord}, {"publisher.type", p.Publisher.Type, MaxWord},
		{"publisher.path", p.Publisher.Path, MaxWord},
	} {
		if len(text.value) > text.max || !utf8.ValidString(text.value) || strings.ContainsRune(text.value, 0) { // the full-text index of some stores fails on NUL
			return fmt.Errorf("%s %.60q is longer than %d bytes, no UTF-8 or holds a NUL", text.field, text.value, text.max)
		}
	}
	for i, code := range p.Instruments {
		switch {
		case code == "" || len(code) > 32 || strings.ContainsAny(code, " \t\n\x00") || strings.ToUpper(code) != code:
			return fmt.Errorf("instruments %.40q is not a currency like BTC", code)
		case i > 0 && p.Instruments[i-1] >= code:
			return fmt.Errorf("instruments %.40q is not in order, each once", strings.Join(p.Instruments, ","))
		}
	}
	if p.Votes != nil {
		for _, c := range p.Votes.Counts() {
			if c.Value != nil && *c.Value < 0 {
				return fmt.Errorf("votes.%s %d is negative", c.Name, *c.Value)
			}
		}
		if err := validClock("votes_time", p.VotesTime); err != nil {
			return err
		}
	}
	for _, clock := range []struct {
		field string
		at    Millis
	}{{"published_time", p.PublishedTime}, {"first_seen_time", p.FirstSeenTime}, {"observed_time", p.ObservedTime}} {
		if err := validClock(clock.field, clock.at); err != nil {
			return err
		}
	}
	if p.CreatedTime != 0 {
		return validClock("created_time", p.CreatedTime)
	}
	return nil
}

// CleanText makes text of a feed fit for a field: valid UTF-8 without control
// characters, one space where there was any white space, at most max bytes, cut
// between characters.
func CleanText(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
