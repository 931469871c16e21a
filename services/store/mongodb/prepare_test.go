package mongodb

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// prepare asks again as the engine does.
func prepare(t testing.TB, s *Sink) {
	t.Helper()
	for {
		err := s.Prepare(t.Context())
		if err == nil {
			return
		}
		var final *pipeline.ConfigError
		if errors.As(err, &final) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestPrepareManyAtOnce(t *testing.T) {
	s := findServer(t)
	database := s.fresh(t)
	var group sync.WaitGroup
	for range 4 {
		sink := s.sinkOn(t, database)
		group.Go(func() { prepare(t, sink) })
	}
	group.Wait()
	sink := s.sinkOn(t, database)
	prepare(t, sink)
	there, err := sink.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range indexes {
		if x.name != textIndex.name && !slices.Contains(there.indexes[x.collection], x.name) {
			t.Errorf("index %s is missing: %v", x.name, there.indexes)
		}
	}
	if version, err := sink.layout(t.Context()); version != layoutVersion || err != nil {
		t.Errorf("layout %d, %v", version, err)
	}
	if n := len(all(t, sink.posts.Database().Collection(collectionLayout))); n != 1 {
		t.Errorf("%d documents tell of the layout", n)
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	s := findServer(t)
	sink := s.prepared(t)
	if _, err := sink.posts.Database().Collection(collectionLayout).UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: 99}}}}); err != nil {
		t.Fatal(err)
	}
	err := sink.Prepare(t.Context())
	var final *pipeline.ConfigError
	if !errors.As(err, &final) || !strings.Contains(err.Error(), "version 99") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// What was there before, with documents in it, gets what it lacks.
func TestPrepareOnOldCollection(t *testing.T) {
	s := findServer(t)
	sink := s.sink(t)
	if _, err := sink.posts.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "old"}, {Key: "title", Value: 5}}); err != nil {
		t.Fatal(err)
	}
	prepare(t, sink)
	there, err := sink.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !sink.lacks[featureValidator] && !there.valid(collectionPosts, validators[0].schema) {
		t.Error("the collection got no validator")
	}
	works(t, sink, pipeline.Batch{pipelinetest.Post(0)})
	if n := len(all(t, sink.posts)); n != 2 {
		t.Errorf("want 2 documents, got %d", n)
	}
}

