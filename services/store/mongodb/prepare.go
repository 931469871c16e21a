package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/pipeline"
)

// layoutVersion rises with a change that older programs would spoil.
const layoutVersion = 1

// feature is what makes reading easier, and what not every server knows.
type feature string

var features = []feature{featureViews, featureValidator, featureText}

const (
	featureViews     feature = "views"
	featureValidator feature = "validator"
	featureText      feature = "text_index"
)

// views are posts about one currency.
var views = []struct{ name, instrument string }{{"posts_btc", "BTC"}, {"posts_eth", "ETH"}, {"posts_xrp", "XRP"}}

// index is one beside that of _id; names are those that every driver makes of the keys.
type index struct {
	collection, name string
	keys             bson.D
}

var textIndex = index{collectionPosts, "title_text", bson.D{{Key: "title", Value: "text"}}}

var indexes = []index{
	{collectionPosts, "published_time_-1", bson.D{{Key: "published_time", Value: -1}}},
	{collectionPosts, "instruments_1_published_time_-1", bson.D{{Key: "instruments", Value: 1}, {Key: "published_time", Value: -1}}},
	{collectionSnapshots, "post_1_time_1", bson.D{{Key: "post", Value: 1}, {Key: "time", Value: 1}}},
	textIndex,
}

// validator makes a $jsonSchema of fields.
func validator(fields []field) bson.D {
	var required []string
	properties := bson.D{}
	for _, f := range fields {
		if f.always {
			required = append(required, f.name)
		}
		if parent, name, nested := strings.Cut(f.name, "."); nested {
			last := &properties[len(properties)-1] // the parent stands right before its fields
			if last.Key != parent {
				panic("field " + f.name + " does not follow " + parent)
			}
			description := last.Value.(bson.D)
			if description[len(description)-1].Key != "properties" {
				description = append(description, bson.E{Key: "properties", Value: bson.D{}})
			}
			inner := &description[len(description)-1]
			inner.Value = append(inner.Value.(bson.D), bson.E{Key: name, Value: f.describe()})
			last.Value = description
			continue
		}
		properties = append(properties, bson.E{Key: f.name, Value: f.describe()})
	}
	return bson.D{{Key: "$jsonSchema", Value: bson.D{
		{Key: "bsonType", Value: "object"}, {Key: "required", Value: required}, {Key: "properties", Value: properties},
	}}}
}

func (f field) describe() bson.D {
	return bson.D{{Key: "bsonType", Value: f.kind}, {Key: "description", Value: f.meaning}}
}

var validators = []struct {
	collection string
	schema     bson.D
}{{collectionPosts, validator(postFields)}, {collectionSnapshots, validator(snapshotFields)}}

// prepareTimeout bounds Prepare, as an index over many posts takes its time.
const prepareTimeout = time.Hour

// Prepare makes what is missing of collections, indexes, validators and views.
// Several sinks may do so at once; where nothing is missing it only reads. It
// returns a *pipeline.ConfigError where the server refuses the user or the layout
// is newer than this program. What the server does not know or not allow of the
// features is told once.
func (s *Sink) Prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	version, err := s.layout(ctx)
	if err != nil {
		return s.connecting(err)
	}
	if version > layoutVersion {
		return &pipeline.ConfigError{Field: flagURI, Value: s.server,
			Err: fmt.Errorf("the layout has version %d, this program knows %d: use a newer program", version, layoutVersion)}
	}
	there, err := s.look(ctx)
	if err != nil {
		return s.connecting(err)
	}
	lacks := map[feature]error{}
	for _, step := range []func(context.Context, *inventory, map[feature]error) error{s.makeCollections, s.makeIndexes, s.makeViews} {
		if err := step(ctx, there, lacks); err != nil {
			return s.connecting(err)
		}
	}
	if version < layoutVersion {
		if err := s.recordLayout(ctx); err != nil {
			return s.connecting(err)
		}
		s.log.Info("layout made", slog.String("database", s.posts.Database().Name()), slog.Int("version", layoutVersion))
	}
	s.tell(lacks)
	return nil
}

// connecting tells the user's word from the world.
func (s *Sink) connecting(err error) error {
	switch _, code := pipeline.ClassOf(err); code {
	case "18", "13", "11", "334", "73":
		return &pipeline.ConfigError{Field: flagURI, Value: s.server, Err: err}
	}
	return fmt.Errorf("preparing %s: %w", s.server, err)
}

// tell logs what the server lacks, each feature once, and sets the gauges.
func (s *Sink) tell(lacks map[feature]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range features {
		err, lacking := lacks[f]
		s.metrics.features.WithLabelValues(string(f)).Set(map[bool]float64{false: 1}[lacking])
		if lacking && !s.lacks[f] {
			s.log.Warn("the store lacks a feature, posts are stored all the same", slog.String("feature", string(f)), slog.String("error", err.Error()))
		}
		s.lacks[f] = lacking
	}
}

// unknown tells whether the server answers that it does not know or not allow
// what was asked: asking again would not help.
func unknown(err error) bool {
	switch _, code := pipeline.ClassOf(err); code {
	case "13", "20", "59", "115", "166", "238":
		return true
	case "2", "9", "67", "72", "40415", // what is asked cannot be read, or not be made
		"27": // FerretDB 1 looks for an index where it is told to make one that it does not know
		return true
	}
	return false
}

