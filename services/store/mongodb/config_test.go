package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/candlestack/candlestack/services/pipeline"
)

const canary = "s3cret-canary"

func TestConfigValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "uri")
	if err := os.WriteFile(file, []byte("mongodb://root:"+canary+"@127.0.0.1:27017/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := Config{URI: "mongodb://root:" + canary + "@127.0.0.1:27017/?directConnection=true", Database: "news", Connections: 2, Timeout: 20 * time.Second}
	f := func(change func(*Config), problems ...string) {
		t.Helper()
		c := good
		change(&c)
		err := c.Validate()
		if (err == nil) != (len(problems) == 0) {
			t.Fatalf("got %v", err)
		}
		if err == nil {
			return
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(problems) {
			t.Fatalf("want %d problems, got %q", len(problems), lines)
		}
		for i, p := range problems {
			if !strings.Contains(lines[i], p) {
				t.Errorf("want %q, got %q", p, lines[i])
			}
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the error tells the password: %v", err)
		}
		var final *pipeline.ConfigError
		if !errors.As(err, &final) {
			t.Errorf("not a ConfigError: %v", err)
		}
	}
	f(func(*Config) {})
	f(func(c *Config) { c.URI = "" })
	f(func(c *Config) { c.URI, c.URIFile = "", file })
	f(func(c *Config) { c.URI = "mongodb://a:1,b:2,[::1]:3/?replicaSet=rs0" })
	f(func(c *Config) { c.URIFile = file }, `--mongodb.uri-file`)
	f(func(c *Config) { c.URI, c.URIFile = "", "/no/such/file" }, `--mongodb.uri-file "/no/such/file"`)
	f(func(c *Config) { c.URI = "mongodb+srv://root:" + canary + "@cluster.example.com/" }, "mongodb+srv")
	for _, uri := range []string{
		"root:" + canary + "@h:1", "http://root:" + canary + "@h:1/", "mongodb://root:" + canary + "@/", "mongodb://root:" + canary + "@@h:1/",
		"mongodb://root:x@h:1/?directConnection=" + canary, "mongodb://root:x@h:99999/?a=" + canary, "mongodb://" + canary + ":a:b:c/",
	} {
		f(func(c *Config) { c.URI = uri }, `--mongodb.uri "(hidden)": is not of the form`)
	}
	for _, name := range []string{"", "a b", "a.b", "a/b", "$a", strings.Repeat("x", 64), "admin", "local", "config"} {
		f(func(c *Config) { c.Database = name }, "--mongodb.database")
	}
	f(func(c *Config) { c.URI, c.Connections, c.Timeout = "x", 0, 0 }, "--mongodb.uri", `--mongodb.connections "0"`, `--mongodb.timeout "0s"`)
}

func TestRedact(t *testing.T) {
	c := Config{URI: "mongodb://bob:" + canary + "@h:1,g:2/admin?authSource=x&tls=true"}
	o, err := c.parse()
	if err != nil {
		t.Fatal(err)
	}
	if got := redact(o, "news"); got != "mongodb://bob@h:1,g:2/news" {
		t.Errorf("got %s", got)
	}
}

// What the promises need is not the user's to change.
func TestSettleOverrules(t *testing.T) {
	c := Config{URI: "mongodb://h:1/?w=0&readPreference=secondary&readConcernLevel=linearizable&maxPoolSize=1&serverSelectionTimeoutMS=900000&connectTimeoutMS=1", Connections: 7, Timeout: 3 * time.Second}
	o, err := c.parse()
	if err != nil {
		t.Fatal(err)
	}
	o = settle(o, c)
	if o.WriteConcern.W != "majority" || o.ReadPreference.Mode().String() != "primary" || o.ReadConcern.Level != "local" ||
		*o.MaxPoolSize != 7 || *o.ServerSelectionTimeout != dialTimeout || *o.ConnectTimeout != dialTimeout || *o.Timeout != 3*time.Second {
		t.Errorf("settled to %+v", o)
	}
}

func TestClassify(t *testing.T) {
	f := func(err error, class pipeline.Class, code string) {
		t.Helper()
		gotClass, gotCode := pipeline.ClassOf(classify(t.Context(), fmt.Errorf("wrapped: %w", err)))
		if gotClass != class || gotCode != code {
			t.Errorf("%v is %s %s, want %s %s", err, gotClass, gotCode, class, code)
		}
	}
	seen := map[int]bool{}
	for _, c := range codes {
		if seen[c.code] {
			t.Errorf("%d stands twice in the table", c.code)
		}
		seen[c.code] = true
		f(mongo.CommandError{Code: int32(c.code), Message: c.meaning}, c.class, fmt.Sprint(c.code))
	}
	f(mongo.CommandError{Code: 99999}, pipeline.Environment, "99999")
	f(mongo.CommandError{Labels: []string{"NetworkError"}}, pipeline.Transient, codeLost)
	f(mongo.CommandError{Labels: []string{"NetworkError"}, Wrapped: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, pipeline.Environment, codeRefused)
	f(&net.OpError{Op: "read", Err: syscall.ECONNRESET}, pipeline.Transient, codeLost)
	f(&net.DNSError{Err: "no such host"}, pipeline.Environment, codeRefused)
	f(io.ErrUnexpectedEOF, pipeline.Transient, codeLost)
	f(context.DeadlineExceeded, pipeline.Transient, codeLost) // of the driver's own time-out: ours is not over
	f(errors.New("never seen"), pipeline.Environment, "unknown")

	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := classify(over, mongo.CommandError{Code: 11601}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command is %v", err)
	}
}

// The answer to a bulk has an error for each write that failed, and one for all.
func TestAnswerOfBulk(t *testing.T) {
	at := []int{10, 11, 12, 13, 14, 15}
	failed := func(index, code int) mongo.BulkWriteError {
		return mongo.BulkWriteError{WriteError: mongo.WriteError{Index: index, Code: code, Message: fmt.Sprint(code)}}
	}
	f := func(done int, errs []mongo.BulkWriteError, concern *mongo.WriteConcernError, class pipeline.Class, code string, items, taken []int) {
		t.Helper()
		result := &mongo.BulkWriteResult{MatchedCount: int64(done)}
		a, err := answered(t.Context(), result, mongo.BulkWriteException{WriteErrors: errs, WriteConcernError: concern}, len(at), at)
		if !slices.Equal(a.taken, taken) || a.updated != done {
			t.Errorf("answer %+v, want taken %v", a, taken)
		}
		var e *pipeline.Error
		if code == "" {
			if err != nil {
				t.Errorf("got %v", err)
			}
			return
		}
		if !errors.As(err, &e) || e.Class != class || e.Code != code || !slices.Equal(e.Items, items) {
			t.Errorf("want %s %s %v, got %+v", class, code, items, err)
		}
	}
	f(3, []mongo.BulkWriteError{failed(4, 11000), failed(1, 11000), failed(5, 11000)}, nil, "", "", nil, []int{1, 4, 5})
	f(3, []mongo.BulkWriteError{failed(1, 121), failed(2, 11000), failed(5, 10334)}, nil, pipeline.Poison, "121", []int{11, 15}, []int{2})
	f(4, []mongo.BulkWriteError{failed(1, 121), failed(2, 14031)}, nil, pipeline.Environment, "14031", nil, nil)
	f(4, []mongo.BulkWriteError{failed(1, 121), failed(2, 112)}, nil, pipeline.Transient, "112", nil, nil)
	f(4, []mongo.BulkWriteError{failed(1, 112), failed(2, 99999)}, nil, pipeline.Environment, "99999", nil, nil)
	f(6, nil, &mongo.WriteConcernError{Code: 64}, pipeline.Transient, "64", nil, nil)
	f(5, []mongo.BulkWriteError{failed(3, 121)}, &mongo.WriteConcernError{Code: 100}, pipeline.Environment, "100", nil, nil)
	// A server that stopped: which of the writes it means is not sure.
	f(0, []mongo.BulkWriteError{failed(0, 121)}, nil, pipeline.Poison, "121", nil, nil)
}
