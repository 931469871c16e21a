package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	pageSize  = 20
	maxPages  = 10
	maxCodes  = 50
	quotaInfo = "API monthly quota exceeded. Please upgrade your plan or wait for the next month."
)

// panicPage and panicPost are the wire format of exchanges.md §2.1.
type panicPage struct {
	Count    int               `json:"count"`
	Next     *string           `json:"next"`
	Previous *string           `json:"previous"`
	Results  []json.RawMessage `json:"results"`
}

type panicPost struct {
	Kind       string          `json:"kind"`
	Domain     string          `json:"domain"`
	Source     panicSource     `json:"source"`
	Title      string          `json:"title"`
	Published  string          `json:"published_at"`
	Slug       string          `json:"slug"`
	Currencies []panicCurrency `json:"currencies,omitempty"`
	ID         int64           `json:"id"`
	URL        string          `json:"url"`
	Created    string          `json:"created_at"`
	Votes      panicVotes      `json:"votes"`
	Metadata   *panicMetadata  `json:"metadata,omitempty"`
}

type panicSource struct {
	Title  string  `json:"title"`
	Region string  `json:"region"`
	Domain string  `json:"domain"`
	Path   *string `json:"path"`
	Type   string  `json:"type"`
}

type panicCurrency struct {
	Code  string `json:"code"`
	Title string `json:"title"`
	Slug  string `json:"slug"`
	URL   string `json:"url"`
}

type panicVotes struct {
	Negative  int64 `json:"negative"`
	Positive  int64 `json:"positive"`
	Important int64 `json:"important"`
	Liked     int64 `json:"liked"`
	Disliked  int64 `json:"disliked"`
	LOL       int64 `json:"lol"`
	Toxic     int64 `json:"toxic"`
	Saved     int64 `json:"saved"`
	Comments  int64 `json:"comments"`
}

type panicMetadata struct {
	Description string `json:"description"`
}

func apiFailure(status int, info string) paper {
	body := fmt.Appendf(nil, `{"status":"api_error","info":%q}`, info)
	return paper{status: status, mime: mimeJSON, body: body}
}

func quotaExceeded() paper { return apiFailure(http.StatusTooManyRequests, quotaInfo) }

// panicPosts answers GET /api/v1/posts/ by the rules of exchanges.md §2. Any
// token is right. Parameters that choose nothing here (public, following) are
// taken without effect. What a live server says to a filter or kind that it does
// not know is not documented: here it is 400.
func (s *Simulator) panicPosts(q *http.Request) paper {
	query := q.URL.Query()
	if query.Get("auth_token") == "" {
		return apiFailure(http.StatusUnauthorized, "Token not found")
	}
	if !s.newsdesk.spend() {
		return quotaExceeded()
	}
	want, problem := selectionOf(query)
	if problem != "" {
		return apiFailure(http.StatusBadRequest, problem)
	}
	page := 1
	if query.Has("page") {
		var err error
		if page, err = strconv.Atoi(query.Get("page")); err != nil {
			return notFound()
		}
	}
	now := s.clock.now()
	if page > 1 && s.dueNews(feedCryptoPanic, faultShift) != nil {
		s.newsroom.interrupt(now)
	}
	all := s.news.stories(want, now)
	from := (page - 1) * pageSize
	if page < 1 || page > maxPages || (page > 1 && from >= len(all)) {
		return notFound()
	}
	p := panicPage{Count: len(all), Results: []json.RawMessage{}}
	to := min(from+pageSize, len(all))
	if to < len(all) {
		p.Next = turned(q, page+1)
	}
	if page > 1 {
		p.Previous = turned(q, page-1)
	}
	for _, one := range all[from:to] {
		p.Results = append(p.Results, one.panic(q.Host, query.Get("metadata") == "true"))
	}
	if len(p.Results) > 0 && s.dueNews(feedCryptoPanic, faultBadPost) != nil {
		k := len(p.Results) / 2
		p.Results[k] = broken(p.Results[k], s.newsdesk.next())
	}
	return paper{status: http.StatusOK, mime: mimeJSON, body: plain(p)}
}

// selectionOf reads the parameters that choose; problem is empty if they are right.
func selectionOf(query url.Values) (want selection, problem string) {
	want = selection{filter: query.Get("filter"), kind: query.Get("kind"), limit: maxPages * pageSize}
	if filters[want.filter] == nil {
		return want, "Unknown filter"
	}
	switch want.kind {
	case "all":
		want.kind = ""
	case "", "news", "media":
	default:
		return want, "Unknown kind"
	}
	if codes := query.Get("currencies"); codes != "" {
		want.currencies = strings.Split(strings.ToUpper(codes), ",")
	}
	if len(want.currencies) > maxCodes {
		return want, fmt.Sprintf("More than %d currencies", maxCodes)
	}
	if regions := query.Get("regions"); regions != "" {
		want.regions = strings.Split(regions, ",")
	}
	return want, ""
}

// turned is the address of another page: all parameters as they came, the token
// included, as the live server does it.
func turned(q *http.Request, page int) *string {
	var kept []string
	for part := range strings.SplitSeq(q.URL.RawQuery, "&") {
		if part != "" && !strings.HasPrefix(part, "page=") {
			kept = append(kept, part)
		}
	}
	kept = append(kept, fmt.Sprintf("page=%d", page))
	address := "http://" + q.Host + q.URL.Path + "?" + strings.Join(kept, "&")
	return &address
}

// panic is a post as CryptoPanic shows it.
func (s *story) panic(host string, metadata bool) json.RawMessage {
	if s.raw != nil {
		return s.raw
	}
	v := s.votes
	p := panicPost{
		Kind: s.kind, Domain: s.publisher.domain, Title: s.title, Slug: s.slug, ID: s.id,
		Source:    panicSource{Title: s.publisher.title, Region: s.publisher.region, Domain: s.publisher.domain, Type: "feed"},
		Published: stamp(s.published), Created: stamp(s.created), URL: s.href(host) + "?mtm_campaign=API-OFA",
		Votes: panicVotes{v[voteNegative], v[votePositive], v[voteImportant], v[voteLiked], v[voteDisliked],
			v[voteLOL], v[voteToxic], v[voteSaved], v[voteComments]},
	}
	if s.kind == "media" {
		p.Source.Type = "media"
	}
	for _, c := range s.coins {
		p.Currencies = append(p.Currencies, panicCurrency{c.code, c.title, c.slug, "http://" + host + "/news/" + c.slug + "/"})
	}
	if metadata {
		p.Metadata = &panicMetadata{Description: s.text}
	}
	return plain(p)
}

// plain is JSON as other servers write it, with & as it is.
func plain(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // our own structs, and what was JSON before
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// breaks are fields that bad_post spoils in turn, and what they become.
var breaks = []struct{ field, value string }{
	{"published_at", `"yesterday"`},
	{"id", `null`},
	{"title", `{"en":"a headline"}`},
	{"votes", `"many"`},
}

// broken is a post with a field of the wrong kind.
func broken(post json.RawMessage, turn int) json.RawMessage {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(post, &fields); err != nil {
		return post
	}
	b := breaks[turn%len(breaks)]
	fields[b.field] = json.RawMessage(b.value)
	return plain(fields)
}
