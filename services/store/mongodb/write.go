package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// entry is the newest version of a post in a batch.
type entry struct {
	post      *market.Post
	key       string
	at        int           // position in the batch
	firstSeen market.Millis // the earliest that the batch tells
	conflict  bool          // another event of the batch has its version and says something else
	changed   bool          // not the first of this post that was seen, so there should be an older one
}

// Write stores the snapshots of the votes, then the posts, each with one unordered
// bulk: what a reader finds in a post has its snapshot. There is no transaction
// around them: both are idempotent, so a part that is written again does no harm.
func (s *Sink) Write(ctx context.Context, b pipeline.Batch) (pipeline.Effects, error) {
	entries := make([]entry, 0, len(b))
	var poison *pipeline.Error
	for i, e := range b {
		p, bad := check(e)
		if bad == nil {
			entries = append(entries, entry{post: p, key: p.Key(), at: i, firstSeen: p.FirstSeenTime, changed: p.ObservedTime > p.FirstSeenTime})
			continue
		}
		if poison == nil {
			bad.Err = fmt.Errorf("%s: %w", e.Key(), bad.Err)
			poison = bad
		}
		poison.Items = append(poison.Items, i)
	}
	switch {
	case poison != nil:
		return pipeline.Effects{}, poison
	case len(entries) == 0:
		return pipeline.Effects{}, nil
	}
	if err := s.writeSnapshots(ctx, entries); err != nil {
		return pipeline.Effects{}, fmt.Errorf("writing snapshots of votes: %w", err)
	}
	kept := reduce(entries)
	effects, err := s.writePosts(ctx, kept)
	effects.Unchanged += len(b) - len(kept) // older ones of the same key
	if err != nil {
		err = fmt.Errorf("writing posts: %w", err)
	}
	return effects, err
}

// maxTexts leaves room in the 16 MiB that a document may have. The server is not
// asked: it has several codes for it.
const maxTexts = 15 << 20

// check refuses what has no collection here or is too large, and texts that are not
// UTF-8: the server takes them, and many drivers then fail to read them.
func check(e market.Event) (*market.Post, *pipeline.Error) {
	poison := func(code, format string, a ...any) (*market.Post, *pipeline.Error) {
		return nil, &pipeline.Error{Class: pipeline.Poison, Code: code, Err: fmt.Errorf(format, a...)}
	}
	p, ok := e.(*market.Post)
	if !ok {
		return poison(codeKind, "kind %q has no collection in this store", e.Kind())
	}
	size := 0
	for _, text := range append([]string{p.Source, p.ID, p.Type, p.Title, p.Summary, p.URL, p.ArticleURL, p.ImageURL, p.Slug, p.Author,
		p.Publisher.Title, p.Publisher.Domain, p.Publisher.Region, p.Publisher.Type, p.Publisher.Path, string(p.Origin)}, p.Instruments...) {
		if !utf8.ValidString(text) {
			return poison(codeText, "text %.40q is not UTF-8", text)
		}
		if size += len(text); size > maxTexts {
			return poison("10334", "texts have more than %d bytes", maxTexts)
		}
	}
	return p, nil
}

// reduce sorts entries by key and keeps the newest of each, in place. The effect is
// that of writing them one after the other. Sorted, two writers of the same keys
// meet in the same order.
func reduce(entries []entry) []entry {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.key, b.key), cmp.Compare(b.post.Version(), a.post.Version()), cmp.Compare(a.at, b.at))
	})
	kept := entries[:1]
	for _, e := range entries[1:] {
		k := &kept[len(kept)-1]
		if k.key != e.key {
			kept = append(kept, e)
			continue
		}
		k.firstSeen = min(k.firstSeen, e.firstSeen)
		k.conflict = k.conflict || k.post.Version() == e.post.Version() && !same(k.post, e.post)
	}
	return kept
}

// same tells whether two posts say the same, clocks of ours and the origin aside.
func same(a, b *market.Post) bool {
	p, _, errA := a.Prints()
	q, _, errB := b.Prints()
	return p == q && errA == nil && errB == nil
}

