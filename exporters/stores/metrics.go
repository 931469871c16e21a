package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// metrics are all families: what the stores hold, made anew by each query, and
// what asking them took.
type metrics struct {
	up         *prometheus.Desc
	rows       *prometheus.Desc
	tableBytes *prometheus.Desc

	candles      *prometheus.Desc
	conflicts    *prometheus.Desc
	misaligned   *prometheus.Desc
	newestCandle *prometheus.Desc
	due          *prometheus.Desc
	present      *prometheus.Desc
	completeness *prometheus.Desc
	gaps         *prometheus.Desc

	posts     *prometheus.Desc
	votes     *prometheus.Desc
	published *prometheus.Desc
	firstSeen *prometheus.Desc

	compared   *prometheus.Desc
	different  *prometheus.Desc
	reconciled *prometheus.Desc

	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	success  *prometheus.GaugeVec
	dropped  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("candlestack_store_"+name, help, labels, nil)
	}
	series := []string{"exchange", "instrument", "interval"}
	windowed := append(series[:3:3], "window")
	m := &metrics{
		up:         desc("up", "Whether the store answered when it was last asked.", "store"),
		rows:       desc("rows", "Rows of a table, documents of a collection. Those of MongoDB are what its own books say.", "store", "table"),
		tableBytes: desc("table_bytes", "Bytes that a table takes, by part: data or index. The server estimates them.", "store", "table", "part"),

		candles:      desc("candles", "Candles stored, open ones included.", series...),
		conflicts:    desc("conflicting_candles", "Candles of which the same version also came with other values, which were not taken.", series...),
		misaligned:   desc("misaligned_candles", "Candles whose open time does not lie on the grid of their interval.", series...),
		newestCandle: desc("newest_closed_candle_timestamp_seconds", "Close time of the newest closed candle stored.", series...),
		due: desc("due_candles", "Closed candles that should be stored of the last hour, day and week: whole intervals that ended a minute ago, from the first one stored, "+
			"without those that the exchange itself does not have. Intervals that do not fit into the window are left out.", windowed...),
		present:      desc("present_candles", "Closed candles that are stored of those in due_candles.", windowed...),
		completeness: desc("completeness_ratio", "present_candles by due_candles; 1 where the exchange itself had nothing.", windowed...),
		gaps:         desc("gaps", "Stretches in which candles were missed, by what became of them: open, repaired or confirmed (the exchange itself has nothing there).", append(series[:3:3], "state")...),

		posts:     desc("posts", "Posts stored, by source and coin: BTC, ETH, XRP, other, none. One that is about two coins counts for both.", "source", "coin"),
		votes:     desc("votes", "Readers' votes on the posts, by kind, as they were last seen; those of a post about two coins count for both.", "source", "coin", "kind"),
		published: desc("newest_post_published_timestamp_seconds", "When the newest post was published, by the feed's clock.", "source"),
		firstSeen: desc("newest_post_first_seen_timestamp_seconds", "When the newest post was first seen, by the source's clock.", "source"),

		compared: desc("reconciliations_total", "Hours of candles that were compared between Kafka and MySQL. Skipped: Kafka does not keep all of the hour any more, or it holds too many candles.", "outcome"),
		different: desc("reconciliation_differences", "Of the last six hours compared, those whose candles differ in count or checksum between Kafka and MySQL. "+
			"An hour counts after a second look, and no more once it is the same. A dead letter is a difference.", "topic"),
		reconciled: desc("reconciled_timestamp_seconds", "End of the last hour that was compared between Kafka and MySQL.", "topic"),

		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "candlestack_exporter_store_query_duration_seconds",
			Help:    "Time that a question to a store took, with all of its statements.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"store", "query", "outcome"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "candlestack_exporter_store_query_errors_total",
			Help: "Questions to a store that failed, by reason.",
		}, []string{"store", "query", "reason"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "candlestack_exporter_store_last_success_timestamp_seconds",
			Help: "When a question to a store was last answered; 0 if never.",
		}, []string{"store", "query"}),
		dropped: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "candlestack_exporter_store_series_dropped",
			Help: "Series of candles that are stored and not shown: of an unknown interval, or too many.",
		}),
	}
	for _, c := range []prometheus.Collector{m.duration, m.errors, m.success, m.dropped} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.up, m.rows, m.tableBytes, m.candles, m.conflicts, m.misaligned, m.newestCandle, m.due, m.present, m.completeness, m.gaps,
		m.posts, m.votes, m.published, m.firstSeen, m.compared, m.different, m.reconciled,
	} {
		out <- d
	}
}

// reasonConnection is about the way to the store, not about the query.
const reasonConnection = "connection"

// Outcomes of a query, reasons of its errors, outcomes of a comparison.
var (
	outcomes   = []string{"ok", "error"}
	reasons    = []string{reasonConnection, "denied", "missing", "timeout", "other"}
	comparison = []string{"same", "different", "skipped"}
)

// begin sets what is known before the first query.
func (m *metrics) begin(store, query string) {
	for _, o := range outcomes {
		m.duration.WithLabelValues(store, query, o)
	}
	for _, r := range reasons {
		m.errors.WithLabelValues(store, query, r)
	}
	m.success.WithLabelValues(store, query)
}

// asked notes how a query went.
func (m *metrics) asked(store, query string, took time.Duration, now time.Time, err error) {
	if err != nil {
		m.duration.WithLabelValues(store, query, "error").Observe(took.Seconds())
		m.errors.WithLabelValues(store, query, reason(err)).Inc()
		return
	}
	m.duration.WithLabelValues(store, query, "ok").Observe(took.Seconds())
	m.success.WithLabelValues(store, query).Set(float64(now.UnixMilli()) / 1000)
}

// errMissing is a table or collection that is not there.
var errMissing = errors.New("does not exist")

func reason(err error) string {
	var sql *driver.MySQLError
	var command mongo.CommandError
	var network net.Error
	switch {
	case errors.Is(err, errMissing):
		return "missing"
	case errors.As(err, &sql):
		switch sql.Number {
		case 1049, 1054, 1146:
			return "missing"
		case 1044, 1045, 1142, 1143, 1227, 1698:
			return "denied"
		case 1969, 3024:
			return "timeout"
		}
		return "other"
	case errors.As(err, &command) && (command.Code == 13 || command.Code == 18):
		return "denied"
	case strings.Contains(err.Error(), "server selection error"), errors.Is(err, driver.ErrInvalidConn):
		return reasonConnection
	case errors.Is(err, context.DeadlineExceeded), mongo.IsTimeout(err), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case network != nil, mongo.IsNetworkError(err):
		return reasonConnection
	}
	return "other"
}

// gauge is a value of what a store holds.
func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// seconds is the value of a time.
func seconds[T ~int64](ms T) float64 { return float64(ms) / 1000 }
