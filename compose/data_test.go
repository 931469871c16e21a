package compose_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/shopspring/decimal"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// mysql opens the database market as a user, from the machine's side.
func (s *stack) mysql(t *testing.T, user, secret string) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.DBName = user, s.secret(t, secret), "tcp", "market"
	cfg.Addr = fmt.Sprintf("127.0.0.1:%d", s.ports["MYSQL_PORT"])
	cfg.ParseTime = true
	cfg.Params = map[string]string{"time_zone": "'+00:00'"}
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

func (s *stack) reader(t *testing.T) *sql.DB {
	t.Helper()
	return s.mysql(t, "reader", "mysql-reader-password")
}

// mongo opens MongoDB as a user, from the machine's side.
func (s *stack) mongo(t *testing.T, user, secret string) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().
		ApplyURI(fmt.Sprintf("mongodb://127.0.0.1:%d/?directConnection=true", s.ports["MONGO_PORT"])).
		SetAuth(options.Credential{Username: user, Password: s.secret(t, secret)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client
}

func (s *stack) posts(t *testing.T) *mongo.Collection {
	t.Helper()
	return s.mongo(t, "reader", "mongo-reader-password").Database("news").Collection("posts")
}

// answers is the simulator's answer key.
type answers struct {
	Instruments []struct {
		Instrument  string          `json:"instrument"`
		Candles     int             `json:"candles"`
		MinLow      decimal.Decimal `json:"min_low"`
		MaxHigh     decimal.Decimal `json:"max_high"`
		Volume      decimal.Decimal `json:"volume"`
		QuoteVolume decimal.Decimal `json:"quote_volume"`
		SumClose    decimal.Decimal `json:"sum_close"`
		Trades      int64           `json:"trades"`
	} `json:"instruments"`
}

// testCandles compares a week with the answer key, and the last hours with what
// the exchange itself answers, number by number.
func (s *stack) testCandles(t *testing.T) {
	to := time.Now().UTC().Truncate(24 * time.Hour)
	from := to.AddDate(0, 0, -7)
	var key answers
	if err := json.Unmarshal([]byte(s.compose(t, "exec", "-T", "simulator", "/usr/bin/candlestack", "simulate", "--answers",
		"--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339))), &key); err != nil {
		t.Fatal(err)
	}
	if len(key.Instruments) != 3 {
		t.Fatalf("the key has %d instruments", len(key.Instruments))
	}
	db, total := s.reader(t), 0
	for _, want := range key.Instruments {
		eventually(t, 3*time.Minute, func() error {
			got := want
			err := db.QueryRow("SELECT COUNT(*), MIN(low), MAX(high), SUM(volume), SUM(quote_volume), SUM(close), SUM(trades) FROM candles"+
				" WHERE instrument = ? AND `interval` = '1m' AND closed AND NOT conflict AND open_time >= ? AND open_time < ?", want.Instrument, from, to).
				Scan(&got.Candles, &got.MinLow, &got.MaxHigh, &got.Volume, &got.QuoteVolume, &got.SumClose, &got.Trades)
			if err != nil {
				return err
			}
			if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
				return fmt.Errorf("a week in MySQL: %s, in the answer key: %s", a, b)
			}
			return nil
		})
		total += want.Candles
	}
	s.note("candles: a week of %d instruments, %d rows, as in the answer key", len(key.Instruments), total)
	now := time.Now().UTC().Truncate(time.Minute)
	n := s.sameAsExchange(t, now.Add(-3*time.Hour), now)
	s.note("candles: the last 3 hours, %d rows, as the exchange says, number by number", n)
}

// sameAsExchange compares the closed candles of [from, to) with the answers of
// the exchange, and returns how many there are.
func (s *stack) sameAsExchange(t *testing.T, from, to time.Time) (count int) {
	t.Helper()
	db := s.reader(t)
	for _, instrument := range []string{"BTC-USDT", "ETH-USDT", "XRP-USDT"} {
		var klines [][]any
		path := fmt.Sprintf("/api/v3/klines?symbol=%s&interval=1m&limit=1000&startTime=%d&endTime=%d",
			strings.ReplaceAll(instrument, "-", ""), from.UnixMilli(), to.UnixMilli()-1)
		if err := s.get("SIMULATOR_PORT", path, &klines); err != nil {
			t.Fatal(err)
		}
		// A planted hole may take a few.
		if minutes := int(to.Sub(from).Minutes()); len(klines) < minutes-60 || len(klines) == 0 || len(klines) > 999 {
			t.Fatalf("%d klines of %d minutes", len(klines), minutes)
		}
		eventually(t, 2*time.Minute, func() error {
			stored, err := candles(db, instrument, from, to)
			if err != nil {
				return err
			}
			var problems []error
			for _, k := range klines {
				opened := int64(k[0].(float64))
				// Binance: open time, open, high, low, close, volume, close time, quote volume, trades, taker volumes.
				want := numbers(k[1], k[2], k[3], k[4], k[5], k[7], fmt.Sprintf("%.0f", k[8]), k[9], k[10])
				if got := stored[opened]; got != want {
					problems = append(problems, fmt.Errorf("%s at %s: stored %q, the exchange says %q", instrument, time.UnixMilli(opened).UTC(), got, want))
				}
				delete(stored, opened)
			}
			for opened := range stored {
				problems = append(problems, fmt.Errorf("%s at %s: the exchange has nothing there", instrument, time.UnixMilli(opened).UTC()))
			}
			return errors.Join(problems[:min(3, len(problems))]...)
		})
		count += len(klines)
	}
	return count
}

// candles reads the numbers of closed candles by open time in milliseconds.
func candles(db *sql.DB, instrument string, from, to time.Time) (map[int64]string, error) {
	rows, err := db.Query("SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_volume, taker_quote_volume FROM candles"+
		" WHERE instrument = ? AND `interval` = '1m' AND closed AND open_time >= ? AND open_time < ?", instrument, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[int64]string{}
	for rows.Next() {
		var opened time.Time
		var n [9]string
		if err := rows.Scan(&opened, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8]); err != nil {
			return nil, err
		}
		found[opened.UnixMilli()] = numbers(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8])
	}
	return found, rows.Err()
}

// numbers writes decimals the same way, however many zeros they came with.
func numbers(all ...any) string {
	texts := make([]string, len(all))
	for i, n := range all {
		d, err := decimal.NewFromString(fmt.Sprint(n))
		if err != nil {
			return err.Error()
		}
		texts[i] = d.String()
	}
	return strings.Join(texts, " ")
}

// testPosts compares documents with the pages that the feed shows.
func (s *stack) testPosts(t *testing.T) {
	posts, compared := s.posts(t), 0
	eventually(t, 2*time.Minute, func() error {
		var page struct {
			Results []struct {
				ID    int64
				Title string
				Votes map[string]int64
			}
		}
		if err := s.get("SIMULATOR_PORT", "/api/v1/posts/?auth_token=test&filter=hot&currencies=BTC,XRP,ETH", &page); err != nil {
			return err
		}
		if len(page.Results) < 5 {
			return fmt.Errorf("the feed shows %d posts", len(page.Results))
		}
		for _, want := range page.Results {
			var got struct {
				Title string
				Votes map[string]int64
			}
			if err := posts.FindOne(t.Context(), bson.D{{Key: "_id", Value: fmt.Sprintf("cryptopanic/%d", want.ID)}}).Decode(&got); err != nil {
				return fmt.Errorf("post %d: %w", want.ID, err)
			}
			for name, n := range want.Votes {
				if got.Votes[name] != n || got.Title != want.Title {
					return fmt.Errorf("post %d: stored %v, the feed says %v", want.ID, got, want)
				}
			}
		}
		compared = len(page.Results)
		return nil
	})
	n, err := posts.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	s.note("posts: %d documents, %d compared with the feed, votes and all", n, compared)
}

// testUsers holds that who reads cannot write.
func (s *stack) testUsers(t *testing.T) {
	var refused *mysql.MySQLError
	for _, statement := range []string{"DELETE FROM candles", "UPDATE candles SET close = 0", "DROP TABLE candles", "CREATE TABLE lab.x (x INT)", "SELECT * FROM mysql.user"} {
		if _, err := s.reader(t).Exec(statement); !errors.As(err, &refused) || refused.Number != 1142 {
			t.Errorf("MySQL: reader may %s: %v", statement, err)
		}
	}
	if _, err := s.mysql(t, "root", "mysql-reader-password").Exec("SELECT 1"); !errors.As(err, &refused) || refused.Number != 1045 {
		t.Errorf("MySQL: root comes in with reader's password: %v", err)
	}
	var users struct {
		Users []struct{ Roles []struct{ Role, DB string } }
	}
	if err := s.mongo(t, "root", "mongo-root-password").Database("admin").RunCommand(t.Context(), bson.D{{Key: "usersInfo", Value: "reader"}}).Decode(&users); err != nil {
		t.Fatal(err)
	}
	if err := s.mongo(t, "reader", "mongo-root-password").Ping(t.Context(), nil); err == nil {
		t.Error("MongoDB: reader comes in with root's password")
	}
	if len(users.Users) != 1 || len(users.Users[0].Roles) != 1 || users.Users[0].Roles[0].Role != "read" {
		s.notRun("MongoDB: that reader may only read; this server has made its role %v", users.Users)
		return
	}
	_, err := s.posts(t).InsertOne(t.Context(), bson.D{{Key: "_id", Value: "test"}})
	var command mongo.WriteException
	if !errors.As(err, &command) && (err == nil || !strings.Contains(err.Error(), "not authorized")) {
		t.Errorf("MongoDB: reader may write: %v", err)
	}
}
