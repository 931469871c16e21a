package mongodb

import (
	"errors"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func posts(n int) (b pipeline.Batch) {
	for i := range n {
		b = append(b, pipelinetest.Post(i))
	}
	return b
}

func changed(b pipeline.Batch) (c pipeline.Batch) {
	for _, e := range b {
		p := *e.(*market.Post)
		p.ObservedTime++
		p.Title += ", again"
		c = append(c, &p)
	}
	return c
}

// fails writes b and wants that class and one of the codes.
func fails(t *testing.T, s *Sink, b pipeline.Batch, class pipeline.Class, codes ...string) *pipeline.Error {
	t.Helper()
	_, err := s.Write(t.Context(), b)
	var e *pipeline.Error
	if !errors.As(err, &e) {
		t.Fatalf("want %s %v, got %v", class, codes, err)
	}
	if e.Class != class || !slices.Contains(codes, e.Code) {
		t.Fatalf("want %s %v, got %s %s: %v", class, codes, e.Class, e.Code, err)
	}
	return e
}

func works(t *testing.T, s *Sink, b pipeline.Batch) {
	t.Helper()
	if _, err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// count wants exactly that many posts, each with its snapshot.
func count(t *testing.T, s *Sink, n int) {
	t.Helper()
	for _, c := range []*mongo.Collection{s.posts, s.snapshots} {
		if got, err := c.CountDocuments(t.Context(), bson.D{}); err != nil || got != int64(n) {
			t.Errorf("want %d documents in %s, got %d, %v", n, c.Name(), got, err)
		}
	}
}

// Every way in which an effect can come about, in one batch.
func TestEffects(t *testing.T) {
	sink := findServer(t).prepared(t)
	works(t, sink, posts(6))
	batch := changed(posts(2))                   // updated
	batch = append(batch, posts(9)[2:]...)       // unchanged 2 to 5, inserted 6 to 8
	batch = append(batch, posts(1)[0], batch[3]) // older and repeated: unchanged
	conflict, early := *pipelinetest.Post(4), *pipelinetest.Post(5)
	conflict.Title = "Something else" // updated: its flag
	early.FirstSeenTime--             // updated: seen earlier
	batch = append(batch, &conflict, &early)
	got, err := sink.Write(t.Context(), batch)
	if got.Kept > 0 {
		t.Skip("this server does not tell what it did of a bulk")
	}
	if want := (pipeline.Effects{Inserted: 3, Updated: 4, Unchanged: 6}); err != nil || got != want {
		t.Errorf("want %+v, got %+v, %v", want, got, err)
	}
}

// A validator that somebody made stricter refuses some of a batch.
func TestValidatorIsPoison(t *testing.T) {
	sink := findServer(t).prepared(t)
	if sink.lacks[featureValidator] {
		t.Skip("this server knows no validators")
	}
	rule := bson.D{{Key: "title", Value: bson.D{{Key: "$nin", Value: bson.A{pipelinetest.Post(3).Title, pipelinetest.Post(7).Title}}}}}
	if err := sink.posts.Database().RunCommand(t.Context(), bson.D{{Key: "collMod", Value: "posts"}, {Key: "validator", Value: rule}}).Err(); err != nil {
		t.Fatal(err)
	}
	batch := posts(10)
	e := fails(t, sink, batch, pipeline.Poison, "121")
	slices.Sort(e.Items)
	if !slices.Equal(e.Items, []int{3, 7}) {
		t.Errorf("items %v", e.Items)
	}
	works(t, sink, slices.Concat(batch[:3], batch[4:7], batch[8:]))
	if n, err := sink.posts.CountDocuments(t.Context(), bson.D{}); n != 8 || err != nil {
		t.Errorf("want 8 posts, got %d, %v", n, err)
	}
}

// Our own validator holds for others too.
func TestValidatorRefusesForeignTypes(t *testing.T) {
	sink := findServer(t).prepared(t)
	if sink.lacks[featureValidator] {
		t.Skip("this server knows no validators")
	}
	works(t, sink, posts(1))
	_, err := sink.posts.UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "published_time", Value: "yesterday"}}}})
	if !hasCode(err, 121) {
		t.Errorf("got %v", err)
	}
}

// A unique index of somebody else's stops the store, and costs no post.
func TestForeignUniqueIndexIsEnvironment(t *testing.T) {
	sink := findServer(t).prepared(t)
	name, err := sink.posts.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "slug", Value: 1}}, Options: options.Index().SetUnique(true)})
	if err != nil {
		t.Fatal(err)
	}
	fails(t, sink, posts(3), pipeline.Environment, "11000")
	if err := sink.posts.Indexes().DropOne(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	works(t, sink, posts(3))
	count(t, sink, 3)
}

// Collections that are gone are made by writing, as the server does.
func TestDroppedCollection(t *testing.T) {
	sink := findServer(t).prepared(t)
	works(t, sink, posts(3))
	if err := sink.posts.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	works(t, sink, posts(3))
	count(t, sink, 3)
}

func TestCandleIsPoison(t *testing.T) {
	sink := findServer(t).prepared(t)
	if e := fails(t, sink, pipeline.Batch{pipelinetest.Post(0), pipelinetest.Candle(0)}, pipeline.Poison, codeKind); !slices.Equal(e.Items, []int{1}) {
		t.Errorf("items %v", e.Items)
	}
}
