package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
)

// documents is a database of this test alone on a real server.
func documents(t *testing.T) (uri string, db *mongo.Database) {
	t.Helper()
	uri = os.Getenv("CANDLESTACK_TEST_MONGODB")
	if uri == "" {
		t.Skip("no MongoDB: set CANDLESTACK_TEST_MONGODB to a URI")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	db = client.Database(fmt.Sprintf("test_ledger_%d", time.Now().UnixNano()))
	t.Cleanup(func() {
		if err := db.Drop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return uri, db
}

// document is an event's wire form with dates for times.
func document(t *testing.T, e market.Event) bson.M {
	t.Helper()
	value, err := market.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var d bson.M
	in := json.NewDecoder(bytes.NewReader(value))
	in.UseNumber()
	if err := in.Decode(&d); err != nil {
		t.Fatal(err)
	}
	dated(t, d)
	return d
}

func dated(t *testing.T, d map[string]any) {
	t.Helper()
	for name, v := range d {
		switch v := v.(type) {
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				t.Fatal(err)
			}
			d[name] = n
			if strings.HasSuffix(name, "_time") {
				d[name] = bson.DateTime(n)
			}
		case map[string]any:
			dated(t, v)
		}
	}
}

// shelve writes the documents of the faultless sink.
func (s *truth) shelve(t *testing.T, db *mongo.Database) {
	t.Helper()
	shelves := map[string][]any{}
	for k, e := range s.events {
		d := document(t, e)
		switch k.kind {
		case market.KindPost:
			d["_id"], d["version"], d["origin"] = k.key, e.Version(), string(e.From())
			d["first_seen_time"] = bson.DateTime(s.rows[k].firstSeen)
			if s.rows[k].conflict {
				d["conflict"] = true
			}
			shelves[collectionPosts] = append(shelves[collectionPosts], d)
		case kindSnapshot:
			snapshot := bson.M{"_id": k.key, "post": e.Key(), "source": exchange, "time": d["votes_time"]}
			if codes, ok := d["instruments"]; ok {
				snapshot["instruments"] = codes
			}
			for name, count := range d["votes"].(map[string]any) {
				snapshot[name] = count
			}
			shelves[collectionSnapshots] = append(shelves[collectionSnapshots], snapshot)
		}
	}
	for name, all := range shelves {
		if _, err := db.Collection(name).InsertMany(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckReadsDocumentsLettersAndOffsets(t *testing.T) {
	uri, db := documents(t)
	onEachBroker(t, func(t *testing.T, c *cluster) {
		for _, name := range []string{collectionPosts, collectionSnapshots} {
			if err := db.Collection(name).Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		group := db.Name()
		t.Cleanup(func() { _, _ = c.admin.DeleteGroups(context.Background(), group) })
		v := newVerdict(t, c, Config{Path: c.produce(t, 1500), Brokers: c.brokers, Topics: c.only(market.KindPost), Group: group, MongoURI: uri, MongoDatabase: db.Name()})
		v.settleAs(func(sink *truth) { sink.shelve(t, db) })

		// Breaches in the documents, each undone.
		breach := func(broken, collection string, has bson.D, change func(d bson.M)) {
			t.Helper()
			c := db.Collection(collection)
			var d, old bson.M
			if err := c.FindOne(t.Context(), has, options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}})).Decode(&d); err != nil {
				t.Fatal(err)
			}
			same := bson.D{{Key: "_id", Value: d["_id"]}}
			if err := c.FindOne(t.Context(), same).Decode(&old); err != nil {
				t.Fatal(err)
			}
			change(d)
			_, err := c.DeleteOne(t.Context(), same)
			if err == nil && len(d) > 0 {
				_, err = c.InsertOne(t.Context(), d)
			}
			if err != nil {
				t.Fatal(err)
			}
			v.expect(broken)
			if len(d) > 0 {
				_, err = c.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: d["_id"]}})
			}
			if err == nil {
				_, err = c.InsertOne(t.Context(), old)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		set := func(name string, value any) func(d bson.M) { return func(d bson.M) { d[name] = value } }
		move := func(name string, by int) func(d bson.M) {
			return func(d bson.M) {
				switch v := d[name].(type) {
				case int64:
					d[name] = v + int64(by)
				case bson.DateTime:
					d[name] = v + bson.DateTime(by)
				default:
					t.Fatalf("%s is of type %T", name, v)
				}
			}
		}
		lose := func(d bson.M) { clear(d) }
		without := func(name string) func(d bson.M) { return func(d bson.M) { delete(d, name) } }
		any := bson.D{}
		with := func(name string) bson.D { return bson.D{{Key: name, Value: bson.D{{Key: "$exists", Value: true}}}} }
		breach("I1 I3", collectionPosts, any, lose)
		breach("I1", collectionPosts, any, set("title", "x"))
		breach("I1", collectionPosts, any, set("origin", "dream"))
		breach("I1", collectionPosts, with("publisher"), without("publisher"))
		breach("I1", collectionPosts, with("votes"), without("votes"))
		breach("I1", collectionPosts, with("panic_score"), move("panic_score", 1))
		breach("I1", collectionPosts, with("votes"), without("votes_time"))
		breach("I1", collectionPosts, any, move("version", 1))
		breach("I1 I2 I3", collectionPosts, any, move("version", -1))
		breach("I1 I2 I3", collectionPosts, any, move("first_seen_time", 1))
		breach("I1", collectionPosts, any, move("first_seen_time", -1))
		breach("I1", collectionPosts, with("conflict"), without("conflict"))
		breach("I1", collectionPosts, bson.D{{Key: "conflict", Value: nil}}, set("conflict", true))
		breach("I1 I3", collectionSnapshots, any, lose)
		breach("I1", collectionSnapshots, with("saved"), move("saved", 1))
		breach("I1", collectionSnapshots, with("instruments"), without("instruments"))
		breach("I1", collectionSnapshots, any, move("time", 1))
		breach("I1 I3", collectionSnapshots, any, func(d bson.M) { d["_id"] = d["_id"].(string) + "0" })
		v.expect("")
	})
}

func TestDatesAreDatesAndCountsAreLong(t *testing.T) {
	f := func(d bson.D, want string) {
		t.Helper()
		if _, err := plain(d); err == nil || err.Error() != want {
			t.Errorf("%v: error %v, want %s", d, err, want)
		}
	}
	f(bson.D{{Key: "published_time", Value: int64(1)}}, "published_time is of type int64")
	f(bson.D{{Key: "version", Value: bson.DateTime(1)}}, "version is of type bson.DateTime")
	f(bson.D{{Key: "votes", Value: bson.D{{Key: "saved", Value: 1.5}}}}, "votes.saved is of type float64")
}

func TestTheURIStaysSecret(t *testing.T) {
	for _, uri := range []string{"mongodb://user:secret", "mongodb://user:secret@host:port/", "secret", "mongodb://user:secret@host/?w=-5"} {
		if _, err := readDocuments(t.Context(), uri, "news"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v", err)
		}
	}
}