// writeSnapshots inserts those that are not there. A duplicate is there already.
func (s *Sink) writeSnapshots(ctx context.Context, entries []entry) error {
	var models []mongo.WriteModel
	var at []int
	seen := map[string]bool{}
	for _, e := range entries {
		if e.post.Votes == nil {
			continue
		}
		if d := newSnapshot(e.post); !seen[d.ID] {
			seen[d.ID] = true
			models, at = append(models, mongo.NewInsertOneModel().SetDocument(d)), append(at, e.at)
		}
	}
	if len(models) == 0 {
		return nil
	}
	a, err := bulk(ctx, s.snapshots, models, at)
	if err == nil && a.inserted+len(a.taken) < len(models) {
		err = fmt.Errorf("the server answered for %d of %d", a.inserted+len(a.taken), len(models))
	}
	return err
}

// rounds bounds the attempts for entries whose key is taken by an older version:
// another writer inserted it a moment ago, or it was first seen earlier. Each is
// settled by the next round, unless writers meet again.
const rounds = 5

// writePosts inserts what was seen for the first time, and replaces the others under
// a guard, or inserts: a stored post that is not older, or that was first seen
// earlier, does not match, so the server tries to insert and finds the key taken.
// Entries whose key is taken get a second look, all at once.
func (s *Sink) writePosts(ctx context.Context, entries []entry) (effects pipeline.Effects, err error) {
	for range rounds {
		models, at := make([]mongo.WriteModel, len(entries)), make([]int, len(entries))
		for i := range entries {
			models[i], at[i] = entries[i].model(), entries[i].at
		}
		a, err := bulk(ctx, s.posts, models, at)
		if err != nil {
			return effects, err
		}
		whole := a.inserted+a.updated+len(a.taken) == len(models)
		if whole {
			effects.Inserted += a.inserted
			effects.Updated += a.updated
			for k, i := range a.taken {
				entries[k] = entries[i] // ascending, so i >= k
			}
			entries = entries[:len(a.taken)]
		}
		if len(entries) == 0 {
			return effects, nil
		}
		left, amended, err := s.lookAgain(ctx, entries)
		if err != nil {
			return effects, err
		}
		effects.Updated += amended
		if settled := len(entries) - len(left) - amended; whole {
			effects.Unchanged += settled
		} else { // FerretDB 1 stops at the first error and does not say which it was
			effects.Kept += settled
		}
		if entries = left; len(entries) == 0 {
			return effects, nil
		}
	}
	return effects, known(duplicateKey, fmt.Errorf("%s is refused as a duplicate, but not of a version that is there: is an index unique that is not ours?", entries[0].key))
}

// model takes an insert where it can: it costs the server a fraction of an upsert.
func (e *entry) model() mongo.WriteModel {
	d := newDocument(e.post, e.firstSeen, e.conflict)
	if !e.changed {
		return mongo.NewInsertOneModel().SetDocument(d)
	}
	guard := bson.D{
		{Key: "_id", Value: e.key},
		{Key: "version", Value: bson.D{{Key: "$lt", Value: e.post.Version()}}},
		{Key: "first_seen_time", Value: bson.D{{Key: "$gte", Value: bson.DateTime(e.firstSeen)}}},
	}
	return mongo.NewReplaceOneModel().SetFilter(guard).SetReplacement(d).SetUpsert(true)
}

