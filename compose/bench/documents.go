package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// benchDocuments runs the Go benchmark of the MongoDB sink, in which it and two
// loops around the driver write the same posts by turns.
func benchDocuments(ctx context.Context, w *world, f flags) error {
	uri := os.Getenv("CANDLESTACK_TEST_MONGODB")
	if uri == "" {
		w.report.note("not measured: set CANDLESTACK_TEST_MONGODB")
		return nil
	}
	server, err := documentServer(ctx, uri)
	if err != nil {
		return err
	}
	w.report.note("%s", server)
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkWrite$/^votes$/^500$", "-count="+strconv.Itoa(f.Runs), "./services/store/mongodb")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark: %w\n%s", err, tail(out))
	}
	w.report.note("posts with votes in batches of 500, one connection; the plainest loop inserts the snapshots and replaces the posts with two unordered bulks and lets an older version win; the guarded one lets a newer version stand, as the sink does, but takes every duplicate for one; medians of the writes")
	for _, what := range []string{"fresh", "changed", "same"} {
		values := parseBench(out, "BenchmarkWrite/votes/500/"+what)
		if len(values["ratio-plain"]) == 0 {
			return fmt.Errorf("understanding the benchmark:\n%s", tail(out))
		}
		w.report.add(what+": sink", "posts/s", values["posts/s"], nil)
		w.report.add(what+": sink / plainest loop", "", values["ratio-plain"], atLeast(0.9))
		w.report.add(what+": sink / guarded loop", "", values["ratio-guarded"], nil)
	}
	return nil
}

// documentServer is what a server says of itself; one that imitates MongoDB has
// a section of its own, and its speed says nothing of MongoDB's.
func documentServer(ctx context.Context, uri string) (string, error) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return "", err
	}
	defer client.Disconnect(context.WithoutCancel(ctx)) //nolint:errcheck // all was read
	var info struct {
		Version string `bson:"version"`
		Ferret  struct {
			Version string `bson:"version"`
		} `bson:"ferretdb"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return "", fmt.Errorf("asking MongoDB for its version: %w", err)
	}
	if info.Ferret.Version != "" {
		return "on FerretDB, which imitates MongoDB " + info.Version, nil
	}
	return "on MongoDB " + info.Version, nil
}
