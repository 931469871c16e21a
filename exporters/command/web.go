package command

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/candlestack/candlestack/services/telemetry"
)

// webConfig is where Prometheus finds us.
type webConfig struct {
	ListenAddress string `help:"Address to listen on." default:":9308" placeholder:"[HOST]:PORT"`
	TelemetryPath string `help:"Path of the cluster's metrics." default:"/metrics" placeholder:"/PATH"`
	ConfigFile    string `name:"config.file" help:"TLS and users of this server, in the form of Prometheus's exporter-toolkit." placeholder:"PATH"`
}

// Paths of our own.
const (
	ownMetrics   = "/exporter/metrics"
	storeMetrics = "/stores/metrics"
	probeMetrics = "/probe/metrics"
)

var reserved = []string{"/", ownMetrics, storeMetrics, probeMetrics, "/controller/metrics", "/sd", "/healthz", "/-/healthy", "/-/ready"}

// Validate reports all settings that cannot work.
func (c *webConfig) Validate() error {
	var errs []error
	wrong := func(flag, value string, err error) { errs = append(errs, fmt.Errorf("%s %q: %w", flag, value, err)) }
	if _, port, err := net.SplitHostPort(c.ListenAddress); err != nil {
		wrong("--web.listen-address", c.ListenAddress, errors.New("is not of the form [host]:port"))
	} else if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		wrong("--web.listen-address", c.ListenAddress, errors.New("the port is not a number from 0 to 65535"))
	}
	if !strings.HasPrefix(c.TelemetryPath, "/") || strings.ContainsAny(c.TelemetryPath, " {}?#") || slices.Contains(reserved, c.TelemetryPath) {
		wrong("--web.telemetry-path", c.TelemetryPath, errors.New("is not a path of its own, like /metrics"))
	}
	if c.ConfigFile != "" {
		if err := web.Validate(c.ConfigFile); err != nil {
			wrong("--web.config.file", c.ConfigFile, err)
		}
	}
	return errors.Join(errs...)
}

// Limits: the clients are scrapers and people, near and few.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	closeTimeout   = time.Second
	maxHeader      = 16 << 10
	maxScrapes     = 16 // at a time; more are told 503
)

// server shows pages to Prometheus.
type server struct {
	cfg      webConfig
	log      *slog.Logger
	listener net.Listener
	mux      *http.ServeMux
	paths    []string
}

// newServer listens at once, so that a port in use is an error before anything
// has begun.
func newServer(cfg webConfig, log *slog.Logger) (*server, error) {
	listener, err := net.Listen("tcp", cfg.ListenAddress)
	if err != nil {
		var sys *net.OpError
		if errors.As(err, &sys) { // its text repeats the address
			err = sys.Err
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			err = errors.New("the address is in use")
		}
		return nil, fmt.Errorf("--web.listen-address %q: %w", cfg.ListenAddress, err)
	}
	return &server{cfg: cfg, log: log, listener: listener, mux: http.NewServeMux()}, nil
}

// close frees the address where run has not.
func (s *server) close() { _ = s.listener.Close() }

func (s *server) addr() string { return s.listener.Addr().String() }

// handle serves a page, and names it on the landing page if it is one alone.
func (s *server) handle(path string, page http.Handler) {
	if !strings.Contains(path, "{") {
		s.paths = append(s.paths, path)
	}
	s.mux.Handle("GET "+path, page)
}

// collect serves what is in a registry.
func (s *server) collect(path string, reg *prometheus.Registry) {
	s.handle(path, promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		Registry:          reg, // counts scrapes that failed
		ErrorHandling:     promhttp.ContinueOnError,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelError),
	}))
}

// own serves what is about this process.
func (s *server) own(reg *prometheus.Registry, health *telemetry.Health) {
	s.collect(ownMetrics, reg)
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	s.mux.Handle("GET /healthz", say("ok"))
	s.mux.Handle("GET /-/healthy", say("healthy\n"))
	s.mux.Handle("GET /-/ready", health)
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Candlestack exporter</title><h1>Candlestack exporter</h1><ul>")
		for _, path := range s.paths {
			_, _ = fmt.Fprintf(w, "<li><a href=%q>%s</a></li>", html.EscapeString(path), html.EscapeString(path))
		}
		_, _ = io.WriteString(w, "</ul>\n")
	})
}

// run serves until ctx ends.
func (s *server) run(ctx context.Context) error {
	scrapes := make(chan struct{}, maxScrapes)
	h := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case scrapes <- struct{}{}:
				defer func() { <-scrapes }()
				s.mux.ServeHTTP(w, r)
			default:
				http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
			}
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What a port scanner sends is not our news.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler) // the toolkit tells at each start that TLS is off
	systemd := false
	go func() {
		failed <- web.Serve(s.listener, h, &web.FlagConfig{WebConfigFile: &s.cfg.ConfigFile, WebListenAddresses: &[]string{s.cfg.ListenAddress}, WebSystemdSocket: &systemd}, quiet)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving --web.listen-address: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = h.Shutdown(grace) // what is unfinished after it, Close cuts off
	err := h.Close()
	if end := <-failed; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(end, err)
	}
	return err
}
