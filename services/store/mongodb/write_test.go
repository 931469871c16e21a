package mongodb_test

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/candlestack/candlestack/services/stack"
	"github.com/candlestack/candlestack/services/store/mongodb"
)

func TestConformance(t *testing.T) {
	uri := os.Getenv("CANDLESTACK_TEST_MONGODB")
	if uri == "" {
		t.Skip("no MongoDB: set CANDLESTACK_TEST_MONGODB to a URI")
	}
	mongodb.Conform(t, uri, 8)
}

// The server of the demo knows a part of MongoDB, and the part is enough. It replaces
// in two steps, so two connections could let an older version win.
func TestConformanceOfFerretDB(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	if err := checks.Set("10"); err != nil { // one takes half a second here
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Set(before) })
	server, err := stack.StartMongo(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if lacks := mongodb.Conform(t, server.URI, 1); !slices.Equal(lacks, []string{"views", "validator", "text_index"}) {
		t.Errorf("lacks %v", lacks)
	}
}
