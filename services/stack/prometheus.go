package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/web"
)

// Limits of the server: those of Prometheus' own flags, where they have one.
const (
	queryTimeout = 2 * time.Minute
	maxSamples   = 50_000_000
	maxClients   = 512
	outage       = time.Hour        // after a longer one, an alert's `for` begins anew
	graceOfFor   = 10 * time.Second // an alert that was pending before a restart waits at least so long; the demo is short
	resendAlert  = time.Minute
	retention    = 24 * time.Hour
	lookback     = 5 * time.Minute
)

// Prometheus is a server in this process: it scrapes, evaluates rules, notifies
// and answers the HTTP API. Its pages for people are not in the library.
type Prometheus struct {
	Addr string // host:port of the HTTP API

	stops []func() error // in the order of what they stop
}

// StartPrometheus starts a server on a port of loopback (0 is any) that keeps its
// data in dir, where the files that it is told by are put too. A broken file is
// an error that names it and the place.
func StartPrometheus(dir string, port int, c PrometheusConfig, log *slog.Logger) (_ *Prometheus, err error) {
	p := new(Prometheus)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting Prometheus: %w", err), p.Close())
		}
	}()
	registry := client.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	own, err := p.serveMetrics(registry)
	if err != nil {
		return nil, err
	}
	cfg, err := c.write(filepath.Join(dir, "prometheus"), own)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	p.Addr = listener.Addr().String()
	if err := p.run(filepath.Join(dir, "prometheus", "data"), cfg, listener, registry, log); err != nil {
		return nil, err
	}
	return p, nil
}

// Close stops the server; its data stays.
func (p *Prometheus) Close() (err error) {
	for _, stop := range slices.Backward(p.stops) {
		err = errors.Join(err, stop())
	}
	p.stops = nil
	return err
}

// serveMetrics shows the server's own metrics at an address of their own: the
// library's page shows the registry of the process, of which there is but one.
func (p *Prometheus) serveMetrics(registry *client.Registry) (addr string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), ReadHeaderTimeout: 5 * time.Second}
	p.background(func() { _ = server.Serve(listener) }, server.Close)
	return listener.Addr().String(), nil
}

// background runs f until stop has made it return.
func (p *Prometheus) background(f func(), stop func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	p.stops = append(p.stops, func() error {
		err := stop()
		<-done
		return err
	})
}

// run puts the parts together as Prometheus' own main does.
func (p *Prometheus) run(data string, cfg *config.Config, listener net.Listener, registry *client.Registry, log *slog.Logger) error {
	stats := tsdb.NewDBStats()
	options := tsdb.DefaultOptions()
	options.RetentionDuration = retention.Milliseconds()
	options.NoLockfile = true // the demo's folder has one owner
	db, err := tsdb.Open(data, log, registry, options, stats)
	if err != nil {
		return err
	}
	p.stops = append(p.stops, db.Close)

	external := &url.URL{Scheme: "http", Host: p.Addr}
	language := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: log, Reg: registry, MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true, Parser: language,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Duration(cfg.GlobalConfig.EvaluationInterval).Milliseconds() },
	})
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stops = append(p.stops, func() error { cancel(); return nil })
	receivers := discovery.NewManager(ctx, log, registry, mechanisms, discovery.Name("notify"))
	targets := discovery.NewManager(ctx, log, registry, mechanisms, discovery.Name("scrape"), discovery.Updatert(100*time.Millisecond))
	alerts := notifier.NewManager(&notifier.Options{QueueCapacity: 10_000, Registerer: registry}, model.UTF8Validation, log)
	scraper, err := scrape.NewManager(&scrape.Options{DiscoveryReloadInterval: model.Duration(time.Second)}, log, nil, nil, db, registry)
	if err != nil {
		return err
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		Appendable: db, Queryable: db, QueryFunc: rules.EngineQueryFunc(engine, db), NotifyFunc: rules.SendAlerts(alerts, external.String()),
		Context: context.Background(), ExternalURL: external, Registerer: registry, Logger: log, Parser: language,
		OutageTolerance: outage, ForGracePeriod: graceOfFor, ResendDelay: resendAlert,
		DefaultRuleQueryOffset: func() time.Duration { return time.Duration(cfg.GlobalConfig.RuleQueryOffset) },
	})
	api := web.New(log, &web.Options{
		Context: ctx, TSDBRetentionDuration: model.Duration(retention), TSDBDir: data, LocalStorage: &localStorage{db, stats}, Storage: db, ExemplarStorage: db,
		QueryEngine: engine, ScrapeManager: scraper, RuleManager: manager, Notifier: alerts, Version: new(web.PrometheusVersion), Flags: map[string]string{},
		ListenAddresses: []string{p.Addr}, ReadTimeout: queryTimeout, MaxConnections: maxClients, ExternalURL: external, RoutePrefix: "/",
		AppName: "Prometheus", LookbackDelta: lookback, Gatherer: registry, Registerer: registry, Parser: language,
	})

	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return err
	}
	byJob := map[string]discovery.Configs{}
	for _, s := range scrapes {
		byJob[s.JobName] = s.ServiceDiscoveryConfigs
	}
	byReceiver := map[string]discovery.Configs{}
	for name, a := range cfg.AlertingConfig.AlertmanagerConfigs.ToMap() {
		byReceiver[name] = a.ServiceDiscoveryConfigs
	}
	ruleFiles, err := globs(cfg.RuleFiles)
	if err != nil {
		return err
	}
	if err := errors.Join(db.ApplyConfig(cfg), api.ApplyConfig(cfg), alerts.ApplyConfig(cfg), scraper.ApplyConfig(cfg), targets.ApplyConfig(byJob), receivers.ApplyConfig(byReceiver),
		manager.Update(time.Duration(cfg.GlobalConfig.EvaluationInterval), ruleFiles, cfg.GlobalConfig.ExternalLabels, external.String(), nil)); err != nil {
		return err
	}

	stop := func() error { cancel(); return nil }
	p.background(func() { _ = receivers.Run() }, stop)
	p.background(func() { _ = targets.Run() }, stop)
	p.background(func() { alerts.Run(receivers.SyncCh()) }, func() error { alerts.Stop(); return nil })
	p.background(func() { _ = scraper.Run(targets.SyncCh()) }, func() error { scraper.Stop(); return nil })
	p.background(manager.Run, func() error { manager.Stop(); return nil })
	answering, hangUp := context.WithCancel(context.Background())
	p.background(func() { _ = api.Run(answering, []net.Listener{listener}, "") }, func() error { hangUp(); return nil })
	api.SetReady(web.Ready)
	return nil
}

// localStorage adds what the API asks of the storage of its own process.
type localStorage struct {
	*tsdb.DB
	stats *tsdb.DBStats
}

func (s *localStorage) Stats(label string, limit int) (*tsdb.Stats, error) {
	return s.Head().Stats(label, limit), nil
}

func (s *localStorage) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return s.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

func (s *localStorage) BlockMetas() ([]tsdb.BlockMeta, error) { return s.DB.BlockMetas(), nil }

func globs(patterns []string) (files []string, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		files = append(files, found...)
	}
	return files, nil
}
