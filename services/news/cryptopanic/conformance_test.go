package cryptopanic_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name         string
		posts, pages int
	}{{"one page", 15, 1}, {"three pages", 45, 3}} {
		t.Run(c.name, func(t *testing.T) {
			pipelinetest.Feed(t, func(t *testing.T) pipelinetest.FeedWorld {
				f := serve(t, c.posts)
				cfg := config(f.url)
				cfg.Pages = c.pages
				return pipelinetest.FeedWorld{
					Source: newSource(t, cfg, quiet, prometheus.NewRegistry()), Posts: f.shows,
					Change: func(*testing.T) { f.vote() },
					Break:  func(*testing.T) { f.fail(answer(502, "text/html", "<html>Bad gateway</html>")) },
				}
			})
		})
	}
}
