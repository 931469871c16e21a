package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// Config says what is compared with what. One check is of one store and the group
// that fills it: DefaultTopics go with DSN, NewsTopics with MongoURI.
type Config struct {
	Path          string                 // of the ledger
	Brokers       []string               // host:port
	Topics        map[market.Kind]string // those of the producer's that the group reads
	Group         string                 // whose offsets
	DSN           string                 // of tables candles and gaps, in the Go driver's form, with the database
	MongoURI      string                 // of the server with the posts, in MongoDB's form
	MongoDatabase string                 // with collections posts and vote_snapshots
}

// Invariant is a promise and whether it was kept.
type Invariant struct {
	Name   string
	OK     bool
	Detail string // numbers where it was kept, else how many breaches and the first of them
}

// String is one line.
func (i Invariant) String() string {
	state := "ok"
	if !i.OK {
		state = "BROKEN"
	}
	return i.Name + ": " + state + ": " + i.Detail
}

// Check compares everything, once the group has read all (Behind says 0) and
// the producer has ended: I1 each acknowledged event is stored with its values,
// or a dead letter with its bytes, and nothing else is there; I2 no key has an
// older version than was acknowledged, a later first sight, or two rows; I3 what is
// committed is durable. A snapshot of votes is a row like any other. An error means
// that a side could not be read.
func Check(ctx context.Context, cfg Config) ([]Invariant, error) {
	f, err := gather(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return []Invariant{f.nothingLost(), f.nothingOlder(), f.committedIsDurable()}, nil
}

// CheckCommitted compares I3 alone: at any moment, whether sink and producer
// live or not, each event below the committed offset is stored, superseded or a
// dead letter.
func CheckCommitted(ctx context.Context, cfg Config) (Invariant, error) {
	f, err := gather(ctx, cfg)
	if err != nil {
		return Invariant{}, err
	}
	return f.committedIsDurable(), nil
}

// Behind counts the records of the topics that the group has not committed.
func Behind(ctx context.Context, cfg Config) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		return 0, fmt.Errorf("making the ledger's client: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	committed, err := readCommitted(ctx, admin, cfg.Group)
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, slices.Collect(maps.Values(cfg.Topics))...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("listing the ends of topics: %w", err)
	}
	var behind int64
	ends.Each(func(o kadm.ListedOffset) {
		behind += max(0, o.Offset-committed[partition{o.Topic, o.Partition}])
	})
	return behind, nil
}

// facts is what each side says.
type facts struct {
	entries   []entry
	rows      []row
	letters   []letter
	committed map[partition]int64
}

// gather reads all sides in the order that makes I3 true at any moment: what is
// durable only grows after the offsets were read, and whatever is found was in
// the ledger before it was anywhere else.
func gather(ctx context.Context, cfg Config) (*facts, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		return nil, fmt.Errorf("making the ledger's client: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	f := &facts{}
	if f.committed, err = readCommitted(ctx, admin, cfg.Group); err != nil {
		return nil, err
	}
	if f.letters, err = readLetters(ctx, admin, cfg.Brokers, cfg.Topics); err != nil {
		return nil, err
	}
	if f.rows, err = readStore(ctx, cfg); err != nil {
		return nil, err
	}
	entries, err := readBook(cfg.Path)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return cfg.Topics[e.Kind] == "" })
	f.entries = withSnapshots(entries)
	return f, nil
}

func readStore(ctx context.Context, cfg Config) (rows []row, err error) {
	if cfg.Topics[market.KindCandle] != "" || cfg.Topics[market.KindGap] != "" {
		if rows, err = readTables(ctx, cfg.DSN, cfg.Topics); err != nil {
			return nil, err
		}
	}
	if cfg.Topics[market.KindPost] != "" {
		documents, err := readDocuments(ctx, cfg.MongoURI, cfg.MongoDatabase)
		return append(rows, documents...), err
	}
	return rows, nil
}

