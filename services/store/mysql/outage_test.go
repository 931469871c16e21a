package mysql

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// F8, F9: the server is stopped, or killed in the middle of writing, and comes back.
func TestServerGoesAndComesBack(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		for _, how := range []string{"stop", "kill"} {
			sink := s.prepared(t)
			works(t, sink, candles(50))
			s.do(t, how)
			for range sink.connections { // each may have been open, and says then that it is lost
				if _, err := sink.Write(t.Context(), candles(60)); err == nil {
					t.Error("a server that is down has stored a batch")
				}
			}
			fails(t, sink, candles(60), pipeline.Environment, codeRefused)
			err := sink.Prepare(t.Context())
			var final *pipeline.ConfigError
			if err == nil || errors.As(err, &final) {
				t.Errorf("a server that is down is to be waited for, got %v", err)
			}
			s.do(t, "start")
			works(t, sink, candles(70))
			if err := sink.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
			s.rows(t, sink, 70)
		}
	})
}

func TestServerIsKilledWhileWriting(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		works(t, sink, candles(1))
		if s.control == "" {
			s.do(t, "kill") // skips
		}
		var group sync.WaitGroup
		enough := make(chan struct{}) // is written: the server is in the middle of it
		group.Go(func() {
			all := candles(20000)
			for len(all) > 0 {
				if _, err := sink.Write(t.Context(), all[:100]); err != nil {
					if class, code := pipeline.ClassOf(err); class == pipeline.Poison || code == "unknown" {
						t.Errorf("%s %s: %v", class, code, err)
					}
					continue // whatever it is, the engine goes on too
				}
				if all = all[100:]; len(all) == 18000 {
					close(enough)
				}
			}
		})
		<-enough
		s.do(t, "kill")
		s.do(t, "start")
		group.Wait()
		s.rows(t, sink, 20000)
	})
}

// F8: the other end is gone without a word.
func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		if s.dsn.Net != "tcp" {
			t.Skip("the server is not reached by TCP, so there is no connection to break")
		}
		hole := newBlackHole(t, s.dsn.Addr)
		through := s
		through.dsn = s.dsn.Clone()
		through.dsn.Addr = hole.listener.Addr().String()
		sink := through.sinkOn(t, s.fresh(t), func(c *Config) { c.Timeout = time.Second })
		if err := sink.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		works(t, sink, candles(5))
		hole.swallow.Store(true)
		fails(t, sink, candles(10), pipeline.Transient, codeLost)
		hole.swallow.Store(false)
		works(t, sink, candles(10))
		s.rows(t, sink, 10)
	})
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
