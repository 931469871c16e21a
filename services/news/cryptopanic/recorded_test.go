package cryptopanic

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/candlestack/candlestack/services/market"
)

// recorded reads a file of ../shared/data beside the repository.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	b, err := os.ReadFile(filepath.Join(root, "..", "shared", "data", "cryptopanic", name))
	if os.IsNotExist(err) {
		t.Skipf("the recording %s is not here: %v", name, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var tag = regexp.MustCompile(`<[^>]*>`)

// TestRecordedPages compares all fields of real pages with another reading of
// the same bytes: maps, and a pattern for markup.
func TestRecordedPages(t *testing.T) {
	for _, f := range []struct {
		name                  string
		posts, tagged, bodies int // all, with currencies, with a body
		votes                 int // members of each post's votes
	}{
		{"v1_posts_2018_NEO.json", 20, 20, 2, 3},
		{"v1_posts_2018_generic.json", 40, 31, 3, 3},
		{"v1_posts_2025-02.json", 20, 10, 0, 9},
	} {
		t.Run(f.name, func(t *testing.T) {
			body := recorded(t, f.name)
			p, err := parsePage(body, now)
			if err != nil {
				t.Fatal(err)
			}
			var other struct{ Results []map[string]any }
			if err := json.Unmarshal(body, &other); err != nil {
				t.Fatal(err)
			}
			if len(p.posts) != f.posts || len(p.bad) != 0 || p.last || len(other.Results) != f.posts {
				t.Fatalf("%d posts, %d bad, last page %t: %v", len(p.posts), len(p.bad), p.last, p.bad)
			}
			tagged, bodies := 0, 0
			for i, post := range p.posts {
				if len(post.Instruments) > 0 {
					tagged++
				}
				if post.Summary != "" {
					bodies++
				}
				agree(t, post, other.Results[i], f.votes)
			}
			if tagged != f.tagged || bodies != f.bodies {
				t.Errorf("%d posts with currencies, %d with a body", tagged, bodies)
			}
		})
	}
}

func agree(t *testing.T, p *market.Post, other map[string]any, votes int) {
	t.Helper()
	word := func(m map[string]any, name string) string { s, _ := m[name].(string); return s }
	clean := func(s string) string {
		return strings.TrimSpace(strings.ReplaceAll(tag.ReplaceAllString(s, ""), "\u00a0", " "))
	}
	from, _ := other["source"].(map[string]any)
	id, _ := json.Marshal(int64(other["id"].(float64)))
	for _, f := range []struct{ field, got, want string }{
		{"source", p.Source, "cryptopanic"}, {"id", p.ID, string(id)}, {"kind", p.Type, word(other, "kind")}, {"title", p.Title, clean(word(other, "title"))},
		{"body", p.Summary, clean(word(other, "body"))}, {"url", p.URL, word(other, "url")}, {"slug", p.Slug, word(other, "slug")},
		{"source.title", p.Publisher.Title, word(from, "title")}, {"source.domain", p.Publisher.Domain, word(from, "domain")},
		{"source.region", p.Publisher.Region, word(from, "region")}, {"source.type", p.Publisher.Type, word(from, "type")},
		{"source.path", p.Publisher.Path, word(from, "path")}, {"original_url", p.ArticleURL, ""}, {"image", p.ImageURL, ""}, {"author", p.Author, ""},
		{"published_at", p.PublishedTime.String(), toMillis(word(other, "published_at"))}, {"created_at", p.CreatedTime.String(), toMillis(word(other, "created_at"))},
	} {
		if f.got != f.want {
			t.Errorf("%s: %s is %q, the page has %q", p.ID, f.field, f.got, f.want)
		}
	}
	codes := []string{}
	list, _ := other["currencies"].([]any)
	for _, c := range list {
		codes = append(codes, word(c.(map[string]any), "code"))
	}
	slices.Sort(codes)
	if !slices.Equal(p.Instruments, slices.Compact(codes)) {
		t.Errorf("%s: instruments are %v, the page has %v", p.ID, p.Instruments, codes)
	}
	counted := other["votes"].(map[string]any)
	if len(counted) != votes || p.Votes == nil {
		t.Fatalf("%s: %d votes and %v", p.ID, len(counted), p.Votes)
	}
	for _, c := range p.Votes.Counts() {
		want, ok := counted[c.Name].(float64)
		if ok != (c.Value != nil) || ok && float64(*c.Value) != want {
			t.Errorf("%s: votes.%s is %v, the page has %v", p.ID, c.Name, c.Value, counted[c.Name])
		}
	}
}

// toMillis cuts the digits below ms, as text.
func toMillis(s string) string {
	seconds, fraction, ok := strings.Cut(strings.TrimSuffix(s, "Z"), ".")
	if !ok {
		fraction = "000"
	}
	return seconds + "." + (fraction + "000")[:3] + "Z"
}
