package stores

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
)

const (
	collectionPosts     = "posts"
	collectionSnapshots = "vote_snapshots"
)

// maxSources bounds the labels; posts of further sources count as those of otherSource.
const (
	maxSources  = 20
	otherSource = "other"
)

// coins that have a label of their own; then those for posts about others and about none.
var coins = []string{"BTC", "ETH", "XRP", "other", "none"}

// mongodb asks MongoDB. It adds up by itself: FerretDB 1, which the demo runs,
// lacks most of what a pipeline would need and adds up some of it wrongly.
type mongodb struct {
	options  *options.ClientOptions
	database string
	timeout  time.Duration
	m        *metrics
	client   *mongo.Client
}

func newMongo(o *options.ClientOptions, database string, timeout time.Duration, m *metrics) *mongodb {
	return &mongodb{options: o, database: database, timeout: timeout, m: m}
}

func (o *mongodb) open() (err error) {
	o.client, err = mongo.Connect(o.options)
	return err
}

func (o *mongodb) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = o.client.Disconnect(ctx) // nothing is in flight
}

func (o *mongodb) ping(ctx context.Context) error { return o.client.Ping(ctx, nil) }

// collections tells which of ours exist.
func (o *mongodb) collections(ctx context.Context) (map[string]bool, error) {
	names, err := o.client.Database(o.database).ListCollectionNames(ctx, bson.D{}, options.ListCollections().SetAuthorizedCollections(true))
	if err != nil {
		return nil, fmt.Errorf("listing collections: %w", err)
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	return there, nil
}

func missing(collection string) error { return fmt.Errorf("collection %s %w", collection, errMissing) }

// documents asks for the server's own count, which reads none of them.
func (o *mongodb) documents(ctx context.Context) (out []prometheus.Metric, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	there, err := o.collections(ctx)
	if err != nil {
		return nil, err
	}
	if !there[collectionPosts] {
		return nil, missing(collectionPosts)
	}
	for _, name := range []string{collectionPosts, collectionSnapshots} {
		if !there[name] { // without votes there need be none
			continue
		}
		n, err := o.client.Database(o.database).Collection(name).EstimatedDocumentCount(ctx)
		if err != nil {
			return nil, fmt.Errorf("counting %s: %w", name, err)
		}
		out = append(out, gauge(o.m.rows, float64(n), "mongodb", name))
	}
	return out, nil
}

// sums is what is added up of one source.
type sums struct {
	posts                [5]int64            // by coin
	votes                [5]map[string]int64 // by coin and kind; a kind that no post has is absent
	published, firstSeen int64               // ms
}

// posts reads every post, but little of each.
func (o *mongodb) posts(ctx context.Context) ([]prometheus.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	there, err := o.collections(ctx)
	if err != nil {
		return nil, err
	}
	if !there[collectionPosts] {
		return nil, missing(collectionPosts)
	}
	cursor, err := o.client.Database(o.database).Collection(collectionPosts).Find(ctx, bson.D{}, options.Find().SetBatchSize(1000).SetProjection(bson.D{
		{Key: "_id", Value: 0}, {Key: "source", Value: 1}, {Key: "instruments", Value: 1}, {Key: "votes", Value: 1},
		{Key: "published_time", Value: 1}, {Key: "first_seen_time", Value: 1},
	}))
	if err != nil {
		return nil, fmt.Errorf("reading posts: %w", err)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	all := map[string]*sums{}
	for cursor.Next(ctx) {
		add(all, cursor.Current)
	}
	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("reading posts: %w", err)
	}
	return o.show(all), nil
}

// add counts a post. A field of another type than ours counts as absent.
func add(all map[string]*sums, post bson.Raw) {
	source, _ := post.Lookup("source").StringValueOK()
	if source = strings.ToValidUTF8(source, "�"); len(source) > 64 {
		source = otherSource
	}
	s := all[source]
	if s == nil {
		if len(all) >= maxSources {
			source = otherSource
		}
		if s = all[source]; s == nil {
			s = &sums{}
			all[source] = s
		}
	}
	about := coinsOf(post)
	var votes bson.Raw
	if v, err := post.LookupErr("votes"); err == nil {
		votes, _ = v.DocumentOK()
	}
	for i, is := range about {
		if !is {
			continue
		}
		s.posts[i]++
		for _, kind := range kinds {
			if n, ok := votes.Lookup(kind).AsInt64OK(); ok {
				if s.votes[i] == nil {
					s.votes[i] = map[string]int64{}
				}
				s.votes[i][kind] += n
			}
		}
	}
	if t, ok := post.Lookup("published_time").DateTimeOK(); ok {
		s.published = max(s.published, t)
	}
	if t, ok := post.Lookup("first_seen_time").DateTimeOK(); ok {
		s.firstSeen = max(s.firstSeen, t)
	}
}

// kinds of votes.
var kinds = func() (names []string) {
	for _, c := range (&market.Votes{}).Counts() {
		names = append(names, c.Name)
	}
	return names
}()

// coinsOf tells for each of coins whether a post is about it.
func coinsOf(post bson.Raw) (about [5]bool) {
	const other, none = 3, 4
	tags, _ := post.Lookup("instruments").ArrayOK()
	values, _ := tags.Values()
	for _, v := range values {
		tag, _ := v.StringValueOK()
		if i := slices.Index(coins[:other], tag); i >= 0 {
			about[i] = true
		} else {
			about[other] = true
		}
	}
	about[none] = len(values) == 0
	return about
}

// show makes metrics of it.
func (o *mongodb) show(all map[string]*sums) (out []prometheus.Metric) {
	for source, s := range all {
		for i, coin := range coins {
			out = append(out, gauge(o.m.posts, float64(s.posts[i]), source, coin))
			for kind, n := range s.votes[i] {
				out = append(out, gauge(o.m.votes, float64(n), source, coin, kind))
			}
		}
		if s.published != 0 {
			out = append(out, gauge(o.m.published, seconds(s.published), source))
		}
		if s.firstSeen != 0 {
			out = append(out, gauge(o.m.firstSeen, seconds(s.firstSeen), source))
		}
	}
	return out
}
