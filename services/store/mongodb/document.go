package mongodb

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/candlestack/candlestack/services/market"
)

// document is a post as it is stored. Texts, counts and times that
// the source does not give are absent, never empty or null.
type document struct {
	Key           string        `bson:"_id"`
	Source        string        `bson:"source"`
	ID            string        `bson:"id"`
	Type          string        `bson:"type,omitempty"`
	Title         string        `bson:"title"`
	Summary       string        `bson:"summary,omitempty"`
	URL           string        `bson:"url,omitempty"`
	ArticleURL    string        `bson:"article_url,omitempty"`
	ImageURL      string        `bson:"image_url,omitempty"`
	Slug          string        `bson:"slug,omitempty"`
	Author        string        `bson:"author,omitempty"`
	Publisher     *publisher    `bson:"publisher,omitempty"`
	Instruments   []string      `bson:"instruments,omitempty"`
	Votes         *votes        `bson:"votes,omitempty"`
	PanicScore    *int64        `bson:"panic_score,omitempty"`
	PublishedTime bson.DateTime `bson:"published_time"`
	CreatedTime   bson.DateTime `bson:"created_time,omitempty"`
	FirstSeenTime bson.DateTime `bson:"first_seen_time"`
	ObservedTime  bson.DateTime `bson:"observed_time"`
	VotesTime     bson.DateTime `bson:"votes_time,omitempty"`
	Origin        market.Origin `bson:"origin"`
	Version       int64         `bson:"version"`
	Conflict      bool          `bson:"conflict,omitempty"`
}

// publisher and votes are market's, with names of fields.
type publisher struct {
	Title  string `bson:"title,omitempty"`
	Domain string `bson:"domain,omitempty"`
	Region string `bson:"region,omitempty"`
	Type   string `bson:"type,omitempty"`
	Path   string `bson:"path,omitempty"`
}

type votes struct {
	Negative  *int64 `bson:"negative,omitempty"`
	Positive  *int64 `bson:"positive,omitempty"`
	Important *int64 `bson:"important,omitempty"`
	Liked     *int64 `bson:"liked,omitempty"`
	Disliked  *int64 `bson:"disliked,omitempty"`
	LOL       *int64 `bson:"lol,omitempty"`
	Toxic     *int64 `bson:"toxic,omitempty"`
	Saved     *int64 `bson:"saved,omitempty"`
	Comments  *int64 `bson:"comments,omitempty"`
}

func newDocument(p *market.Post, firstSeen market.Millis, conflict bool) *document {
	d := &document{
		Key: p.Key(), Source: p.Source, ID: p.ID, Type: p.Type, Title: p.Title, Summary: p.Summary,
		URL: p.URL, ArticleURL: p.ArticleURL, ImageURL: p.ImageURL, Slug: p.Slug, Author: p.Author,
		Instruments: p.Instruments, Votes: (*votes)(p.Votes), PanicScore: p.PanicScore,
		PublishedTime: bson.DateTime(p.PublishedTime), CreatedTime: bson.DateTime(p.CreatedTime),
		FirstSeenTime: bson.DateTime(firstSeen), ObservedTime: bson.DateTime(p.ObservedTime), VotesTime: bson.DateTime(p.VotesTime),
		Origin: p.Origin, Version: p.Version(), Conflict: conflict,
	}
	if p.Publisher != (market.Publisher{}) {
		d.Publisher = (*publisher)(&p.Publisher)
	}
	return d
}

// post is what d says, without clocks of ours.
func (d *document) post() *market.Post {
	p := &market.Post{
		Source: d.Source, ID: d.ID, Type: d.Type, Title: d.Title, Summary: d.Summary,
		URL: d.URL, ArticleURL: d.ArticleURL, ImageURL: d.ImageURL, Slug: d.Slug, Author: d.Author,
		Instruments: d.Instruments, Votes: (*market.Votes)(d.Votes), PanicScore: d.PanicScore,
		PublishedTime: market.Millis(d.PublishedTime), CreatedTime: market.Millis(d.CreatedTime),
	}
	if d.Publisher != nil {
		p.Publisher = market.Publisher(*d.Publisher)
	}
	return p
}