// lookAgain compares entries whose keys are taken with what is stored. It marks
// conflicts, moves the first observation of what stays to an earlier time, and
// returns the entries that are newer: they must be written again, with the first
// observation that is known now.
func (s *Sink) lookAgain(ctx context.Context, entries []entry) (left []entry, amended int, err error) {
	stored, err := s.read(ctx, entries)
	if err != nil {
		return nil, 0, err
	}
	var models []mongo.WriteModel
	var at []int
	amend := func(e *entry, filter, update bson.D) {
		models, at = append(models, mongo.NewUpdateOneModel().SetFilter(filter).SetUpdate(update)), append(at, e.at)
	}
	for i := range entries {
		e := &entries[i]
		d := stored[e.key]
		if d == nil {
			left = append(left, *e)
			continue
		}
		if d.Version < e.post.Version() {
			e.firstSeen, e.changed = min(e.firstSeen, market.Millis(d.FirstSeenTime)), true
			left = append(left, *e)
			continue
		}
		before := len(models)
		if d.Version == e.post.Version() && !d.Conflict && (e.conflict || !same(d.post(), e.post)) {
			amend(e, bson.D{{Key: "_id", Value: e.key}, {Key: "version", Value: d.Version}}, bson.D{{Key: "$set", Value: bson.D{{Key: "conflict", Value: true}}}})
		}
		if first := bson.DateTime(e.firstSeen); first < d.FirstSeenTime {
			amend(e, bson.D{{Key: "_id", Value: e.key}}, bson.D{{Key: "$min", Value: bson.D{{Key: "first_seen_time", Value: first}}}})
		}
		if len(models) > before {
			amended++
		}
	}
	if len(models) > 0 {
		_, err = bulk(ctx, s.posts, models, at)
	}
	return left, amended, err
}

// read returns what is stored of entries, by key.
func (s *Sink) read(ctx context.Context, entries []entry) (map[string]*document, error) {
	keys := make([]string, len(entries))
	for i := range entries {
		keys[i] = entries[i].key
	}
	cursor, err := s.posts.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}}, options.Find().SetBatchSize(int32(len(keys)+1)))
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer cursor.Close(context.WithoutCancel(ctx))
	stored := make(map[string]*document, len(keys))
	for cursor.Next(ctx) {
		d := &document{}
		if err := cursor.Decode(d); err != nil {
			return nil, fmt.Errorf("reading %s: %w", cursor.Current.Lookup("_id"), err)
		}
		stored[d.Key] = d
	}
	if err := cursor.Err(); err != nil {
		return nil, classify(ctx, err)
	}
	return stored, nil
}

// answer is what a server says of a bulk.
type answer struct {
	inserted, updated int
	taken             []int // writes whose key is taken, ascending
}

// bulk writes in any order. at has the positions in the batch of the writes.
func bulk(ctx context.Context, c *mongo.Collection, models []mongo.WriteModel, at []int) (answer, error) {
	result, err := c.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	return answered(ctx, result, err, len(models), at)
}

func answered(ctx context.Context, result *mongo.BulkWriteResult, err error, n int, at []int) (a answer, _ error) {
	if result != nil {
		a.inserted, a.updated = int(result.InsertedCount+result.UpsertedCount), int(result.MatchedCount)
	}
	var exception mongo.BulkWriteException
	if !errors.As(err, &exception) {
		return a, classify(ctx, err)
	}
	// A server that stopped at an error does not count right either (FerretDB 1).
	whole := a.inserted+a.updated+len(exception.WriteErrors) == n
	var worst *pipeline.Error
	for _, w := range exception.WriteErrors {
		if w.Code == duplicateKey {
			a.taken = append(a.taken, w.Index)
			continue
		}
		e := known(w.Code, w.WriteError)
		if e.Class == pipeline.Poison && whole {
			e.Items = []int{at[w.Index]}
		}
		worst = worse(worst, e)
	}
	if w := exception.WriteConcernError; w != nil {
		worst = worse(worst, known(w.Code, *w))
	}
	slices.Sort(a.taken)
	if worst != nil {
		return a, worst
	}
	return a, nil
}

// worse keeps of two errors the one that must be dealt with first: while the store
// itself is not well, nothing is said of the data. Poison is gathered.
func worse(a, b *pipeline.Error) *pipeline.Error {
	rank := map[pipeline.Class]int{pipeline.Environment: 2, pipeline.Transient: 1}
	switch {
	case a == nil || rank[b.Class] > rank[a.Class]:
		return b
	case a.Class == pipeline.Poison && b.Class == pipeline.Poison:
		a.Items = append(a.Items, b.Items...)
	}
	return a
}
