package kafka_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/kafka"
	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

const minute market.Millis = 60_000

// stocked is a broker with the topics of the plan.
func stocked(t *testing.T) *broker {
	t.Helper()
	b := embedded(t)
	cfg := kafka.TopicConfig{Partitions: 6, OtherPartitions: 3, Replication: 1, Retention: 168 * time.Hour, DeadLetterRetention: 720 * time.Hour}
	if _, err := b.administrator(t).Apply(t.Context(), cfg.Plan()); err != nil {
		t.Fatal(err)
	}
	return b
}

func series(base string, interval market.Interval) market.Series {
	return market.Series{Exchange: "binance", Instrument: market.Instrument{Base: base, Quote: "USDT"}, Interval: interval}
}

func TestRecallFindsTheNewestClosedCandle(t *testing.T) {
	b := stocked(t)
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const t0 market.Millis = 1740787200000 // 2025-03-01
	fresh, hours, days, old, open, archive, never := series("FRESH", "1m"), series("HOURS", "1h"), series("DAYS", "1d"), series("OLD", "1w"), series("OPEN", "1m"), series("ARCHIVE", "1m"), series("NEVER", "1m")
	other := series("OTHER", "1m") // somebody else's
	broken := wire(t, candle(fresh, t0+100*minute, true, market.OriginLive), ago(time.Minute))
	broken.Value = []byte("<html>")
	var records []*kgo.Record
	add := func(s market.Series, at market.Millis, closed bool, origin market.Origin, age time.Duration) {
		records = append(records, wire(t, candle(s, at, closed, origin), ago(age)))
	}
	// Oldest first, as a log is written; ages lie in each of the backward steps.
	add(old, t0, true, market.OriginBackfill, 6*24*time.Hour)
	add(open, t0+minute, true, market.OriginLive, 5*24*time.Hour)
	add(fresh, t0, true, market.OriginBackfill, 30*time.Hour)
	add(days, t0, true, market.OriginBackfill, 20*time.Hour)
	add(hours, t0, true, market.OriginBackfill, 3*time.Hour)
	add(hours, t0+60*minute, true, market.OriginLive, 100*time.Minute)
	add(archive, t0+500*minute, true, market.OriginArchive, 50*time.Minute)
	add(other, t0+999*minute, true, market.OriginLive, 9*time.Minute)
	add(fresh, t0+9*minute, true, market.OriginLive, 8*time.Minute)
	add(fresh, t0+4*minute, true, market.OriginRepair, 7*time.Minute) // a late one does not turn the clock back
	add(open, t0+50*minute, false, market.OriginLive, 6*time.Minute)
	add(fresh, t0+10*minute, false, market.OriginLive, 5*time.Minute)
	b.append(t, append(records, broken)...)

	newest, gaps, err := b.administrator(t).Recall(t.Context(), []market.Series{fresh, hours, days, old, open, archive, never})
	if err != nil {
		t.Fatal(err)
	}
	want := map[market.Series]market.Millis{fresh: t0 + 9*minute, hours: t0 + 60*minute, days: t0, old: t0, open: t0 + minute}
	if diff := cmp.Diff(want, newest); diff != "" {
		t.Error(diff)
	}
	if len(gaps) != 0 {
		t.Errorf("found gaps in an empty topic: %v", gaps)
	}
}

// A year of history must not be read to find where yesterday ended.
func TestRecallReadsNoMoreThanItMust(t *testing.T) {
	b := stocked(t)
	const t0 market.Millis = 1740787200000
	trap := wire(t, candle(btc, t0+999*minute, true, market.OriginLive), time.Now().Add(-3*time.Hour)) // greater, but never reached
	b.append(t, trap, wire(t, candle(btc, t0, true, market.OriginLive), time.Now().Add(-time.Hour)))
	newest, _, err := b.administrator(t).Recall(t.Context(), []market.Series{btc})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[market.Series]market.Millis{btc: t0}, newest); diff != "" {
		t.Error(diff)
	}
}

func TestRecallOfAnEmptyTopic(t *testing.T) {
	newest, gaps, err := stocked(t).administrator(t).Recall(t.Context(), []market.Series{btc})
	if err != nil || len(newest) != 0 || len(gaps) != 0 {
		t.Errorf("recalled %v, %v, %v", newest, gaps, err)
	}
}

