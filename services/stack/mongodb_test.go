package stack_test

import (
	"net/url"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/stack"
)

func TestMongoGuardsByVersionAndKeepsItsData(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // libraries start some when they are loaded
	dir := filepath.Join(t.TempDir(), "a b")
	port := 0
	run := func(f func(c *mongo.Collection)) {
		t.Helper()
		server, err := stack.StartMongo(dir, port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}()
		client, err := mongo.Connect(options.Client().ApplyURI(server.URI).SetWriteConcern(writeconcern.Majority()))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Disconnect(t.Context())
		f(client.Database("news").Collection("posts"))
		address, err := url.Parse(server.URI)
		if err == nil {
			port, err = strconv.Atoi(address.Port())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(c *mongo.Collection, version int64) error {
		filter := bson.D{{Key: "_id", Value: "rss/1"}, {Key: "version", Value: bson.D{{Key: "$lt", Value: version}}}}
		_, err := c.ReplaceOne(t.Context(), filter, bson.D{{Key: "version", Value: version}}, options.Replace().SetUpsert(true))
		return err
	}
	holds := func(c *mongo.Collection, version int64) {
		t.Helper()
		var found struct{ Version int64 }
		if err := c.FindOne(t.Context(), bson.D{{Key: "_id", Value: "rss/1"}}).Decode(&found); err != nil || found.Version != version {
			t.Errorf("found version %d, %v, want %d", found.Version, err, version)
		}
		n, err := c.CountDocuments(t.Context(), bson.D{})
		if err != nil || n != 2 {
			t.Errorf("holds %d documents, %v, want 2", n, err)
		}
	}
	run(func(c *mongo.Collection) {
		if _, err := c.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "rss/0"}}); err != nil {
			t.Fatal(err)
		}
		if err := put(c, 5); err != nil {
			t.Fatal(err)
		}
		for _, older := range []int64{5, 4} {
			if err := put(c, older); !mongo.IsDuplicateKeyError(err) {
				t.Errorf("version %d on top of 5: %v, want a duplicate key", older, err)
			}
		}
		holds(c, 5)
	})
	run(func(c *mongo.Collection) {
		holds(c, 5)
		if err := put(c, 6); err != nil {
			t.Fatal(err)
		}
		holds(c, 6)
	})
}

func TestMongoSaysWhereItCannotListen(t *testing.T) {
	server, err := stack.StartMongo(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer runtime.GC() // of what a failed start left open
	address, _ := url.Parse(server.URI)
	port, _ := strconv.Atoi(address.Port())
	if second, err := stack.StartMongo(t.TempDir(), port); err == nil {
		second.Close()
		t.Errorf("two servers on port %d", port)
	}
}