// id names a row across the tables.
type id struct {
	kind market.Kind
	key  string
}

// claims is what the ledger says of one key.
type claims struct {
	sent      []entry       // all good ones, acknowledged first, by offset
	newest    int64         // acknowledged version; 0: none is
	firstSeen market.Millis // earliest acknowledged one of a post; 0: none is
}

func (f *facts) claims() map[id]*claims {
	all := map[id]*claims{}
	for _, e := range f.entries {
		if e.Poison != "" {
			continue
		}
		c := all[id{e.Kind, e.Key}]
		if c == nil {
			c = &claims{}
			all[id{e.Kind, e.Key}] = c
		}
		c.sent = append(c.sent, e)
		if e.acked {
			c.newest = max(c.newest, e.Version)
			if c.firstSeen == 0 || e.FirstSeen < c.firstSeen {
				c.firstSeen = e.FirstSeen
			}
		}
	}
	for _, c := range all {
		slices.SortStableFunc(c.sent, func(a, b entry) int {
			if a.acked != b.acked {
				if a.acked {
					return -1
				}
				return 1
			}
			return int(a.offset - b.offset)
		})
	}
	return all
}

// allows says what is wrong with a row of the version; empty: nothing. Of events
// of one version the first in the topic stays, and the row says whether others
// disagreed. Of those not acknowledged nobody knows whether they are in the topic.
func (c *claims) allows(r row) string {
	first := ""
	sure, known, among := true, false, false
	hashes := map[string]bool{}
	for _, e := range c.sent {
		if e.Version != r.version {
			continue
		}
		known = true
		hashes[e.Hash] = true
		if first == "" && e.acked {
			first = e.Hash
		}
		sure = sure && e.acked
		among = among || e.Hash == r.hash && (!e.acked || e.Hash == first)
	}
	switch {
	case !known:
		return fmt.Sprintf("version %d was never sent", r.version)
	case !among:
		return fmt.Sprintf("version %d has other values than were sent first", r.version)
	case !slices.ContainsFunc(c.sent, func(e entry) bool { return e.FirstSeen == r.firstSeen }):
		return fmt.Sprintf("version %d was first seen at %s, as nobody said", r.version, r.firstSeen)
	case r.kind != market.KindCandle && r.kind != market.KindPost:
		return ""
	case len(hashes) == 1 && r.conflict:
		return fmt.Sprintf("version %d is marked as a conflict and has none", r.version)
	case len(hashes) > 1 && sure && !r.conflict:
		return fmt.Sprintf("version %d is not marked as a conflict", r.version)
	}
	return ""
}

// nothingLost is I1.
func (f *facts) nothingLost() Invariant {
	var p problems
	stored := map[id]bool{}
	all := f.claims()
	for _, r := range f.rows {
		stored[id{r.kind, r.key}] = true
		c := all[id{r.kind, r.key}]
		if c == nil {
			p.add("%s %s is a row that nobody sent", r.kind, r.key)
		} else if wrong := c.allows(r); wrong != "" {
			p.add("%s %s: %s", r.kind, r.key, wrong)
		}
	}
	keys := 0
	for _, e := range f.entries { // in the order of sending, so that reports are alike
		if c := all[id{e.Kind, e.Key}]; e.Poison == "" && e.acked && c.newest == e.Version {
			c.newest = -1 // told once
			keys++
			if !stored[id{e.Kind, e.Key}] {
				p.add("%s %s, version %d, acknowledged at %s, is missing", e.Kind, e.Key, e.Version, e.place)
			}
		}
	}
	dead, again := f.checkLetters(&p)
	return p.verdict("I1 nothing lost, nothing invented",
		"%d keys of acknowledged events, %d acknowledged poisons (%d dead letters came more than once)", keys, dead, again)
}

