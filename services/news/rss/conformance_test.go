package rss

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// TestConformance runs the suite of all feeds. The feed sends no validators, so
// each poll shows all posts.
func TestConformance(t *testing.T) {
	pipelinetest.Feed(t, func(t *testing.T) pipelinetest.FeedWorld {
		h := newSite(t)
		var broken atomic.Bool
		var moment atomic.Int64
		address := h.on("/feed", func(w http.ResponseWriter, r *http.Request) {
			if broken.Swap(false) {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, `<rss><channel><title>Wire</title>
				<item><guid>2</guid><title>Bitcoin, take %d</title><link>/2</link><pubDate>Fri, 20 Nov 2020 10:00:00 GMT</pubDate></item>
				<item><guid>1</guid><title>No date</title><link>/1</link></item></channel></rss>`, moment.Load())
		})
		s, _, _ := follow(t, address)
		host := s.feeds[0].url.Host
		publisher := market.Publisher{Title: "Wire", Domain: "127.0.0.1", Type: "feed"}
		return pipelinetest.FeedWorld{
			Source: s,
			Posts: func() []*market.Post {
				return []*market.Post{
					{Source: "rss", ID: host + "/1", Type: "news", Title: "No date", URL: h.URL + "/1", Publisher: publisher, PublishedTime: undated},
					{Source: "rss", ID: host + "/2", Type: "news", Title: fmt.Sprintf("Bitcoin, take %d", moment.Load()), URL: h.URL + "/2", Publisher: publisher,
						Instruments: []string{"BTC"}, PublishedTime: market.MillisOf(time.Date(2020, 11, 20, 10, 0, 0, 0, time.UTC))},
				}
			},
			Change: func(*testing.T) { moment.Add(1) },
			Break:  func(*testing.T) { broken.Store(true) },
		}
	})
}
