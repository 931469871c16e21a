package mongodb

import (
	"testing"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

// Conform runs the suite on the server of that URI, with so many connections, and
// returns the features that it lacks.
func Conform(t *testing.T, uri string, connections int) (lacks []string) {
	s := server{uri: uri}
	limited := func(c *Config) { c.Connections = connections }
	pipelinetest.SinkPosts(t, func(t *testing.T) (pipeline.Sink, pipelinetest.PostReader) {
		sink := s.prepared(t, limited)
		return sink, func(t *testing.T) ([]pipelinetest.Stored, []pipelinetest.Snapshot) {
			return s.stored(t, sink.posts.Database().Name())
		}
	})
	sink := s.prepared(t, limited)
	for _, f := range features {
		if sink.lacks[f] {
			lacks = append(lacks, string(f))
		}
	}
	return lacks
}
