// Package broker shows each broker of a snapshot under the names that Kafka's
// MBeans have behind jmx_exporter, as far as Kafka's own protocol tells them. Each
// broker is a target of its own, and so is the controller. What is exact and what
// is not stands in FIDELITY.md.
package broker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/exporters/exposition"
	"github.com/candlestack/candlestack/exporters/snapshot"
)

// Config says what names are shown.
type Config struct {
	Dialects []string `name:"broker.dialect" help:"Whose names a broker's families have: jmx (jmx_exporter's example), strimzi; may be repeated." default:"jmx,strimzi" placeholder:"NAME"`
}

// Validate reports all settings that cannot work, each with flag and value.
func (c *Config) Validate() error {
	_, err := c.wanted()
	return err
}

func (c *Config) wanted() (wanted []dialect, err error) {
	var errs []error
	for _, name := range c.Dialects {
		switch i := slices.Index(dialectNames[:], name); {
		case i < 0:
			errs = append(errs, fmt.Errorf("--broker.dialect %q: is none of jmx, strimzi", name))
		case !slices.Contains(wanted, dialect(i)):
			wanted = append(wanted, dialect(i))
		}
	}
	if len(c.Dialects) == 0 {
		errs = append(errs, errors.New(`--broker.dialect "": at least one is needed`))
	}
	return wanted, errors.Join(errs...)
}

// Broker shows all brokers and the controller.
type Broker struct {
	wanted  []dialect
	counts  *counts
	known   map[int32]member
	series  prometheus.Gauge
	current atomic.Pointer[view]
}

// member is a broker that is, or was there within memory.
type member struct {
	id            int32
	address, rack string
	last          time.Time
}

// view is what one snapshot shows. Nobody changes it.
type view struct {
	cluster    string // empty: nothing is known yet
	members    []member
	brokers    map[int32]*exposition.Page
	controller *exposition.Page
}

// New makes a Broker, of a cluster that nobody has looked at yet. An error is
// that of cfg.
func New(cfg Config, reg prometheus.Registerer) (*Broker, error) {
	wanted, err := cfg.wanted()
	if err != nil {
		return nil, err
	}
	b := &Broker{wanted: wanted, counts: newCounts(), known: map[int32]member{},
		series: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "candlestack_exporter", Name: "broker_series", Help: "Series that are shown of brokers and of the controller."}),
	}
	fidelity := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "candlestack_exporter", Name: "metric_fidelity",
		Help: "How true a family of a broker's or the controller's is to the MBean of its name, and the APIs that it is made of; always 1."},
		[]string{"name", "class", "source_api"})
	reg.MustRegister(b.series, fidelity)
	for _, table := range [][]signal{ofBroker, ofController} {
		for i := range table {
			for _, f := range table[i].families(wanted) {
				fidelity.WithLabelValues(f.Name, table[i].class, table[i].source).Set(1)
			}
		}
	}
	b.current.Store(&view{controller: &exposition.Page{}})
	return b, nil
}

// Handlers are all pages by their paths, as patterns of http.ServeMux.
func (b *Broker) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/broker/{id}/metrics": http.HandlerFunc(b.serveBroker),
		"/controller/metrics":  http.HandlerFunc(b.serveController),
		"/sd":                  http.HandlerFunc(b.serveTargets),
	}
}

// Show counts what changed and encodes all pages. It is called by one at a time.
func (b *Broker) Show(s *snapshot.Snapshot) {
	b.counts.observe(s)
	last := b.current.Load()
	next := &view{cluster: cmp.Or(s.ClusterID, last.cluster), members: b.members(s), brokers: map[int32]*exposition.Page{}, controller: &exposition.Page{}}
	lists := spread(s)
	shown := 0
	show := func(target *exposition.Page, p *page, table []signal) {
		target.Show(func(w io.Writer) {
			p.Encoder = exposition.NewEncoder(w, "")
			p.write(table, b.wanted)
			shown += p.Close()
		})
	}
	for i := range s.Brokers {
		broker := &s.Brokers[i]
		if !broker.Up {
			continue
		}
		target := &exposition.Page{}
		next.brokers[broker.ID] = target
		show(target, &page{snapshot: s, counts: b.counts, id: broker.ID, broker: broker, replicas: lists[broker.ID]}, ofBroker)
	}
	if s.Up {
		show(next.controller, &page{snapshot: s, counts: b.counts, id: none, replicas: lists[none]}, ofController)
	}
	b.series.Set(float64(shown))
	b.current.Store(next)
}

// members are the brokers that are, that others wait for, or that were there not
// long ago: a target that vanished would not be missed.
func (b *Broker) members(s *snapshot.Snapshot) []member {
	now := s.Time
	for i := range s.Brokers {
		found := &s.Brokers[i]
		m := b.known[found.ID]
		m.id, m.last = found.ID, now
		if found.Alive {
			m.address, m.rack = address(found), found.Rack
		}
		b.known[found.ID] = m
	}
	for id, m := range b.known {
		if now.Sub(m.last) > memory {
			delete(b.known, id)
		}
	}
	return slices.SortedFunc(maps.Values(b.known), func(a, b member) int { return cmp.Compare(a.id, b.id) })
}

// serveBroker answers 503 for a broker that is gone, as its own agent would not answer.
func (b *Broker) serveBroker(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	v := b.current.Load()
	if page := v.brokers[int32(id)]; err == nil && page != nil {
		page.ServeHTTP(w, r)
		return
	}
	if err != nil || v.cluster != "" && !slices.ContainsFunc(v.members, func(m member) bool { return m.id == int32(id) }) {
		http.Error(w, "there is no such broker", http.StatusNotFound)
		return
	}
	http.Error(w, "the broker does not answer", http.StatusServiceUnavailable)
}

func (b *Broker) serveController(w http.ResponseWriter, r *http.Request) {
	b.current.Load().controller.ServeHTTP(w, r)
}

// targets are a group of targets in Prometheus's http_sd.
type targets struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveTargets lists brokers and controller for http_sd. All are at the address
// by which we were asked. Before anything is known it is an error, at which
// Prometheus keeps what it has.
func (b *Broker) serveTargets(w http.ResponseWriter, r *http.Request) {
	v := b.current.Load()
	if v.cluster == "" {
		http.Error(w, "no broker has answered yet", http.StatusServiceUnavailable)
		return
	}
	list := []targets{{[]string{r.Host}, map[string]string{"__metrics_path__": "/controller/metrics", "instance": "controller", "kafka_cluster": v.cluster}}}
	for _, m := range v.members {
		id := strconv.Itoa(int(m.id))
		labels := map[string]string{"__metrics_path__": "/broker/" + id + "/metrics", "instance": cmp.Or(m.address, "broker-"+id), "broker_id": id, "kafka_cluster": v.cluster}
		if m.rack != "" {
			labels["rack"] = m.rack
		}
		list = append(list, targets{[]string{r.Host}, labels})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}
