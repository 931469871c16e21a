package mongodb

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/candlestack/candlestack/services/pipeline"
)

// eventually writes until it works, as the engine would.
func eventually(t *testing.T, s *Sink, b pipeline.Batch) {
	t.Helper()
	for begun := time.Now(); ; {
		_, err := s.Write(t.Context(), b)
		if err == nil {
			return
		}
		if class, code := pipeline.ClassOf(err); class == pipeline.Poison || code == "unknown" || time.Since(begun) > time.Minute {
			t.Fatalf("%s %s: %v", class, code, err)
		}
	}
}

// F8, F9: the server is stopped or killed, and comes back.
func TestServerGoesAndComesBack(t *testing.T) {
	s := findServer(t)
	for _, how := range []string{"stop", "kill"} {
		sink := s.prepared(t)
		works(t, sink, posts(50))
		s.do(t, how)
		if _, err := sink.Write(t.Context(), posts(60)); err == nil {
			t.Error("a server that is down has stored a batch")
		} // the first error may be the last word of a connection that was open
		fails(t, sink, posts(60), pipeline.Environment, codeRefused)
		err := sink.Prepare(t.Context())
		var final *pipeline.ConfigError
		if err == nil || errors.As(err, &final) {
			t.Errorf("a server that is down is to be waited for, got %v", err)
		}
		s.do(t, "start")
		eventually(t, sink, posts(70))
		prepare(t, sink)
		count(t, sink, 70)
	}
}

func TestServerIsKilledWhileWriting(t *testing.T) {
	s := findServer(t)
	sink := s.prepared(t)
	works(t, sink, posts(1))
	if s.control == "" {
		s.do(t, "kill") // skips
	}
	const total, size, mark = 4000, 100, 500
	var group sync.WaitGroup
	enough := make(chan struct{}) // is written: the server is in the middle of it
	group.Go(func() {
		for rest := posts(total); len(rest) > 0; {
			if _, err := sink.Write(t.Context(), rest[:size]); err != nil {
				if class, code := pipeline.ClassOf(err); class == pipeline.Poison || code == "unknown" {
					t.Errorf("%s %s: %v", class, code, err)
				}
				continue // whatever it is, the engine goes on too
			}
			if rest = rest[size:]; len(rest) == total-mark {
				close(enough)
			}
		}
	})
	<-enough
	s.do(t, "kill")
	s.do(t, "start")
	group.Wait()
	count(t, sink, total)
}

// F8: the other end is gone without a word.
func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	s := findServer(t)
	o := options.Client().ApplyURI(s.uri)
	if o.Auth != nil || len(o.Hosts) != 1 {
		t.Skip("the way to the server cannot be led through a proxy: set CANDLESTACK_TEST_MONGODB to mongodb://HOST:PORT/")
	}
	hole := newBlackHole(t, o.Hosts[0])
	sink := s.sink(t, func(c *Config) {
		c.URI, c.Timeout = "mongodb://"+hole.listener.Addr().String()+"/?directConnection=true", 2*time.Second
	})
	prepare(t, sink)
	works(t, sink, posts(5))
	hole.swallow.Store(true)
	fails(t, sink, posts(10), pipeline.Transient, codeLost)
	hole.swallow.Store(false)
	eventually(t, sink, posts(10))
	count(t, sink, 10)
}

// A store that is missing is told of within seconds, in a line that names it.
func TestMissingServer(t *testing.T) {
	c := Config{URI: "mongodb://bob:" + canary + "@127.0.0.1:1/?directConnection=true", Database: "news", Connections: 1, Timeout: 20 * time.Second}
	sink, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	want := "writing snapshots of votes: no server takes writes: 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"
	if _, err := sink.Write(t.Context(), posts(1)); err == nil || err.Error() != want {
		t.Errorf("want %s, got %v", want, err)
	}
	fails(t, sink, posts(1), pipeline.Environment, codeRefused)
}

// blackHole passes bytes on until it is told to swallow them.
type blackHole struct {
	listener net.Listener
	swallow  atomic.Bool
}

func newBlackHole(t *testing.T, target string) *blackHole {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &blackHole{listener: listener}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { h.carry(near, target) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return h
}

func (h *blackHole) carry(near net.Conn, target string) {
	defer near.Close()
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	var group sync.WaitGroup
	group.Go(func() { h.copy(far, near) })
	h.copy(near, far)
	group.Wait()
}

func (h *blackHole) copy(to, from net.Conn) {
	defer to.(*net.TCPConn).CloseWrite() // the other side may be gone
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !h.swallow.Load() {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
