package command_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/simulator"
)

// documents connects to a database of its own on the server that
// CANDLESTACK_TEST_MONGODB names.
func (w *world) documents() {
	w.t.Helper()
	if w.uri = os.Getenv("CANDLESTACK_TEST_MONGODB"); w.uri == "" {
		w.t.Skip("no MongoDB: set CANDLESTACK_TEST_MONGODB")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(w.uri))
	if err != nil {
		w.t.Fatal(err)
	}
	w.news = client.Database(fmt.Sprintf("command_%d", time.Now().UnixNano()))
	w.t.Cleanup(func() {
		w.commands.Wait()
		if err := cmp.Or(w.news.Drop(context.Background()), client.Disconnect(context.Background())); err != nil {
			w.t.Error(err)
		}
	})
}

// newsSink runs the MongoDB sink.
func (w *world) newsSink(args ...string) *service {
	return w.start(append([]string{"sink", "mongodb", "--kafka.brokers", w.kafka, "--mongodb.uri", w.uri, "--mongodb.database", w.news.Name(), "--kafka.config", "session.timeout.ms=6000"}, args...)...)
}

// feed runs a source of news on a simulator.
func (w *world) feed(sim *simulator.Simulator, name string, args ...string) *service {
	address := []string{"--url", "http://" + sim.Addr(), "--token", "geheim"}
	if name == "rss" {
		address = []string{"--feed", "http://" + sim.Addr() + "/news/rss"}
	}
	return w.start(slices.Concat([]string{"source", name, "--kafka.brokers", w.kafka}, address, args)...)
}

// all reads a collection, by _id.
func (w *world) all(collection string) map[string]bson.M {
	w.t.Helper()
	cursor, err := w.news.Collection(collection).Find(context.Background(), bson.D{})
	if err != nil {
		w.t.Fatal(err)
	}
	var found []bson.M
	if err := cursor.All(context.Background(), &found); err != nil {
		w.t.Fatal(err)
	}
	by := map[string]bson.M{}
	for _, d := range found {
		by[d["_id"].(string)] = d
	}
	return by
}

var markup = regexp.MustCompile(`<[^>]*>`)

