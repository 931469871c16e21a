package mongodb

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// section returns the lines of the first Markdown table after a heading of DATA.md
// below the one of MongoDB, without its head.
func section(t *testing.T, heading string) (lines []string) {
	t.Helper()
	page, err := os.ReadFile("../../../DATA.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "\n## MongoDB\n")
	_, after, ok := strings.Cut(after, "\n### "+heading+"\n")
	if !ok {
		t.Fatalf("DATA.md has no heading %q below that of MongoDB", heading)
	}
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "|") {
			lines = append(lines, strings.TrimSpace(line))
		} else if len(lines) > 0 {
			break
		}
	}
	return lines[2:]
}

func (f field) line() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, f.kind, map[bool]string{true: "yes", false: "no"}[f.always], f.meaning)
}

func (x index) line() string {
	var keys []string
	for _, k := range x.keys {
		keys = append(keys, fmt.Sprintf("%s: %v", k.Key, k.Value))
	}
	return fmt.Sprintf("| `%s` | `%s` | %s |", x.collection, x.name, strings.Join(keys, ", "))
}

func TestFieldsArePublished(t *testing.T) {
	for heading, fields := range map[string][]field{"Collection `posts`": postFields, "Collection `vote_snapshots`": snapshotFields} {
		var want []string
		for _, f := range fields {
			want = append(want, f.line())
		}
		if diff := cmp.Diff(want, section(t, heading)); diff != "" {
			t.Errorf("DATA.md (-code +page):\n%s", diff)
		}
	}
}

func TestIndexesAndViewsArePublished(t *testing.T) {
	var want []string
	for _, x := range indexes {
		want = append(want, x.line())
	}
	if diff := cmp.Diff(want, section(t, "Indexes")); diff != "" {
		t.Errorf("DATA.md (-code +page):\n%s", diff)
	}
	want = nil
	for _, v := range views {
		want = append(want, fmt.Sprintf("| `%s` | posts about %s |", v.name, v.instrument))
	}
	if diff := cmp.Diff(want, section(t, "Views")); diff != "" {
		t.Errorf("DATA.md (-code +page):\n%s", diff)
	}
}

func TestErrorCodesArePublished(t *testing.T) {
	var want []string
	for _, c := range codes {
		want = append(want, fmt.Sprintf("| %d | %s | %s |", c.code, c.class, c.meaning))
	}
	got := section(t, "Error codes of MongoDB")
	own := []string{codeRefused, codeLost, codeKind, codeText}
	if diff := cmp.Diff(want, got[:len(got)-len(own)]); diff != "" {
		t.Errorf("DATA.md (-code +page):\n%s", diff)
	}
	for i, code := range own {
		if line := got[len(want)+i]; !strings.HasPrefix(line, "| "+code+" |") {
			t.Errorf("DATA.md has %q where %s is due", line, code)
		}
	}
}

// typeNames are the BSON types as validators name them.
var typeNames = map[bson.Type]string{
	bson.TypeString: "string", bson.TypeEmbeddedDocument: "object", bson.TypeArray: "array", bson.TypeInt64: "long", bson.TypeDateTime: "date", bson.TypeBoolean: "bool",
}

// What is stored of a post with all there is has exactly the fields of the page,
// and of one with the least those that are always there.
func TestStoredFields(t *testing.T) {
	sink := findServer(t).prepared(t)
	full, other := pipelinetest.Post(0), *pipelinetest.Post(0)
	other.Title = "Something else"
	bare := *pipelinetest.Bare(0)
	bare.Votes, bare.VotesTime = &market.Votes{}, bare.ObservedTime
	works(t, sink, pipeline.Batch{full, &other, pipelinetest.Bare(1), &bare})
	for _, c := range []struct {
		collection, key string
		fields          []field
		all             bool
	}{
		{collectionPosts, full.Key(), postFields, true},
		{collectionPosts, pipelinetest.Bare(1).Key(), postFields, false},
		{collectionSnapshots, fmt.Sprintf("%s/%d", full.Key(), full.VotesTime), snapshotFields, true},
		{collectionSnapshots, fmt.Sprintf("%s/%d", bare.Key(), bare.VotesTime), snapshotFields, false},
	} {
		raw, err := sink.posts.Database().Collection(c.collection).FindOne(t.Context(), bson.D{{Key: "_id", Value: c.key}}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		got, want := map[string]string{}, map[string]string{}
		flatten(t, got, "", raw)
		for _, f := range c.fields {
			if c.all || f.always {
				want[f.name] = f.kind
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-page +server):\n%s", c.key, diff)
		}
	}
}

func flatten(t *testing.T, into map[string]string, prefix string, raw bson.Raw) {
	t.Helper()
	elements, err := raw.Elements()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		into[prefix+e.Key()] = typeNames[e.Value().Type]
		if d, ok := e.Value().DocumentOK(); ok {
			flatten(t, into, prefix+e.Key()+".", d)
		}
	}
}