// snapshot is one state of a post's votes. It never changes.
type snapshot struct {
	ID          string        `bson:"_id"`
	Post        string        `bson:"post"`
	Source      string        `bson:"source"`
	Instruments []string      `bson:"instruments,omitempty"`
	Time        bson.DateTime `bson:"time"`
	Votes       *votes        `bson:",inline"`
}

func newSnapshot(p *market.Post) *snapshot {
	key := p.Key()
	return &snapshot{
		ID: key + "/" + strconv.FormatInt(int64(p.VotesTime), 10), Post: key, Source: p.Source,
		Instruments: p.Instruments, Time: bson.DateTime(p.VotesTime), Votes: (*votes)(p.Votes),
	}
}

// field describes one for the validator and for DATA.md.
type field struct {
	name, kind string // kind is the name of a BSON type
	always     bool
	meaning    string
}

var postFields = []field{
	{"_id", "string", true, "source/id"},
	{"source", "string", true, "feed: cryptopanic, rss"},
	{"id", "string", true, "the feed's own id, unique within the source"},
	{"type", "string", false, "sort of post: news, media, blog, twitter, reddit"},
	{"title", "string", true, "title, plain text"},
	{"summary", "string", false, "description or body, plain text"},
	{"url", "string", false, "address of the post at the feed"},
	{"article_url", "string", false, "address of the article, where the feed tells it apart"},
	{"image_url", "string", false, "address of a picture"},
	{"slug", "string", false, "the title as the feed writes it in addresses"},
	{"author", "string", false, "who wrote it"},
	{"publisher", "object", false, "where it was published"},
	{"publisher.title", "string", false, "name of the publisher"},
	{"publisher.domain", "string", false, "its domain: tokenist.com"},
	{"publisher.region", "string", false, "its language: en"},
	{"publisher.type", "string", false, "feed, blog, twitter"},
	{"publisher.path", "string", false, "the feed's path below the domain"},
	{"instruments", "array", false, "currencies that it is about: BTC, ETH; sorted, each once"},
	{"votes", "object", false, "counts of readers' votes when they were last seen to change; absent if the source has none"},
	{"votes.negative", "long", false, "votes"},
	{"votes.positive", "long", false, "votes"},
	{"votes.important", "long", false, "votes"},
	{"votes.liked", "long", false, "votes"},
	{"votes.disliked", "long", false, "votes"},
	{"votes.lol", "long", false, "votes"},
	{"votes.toxic", "long", false, "votes"},
	{"votes.saved", "long", false, "times saved"},
	{"votes.comments", "long", false, "comments"},
	{"panic_score", "long", false, "0 to 100, CryptoPanic's own measure of importance"},
	{"published_time", "date", true, "clock of the feed: when it was published"},
	{"created_time", "date", false, "clock of the feed: when the feed took it up"},
	{"first_seen_time", "date", true, "our clock: when we first saw the post; it never moves later"},
	{"observed_time", "date", true, "our clock: when we saw the last change"},
	{"votes_time", "date", false, "our clock: when we saw the last change of the votes; time of the newest snapshot"},
	{"origin", "string", true, "how we learned of it: live, backfill, repair, archive"},
	{"version", "long", true, "observed_time in ms since 1970; a document changes only for a greater one"},
	{"conflict", "bool", false, "true if the same version also came with other values, which were not taken; else absent"},
}

var snapshotFields = []field{
	{"_id", "string", true, "source/id/time, the time in ms since 1970"},
	{"post", "string", true, "_id of the post"},
	{"source", "string", true, "feed, as in the post"},
	{"instruments", "array", false, "currencies of the post at that time"},
	{"time", "date", true, "our clock: when we saw these votes first"},
	{"negative", "long", false, "votes"},
	{"positive", "long", false, "votes"},
	{"important", "long", false, "votes"},
	{"liked", "long", false, "votes"},
	{"disliked", "long", false, "votes"},
	{"lol", "long", false, "votes"},
	{"toxic", "long", false, "votes"},
	{"saved", "long", false, "times saved"},
	{"comments", "long", false, "comments"},
}
