package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
)

// Collections of posts.
const (
	collectionPosts     = "posts"
	collectionSnapshots = "vote_snapshots"
)

// readDocuments returns what the collections hold of the ledger's posts, and of
// the snapshots of their votes.
func readDocuments(ctx context.Context, uri, database string) ([]row, error) {
	o := options.Client().ApplyURI(uri)
	if o.Validate() != nil { // its error may hold the password
		return nil, fmt.Errorf("reading the URI of MongoDB: not of the form mongodb://user:password@host:port/?option=value")
	}
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, fmt.Errorf("connecting to MongoDB: the driver refuses its URI")
	}
	defer client.Disconnect(context.WithoutCancel(ctx)) //nolint:errcheck // all was read
	var rows []row
	for name, read := range map[string]func(bson.D) (row, error){collectionPosts: readPost, collectionSnapshots: readSnapshot} {
		cursor, err := client.Database(database).Collection(name).Find(ctx, bson.D{{Key: "source", Value: exchange}})
		var documents []bson.D
		if err == nil {
			err = cursor.All(ctx, &documents)
		}
		if err != nil {
			return nil, fmt.Errorf("reading collection %s: %w", name, err)
		}
		for _, d := range documents {
			r, err := read(d)
			if err != nil {
				return nil, fmt.Errorf("reading %v of collection %s: %w", d[0].Value, name, err)
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// readPost takes a document as an event in its wire form, which has the same names.
func readPost(d bson.D) (row, error) {
	members, err := plain(d)
	if err != nil {
		return row{}, err
	}
	p, err := wire(members)
	if err != nil {
		return row{}, err
	}
	r := row{kind: market.KindPost, firstSeen: p.FirstSeenTime}
	r.key, _ = members["_id"].(string)
	r.version, _ = members["version"].(int64)
	r.conflict, _ = members["conflict"].(bool)
	r.hash, err = hashEvent(p)
	return r, err
}

// readSnapshot takes a document as the part of a post's wire form that it shows.
func readSnapshot(d bson.D) (row, error) {
	members, err := plain(d)
	if err != nil {
		return row{}, err
	}
	r := row{kind: kindSnapshot}
	r.key, _ = members["_id"].(string)
	r.version, _ = members["time"].(int64)
	key, _ := members["post"].(string)
	source, _ := members["source"].(string)
	post := map[string]any{"source": source, "id": strings.TrimPrefix(key, source+"/"), "votes_time": members["time"], "votes": members}
	if codes, ok := members["instruments"]; ok {
		post["instruments"] = codes
	}
	p, err := wire(post)
	if err != nil {
		return row{}, err
	}
	r.hash, err = hashSnapshot(p)
	return r, err
}

func wire(members map[string]any) (*market.Post, error) {
	text, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	origin, _ := members["origin"].(string)
	e, err := market.Decode(string(market.KindPost), market.ContractVersion, origin, text)
	if err != nil {
		return nil, err
	}
	return e.(*market.Post), nil
}

// plain turns a document into what JSON can say: a date into its milliseconds.
// What has a name like one of a date must be one, and nothing else may be.
func plain(d bson.D) (map[string]any, error) {
	members := map[string]any{}
	for _, e := range d {
		_, isDate := e.Value.(bson.DateTime)
		if isDate != (e.Key == "time" || strings.HasSuffix(e.Key, "_time")) {
			return nil, fmt.Errorf("%s is of type %T", e.Key, e.Value)
		}
		switch v := e.Value.(type) {
		case string, bool, int64:
			members[e.Key] = v
		case bson.DateTime:
			members[e.Key] = int64(v)
		case bson.A:
			members[e.Key] = []any(v)
		case bson.D:
			inner, err := plain(v)
			if err != nil {
				return nil, fmt.Errorf("%s.%w", e.Key, err)
			}
			members[e.Key] = inner
		default:
			return nil, fmt.Errorf("%s is of type %T", e.Key, v)
		}
	}
	return members, nil
}
