package simulator

import (
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

const feedSize = 50

// rssFeed is RSS 2.0 (rssboard.org/rss-specification).
type rssFeed struct {
	XMLName xml.Name   `xml:"rss"`
	Version string     `xml:"version,attr"`
	Channel rssChannel `xml:"channel"`
}

type rssChannel struct {
	Title       string    `xml:"title"`
	Link        string    `xml:"link"`
	Description string    `xml:"description"`
	Language    string    `xml:"language"`
	Built       string    `xml:"lastBuildDate"`
	Items       []rssItem `xml:"item"`
}

type rssItem struct {
	Title       string   `xml:"title"`
	Link        string   `xml:"link"`
	GUID        rssGUID  `xml:"guid"`
	Published   string   `xml:"pubDate"`
	Description string   `xml:"description"`
	Categories  []string `xml:"category"`
}

type rssGUID struct {
	Permanent bool   `xml:"isPermaLink,attr"`
	ID        string `xml:",chardata"`
}

// rss answers GET /news/rss: the newest posts, descriptions in HTML, the
// currencies as categories. It has no votes, so it changes with texts only.
func (s *Simulator) rss(q *http.Request) paper {
	all := s.news.stories(selection{limit: feedSize}, s.clock.now())
	f := rssFeed{Version: "2.0", Channel: rssChannel{
		Title: "Candlestack news", Link: "http://" + q.Host + "/", Description: "News of the simulator", Language: "en",
	}}
	var modified market.Millis
	for _, one := range all {
		modified = max(modified, one.changed)
		item := rssItem{
			Title: one.title, Link: one.href(q.Host), GUID: rssGUID{ID: strconv.FormatInt(one.id, 10)},
			Published: one.published.Time().Format(time.RFC1123Z),
			Description: fmt.Sprintf("<p>%s</p><p><em>%s</em></p>",
				html.EscapeString(one.text), html.EscapeString(one.publisher.title)),
		}
		for _, c := range one.coins {
			item.Categories = append(item.Categories, c.code)
		}
		f.Channel.Items = append(f.Channel.Items, item)
	}
	f.Channel.Built = modified.Time().Format(time.RFC1123Z)
	if len(all) > 0 && s.dueNews(feedRSS, faultBadPost) != nil {
		f.Channel.Items[len(all)/2].Published = "yesterday"
	}
	body, err := xml.MarshalIndent(f, "", " ")
	if err != nil {
		panic(err) // our own struct, and texts, of which none is refused
	}
	return paper{
		status: http.StatusOK, mime: "application/rss+xml; charset=utf-8", feed: true,
		body: append([]byte(xml.Header), body...), modified: modified.Time(),
	}
}
