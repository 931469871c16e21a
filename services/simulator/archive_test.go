package simulator

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ownPage is a page of ours in the shape of 2018, with one post of 2025.
const ownPage = `{"count": 3, "next": null, "previous": null, "results": [
 {"domain": "a.example", "votes": {"negative": 0, "positive": 10, "important": 2}, "source": {"domain": "a.example", "title": "A", "path": null},
  "title": "NEO is up <span class=\"color-green\">20.99%</span> & more", "published_at": "2018-01-18T09:45:28.965353Z", "slug": "NEO-is-up",
  "currencies": [{"code": "NEO", "title": "NEO", "slug": "neo", "url": "https://news.example/neo/"}], "body": "<p>Made up.</p>",
  "id": 841770, "created_at": "2018-01-18T09:45:28.965353Z", "url": "https://news.example/news/841770/NEO-is-up"},
 {"domain": "b.example", "votes": {}, "source": {"domain": "b.example", "title": "B", "path": "r/b"}, "title": "Nothing", "slug": "Nothing",
  "published_at": "2018-01-18T09:33:00Z", "id": 841751, "created_at": "2018-01-18T09:33:00Z", "url": "https://news.example/news/841751/Nothing"},
 {"kind": "news", "domain": "c.example", "source": {"title": "C", "region": "en", "domain": "c.example", "path": null, "type": "feed"},
  "title": "Bitcoin\u2014and more", "published_at": "2025-02-26T11:20:14Z", "slug": "Bitcoinand-more", "currencies": [{"code": "BTC", "title": "Bitcoin", "slug": "bitcoin", "url": ""}],
  "id": 20750357, "url": "https://news.example/news/20750357/Bitcoinand-more", "created_at": "2025-02-26T11:20:15Z", "votes": {"lol": 12345678901234567890}}]}`

func writePages(t testing.TB, pages map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// values of a post, numbers as they were written.
func values(t testing.TB, raw string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What was recorded is served, every value as it was, in its order.
func TestNewsReplay(t *testing.T) {
	s := newTest(t, Config{ReplayNews: writePages(t, map[string]string{"a.json": ownPage, "b.json": ownPage, "b.txt": "no page"})})
	var recorded struct{ Results []json.RawMessage }
	if err := json.Unmarshal([]byte(ownPage), &recorded); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		query string
		want  []int
	}{
		{"", []int{2, 0, 1}}, {"&filter=hot&public=true", []int{2, 0, 1}}, {"&currencies=neo", []int{0}}, {"&currencies=BTC,NEO", []int{2, 0}},
		{"&currencies=ETH", nil}, {"&kind=news", []int{2}},
	} {
		page, _ := getPage(t, s, newsPath+f.query)
		if page.Count != len(f.want) || page.Next != nil || len(page.Results) != len(f.want) {
			t.Fatalf("%s: %+v", f.query, page)
		}
		for k, n := range f.want {
			if d := cmp.Diff(values(t, string(recorded.Results[n])), values(t, string(page.Results[k]))); d != "" {
				t.Errorf("%s: %s", f.query, d)
			}
		}
	}
	items := feed(t, get(t, s, "/news/rss").body).Channel.Items
	if len(items) != 3 || items[1].Link != "https://news.example/news/841770/NEO-is-up" || items[1].Categories[0] != "NEO" {
		t.Errorf("%+v", items)
	}
	if a := get(t, s, "/news/841770/x"); a.status != 200 {
		t.Errorf("%d", a.status)
	}
	if err := s.Inject(Fault{Kind: "shift"}); err == nil {
		t.Error("a recording takes a new post")
	}
	inject(t, s, Fault{Kind: "bad_post"})
	if page, bad := getPage(t, s, newsPath); bad == nil || len(page.Results) != 3 {
		t.Errorf("%+v", page)
	}
	early := newTestAt(t, Config{ReplayNews: writePages(t, map[string]string{"a.json": ownPage})}, newWall("2020-01-01 00:00:00"))
	if page, _ := getPage(t, early, newsPath); page.Count != 2 {
		t.Errorf("in 2020 there are %d posts", page.Count)
	}
}

// getPage is posts, for pages whose posts may have any values: bad is the first
// one that does not decode.
func getPage(t testing.TB, s *Simulator, path string) (page panicPage, bad json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, s, path).body), &page); err != nil {
		t.Fatal(err)
	}
	for _, raw := range page.Results {
		var p recordedPost
		if json.Unmarshal(raw, &p) != nil || p.ID == 0 {
			return page, raw
		}
	}
	return page, nil
}

