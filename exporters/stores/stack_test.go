package stores_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/exporters/stores"
	"github.com/candlestack/candlestack/services/stack"
)

// The demo's own servers know less SQL and fewer commands: each family is there all the same.
func TestServersOfTheDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two servers: leave -short away")
	}
	my, err := stack.StartMySQL(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer my.Close()
	mo, err := stack.StartMongo(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mo.Close()
	fill(t, my.DSN("market"), mo.URI)

	var log strings.Builder
	reg := prometheus.NewRegistry()
	cfg := stores.Config{
		MySQL:   stores.MySQLConfig{DSN: my.DSN("market"), Group: "g"},
		MongoDB: stores.MongoDBConfig{URI: mo.URI, Database: "news"},
		Stores:  stores.ClockConfig{Interval: time.Second, SlowInterval: time.Second, Timeout: 30 * time.Second},
	}
	s, err := stores.New(cfg, nil, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	reg.MustRegister(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	want := []string{"up", "rows", "table_bytes", "candles", "conflicting_candles", "misaligned_candles", "newest_closed_candle_timestamp_seconds", "due_candles", "present_candles", "completeness_ratio",
		"gaps", "posts", "votes", "newest_post_published_timestamp_seconds", "newest_post_first_seen_timestamp_seconds"}
	var missing []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		missing = slices.Clone(want)
		for _, f := range families {
			missing = slices.DeleteFunc(missing, func(name string) bool { return "candlestack_store_"+name == f.GetName() })
		}
		if len(missing) == 0 {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(missing) > 0 || log.Len() > 0 {
		t.Errorf("absent: %q\n%s", missing, log.String())
	}
}

// fill makes the tables and writes a little of everything.
func fill(t *testing.T, dsn, uri string) {
	t.Helper()
	db, err := sql.Open("mysql", strings.TrimSuffix(dsn, "market"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	text, err := os.ReadFile("../../services/store/mysql/migrations/0001_candles_and_gaps.sql")
	if err != nil {
		t.Fatal(err)
	}
	statements := append([]string{"CREATE DATABASE IF NOT EXISTS market", "USE market"}, strings.Split(string(text), ";\n")...)
	at := time.Now().UTC().Add(-time.Hour).Truncate(time.Minute).Format(time.DateTime)
	statements = append(statements,
		"INSERT INTO candles (exchange,instrument,`interval`,open_time,open,high,low,close,volume,closed,event_time,receive_time,version,origin) VALUES ('binance','BTC-USDT','1m','"+at+"',1,1,1,1,1,1,'"+at+"','"+at+"',1,'live')",
		"INSERT INTO gaps (exchange,instrument,`interval`,from_time,to_time,state,cause,changed,version,origin) VALUES ('binance','BTC-USDT','1m','2026-01-01','2026-01-02','open','stream','2026-01-01',1,'live')")
	for _, statement := range statements {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%.60s: %v", statement, err)
		}
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	now := bson.NewDateTimeFromTime(time.Now())
	_, err = client.Database("news").Collection("posts").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "rss/1"}, {Key: "source", Value: "rss"}, {Key: "instruments", Value: bson.A{"BTC"}},
		{Key: "published_time", Value: now}, {Key: "first_seen_time", Value: now}, {Key: "votes", Value: bson.D{{Key: "positive", Value: int64(1)}}}})
	_, err2 := client.Database("news").Collection("vote_snapshots").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "rss/1/1"}})
	if err := errors.Join(err, err2, client.Disconnect(t.Context())); err != nil {
		t.Fatal(err)
	}
}