// recordedPosts reads the pages as maps, and says what the documents must hold
// of them: texts without markup, times to the millisecond, codes in order.
func recordedPosts(t *testing.T, dir string) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in %s: %v", dir, err)
	}
	want := map[string]map[string]any{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Results []map[string]any `json:"results"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Results {
			id := fmt.Sprintf("%.0f", p["id"])
			d := map[string]any{"_id": "cryptopanic/" + id, "source": "cryptopanic", "id": id, "origin": "live"}
			for to, from := range map[string]string{"type": "kind", "title": "title", "summary": "body", "url": "url", "slug": "slug"} {
				if text, ok := p[from].(string); ok {
					d[to] = strings.TrimSpace(strings.ReplaceAll(markup.ReplaceAllString(text, ""), "\u00a0", " "))
				}
			}
			for to, from := range map[string]string{"published_time": "published_at", "created_time": "created_at"} {
				at, err := time.Parse(time.RFC3339, p[from].(string))
				if err != nil {
					t.Fatal(err)
				}
				d[to] = at.UnixMilli()
			}
			publisher, votes := map[string]any{}, map[string]any{}
			for field, text := range p["source"].(map[string]any) {
				if text != nil {
					publisher[field] = text
				}
			}
			for name, count := range p["votes"].(map[string]any) {
				votes[name] = int64(count.(float64))
			}
			d["publisher"], d["votes"] = publisher, votes
			var codes []string
			currencies, _ := p["currencies"].([]any)
			for _, c := range currencies {
				codes = append(codes, c.(map[string]any)["code"].(string))
			}
			if slices.Sort(codes); len(codes) > 0 {
				d["instruments"] = slices.Compact(codes)
			}
			if key := d["_id"].(string); want[key] == nil { // the pages of 2018 share a post; the simulator serves the first page's
				want[key] = d
			}
		}
	}
	return want
}

// plain makes maps and lists of a document, times as ms; clocks of ours are left out.
func plain(value any) any {
	switch v := value.(type) {
	case bson.M:
		m := map[string]any{}
		for name, inner := range v {
			switch name {
			case "first_seen_time", "observed_time", "votes_time", "version":
			default:
				m[name] = plain(inner)
			}
		}
		return m
	case bson.D:
		m := bson.M{}
		for _, e := range v {
			m[e.Key] = e.Value
		}
		return plain(m)
	case bson.A:
		var texts []string
		for _, inner := range v {
			texts = append(texts, inner.(string))
		}
		return texts
	case bson.DateTime:
		return int64(v)
	}
	return value
}

// TestRecordedNews sends real pages of CryptoPanic, of 2018 and of 2025, through
// the whole path and compares every field of every document with the recording.
// A second source, and a sink that reads all again, change nothing.
func TestRecordedNews(t *testing.T) {
	data := filepath.Join(recordings(t), "cryptopanic")
	w := newWorld(t)
	w.documents()
	want := recordedPosts(t, data)
	sim := simulate(t, simulator.Config{ReplayNews: data})
	every := []string{"--filter=", "--currencies=", "--pages", "10", "--interval", "1s"}
	source, sink := w.feed(sim, "cryptopanic", every...), w.newsSink()
	w.eventually("all posts are stored", func() bool { return len(w.all("posts")) == len(want) })
	source.stop()
	appended := w.ends(newsTopics...)
	again := w.feed(sim, "cryptopanic", every...)
	w.eventually("a second source has seen all", func() bool {
		return again.metric("candlestack_source_observed_posts_total", "changed", "false") >= float64(2*len(want))
	})
	again.stop()
	sink.stop()
	if n := w.ends(newsTopics...); n != appended || n != int64(len(want)) {
		t.Errorf("%d records for %d posts, %d after a restart of the source", appended, len(want), n)
	}
	posts, snapshots := w.all("posts"), w.all("vote_snapshots")
	if len(snapshots) != len(want) {
		t.Errorf("%d snapshots of votes for %d posts that never changed", len(snapshots), len(want))
	}
	got := map[string]map[string]any{}
	for id, d := range posts {
		got[id] = plain(d).(map[string]any)
	}
	if d := diff.Diff(want, got); d != "" {
		t.Errorf("documents (-recorded +stored):\n%s", d)
	}
	reader := w.newsSink("--kafka.group", "candlestack-again")
	w.eventually("another group has read all", func() bool {
		return reader.metric("candlestack_sink_rows_total") >= float64(len(want))
	})
	reader.stop()
	if d := diff.Diff(posts, w.all("posts")); d != "" {
		t.Errorf("reading all again changed documents:\n%s", d)
	}
	if n := len(w.all("vote_snapshots")); n != len(snapshots) {
		t.Errorf("reading all again made %d snapshots of %d", n, len(snapshots))
	}
}

// TestNewsOfTheMarket follows both feeds of a seeded market in fast motion: votes
// change and every change is a version and a snapshot, faults of the feed pass,
// and the simulator's truth is what is stored.
func TestNewsOfTheMarket(t *testing.T) {
	w := newWorld(t)
	w.documents()
	sim := simulate(t, simulator.Config{Seed: 5, Start: time.Now().Add(-12 * time.Hour), Speed: 600})
	posts := w.feed(sim, "cryptopanic", "--pages", "10", "--interval", "1s", "--state-dir", t.TempDir())
	feed := w.feed(sim, "rss", "--interval", "1s")
	sink := w.newsSink()
	for _, f := range []simulator.Fault{
		{Target: "news", Kind: "5xx"}, {Target: "news", Kind: "html"}, {Target: "news", Kind: "truncated_body"}, {Target: "news", Kind: "bad_post"},
	} {
		if err := sim.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("votes have changed", func() bool {
		changed := 0
		for _, d := range w.all("posts") {
			if d["votes_time"] != nil && d["votes_time"] != d["first_seen_time"] {
				changed++
			}
		}
		return changed >= 20
	})
	if n := posts.metric("candlestack_source_reconnects_total") + feed.metric("candlestack_source_reconnects_total"); n == 0 {
		t.Error("no feed has failed: the faults were not felt")
	}
	posts.stop()
	feed.stop()
	w.eventually("the topic is drained", func() bool { return w.drainedBy("candlestack-mongodb", newsTopics...) })
	sink.stop()
	snapshots := map[string]int{}
	for _, d := range w.all("vote_snapshots") {
		snapshots[d["post"].(string)]++
	}
	sources := map[string]int{}
	for id, d := range w.all("posts") {
		sources[d["source"].(string)]++
		if conflict := d["conflict"]; conflict != nil {
			t.Errorf("%s is in conflict", id)
		}
		if changed := d["votes_time"] != nil && d["votes_time"] != d["first_seen_time"]; changed && snapshots[id] < 2 {
			t.Errorf("votes of %s have changed, and there are %d snapshots", id, snapshots[id])
		}
	}
	if sources["cryptopanic"] < 20 || sources["rss"] < 20 {
		t.Errorf("posts by source: %v", sources)
	}
}

// TestDeadLettersOfNews lets posts die that cannot be stored, beside one that can.
func TestDeadLettersOfNews(t *testing.T) {
	w := newWorld(t)
	w.documents()
	sink := w.newsSink()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	headers := []kgo.RecordHeader{{Key: market.HeaderContract, Value: []byte("1")}, {Key: market.HeaderKind, Value: []byte("post")}, {Key: market.HeaderOrigin, Value: []byte("live")}}
	const post = `{"source":"hand","id":"%s","title":"%s","published_time":1795000020000,"first_seen_time":1795000020000,"observed_time":1795000020000}`
	for _, value := range []string{"not JSON", fmt.Sprintf(post, "1", ""), fmt.Sprintf(post, "2", "a NUL\\u0000"), fmt.Sprintf(post, "3", "fine")} {
		if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: market.TopicPosts, Key: []byte("k"), Value: []byte(value), Headers: headers}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("all is read", func() bool { return w.drainedBy("candlestack-mongodb", newsTopics...) })
	sink.stop()
	if posts := w.all("posts"); len(posts) != 1 || posts["hand/3"] == nil {
		t.Errorf("stored are %v, want the one that is fine", slices.Collect(maps.Keys(posts)))
	}
	if list := w.run("deadletter", "list", "--topic", market.TopicPosts, "--kafka.brokers", w.kafka); !strings.Contains(list, "decode") || !strings.Contains(list, "invalid") {
		t.Errorf("deadletter list says\n%s", list)
	}
	if out := w.run("deadletter", "replay", "--topic", market.TopicPosts, "--kafka.brokers", w.kafka); !strings.Contains(out, "news.posts: 3 sent again") {
		t.Errorf("deadletter replay says\n%s", out)
	}
}

// TestDoctorOfNews reaches the store and the feeds.
func TestDoctorOfNews(t *testing.T) {
	w := newWorld(t)
	w.documents()
	sim := simulate(t, simulator.Config{})
	out := w.run("doctor", "kafka", "mongodb", "cryptopanic", "rss", "--kafka.brokers", w.kafka, "--mongodb.uri", w.uri, "--mongodb.database", w.news.Name(),
		"--cryptopanic.url", "http://"+sim.Addr(), "--cryptopanic.token", "geheim", "--rss.feed", "http://"+sim.Addr()+"/news/rss")
	for _, want := range []string{"topic news.posts", "mongodb server", "mongodb clock", "cryptopanic posts", "cryptopanic quota", "rss " + sim.Addr()} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor says nothing of %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, "geheim") {
		t.Errorf("doctor tells the token:\n%s", out)
	}
}
