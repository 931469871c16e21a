package mongodb

import (
	"testing"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

func TestConformance(t *testing.T) {
	s := findServer(t)
	pipelinetest.SinkPosts(t, func(t *testing.T) (pipeline.Sink, pipelinetest.PostReader) {
		sink := s.prepared(t)
		return sink, func(t *testing.T) ([]pipelinetest.Stored, []pipelinetest.Snapshot) {
			return s.stored(t, sink.posts.Database().Name())
		}
	})
}
