// Package cryptopanic is the news aggregator CryptoPanic as a source of posts:
// its feed of posts, polled (exchanges.md §2). It understands both generations of
// the API and pages as old as 2018.
package cryptopanic

import (
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// feedPage is an answer of GET /api/v1/posts/ and /api/{plan}/v2/posts/.
type feedPage struct {
	Results []jsontext.Value `json:"results"`
	Next    text             `json:"next"` // holds the token; only whether it is there counts
}

// rawPost is a post with the members of all generations. Which of them come
// depends on generation and plan, so that each may be missing or null.
type rawPost struct {
	ID          text          `json:"id"`
	Kind        text          `json:"kind"`   // news, media; v2 also blog, twitter, reddit; not in 2018
	Domain      text          `json:"domain"` // v1
	Source      rawSource     `json:"source"`
	Title       text          `json:"title"` // 2018: with HTML
	Slug        text          `json:"slug"`
	URL         text          `json:"url"`          // at CryptoPanic
	OriginalURL text          `json:"original_url"` // v2
	Image       text          `json:"image"`        // v2
	Description text          `json:"description"`  // v2
	Body        text          `json:"body"`         // 2018, HTML
	Metadata    rawMetadata   `json:"metadata"`     // v1, where asked for
	Content     rawContent    `json:"content"`      // v2, where asked for
	Author      rawAuthor     `json:"author"`       // v2
	PublishedAt text          `json:"published_at"` // RFC 3339; 2018 with fractions
	CreatedAt   text          `json:"created_at"`
	Currencies  []rawCurrency `json:"currencies"`  // v1; missing where the post has none
	Instruments []rawCurrency `json:"instruments"` // v2
	Votes       rawVotes      `json:"votes"`
	PanicScore  count         `json:"panic_score"` // v2, 0 to 100
}

type rawSource struct {
	Title  text `json:"title"`
	Region text `json:"region"`
	Domain text `json:"domain"`
	Path   text `json:"path"`
	Type   text `json:"type"`
}

type rawMetadata struct {
	Description text `json:"description"`
	Image       text `json:"image"`
}

type rawContent struct {
	Original text `json:"original"`
	Clean    text `json:"clean"`
}

type rawCurrency struct {
	Code text `json:"code"`
}

// rawVotes has nine counts, in 2018 the first three.
type rawVotes struct {
	Negative  count `json:"negative"`
	Positive  count `json:"positive"`
	Important count `json:"important"`
	Liked     count `json:"liked"`
	Disliked  count `json:"disliked"`
	LOL       count `json:"lol"`
	Toxic     count `json:"toxic"`
	Saved     count `json:"saved"`
	Comments  count `json:"comments"`
}

// problem is the service's error; detail is that of its framework.
type problem struct {
	Status text `json:"status"` // api_error
	Info   text `json:"info"`
	Detail text `json:"detail"`
}

// text is a string; a number counts as its digits, anything else as nothing.
type text string

// UnmarshalJSONFrom reads any value.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*t = textOf(v)
	return nil
}

func textOf(v jsontext.Value) text {
	switch v.Kind() {
	case '"':
		var s string
		if json.Unmarshal(v, &s, lenient) == nil {
			return text(s)
		}
	case '0':
		return text(v)
	}
	return ""
}

// count is a whole number, as such or as a string; nil where it is anything else.
type count struct{ value *int64 }

// UnmarshalJSONFrom reads any value.
func (c *count) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	c.value = nil
	s := string(textOf(v))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		c.value = &n
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 { // 12.0
		n := int64(f)
		c.value = &n
	}
	return nil
}

// rawAuthor is a name, or an object that has one.
type rawAuthor struct{ name text }

// UnmarshalJSONFrom reads any value.
func (a *rawAuthor) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() != '{' {
		a.name = textOf(v)
		return nil
	}
	var object struct {
		Name     text `json:"name"`
		Title    text `json:"title"`
		Username text `json:"username"`
	}
	err = json.Unmarshal(v, &object, lenient)
	a.name = first(object.Name, object.Title, object.Username)
	return err
}

// first is the first that is not empty.
func first(texts ...text) text {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
