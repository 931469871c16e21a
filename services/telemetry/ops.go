package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Limits of the ops server: its clients are scrapers and people, near and few.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 30 * time.Second // a profile extends its own
	idleTimeout    = 2 * time.Minute
	closeTimeout   = time.Second
	maxHeader      = 16 << 10
	maxScrapes     = 8 // at a time; more are told 503
)

// Ops is the server of /metrics, /-/healthy, /-/ready and, by its flag,
// /debug/pprof/. It answers GET and HEAD only.
type Ops struct {
	listener net.Listener // nil: not served
	server   *http.Server
	close    func() error
}

// NewOps listens at once, so that a port in use is an error before anything
// has begun. That error is a *pipeline.ConfigError.
func NewOps(cfg OpsConfig, reg *prometheus.Registry, health *Health, log *slog.Logger) (*Ops, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Listen == "" {
		return &Ops{close: func() error { return nil }}, nil
	}
	listener, err := Listen("--ops.listen", cfg.Listen)
	if err != nil {
		return nil, err
	}
	o := &Ops{
		listener: listener,
		server: &http.Server{
			Handler:           handler(cfg, reg, health, log),
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      requestTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			// What a port scanner sends is not our news.
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	o.close = sync.OnceValue(func() error { return errors.Join(o.server.Close(), closed(listener.Close())) })
	return o, nil
}

// Listen is net.Listen on an address that a flag gave; the error is a
// *pipeline.ConfigError.
func Listen(flag, addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if err == nil {
		return listener, nil
	}
	var sys *net.OpError
	if errors.As(err, &sys) { // its text repeats the address
		err = sys.Err
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("the address is in use")
	}
	return nil, &pipeline.ConfigError{Field: flag, Value: addr, Err: err}
}

func handler(cfg OpsConfig, reg *prometheus.Registry, health *Health, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		Registry:            reg, // counts scrapes that failed
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: maxScrapes,
	}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy\n") })
	mux.Handle("GET /-/ready", health)
	if cfg.Pprof {
		// Without cmdline: arguments may hold a password.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// Addr is the address that is listened on; empty where nothing is served.
func (o *Ops) Addr() string {
	if o.listener == nil {
		return ""
	}
	return o.listener.Addr().String()
}

// Run serves until ctx ends and closes the server. It returns nil then; any
// other end is an error.
func (o *Ops) Run(ctx context.Context) error {
	if o.listener == nil {
		<-ctx.Done()
		return nil
	}
	failed := make(chan error, 1)
	go func() { failed <- o.server.Serve(o.listener) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serving --ops.listen: %w", err), o.Close())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = o.server.Shutdown(grace) // what is unfinished after it, Close cuts off
	err := o.Close()
	if end := <-failed; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(end, err)
	}
	return err
}

// Close frees the address. It is for commands that fail before Run, and may be
// called more than once.
func (o *Ops) Close() error { return o.close() }

// closed forgives a listener that the server has closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
