package simulator

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

var ofStories = cmp.AllowUnexported(story{}, publisher{}, coin{})

// A post is a pure function of seed, coin and time: a newsroom that was asked
// for other things before, and serves other instruments, says the same.
func TestPostsArePure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, now := rapid.Int64().Draw(t, "seed"), anyMinute(t)+market.Millis(rapid.IntRange(0, 59_999).Draw(t, "ms"))
		a, b := newNewsroom(seed, []string{"BTC"}), newNewsroom(seed, []string{"ETH", "BTC", "SHIB"})
		b.stories(selection{limit: 30}, anyMinute(t))
		want := selection{
			filter:     rapid.SampledFrom([]string{"", "hot", "rising", "bullish", "bearish", "important", "saved", "lol"}).Draw(t, "filter"),
			currencies: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"BTC", "ETH", "SOL"}), 1, 3, rapid.ID[string]).Draw(t, "currencies"),
			limit:      30,
		}
		one := a.stories(want, now)
		if d := cmp.Diff(one, b.stories(want, now), ofStories); d != "" {
			t.Fatal(d)
		}
		for _, s := range one {
			if s.created > now || s.published >= s.created || s.published%1000 != 0 || s.changed > now {
				t.Fatalf("%d: published %s, created %s, changed %s, read at %s", s.id, s.published, s.created, s.changed, now)
			}
			s.rank = 0
			single, ok := a.story(s.id, now)
			if d := cmp.Diff(s, single, ofStories); d != "" || !ok {
				t.Fatalf("%v: %s", ok, d)
			}
			if _, ok := a.story(s.id, s.created-1); ok {
				t.Fatalf("%d is there before it was created", s.id)
			}
		}
		if other := newNewsroom(seed+1, []string{"BTC"}).stories(want, now); len(one) > 5 && cmp.Equal(one, other, ofStories) {
			t.Fatal("another seed has the same news")
		}
	})
}

// Votes only grow and are complete within a day; a title changes at most once.
func TestPostsGrowOld(t *testing.T) {
	r := newNewsroom(1, nil)
	corrected, all := 0, 0
	for _, fresh := range r.stories(selection{limit: 300}, at("2025-03-05 12:00:00")) {
		before, changes := fresh, 0
		for age := market.Millis(0); age <= 30*hour; age += 20 * minute {
			now, ok := r.story(fresh.id, fresh.created+age)
			if !ok || now.slug != fresh.slug || now.id != fresh.id || now.created != fresh.created {
				t.Fatalf("%v: %+v became %+v", ok, fresh, now)
			}
			if age == 0 && now.votes.sum() != 0 {
				t.Errorf("votes at its creation: %v", now.votes)
			}
			for kind := range now.votes {
				if age > 0 && now.votes[kind] < before.votes[kind] {
					t.Fatalf("votes fall from %v to %v", before.votes, now.votes)
				}
			}
			if age > day && now.votes != before.votes {
				t.Fatalf("votes still grow after a day")
			}
			if age > 0 && now.title != before.title {
				changes++
				if now.changed <= fresh.created || now.changed > fresh.created+age {
					t.Errorf("changed at %s, created at %s", now.changed, fresh.created)
				}
			}
			before = now
		}
		if changes > 1 {
			t.Errorf("%q changed %d times", fresh.title, changes)
		}
		corrected += changes
		all++
	}
	if all != 300 || corrected < 10 || corrected > 60 {
		t.Errorf("%d of %d titles were corrected", corrected, all)
	}
}

// What a class can count on: news come often, of every sort.
func TestNewsIsLively(t *testing.T) {
	i := market.Instrument{Base: "SHIB", Quote: "USDT"}
	r := newNewsroom(1, []string{"BTC", "SHIB"})
	from, to := at("2025-01-01 00:00:00"), at("2026-01-01 00:00:00")
	all, about := r.count(from, to)
	if perHour := all / (365 * 24); perHour < 20 || perHour > 40 {
		t.Errorf("%d posts an hour", perHour)
	}
	if about["BTC"] < 5*365*24 || about["SHIB"] < 3*365*24 {
		t.Errorf("%v", about)
	}
	if n := len(r.effects(i, from, to)); n < 365 || n > 2*365 {
		t.Errorf("%d posts a year move a price", n)
	}
	seen := map[string]int{}
	for _, s := range r.stories(selection{limit: 3000}, to) {
		seen[fmt.Sprint(len(s.coins), " coins")]++
		seen[s.publisher.domain]++
		seen[s.kind]++
		if strings.ContainsAny(s.title+s.text, "{}") || strings.ContainsAny(s.slug, "%& ") || s.slug == "" || !strings.HasSuffix(s.publisher.domain, ".example") {
			t.Errorf("%+v", s)
		}
	}
	for _, what := range []string{"0 coins", "1 coins", "2 coins", "news", "media"} {
		if seen[what] < 50 {
			t.Errorf("%s: %d posts", what, seen[what])
		}
	}
	if len(seen) != 5+len(publishers) {
		t.Errorf("%v", seen)
	}
}