func TestRecallWithoutTopics(t *testing.T) {
	b := embedded(t)
	_, _, err := b.administrator(t).Recall(t.Context(), []market.Series{btc})
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("error %v, want one that says that the topic is missing", err)
	}
}

func TestRecallFindsGapsThatAreOpen(t *testing.T) {
	b := stocked(t)
	const t0 market.Millis = 1740787200000
	gap := func(s market.Series, from, to market.Millis, state market.GapState, changed market.Millis) *market.Gap {
		return &market.Gap{Exchange: s.Exchange, Instrument: s.Instrument, Interval: s.Interval, FromTime: from, ToTime: to, State: state, Cause: "reconnect", Changed: changed, Origin: market.OriginLive}
	}
	still := gap(btc, t0, t0+2*minute, market.GapOpen, t0+3*minute)
	again := gap(btc, t0+60*minute, t0+61*minute, market.GapOpen, t0+65*minute)
	var records []*kgo.Record
	for _, g := range []*market.Gap{
		still,
		gap(btc, t0+10*minute, t0+12*minute, market.GapOpen, t0+20*minute),
		gap(btc, t0+10*minute, t0+12*minute, market.GapRepaired, t0+21*minute),
		gap(btc, t0+30*minute, t0+32*minute, market.GapConfirmed, t0+41*minute), // the later state comes first in the log
		gap(btc, t0+30*minute, t0+32*minute, market.GapOpen, t0+40*minute),
		gap(btc, t0+60*minute, t0+62*minute, market.GapRepaired, t0+63*minute),
		again, // a gap that opened again, and is shorter now
		gap(series("OTHER", "1m"), t0, t0+minute, market.GapOpen, t0+minute),
	} {
		records = append(records, wire(t, g, time.Now().Add(-6*24*time.Hour)))
	}
	records = append(records, &kgo.Record{Topic: market.TopicGaps, Value: []byte("<html>")})
	b.append(t, records...)
	_, gaps, err := b.administrator(t).Recall(t.Context(), []market.Series{btc})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]market.Gap{*still, *again}, gaps); diff != "" {
		t.Error(diff)
	}
}