// The real pages come back as they were recorded.
func TestRecordedNewsIsServedExactly(t *testing.T) {
	folder := shared(t, "cryptopanic")
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: no pages in %s", err, folder)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var recorded panicPage
			if err := json.Unmarshal(raw, &recorded); err != nil {
				t.Fatal(err)
			}
			s := newTest(t, Config{ReplayNews: file})
			var served []json.RawMessage
			for path := newsPath; path != ""; {
				page, _ := getPage(t, s, path)
				served = append(served, page.Results...)
				if page.Count != len(recorded.Results) || len(page.Results) > pageSize {
					t.Errorf("count %d, %d results", page.Count, len(page.Results))
				}
				path = ""
				if page.Next != nil {
					path = strings.TrimPrefix(*page.Next, "http://"+s.Addr())
				}
			}
			if len(served) != len(recorded.Results) {
				t.Fatalf("%d posts, recorded %d", len(served), len(recorded.Results))
			}
			for k := range served {
				if d := cmp.Diff(values(t, string(recorded.Results[k])), values(t, string(served[k]))); d != "" {
					t.Errorf("%d: %s", k, d)
				}
			}
		})
	}
	all, err := openArchive(folder)
	if err != nil || len(all.all) != 79 { // 20 + 40 + 20, one of them twice
		t.Errorf("%v", err)
	}
}

// News that is not shown moves no price, and news moves no recorded price.
func TestWhoMovesPrices(t *testing.T) {
	from, to := at("2025-03-03 00:00:00"), at("2025-03-04 00:00:00")
	for _, f := range []struct {
		name           string
		cfg            Config
		effects, posts int
	}{
		{"seeded news, seeded prices", Config{}, 1, -1},
		{"recorded news, seeded prices", Config{ReplayNews: writePages(t, map[string]string{"a.json": ownPage})}, 0, 0},
		{"seeded news, recorded prices", Config{Replay: writeRecording(t, 10, nil, "BTCUSDT"), ReplayExact: true}, 0, -1},
	} {
		t.Run(f.name, func(t *testing.T) {
			f.cfg.Seed, f.cfg.Instruments = 1, []string{"BTC-USDT"}
			s := newTest(t, f.cfg)
			a := s.Answers(from, to)
			if len(a.Effects) != f.effects || (f.posts == 0) != (a.Posts == 0) || (f.posts == 0) != (a.Instruments[0].Posts == 0) {
				t.Errorf("%d effects, %d posts", len(a.Effects), a.Posts)
			}
			if n, ok := s.board.order[0].tape.(*noise); ok {
				bare, m := newNoise(1, "BTCUSDT"), int64(at("2025-03-03 05:10:00")/minute)
				if moved := n.price(m) != bare.price(m); moved != (f.effects > 0) {
					t.Errorf("the price is moved: %v", moved)
				}
			}
		})
	}
	archived := newTest(t, Config{ReplayNews: writePages(t, map[string]string{"a.json": ownPage})})
	a := archived.Answers(at("2025-02-26 00:00:00"), at("2025-02-27 00:00:00"))
	if a.Posts != 1 || a.Instruments[0].Posts != 1 || a.Instruments[1].Posts != 0 {
		t.Errorf("%d posts: %+v", a.Posts, a.Instruments)
	}
}

func TestArchiveErrors(t *testing.T) {
	for _, f := range []struct{ page, want string }{
		{`{`, "unexpected end"}, {`[]`, "cannot unmarshal"}, {`{"results":[]}`, "no results"},
		{`{"results":[{"id":1}]}`, "result 0 has no id, title"}, {`{"results":["x"]}`, "result 0: "},
		{strings.Replace(ownPage, `"2018-01-18T09:33:00Z", "id"`, `"yesterday", "id"`, 1), "result 1: "},
	} {
		path := filepath.Join(writePages(t, map[string]string{"page.json": f.page}), "page.json")
		if _, err := openArchive(path); err == nil || !strings.Contains(err.Error(), "page.json: ") || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: %v", f.page, err)
		}
	}
	c := Config{ReplayNews: t.TempDir()}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "the folder holds no *.json") {
		t.Errorf("%v", err)
	}
}

// Whatever a page holds, it is refused, or comes back as JSON.
func FuzzNewsPage(f *testing.F) {
	f.Add([]byte(ownPage))
	f.Add([]byte(`{"results":[{"id":1,"title":"x","published_at":"2018-01-18T09:33:00Z","created_at":"2018-01-18T09:33:00+14:00","currencies":null}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := readNewsPage(raw)
		if err != nil {
			return
		}
		for _, s := range all {
			if !json.Valid(s.panic("host", false)) || s.id <= 0 || s.title == "" {
				t.Errorf("%+v", s)
			}
		}
	})
}