// checkLetters compares poisons and dead letters. Delivery of letters is at
// least once: those that came again are counted, and no breach.
func (f *facts) checkLetters(p *problems) (dead, again int) {
	at := map[place]entry{}
	unsure := map[string]bool{} // hashes of poisons not acknowledged
	for _, e := range f.entries {
		if e.acked && e.Kind != kindSnapshot {
			at[e.place] = e
		} else if e.Poison != "" {
			unsure[e.Hash] = true
		}
	}
	seen := map[place]bool{}
	for _, l := range f.letters {
		e, known := at[l.place]
		switch {
		case !known && unsure[l.hash]:
		case !known:
			p.add("dead letter of %s is of a record that nobody sent", l.place)
		case e.Poison == "":
			p.add("dead letter of %s is of a good event, %s %s", l.place, e.Kind, e.Key)
		case e.Hash != l.hash:
			p.add("dead letter of %s (%s) has other bytes, key or headers than were sent", l.place, e.Poison)
		}
		if seen[l.place] {
			again++
		}
		seen[l.place] = true
	}
	for _, e := range f.entries {
		if e.Poison != "" && e.acked {
			dead++
			if !seen[e.place] {
				p.add("poison at %s (%s) is no dead letter", e.place, e.Poison)
			}
		}
	}
	return dead, again
}

// nothingOlder is I2.
func (f *facts) nothingOlder() Invariant {
	var p problems
	all := f.claims()
	seen := map[id]bool{}
	for _, r := range f.rows {
		if seen[id{r.kind, r.key}] {
			p.add("%s %s has more than one row", r.kind, r.key)
		}
		seen[id{r.kind, r.key}] = true
		switch c := all[id{r.kind, r.key}]; {
		case c == nil:
		case r.version < c.newest:
			p.add("%s %s has version %d, acknowledged was %d", r.kind, r.key, r.version, c.newest)
		case r.firstSeen > c.firstSeen && c.firstSeen > 0:
			p.add("%s %s was first seen at %s, acknowledged was %s", r.kind, r.key, r.firstSeen, c.firstSeen)
		}
	}
	return p.verdict("I2 no older version on top", "%d rows", len(f.rows))
}

// committedIsDurable is I3.
func (f *facts) committedIsDurable() Invariant {
	var p problems
	stored := map[id]row{}
	for _, r := range f.rows {
		stored[id{r.kind, r.key}] = r
	}
	dead := map[place]bool{}
	for _, l := range f.letters {
		dead[l.place] = true
	}
	below := 0
	for _, e := range f.entries {
		if !e.acked || e.offset >= f.committed[partition{e.topic, e.partition}] {
			continue
		}
		if e.Kind != kindSnapshot {
			below++
		}
		r, ok := stored[id{e.Kind, e.Key}]
		switch {
		case e.Poison != "":
			if !dead[e.place] {
				p.add("poison at %s (%s) is committed and no dead letter", e.place, e.Poison)
			}
		case !ok || r.version < e.Version:
			p.add("%s %s, version %d, at %s is committed and not stored", e.Kind, e.Key, e.Version, e.place)
		case r.firstSeen > e.FirstSeen:
			p.add("%s %s, first seen at %s, at %s is committed and stored as seen later", e.Kind, e.Key, e.FirstSeen, e.place)
		}
	}
	return p.verdict("I3 committed <= durable", "%d acknowledged records below the committed offsets", below)
}

// problems collects breaches: all are counted, some are told.
type problems struct {
	count int
	told  []string
}

const tell = 5

func (p *problems) add(format string, args ...any) {
	p.count++
	if len(p.told) < tell {
		p.told = append(p.told, fmt.Sprintf(format, args...))
	}
}

func (p *problems) verdict(name, format string, args ...any) Invariant {
	if p.count == 0 {
		return Invariant{name, true, fmt.Sprintf(format, args...)}
	}
	return Invariant{name, false, fmt.Sprintf("%d: %s", p.count, strings.Join(p.told, "; "))}
}
