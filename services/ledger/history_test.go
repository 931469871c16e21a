package ledger

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/candlestack/candlestack/services/market"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allTopics are those of all kinds.
func allTopics() map[market.Kind]string {
	topics := DefaultTopics()
	maps.Copy(topics, NewsTopics())
	return topics
}

func take(t *testing.T, seed uint64, n int) []record {
	t.Helper()
	h := newHistory(seed, 4, allTopics())
	records := make([]record, n)
	for i := range records {
		var err error
		if records[i], err = h.take(); err != nil {
			t.Fatal(err)
		}
		records[i].Sent = int64(i + 1)
	}
	return records
}

// decode reads a record as a sink would.
func (r *record) decode() (market.Event, error) {
	header := map[string]string{}
	for _, h := range r.headers {
		header[h.Key] = string(h.Value)
	}
	e, err := market.Decode(header[market.HeaderKind], header[market.HeaderContract], header[market.HeaderOrigin], r.value)
	if err != nil {
		return nil, err
	}
	return e, e.Validate()
}

func TestEqualSeedsMakeEqualHistories(t *testing.T) {
	show := func(seed uint64) string { return fmt.Sprintf("%v", take(t, seed, 500)) }
	once, again := show(1), show(1)
	if once != again {
		t.Error("one seed, two histories")
	}
	if once == show(2) {
		t.Error("two seeds, one history")
	}
}

func TestHistoryIsGoodBadAndDisordered(t *testing.T) {
	records := take(t, 7, 20_000)
	seen := map[string]int{} // sorts of poison
	newest := map[id]int64{}
	hashes := map[string]bool{}
	sights := map[string]market.Millis{}
	votes := map[string]string{}
	var gaps, older, twins, again, sightings, disputes, unchanged int
	for _, r := range records {
		e, err := r.decode()
		if r.Poison != "" {
			seen[r.Poison]++
			if digits := strings.HasPrefix(r.Poison, "too many digits"); (err == nil) != digits {
				t.Fatalf("poison %q: %v: %s", r.Poison, err, r.value)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v: %s", err, r.value)
		}
		if sum, _ := hashEvent(e); sum != r.Hash || e.Key() != r.Key || e.Version() != r.Version || e.PartitionKey() != string(r.key) {
			t.Fatalf("the book says %+v of %s", r.line, r.value)
		}
		k := id{r.Kind, r.Key}
		switch {
		case hashes[r.Hash]:
			again++
		case r.Version < newest[k]:
			older++
		case r.Version == newest[k]:
			twins++
		}
		switch e := e.(type) {
		case *market.Gap:
			gaps++
		case *market.Post:
			if e.FirstSeenTime > e.ObservedTime || e.VotesTime > e.ObservedTime || (e.Votes == nil) != (e.VotesTime == 0) {
				t.Fatalf("clocks that no engine would give: %s", r.value)
			}
			seen, known := sights[r.Key]
			if known && e.FirstSeenTime != seen {
				sightings++
			}
			if !known {
				sights[r.Key] = e.FirstSeenTime
			}
			snapshot := snapshotKey(r.Key, r.VotesTime)
			switch {
			case r.Votes == "":
			case votes[snapshot] == "":
				votes[snapshot] = r.Votes
			case votes[snapshot] != r.Votes:
				disputes++
			default:
				unchanged++
			}
		}
		hashes[r.Hash] = true
		newest[k] = max(newest[k], r.Version)
	}
	if sorts := len(poisons) + len(seriesPoisons) + len(candlePoisons) + len(postPoisons); len(seen) != sorts {
		t.Errorf("%d sorts of poison of %d: %v", len(seen), sorts, seen)
	}
	if sightings == 0 || disputes == 0 || unchanged == 0 {
		t.Errorf("too tame: %d changes of first sight, %d snapshots in conflict, %d unchanged votes", sightings, disputes, unchanged)
	}
	if len(newest) < 1000 || gaps == 0 || older == 0 || twins == 0 || again == 0 {
		t.Errorf("too tame: %d keys, %d gaps, %d older versions late, %d conflicts, %d duplicates", len(newest), gaps, older, twins, again)
	}
}

func TestBookIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	b, err := openBook(path)
	if err != nil {
		t.Fatal(err)
	}
	one := line{Sent: 1, Kind: market.KindCandle, Topic: "t", Key: "k", Version: 9, Hash: "h"}
	two := line{Sent: 2, Kind: market.KindGap, Topic: "u", Key: "l", Hash: "i", Poison: "bad json"}
	b.write(one)
	b.write(two)
	b.write(line{Acked: 2, Partition: 3, Offset: 14})
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	want := []entry{{line: one}, {line: two, acked: true, place: place{"u", 3, 14}}}
	compare := func() {
		t.Helper()
		got, err := readBook(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{}, place{})); diff != "" {
			t.Error(diff)
		}
	}
	compare()
	appendText(t, path, `{"acked":1,"par`)
	compare() // cut off while it was written
	appendText(t, path, "\n")
	if _, err := readBook(path); err == nil {
		t.Error("a line that is no JSON was taken")
	}
	if _, err := openBook(path); err == nil {
		t.Error("a second run took the book of the first")
	}
}

func TestBookWithAHoleIsRefused(t *testing.T) {
	f := func(text string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "ledger")
		appendText(t, path, text)
		if got, err := readBook(path); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
	f("{\"sent\":2}\n")
	f("{\"acked\":1}\n")
	f("{}\n")
}

func appendText(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestProducerConfigTellsAllProblems(t *testing.T) {
	err := (&ProducerConfig{Records: -1}).Validate()
	want := "ledger: no path\nledger: no brokers\nledger: no topics\nledger: series 0 is not at least 1\nledger: rate 0 is not at least 1\nledger: records -1 is negative"
	if fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}
