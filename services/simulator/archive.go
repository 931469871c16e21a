package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// archive is recorded pages of CryptoPanic, the newest post first. One that
// several pages have is taken from the first.
type archive struct{ all []story }

// recordedPost is what of a recorded post is needed to find it and to show it in
// the feed; pages of 2018 have less, and fractions of seconds.
type recordedPost struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"`
	Title     string    `json:"title"`
	URL       string    `json:"url"`
	Published time.Time `json:"published_at"`
	Created   time.Time `json:"created_at"`
	Source    struct {
		Title  string `json:"title"`
		Region string `json:"region"`
		Domain string `json:"domain"`
	} `json:"source"`
	Currencies []struct {
		Code  string `json:"code"`
		Title string `json:"title"`
		Slug  string `json:"slug"`
	} `json:"currencies"`
}

// openArchive reads a page (*.json), or the pages of a folder by name.
func openArchive(path string) (*archive, error) {
	files := []string{path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, errors.New("the folder holds no *.json")
		}
	}
	a := &archive{}
	seen := make(map[int64]bool)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		page, err := readNewsPage(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		for _, s := range page {
			if !seen[s.id] {
				seen[s.id] = true
				a.all = append(a.all, s)
			}
		}
	}
	slices.SortStableFunc(a.all, func(x, y story) int { return cmp.Compare(y.published, x.published) })
	return a, nil
}

// readNewsPage reads a page as CryptoPanic serves it, of 2018 or later.
func readNewsPage(raw []byte) ([]story, error) {
	var page struct {
		Results []json.RawMessage `json:"results"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, err
	}
	if len(page.Results) == 0 {
		return nil, errors.New("no results in it")
	}
	var all []story
	for k, one := range page.Results {
		var p recordedPost
		if err := json.Unmarshal(one, &p); err != nil {
			return nil, fmt.Errorf("result %d: %w", k, err)
		}
		if p.ID <= 0 || p.Title == "" || p.Published.Year() < 1970 || p.Created.Year() < 1970 {
			return nil, fmt.Errorf("result %d has no id, title, published_at or created_at", k)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, one); err != nil {
			return nil, fmt.Errorf("result %d: %w", k, err)
		}
		s := story{
			id: p.ID, kind: p.Kind, title: p.Title, text: p.Title, link: p.URL, raw: compact.Bytes(),
			publisher: publisher{title: p.Source.Title, domain: p.Source.Domain, region: p.Source.Region},
			published: market.MillisOf(p.Published), created: market.MillisOf(p.Created), changed: market.MillisOf(p.Created),
		}
		for _, c := range p.Currencies {
			s.coins = append(s.coins, coin{code: strings.ToUpper(c.Code), title: c.Title, slug: c.Slug})
		}
		all = append(all, s)
	}
	return all, nil
}

// stories by time, whatever the filter: by which one they were recorded is not
// known.
func (a *archive) stories(want selection, now market.Millis) (all []story) {
	for _, s := range a.all {
		if s.created <= now && want.about(s.coins) && want.by(&s) && len(all) < want.limit {
			all = append(all, s)
		}
	}
	return all
}

func (a *archive) story(id int64, now market.Millis) (story, bool) {
	k := slices.IndexFunc(a.all, func(s story) bool { return s.id == id && s.created <= now })
	if k < 0 {
		return story{}, false
	}
	return a.all[k], true
}

func (a *archive) count(from, to market.Millis) (all int, about map[string]int) {
	about = make(map[string]int)
	for _, s := range a.all {
		if s.published >= from && s.published < to {
			all++
			for _, c := range s.coins {
				about[c.code]++
			}
		}
	}
	return all, about
}