// Whatever the server is, what it lacks is told once, and shown in a gauge.
func TestLacksAreToldOnce(t *testing.T) {
	s := findServer(t)
	var lines bytes.Buffer
	c := Config{URI: s.uri, Database: s.fresh(t), Connections: 2, Timeout: 20 * time.Second}
	sink, err := New(c, slog.New(slog.NewTextHandler(&lines, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	prepare(t, sink)
	prepare(t, sink)
	for _, f := range features {
		want := 0
		if sink.lacks[f] {
			want = 1
		}
		if n := strings.Count(lines.String(), "feature="+string(f)); n != want {
			t.Errorf("%s is told %d times, want %d: %s", f, n, want, lines.String())
		}
		var gauge dto.Metric
		if err := sink.metrics.features.WithLabelValues(string(f)).Write(&gauge); err != nil || gauge.GetGauge().GetValue() != float64(1-want) {
			t.Errorf("gauge of %s is %v, %v", f, &gauge, err)
		}
	}
	if n := strings.Count(lines.String(), "layout made"); n != 1 {
		t.Errorf("the layout is told of %d times", n)
	}
}

func TestViewsAndTextIndexAnswer(t *testing.T) {
	s := findServer(t)
	sink := s.prepared(t)
	works(t, sink, pipeline.Batch{pipelinetest.Post(0), pipelinetest.Bare(1)})
	db := sink.posts.Database()
	if sink.lacks[featureViews] || sink.lacks[featureText] {
		t.Skip("this server knows no views or no text index")
	}
	for name, want := range map[string]int{"posts_btc": 1, "posts_eth": 1, "posts_xrp": 0} {
		if got := len(all(t, db.Collection(name))); got != want {
			t.Errorf("%s has %d posts, want %d", name, got, want)
		}
	}
	n, err := sink.posts.CountDocuments(t.Context(), bson.D{{Key: "$text", Value: bson.D{{Key: "$search", Value: "bitcoin"}}}})
	if err != nil || n != 1 {
		t.Errorf("a search finds %d, %v", n, err)
	}
}

func TestExamine(t *testing.T) {
	s := findServer(t)
	sink := s.sink(t)
	for range 2 {
		findings := sink.Examine(t.Context())
		if len(findings) != 5 {
			t.Errorf("findings %+v", findings)
		}
		for _, f := range findings {
			if !f.OK || f.Detail == "" {
				t.Errorf("%+v", f)
			}
		}
		prepare(t, sink)
	}
	// It changes nothing.
	untouched := s.sink(t)
	untouched.Examine(t.Context())
	names, err := untouched.posts.Database().ListCollectionNames(t.Context(), bson.D{})
	if err != nil || len(names) != 0 {
		t.Errorf("Examine made %v, %v", names, err)
	}
}

func TestExamineWithoutAServer(t *testing.T) {
	c := Config{URI: "mongodb://bob:" + canary + "@127.0.0.1:1/", Database: "news", Connections: 1, Timeout: time.Second}
	sink, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	findings := sink.Examine(t.Context())
	if len(findings) != 1 || findings[0].OK || !strings.Contains(findings[0].Detail, "127.0.0.1:1") || strings.Contains(findings[0].Detail, canary) {
		t.Errorf("%+v", findings)
	}
}

// user makes one with a role on the database only, and a sink of it. It needs a
// server that asks people to log in.
func (s server) user(t *testing.T, database, role string) *Sink {
	t.Helper()
	o := options.Client().ApplyURI(s.uri)
	if o.Auth == nil {
		t.Skip("the MongoDB lets everybody in: set CANDLESTACK_TEST_MONGODB to a URI with a user who may make users")
	}
	name := "test_" + role
	client := s.admin(t)
	drop := func() {
		_ = client.Database("admin").RunCommand(context.Background(), bson.D{{Key: "dropUser", Value: name}}).Err()
	}
	drop()
	t.Cleanup(drop)
	if err := client.Database("admin").RunCommand(t.Context(), bson.D{{Key: "createUser", Value: name}, {Key: "pwd", Value: canary},
		{Key: "roles", Value: bson.A{bson.D{{Key: "role", Value: role}, {Key: "db", Value: database}}}}}).Err(); err != nil {
		var command mongo.CommandError
		if errors.As(err, &command) {
			t.Skipf("the MongoDB makes no user with role %s: %v", role, err)
		}
		t.Fatal(err)
	}
	return s.sinkOn(t, database, func(c *Config) {
		c.URI = "mongodb://" + name + ":" + canary + "@" + strings.Join(o.Hosts, ",") + "/?directConnection=true&authSource=admin"
	})
}

// F11: who may only read waits, and what is up to date needs no more than reading.
func TestRightsAreEnvironment(t *testing.T) {
	s := findServer(t)
	ours := s.prepared(t)
	works(t, ours, pipeline.Batch{pipelinetest.Post(0)})
	reader := s.user(t, ours.posts.Database().Name(), "read")
	if err := reader.Prepare(t.Context()); err != nil {
		t.Errorf("a layout that is up to date: %v", err)
	}
	if _, err := reader.posts.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "x"}}); err == nil || hasCode(err, 121) {
		t.Skip("this MongoDB does not hold its users to their roles")
	}
	fails(t, reader, pipeline.Batch{pipelinetest.Post(1)}, pipeline.Environment, "13")
}

func TestWrongPassword(t *testing.T) {
	s := findServer(t)
	o := options.Client().ApplyURI(s.uri)
	if o.Auth == nil {
		t.Skip("the MongoDB lets everybody in: set CANDLESTACK_TEST_MONGODB to a URI with a user")
	}
	sink := s.sink(t, func(c *Config) {
		c.URI = "mongodb://" + o.Auth.Username + ":" + canary + "@" + strings.Join(o.Hosts, ",") + "/?directConnection=true&authSource=admin"
	})
	err := sink.Prepare(t.Context())
	var final *pipeline.ConfigError
	if !errors.As(err, &final) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	e := fails(t, sink, pipeline.Batch{pipelinetest.Post(0)}, pipeline.Environment, "18")
	if strings.Contains(e.Error(), canary) {
		t.Errorf("the error tells the password: %v", e)
	}
}

func hasCode(err error, code int) bool {
	var server mongo.ServerError
	return errors.As(err, &server) && server.HasErrorCode(code)
}