func TestRecallPostsOfOneSource(t *testing.T) {
	b := stocked(t)
	const t0 market.Millis = 1740787200000
	post := func(source, id, title string, observed market.Millis) *market.Post {
		return &market.Post{Source: source, ID: id, Title: title, PublishedTime: t0, FirstSeenTime: t0, ObservedTime: observed, Origin: market.OriginLive}
	}
	var want []*market.Post
	var records []*kgo.Record
	for i, p := range []*market.Post{
		post("rss", "1", "a", t0),
		post("cryptopanic", "1", "somebody else's", t0),
		post("rss", "2", "b", t0+1),
		post("rss", "1", "changed", t0+3),
		post("rss", "1", "late", t0+2), // which version is the last is not for the log to say
		post("rssx", "1", "somebody else's", t0),
		post("rss", "1", "", t0+9), // not valid
	} {
		records = append(records, wire(t, p, time.Now().Add(time.Duration(i-10)*12*time.Hour))) // older than any step of Recall
		if p.Source == "rss" && p.Title != "" {
			want = append(want, p)
		}
	}
	records = append(records, wire(t, candle(btc, t0, true, market.OriginLive), time.Now()))
	records[len(records)-1].Topic = market.TopicPosts // a good event in the wrong place
	half := wire(t, post("rss", "3", "cut off", t0), time.Now())
	half.Value = half.Value[:len(half.Value)/2]
	foreign := wire(t, post("rss", "3", "of another contract", t0), time.Now())
	foreign.Headers = nil
	b.append(t, append(records, half, foreign, &kgo.Record{Topic: market.TopicPosts})...)

	var got []*market.Post
	if err := b.administrator(t).RecallPosts(t.Context(), "rss", func(p *market.Post) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	// Partitions interleave: all that is promised is that each version comes, once.
	order := func(a, b *market.Post) int { return int(a.ObservedTime - b.ObservedTime) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecallPostsWithoutATopic(t *testing.T) {
	none := func(p *market.Post) { t.Errorf("recalled %s", p.Key()) }
	if err := stocked(t).administrator(t).RecallPosts(t.Context(), "rss", none); err != nil {
		t.Errorf("an empty topic: %v", err)
	}
	if err := embedded(t).administrator(t).RecallPosts(t.Context(), "rss", none); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("error %v, want one that says that the topic is missing", err)
	}
}

func TestReadAll(t *testing.T) {
	onBrokers(t, func(t *testing.T, b *broker) {
		first, second, none := b.topic(t, 3), b.topic(t, 1), b.topic(t, 2)
		b.fill(t, first, 3, 2000)
		b.fill(t, second, 1, 1)
		if _, err := b.admin.DeleteRecords(t.Context(), kadm.Offsets{first: {1: {Topic: first, Partition: 1, At: 700}}}); err != nil {
			t.Fatal(err)
		}
		read := map[string]int64{}
		collect := func(r *pipeline.Record) error {
			place := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
			if want, seen := read[place]; seen && r.Offset != want {
				return fmt.Errorf("offset %d of %s, want %d", r.Offset, place, want)
			}
			read[place] = r.Offset + 1
			return nil
		}
		if err := b.administrator(t).ReadAll(t.Context(), collect, first, second, none); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{first + "/0": 2000, first + "/1": 2000, first + "/2": 2000, second + "/0": 1}
		if diff := cmp.Diff(want, read); diff != "" {
			t.Error(diff)
		}
		stop := errors.New("enough")
		if err := b.administrator(t).ReadAll(t.Context(), func(*pipeline.Record) error { return stop }, first); !errors.Is(err, stop) {
			t.Errorf("ended with %v, want the error of the caller", err)
		}
		if err := b.administrator(t).ReadAll(t.Context(), collect, name()); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("a topic that is missing: %v", err)
		}
	})
}

func TestReplaySendsEachLetterOnce(t *testing.T) {
	b := stocked(t)
	admin := b.administrator(t)
	var originals []pipeline.Record
	bury := func(n int) {
		t.Helper()
		for range n {
			i := len(originals)
			original := pipeline.Record{
				Topic: market.TopicCandles, Partition: int32(i % 6), Offset: int64(i), Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "\xff value %d", i),
				Headers: []pipeline.Header{{Name: "candlestack-kind", Value: []byte("candle")}, {Name: "trace", Value: []byte("a")}, {Name: "trace", Value: []byte("b")}},
			}
			originals = append(originals, original)
			d := pipeline.DeadLetter{Record: original, Reason: "decode", Message: "no", By: "test", Time: time.Now()}
			b.append(t, toKgo(d.Encode(), time.Now()))
		}
	}
	var got []pipeline.Record
	keep := func(r pipeline.Record) error {
		r.Time = time.Time{}
		got = append(got, r)
		return nil
	}
	replay := func(what string, want int) {
		t.Helper()
		if sent, err := admin.Replay(t.Context(), market.TopicCandles, keep); err != nil || sent != want {
			t.Errorf("%s: sent %d, %v; want %d", what, sent, err, want)
		}
	}
	replay("of nothing", 0)
	bury(50)
	replay("at first", 50)
	replay("at once again", 0)
	bury(7)
	replay("of new ones", 7)
	if diff := cmp.Diff(sortByKey(originals), sortByKey(got)); diff != "" {
		t.Errorf("what was sent is not what died:\n%s", diff)
	}

	// What was acknowledged before a failure is not sent again.
	bury(10)
	got = nil
	down := errors.New("broker is away")
	sent, err := admin.Replay(t.Context(), market.TopicCandles, func(r pipeline.Record) error {
		if len(got) == 4 {
			return down
		}
		return keep(r)
	})
	if sent != 4 || !errors.Is(err, down) {
		t.Errorf("sent %d, %v; want 4 and the failure", sent, err)
	}
	replay("after a failure", 6)
	if diff := cmp.Diff(sortByKey(originals[57:]), sortByKey(got)); diff != "" {
		t.Errorf("around a failure letters were lost or sent twice:\n%s", diff)
	}
}

func TestReplayRefusesWhatIsNoLetter(t *testing.T) {
	b := stocked(t)
	b.append(t, &kgo.Record{Topic: "market.gaps.dead", Value: []byte("hello")})
	sent, err := b.administrator(t).Replay(t.Context(), market.TopicGaps, func(pipeline.Record) error { return nil })
	if err == nil || sent != 0 {
		t.Errorf("sent %d, %v", sent, err)
	}
}

func sortByKey(records []pipeline.Record) []pipeline.Record {
	sorted := append([]pipeline.Record(nil), records...)
	slices.SortFunc(sorted, func(a, b pipeline.Record) int { return bytes.Compare(a.Key, b.Key) })
	return sorted
}
