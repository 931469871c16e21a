package stores

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func mongoURI(t *testing.T) string {
	t.Helper()
	uri := os.Getenv("CANDLESTACK_TEST_MONGODB")
	if uri == "" {
		t.Skip("no MongoDB: set CANDLESTACK_TEST_MONGODB to a URI")
	}
	return uri
}

// freshMongo returns the name of a database that is dropped at the end.
func freshMongo(t testing.TB, uri string) *mongo.Database {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	db := client.Database("candlestack_test_" + strings.ToLower(rand.Text()[:10]))
	t.Cleanup(func() {
		if err := errors.Join(db.Drop(context.Background()), client.Disconnect(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return db
}

func mongoAsker(t testing.TB, uri, database string) *mongodb {
	t.Helper()
	o, err := (&MongoDBConfig{URI: uri}).parse()
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	mo := newMongo(settleMongo(o, 20*time.Second), database, 20*time.Second, m)
	if err := mo.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mo.close)
	return mo
}

func insert(t testing.TB, db *mongo.Database, collection string, documents ...any) {
	t.Helper()
	if _, err := db.Collection(collection).InsertMany(t.Context(), documents); err != nil {
		t.Fatal(err)
	}
}

func TestMongoDBAgainstHandMadeTruth(t *testing.T) {
	testMongo(t, mongoURI(t))
}

// testMongo goes from no collection to posts of all sorts.
func testMongo(t *testing.T, uri string) {
	db := freshMongo(t, uri)
	mo := mongoAsker(t, uri, db.Name())
	for _, q := range []func(context.Context) ([]prometheus.Metric, error){mo.documents, mo.posts} {
		if out, err := q(t.Context()); len(out) != 0 || reason(err) != "missing" {
			t.Errorf("without collections: %d series and %v", len(out), err)
		}
	}
	for _, name := range []string{"posts", "vote_snapshots"} {
		if err := db.CreateCollection(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(sorted(`
		rows{store="mongodb",table="posts"} 0
		rows{store="mongodb",table="vote_snapshots"} 0
	`), lines(t, mo.documents)); diff != "" {
		t.Error(diff)
	}
	if got := lines(t, mo.posts); len(got) != 0 {
		t.Errorf("posts of none: %q", got)
	}

	at := func(second int64) bson.DateTime { return bson.DateTime(1_700_000_000_000 + second*1000) }
	post := func(id, source string, coins bson.A, published, seen int64, votes bson.D) bson.D {
		d := bson.D{{Key: "_id", Value: source + "/" + id}, {Key: "source", Value: source}, {Key: "title", Value: "of " + id},
			{Key: "published_time", Value: at(published)}, {Key: "first_seen_time", Value: at(seen)}}
		if coins != nil {
			d = append(d, bson.E{Key: "instruments", Value: coins})
		}
		if votes != nil {
			d = append(d, bson.E{Key: "votes", Value: votes})
		}
		return d
	}
	v := func(positive, negative int64) bson.D {
		return bson.D{{Key: "positive", Value: positive}, {Key: "negative", Value: negative}}
	}
	insert(t, db, "posts",
		post("1", "cryptopanic", bson.A{"BTC", "ETH"}, 10, 100, v(3, 1)),
		post("2", "cryptopanic", bson.A{"BTC", "DOGE", "SOL"}, 30, 90, v(4_000_000_000, 0)),
		post("3", "cryptopanic", bson.A{"XRP"}, 20, 110, nil),
		post("4", "cryptopanic", nil, 5, 5, append(v(0, 7), bson.E{Key: "lol", Value: "many"})), // of a type that is not ours
		post("5", "rss", bson.A{}, 40, 40, nil),
	)
	insert(t, db, "vote_snapshots", bson.D{{Key: "_id", Value: "cryptopanic/1/1"}}, bson.D{{Key: "_id", Value: "cryptopanic/1/2"}})
	if diff := cmp.Diff(sorted(`
		rows{store="mongodb",table="posts"} 5
		rows{store="mongodb",table="vote_snapshots"} 2
	`), lines(t, mo.documents)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(sorted(`
		posts{coin="BTC",source="cryptopanic"} 2
		posts{coin="ETH",source="cryptopanic"} 1
		posts{coin="XRP",source="cryptopanic"} 1
		posts{coin="other",source="cryptopanic"} 1
		posts{coin="none",source="cryptopanic"} 1
		posts{coin="BTC",source="rss"} 0
		posts{coin="ETH",source="rss"} 0
		posts{coin="XRP",source="rss"} 0
		posts{coin="other",source="rss"} 0
		posts{coin="none",source="rss"} 1
		votes{coin="BTC",kind="positive",source="cryptopanic"} 4.000000003e+09
		votes{coin="BTC",kind="negative",source="cryptopanic"} 1
		votes{coin="ETH",kind="positive",source="cryptopanic"} 3
		votes{coin="ETH",kind="negative",source="cryptopanic"} 1
		votes{coin="other",kind="positive",source="cryptopanic"} 4e+09
		votes{coin="other",kind="negative",source="cryptopanic"} 0
		votes{coin="none",kind="positive",source="cryptopanic"} 0
		votes{coin="none",kind="negative",source="cryptopanic"} 7
		newest_post_published_timestamp_seconds{source="cryptopanic"} 1.70000003e+09
		newest_post_published_timestamp_seconds{source="rss"} 1.70000004e+09
		newest_post_first_seen_timestamp_seconds{source="cryptopanic"} 1.70000011e+09
		newest_post_first_seen_timestamp_seconds{source="rss"} 1.70000004e+09
	`), lines(t, mo.posts)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	var many []any
	for i := range 40 {
		many = append(many, post("x", "feed"+strings.Repeat("x", i), nil, 1, 1, nil))
	}
	many = append(many, post("x", strings.Repeat("long", 100), nil, 1, 1, nil), post("x", "bad\n\"{}", nil, 1, 1, nil))
	insert(t, db, "posts", many...)
	got := lines(t, mo.posts)
	if n := len(with(got, "newest_post_published_timestamp_seconds")); n > maxSources+1 {
		t.Errorf("%d sources are shown", n)
	}
}
