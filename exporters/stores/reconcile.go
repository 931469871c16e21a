package stores

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

const (
	// settled is how long ago an hour must have ended: candles of its last
	// minutes, and a repair after a short outage, are in by then.
	settled = 10 * time.Minute
	// hoursBack is how many closed hours are looked after.
	hoursBack = 6
	// passing is how long the sink's group is waited for.
	passing = 10 * time.Second
	hourly  = market.Millis(time.Hour / time.Millisecond)
)

// state is what is known of an hour.
type state int

const (
	unknown state = iota
	same
	different
	skipped
)

// reconciler compares what Kafka and MySQL hold of the candles that open in an
// hour: how many of each series, and a checksum of what they say.
//
// Late data is no difference. Kafka is read up to where it ends now, whatever the
// hour, then the sink's group must have passed that point, and only then MySQL is
// read. A candle that was corrected in between would still differ: so what
// differs is compared a second time at once, and again later until it is the same.
type reconciler struct {
	mysql *mysql
	opts  []kgo.Opt
	topic string
	group string
	log   *slog.Logger
	now   func() time.Time
	limit int           // candles of an hour
	wait  time.Duration // for the sink's group

	hours    map[market.Millis]state
	outcomes [3]int // of comparison
	newest   market.Millis
}

func newReconciler(y *mysql, opts []kgo.Opt, group string, log *slog.Logger) *reconciler {
	return &reconciler{
		mysql: y, opts: opts, topic: market.TopicCandles, group: group, log: log, now: time.Now,
		limit: 200_000, wait: passing, hours: map[market.Millis]state{},
	}
}

// errBehind says that the sink's group has not stored yet what Kafka holds.
var errBehind = errors.New("the sink is behind")

// reconcile compares the hours that have not been found the same yet.
func (r *reconciler) reconcile(ctx context.Context) ([]prometheus.Metric, error) {
	last := market.Interval("1h").Start(market.MillisOf(r.now().Add(-settled))) - hourly
	maps.DeleteFunc(r.hours, func(h market.Millis, _ state) bool { return h <= last-hoursBack*hourly })
	for h := last - (hoursBack-1)*hourly; h <= last; h += hourly {
		if was := r.hours[h]; was == same || was == skipped {
			continue
		}
		is, difference, err := r.twice(ctx, h)
		if errors.Is(err, errBehind) {
			break // the time of the newest hour compared stands still, which says so
		}
		if err != nil {
			return nil, err
		}
		r.note(h, is, difference)
	}
	return r.show(), nil
}

// note remembers how an hour was found, and tells of a change.
func (r *reconciler) note(h market.Millis, is state, difference string) {
	was := r.hours[h]
	r.hours[h] = is
	r.newest = max(r.newest, h+hourly)
	hour := slog.String("hour", h.String())
	switch {
	case is == was:
		return
	case is == different:
		r.log.Warn("Kafka and MySQL differ", hour, slog.String("difference", difference))
	case is == skipped:
		r.log.Warn("an hour is not compared", hour, slog.String("reason", difference))
	case was == different:
		r.log.Info("Kafka and MySQL are the same again", hour)
	}
	r.outcomes[is-same]++
}

// twice compares an hour, and again if it differs.
func (r *reconciler) twice(ctx context.Context, h market.Millis) (is state, difference string, err error) {
	for range 2 {
		is, difference, err = r.compare(ctx, h)
		if err != nil || is != different {
			break
		}
	}
	return is, difference, err
}

// digest is how many candles there are, and the exclusive or of their hashes,
// which does not depend on their order.
type digest struct {
	count int
	sum   sum
}

func (d *digest) add(s sum) {
	d.count++
	for i := range s {
		d.sum[i] ^= s[i]
	}
}

func (r *reconciler) compare(ctx context.Context, h market.Millis) (is state, difference string, err error) {
	k, err := r.open()
	if err != nil {
		return unknown, "", err
	}
	defer k.close()
	there, err := k.read(ctx, h, r.limit)
	if why := (*unfit)(nil); errors.As(err, &why) {
		return skipped, why.Error(), nil
	}
	if err != nil {
		return unknown, "", fmt.Errorf("reading %s: %w", r.topic, err)
	}
	if err := k.passed(ctx, r.group, r.wait); err != nil {
		return unknown, "", err
	}
	stored, err := r.mysql.hour(ctx, h, there)
	if err != nil {
		return unknown, "", fmt.Errorf("reading the hour %s: %w", h, err)
	}
	for _, s := range slices.SortedFunc(maps.Keys(there), compareSeries) {
		if a, b := there[s], stored[s]; a != b {
			return different, fmt.Sprintf("%s/%s/%s: Kafka has %d candles, MySQL %d, and their checksums are %x and %x", s.exchange, s.instrument, s.interval, a.count, b.count, a.sum[:4], b.sum[:4]), nil
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(stored), compareSeries) {
		if _, ok := there[s]; !ok {
			return different, fmt.Sprintf("%s/%s/%s: Kafka has no candle, MySQL %d", s.exchange, s.instrument, s.interval, stored[s].count), nil
		}
	}
	return same, "", nil
}

func (r *reconciler) show() (out []prometheus.Metric) {
	m := r.mysql.m
	for i, outcome := range comparison {
		out = append(out, prometheus.MustNewConstMetric(m.compared, prometheus.CounterValue, float64(r.outcomes[i]), outcome))
	}
	n := 0
	for _, is := range r.hours {
		if is == different {
			n++
		}
	}
	out = append(out, gauge(m.different, float64(n), r.topic))
	if r.newest != 0 {
		out = append(out, gauge(m.reconciled, seconds(r.newest), r.topic))
	}
	return out
}