// inventory is what stands in the database.
type inventory struct {
	kinds      map[string]string   // collection or view, by name
	validators map[string]bson.Raw // by collection
	indexes    map[string][]string // names by collection
}

// look takes stock.
func (s *Sink) look(ctx context.Context) (*inventory, error) {
	found := &inventory{map[string]string{}, map[string]bson.Raw{}, map[string][]string{}}
	db := s.posts.Database()
	specs, err := db.ListCollectionSpecifications(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("listing collections: %w", classify(ctx, err))
	}
	for _, spec := range specs {
		found.kinds[spec.Name] = spec.Type
		if v, err := spec.Options.LookupErr("validator"); err == nil {
			found.validators[spec.Name], _ = v.DocumentOK()
		}
	}
	for _, v := range validators {
		if _, ok := found.kinds[v.collection]; !ok {
			continue
		}
		specs, err := db.Collection(v.collection).Indexes().ListSpecifications(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing indexes: %w", classify(ctx, err))
		}
		for _, spec := range specs {
			found.indexes[v.collection] = append(found.indexes[v.collection], spec.Name)
		}
	}
	return found, nil
}

func (i *inventory) valid(collection string, schema bson.D) bool {
	ours, err := bson.Marshal(schema)
	return err == nil && string(ours) == string(i.validators[collection])
}

// layout is 0 for a database without our collections.
func (s *Sink) layout(ctx context.Context) (int64, error) {
	var d struct {
		Version int64 `bson:"version"`
	}
	err := s.posts.Database().Collection(collectionLayout).FindOne(ctx, bson.D{{Key: "_id", Value: collectionPosts}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the layout's version: %w", classify(ctx, err))
	}
	return d.Version, nil
}

func (s *Sink) recordLayout(ctx context.Context) error {
	_, err := s.posts.Database().Collection(collectionLayout).UpdateOne(ctx, bson.D{{Key: "_id", Value: collectionPosts}}, bson.D{
		{Key: "$max", Value: bson.D{{Key: "version", Value: int64(layoutVersion)}}},
		{Key: "$set", Value: bson.D{{Key: "applied_time", Value: bson.NewDateTimeFromTime(time.Now())}}},
	}, options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) {
		return nil // another sink was faster
	}
	if err != nil {
		return fmt.Errorf("recording the layout's version: %w", classify(ctx, err))
	}
	return nil
}

const namespaceExists = "48"

// create makes a collection or a view. One that is there by now is fine.
func (s *Sink) create(ctx context.Context, command bson.D) error {
	err := classify(ctx, s.posts.Database().RunCommand(ctx, command).Err())
	if _, code := pipeline.ClassOf(err); err == nil || code == namespaceExists {
		return nil
	}
	return fmt.Errorf("creating %s: %w", command[0].Value, err)
}

// moderate leaves documents alone that were there before and do not fit.
const moderate = "moderate"

func (s *Sink) makeCollections(ctx context.Context, there *inventory, lacks map[feature]error) error {
	for _, v := range validators {
		rules := bson.D{{Key: "validator", Value: v.schema}, {Key: "validationLevel", Value: moderate}}
		var err error
		_, exists := there.kinds[v.collection]
		switch {
		case !exists:
			if err = s.create(ctx, append(bson.D{{Key: "create", Value: v.collection}}, rules...)); unknown(err) {
				if err := s.create(ctx, bson.D{{Key: "create", Value: v.collection}}); err != nil {
					return err
				}
			}
		case !there.valid(v.collection, v.schema):
			if err = s.posts.Database().RunCommand(ctx, append(bson.D{{Key: "collMod", Value: v.collection}}, rules...)).Err(); err != nil {
				err = fmt.Errorf("setting the validator of %s: %w", v.collection, classify(ctx, err))
			}
		}
		if unknown(err) {
			lacks[featureValidator] = err
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) makeIndexes(ctx context.Context, there *inventory, lacks map[feature]error) error {
	for _, x := range indexes {
		if slices.Contains(there.indexes[x.collection], x.name) {
			continue
		}
		_, err := s.posts.Database().Collection(x.collection).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: x.keys, Options: options.Index().SetName(x.name)})
		err = classify(ctx, err)
		switch _, code := pipeline.ClassOf(err); {
		case err == nil, code == "85": // the same keys under another name
		case x.name == textIndex.name && unknown(err):
			lacks[featureText] = err
		default:
			return fmt.Errorf("creating index %s of %s: %w", x.name, x.collection, err)
		}
	}
	return nil
}

func (s *Sink) makeViews(ctx context.Context, there *inventory, lacks map[feature]error) error {
	for _, v := range views {
		if _, exists := there.kinds[v.name]; exists {
			continue
		}
		err := s.create(ctx, bson.D{{Key: "create", Value: v.name}, {Key: "viewOn", Value: collectionPosts},
			{Key: "pipeline", Value: bson.A{bson.D{{Key: "$match", Value: bson.D{{Key: "instruments", Value: v.instrument}}}}}}})
		if unknown(err) {
			lacks[featureViews] = err
		} else if err != nil {
			return err
		}
	}
	return nil
}
