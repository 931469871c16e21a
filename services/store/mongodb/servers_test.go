package mongodb

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a real one, known only through the environment.
type server struct {
	uri     string
	control string // a command that takes start, stop or kill
}

func findServer(t testing.TB) server {
	t.Helper()
	uri := os.Getenv("CANDLESTACK_TEST_MONGODB")
	if uri == "" {
		t.Skip("no MongoDB: set CANDLESTACK_TEST_MONGODB to a URI")
	}
	return server{uri: uri, control: os.Getenv("CANDLESTACK_TEST_MONGODB_CONTROL")}
}

// do controls the server's process.
func (s server) do(t *testing.T, action string) {
	t.Helper()
	if s.control == "" {
		t.Skipf("no way to %s the MongoDB: set CANDLESTACK_TEST_MONGODB_CONTROL", action)
	}
	words := append(strings.Fields(s.control), action)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	if action != "start" {
		t.Cleanup(func() { s.do(t, "start") }) // also where the test fails in between: others want the server
	}
}

// admin is a connection beside the sink's, with the rights of the test.
func (s server) admin(t testing.TB) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(s.uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return client
}

// fresh returns the name of a database that does not exist; it is dropped at the end.
func (s server) fresh(t testing.TB) string {
	t.Helper()
	name := "candlestack_test_" + strings.ToLower(rand.Text()[:10])
	client := s.admin(t)
	t.Cleanup(func() {
		if err := client.Database(name).Drop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return name
}

// sink returns one on a database of its own, not yet prepared.
func (s server) sink(t testing.TB, change ...func(*Config)) *Sink {
	t.Helper()
	return s.sinkOn(t, s.fresh(t), change...)
}

func (s server) sinkOn(t testing.TB, database string, change ...func(*Config)) *Sink {
	t.Helper()
	c := Config{URI: s.uri, Database: database, Connections: 8, Timeout: 20 * time.Second}
	for _, f := range change {
		f(&c)
	}
	sink, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	return sink
}

func (s server) prepared(t testing.TB, change ...func(*Config)) *Sink {
	t.Helper()
	sink := s.sink(t, change...)
	if err := sink.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sink
}

// all returns the documents of a collection as they are.
func all(t testing.TB, c *mongo.Collection) (documents []bson.M) {
	t.Helper()
	cursor, err := c.Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cursor.All(t.Context(), &documents); err != nil {
		t.Fatal(err)
	}
	return documents
}

// take removes a field, so that what is left was not expected; T is what the
// driver makes of the BSON type that DATA.md names.
func take[T any](t testing.TB, d bson.M, name string) (value T) {
	t.Helper()
	v, there := d[name]
	delete(d, name)
	if !there {
		return value
	}
	value, ok := v.(T)
	if !ok {
		t.Errorf("%s: %s is a %T, not a %T", d["_id"], name, v, value)
	}
	return value
}

func takeTime(t testing.TB, d bson.M, name string) market.Millis {
	t.Helper()
	return market.Millis(take[bson.DateTime](t, d, name))
}

func takeTexts(t testing.TB, d bson.M, name string) (texts []string) {
	t.Helper()
	for _, v := range take[bson.A](t, d, name) {
		text, _ := v.(string)
		texts = append(texts, text)
	}
	return texts
}

func takeMap(t testing.TB, d bson.M, name string) bson.M {
	t.Helper()
	if _, there := d[name]; !there {
		return nil
	}
	m := bson.M{}
	for _, e := range take[bson.D](t, d, name) {
		m[e.Key] = e.Value
	}
	return m
}

func takeVotes(t testing.TB, d bson.M) (v market.Votes) {
	t.Helper()
	for name, count := range map[string]**int64{
		"negative": &v.Negative, "positive": &v.Positive, "important": &v.Important, "liked": &v.Liked, "disliked": &v.Disliked,
		"lol": &v.LOL, "toxic": &v.Toxic, "saved": &v.Saved, "comments": &v.Comments,
	} {
		if _, there := d[name]; there {
			n := take[int64](t, d, name)
			*count = &n
		}
	}
	return v
}

func nothingLeft(t testing.TB, what string, d bson.M) {
	t.Helper()
	for name, value := range d {
		t.Errorf("%s: %s %v was not expected", what, name, value)
	}
}

// stored reads both collections with a connection and a reader that share nothing
// with the sink's.
func (s server) stored(t testing.TB, database string) (posts []pipelinetest.Stored, snapshots []pipelinetest.Snapshot) {
	t.Helper()
	db := s.admin(t).Database(database)
	for _, d := range all(t, db.Collection("posts")) {
		p := &market.Post{
			Source: take[string](t, d, "source"), ID: take[string](t, d, "id"), Type: take[string](t, d, "type"),
			Title: take[string](t, d, "title"), Summary: take[string](t, d, "summary"), URL: take[string](t, d, "url"),
			ArticleURL: take[string](t, d, "article_url"), ImageURL: take[string](t, d, "image_url"), Slug: take[string](t, d, "slug"),
			Author: take[string](t, d, "author"), Instruments: takeTexts(t, d, "instruments"),
			PublishedTime: takeTime(t, d, "published_time"), CreatedTime: takeTime(t, d, "created_time"),
			FirstSeenTime: takeTime(t, d, "first_seen_time"), ObservedTime: takeTime(t, d, "observed_time"), VotesTime: takeTime(t, d, "votes_time"),
			Origin: market.Origin(take[string](t, d, "origin")),
		}
		if m := takeMap(t, d, "publisher"); m != nil {
			p.Publisher = market.Publisher{Title: take[string](t, m, "title"), Domain: take[string](t, m, "domain"),
				Region: take[string](t, m, "region"), Type: take[string](t, m, "type"), Path: take[string](t, m, "path")}
			nothingLeft(t, p.Key()+" publisher", m)
		}
		if m := takeMap(t, d, "votes"); m != nil {
			votes := takeVotes(t, m)
			p.Votes = &votes
			nothingLeft(t, p.Key()+" votes", m)
		}
		if _, there := d["panic_score"]; there {
			n := take[int64](t, d, "panic_score")
			p.PanicScore = &n
		}
		if key := take[string](t, d, "_id"); key != p.Key() {
			t.Errorf("_id is %s, not %s", key, p.Key())
		}
		if version := take[int64](t, d, "version"); version != p.Version() {
			t.Errorf("%s: version is %d, not %d", p.Key(), version, p.Version())
		}
		posts = append(posts, pipelinetest.Stored{Event: p, Conflict: take[bool](t, d, "conflict")})
		nothingLeft(t, p.Key(), d)
	}
	for _, d := range all(t, db.Collection("vote_snapshots")) {
		take[string](t, d, "_id")
		snapshots = append(snapshots, pipelinetest.Snapshot{Post: take[string](t, d, "post"), Source: take[string](t, d, "source"),
			Instruments: takeTexts(t, d, "instruments"), Time: takeTime(t, d, "time"), Votes: takeVotes(t, d)})
		nothingLeft(t, "snapshot", d)
	}
	return posts, snapshots
}