// A post moves the price by what is planted, exactly where it is alone: not
// before the minute after it, wholly a quarter of an hour later, half of it
// after half of a day, nothing after a day.
func TestEffectIsPlanted(t *testing.T) {
	with := seeded(1, "BTCUSDT").tape.(*noise)
	without := newNoise(1, "BTCUSDT")
	effects := newNewsroom(1, nil).effects(btc, at("2025-01-01 00:00:00"), at("2026-01-01 00:00:00"))
	checked := 0
	for k := 1; k < len(effects)-1; k++ {
		e := effects[k]
		if e.Time-effects[k-1].Time < 25*hour || effects[k+1].Time-e.Time < 25*hour {
			continue
		}
		checked++
		m := int64(e.Time/minute) + 1
		for after, want := range map[int64]float64{
			0: 0, effectRamp / 3: float64(e.Percent) / 3, effectRamp: float64(e.Percent),
			(effectLife + effectRamp) / 2: float64(e.Percent) / 2, effectLife - 1: 0, effectLife: 0,
		} {
			p, q := with.price(m+after), without.price(m+after)
			if got := float64(p-q) / float64(q) * 100; math.Abs(got-want) > 0.01 {
				t.Errorf("%s, %d %%: %.3f %% after %d minutes, want %.3f %%", e.Time, e.Percent, got, after, want)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d posts alone", checked)
	}
}

// And an analyst finds it in the candles: the mean move over all posts of a
// percentage, from the close of the minute of publication to that 15 minutes on.
func TestEffectShows(t *testing.T) {
	r := newNewsroom(1, nil)
	var sum, number [7]float64 // by percent + 3
	for _, symbol := range []string{"BTCUSDT", "ETHUSDT", "XRPUSDT"} {
		in := seeded(1, symbol)
		for _, e := range r.effects(in.Instrument, at("2025-01-01 00:00:00"), at("2026-01-01 00:00:00")) {
			m := int64(e.Time / minute)
			before, ok := in.tape.slice(m, 0, 60)
			after, ok2 := in.tape.slice(m+effectRamp, 0, 60)
			if !ok || !ok2 || len(in.tape.jumps(m, m+effectRamp+1)) > 0 {
				continue // a hole, or a jump beside it
			}
			sum[e.Percent+3] += 100 * float64(after.close-before.close) / float64(before.close)
			number[e.Percent+3]++
		}
	}
	for percent := -3; percent <= 3; percent++ {
		mean, n := sum[percent+3]/number[percent+3], number[percent+3]
		switch {
		case percent == 0 && n == 0:
		case n < 100 || math.Abs(mean-float64(percent)) > 0.25:
			t.Errorf("%d %%: moved by %.2f %% on average of %.0f", percent, mean, n)
		default:
			t.Logf("%d %%: moved by %.2f %% on average of %.0f", percent, mean, n)
		}
	}
}

// One seed, one feed, on every machine and in every version.
func TestNewsGolden(t *testing.T) {
	r := newNewsroom(1, nil)
	effects := r.effects(btc, at("2025-03-03 00:00:00"), at("2025-03-04 00:00:00"))
	want := []Effect{{ID: 396748801, Time: at("2025-03-03 04:48:28"), Instrument: btc, Percent: 1}}
	if d := cmp.Diff(want, effects); d != "" {
		t.Error(d)
	}
	s, ok := r.story(396748801, at("2025-03-03 09:00:00"))
	if got := string(s.panic("news.example", true)); !ok || got != goldenPost {
		t.Errorf("got  %s\nwant %s", got, goldenPost)
	}
	b, _ := seeded(1, "BTCUSDT").between(at("2025-03-03 05:10:00"), at("2025-03-03 05:11:00"))
	line := row{at("2025-03-03 05:10:00"), at("2025-03-03 05:11:00") - 1, b}
	if got := string(line.append(nil)); got != goldenMoved {
		t.Errorf("got  %s\nwant %s", got, goldenMoved)
	}
}

const (
	goldenPost  = `{"kind":"news","domain":"blockgazette.example","source":{"title":"Block Gazette","region":"en","domain":"blockgazette.example","path":null,"type":"feed"},"title":"Pension fund puts 49 million into Bitcoin","published_at":"2025-03-03T04:48:28Z","slug":"Pension-fund-puts-49-million-into-Bitcoin","currencies":[{"code":"BTC","title":"Bitcoin","slug":"bitcoin","url":"http://news.example/news/bitcoin/"}],"id":396748801,"url":"http://news.example/news/396748801/Pension-fund-puts-49-million-into-Bitcoin?mtm_campaign=API-OFA","created_at":"2025-03-03T04:48:52Z","votes":{"negative":0,"positive":26,"important":11,"liked":19,"disliked":4,"lol":4,"toxic":9,"saved":0,"comments":0},"metadata":{"description":"Details were not made public. A speaker promised more within 49 days."}}`
	goldenMoved = `[1740978600000,"73000.38000000","73002.53000000","72965.24000000","72965.24000000","8.68709000",1740978659999,"634034.78118980",826,"4.27772000","312213.58995690","0"]`
)

// How many stories a request may have to make.
func BenchmarkStories(b *testing.B) {
	r := newNewsroom(1, nil)
	for _, f := range []struct {
		name string
		want selection
	}{
		{"newest", selection{limit: 200}}, {"hot", selection{limit: 200, filter: "hot"}},
		{"none", selection{limit: 200, currencies: []string{"NONE"}}},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				r.stories(f.want, at("2025-03-05 12:34:00"))
			}
		})
	}
}
