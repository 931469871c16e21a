// Package stores asks MySQL and MongoDB what they hold: how new, how complete,
// how much, and whether it is what Kafka holds. It asks on its own clock and
// serves the last answers; a scrape asks nothing. How well the servers
// themselves are is left to mysqld_exporter and mongodb_exporter.
package stores

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Stores is a prometheus.Collector of the last answers.
type Stores struct {
	cfg    Config
	m      *metrics
	stores []*store
}

// New connects to nothing. kafka is how to reach the cluster (addresses, TLS,
// SASL, client id); without it MySQL is not compared with it. What asking took is
// registered in reg; *Stores, which is what the stores hold, is for the caller to register.
func New(cfg Config, kafka []kgo.Opt, log *slog.Logger, reg prometheus.Registerer) (*Stores, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	s := &Stores{cfg: cfg, m: m}
	dsn, err := cfg.MySQL.parse()
	if err != nil {
		return nil, err
	}
	if dsn != nil {
		my, err := newMySQL(dsn, cfg.Stores.Timeout, m)
		if err != nil {
			return nil, err
		}
		lines := [][]*ask{
			{{name: "newest", every: cfg.Stores.Interval, do: my.newest}},
			{
				{name: "gaps", every: cfg.Stores.SlowInterval, do: my.gaps},
				{name: "completeness", every: cfg.Stores.SlowInterval, do: my.completeness},
				{name: "tables", every: cfg.Stores.SlowInterval, do: my.tables},
				{name: "totals", every: cfg.Stores.SlowInterval, do: my.totals},
			},
		}
		if len(kafka) > 0 {
			r := newReconciler(my, kafka, cfg.MySQL.Group, log)
			lines = append(lines, []*ask{{name: "reconcile", every: cfg.Stores.SlowInterval, do: r.reconcile}})
		}
		s.add("mysql", my, lines, log)
	}
	uri, err := cfg.MongoDB.parse()
	if err != nil {
		return nil, err
	}
	if uri != nil {
		mo := newMongo(settleMongo(uri, cfg.Stores.Timeout), cfg.MongoDB.Database, cfg.Stores.Timeout, m)
		s.add("mongodb", mo, [][]*ask{
			{{name: "documents", every: cfg.Stores.Interval, do: mo.documents}},
			{{name: "posts", every: cfg.Stores.SlowInterval, do: mo.posts}},
		}, log)
	}
	return s, nil
}

func (s *Stores) add(name string, server server, lines [][]*ask, log *slog.Logger) {
	s.m.begin(name, ping)
	for _, line := range lines {
		for _, a := range line {
			s.m.begin(name, a.name)
		}
	}
	s.stores = append(s.stores, &store{name: name, server: server, lines: lines, cfg: s.cfg.Stores, m: s.m, log: log})
}

// Run asks until ctx ends; the error is a store whose client cannot be made.
func (s *Stores) Run(ctx context.Context) error {
	for i, st := range s.stores {
		if err := st.server.open(); err != nil {
			for _, opened := range s.stores[:i] {
				opened.server.close()
			}
			return fmt.Errorf("preparing %s: %w", st.name, err)
		}
	}
	var wg sync.WaitGroup
	for _, st := range s.stores {
		wg.Go(func() { st.run(ctx) })
	}
	wg.Wait()
	<-ctx.Done()
	return nil
}

// Describe is of prometheus.Collector.
func (s *Stores) Describe(out chan<- *prometheus.Desc) { s.m.describe(out) }

// Collect is of prometheus.Collector. It serves what the last queries answered.
func (s *Stores) Collect(out chan<- prometheus.Metric) {
	for _, st := range s.stores {
		for _, metric := range st.last(time.Now()) {
			out <- metric
		}
	}
}
