package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is something that goes wrong on purpose (delivery.md 9.2, F23 and F24).
// It happens Count times, or for Seconds, or both; with neither, once.
type Fault struct {
	Kind    string  `json:"kind"`              // one of FaultKinds
	Target  string  `json:"target"`            // what it hits: exchange, cryptopanic, rss, or news for both feeds; empty is exchange, or news for a kind that only feeds have
	Count   int     `json:"count,omitempty"`   // requests, handshakes, connections or frames that it hits
	Seconds float64 `json:"seconds,omitempty"` // of the wall clock
	Symbol  string  `json:"symbol,omitempty"`  // BTCUSDT: only what concerns it
	Delay   float64 `json:"delay,omitempty"`   // seconds: the wait of slow (2), the Retry-After of 429 (1) and 418 (120)
}

// Targets of faults beside the feeds themselves.
const (
	targetExchange = "exchange"
	targetNews     = "news"
)

// Kinds of faults. Those above refuse hit REST requests, of feeds as well but
// for 418; those from quota on hit feeds alone.
const (
	fault429           = "429"            // over the limit
	fault418           = "418"            // banned
	fault5xx           = "5xx"            // 503
	fault403           = "403"            // the firewall's page
	faultHTML          = "html"           // an HTML page with status 200
	faultSlow          = "slow"           // the answer comes late
	faultTruncatedBody = "truncated_body" // the body ends in the middle
	faultRefuse        = "refuse"         // a WebSocket handshake is answered with 503
	faultDisconnect    = "disconnect"     // a connection is cut without a close frame
	faultClose         = "close"          // a connection is closed as it should be
	faultStall         = "stall"          // a connection stays, but its events are lost
	faultStallSymbol   = "stall_symbol"   // the same for one symbol of it
	faultTruncated     = "truncated_frame"
	faultLostClose     = "lost_close"   // a candle's final frame is not sent
	faultDuplicate     = "duplicate"    // a frame is sent twice
	faultOutOfOrder    = "out_of_order" // a frame is sent after the next one of its stream
	faultQuota         = "quota"        // CryptoPanic's monthly quota is used up: 429 without Retry-After
	faultShift         = "shift"        // a post appears before a page after the first is read, so that all pages shift by one
	faultBadPost       = "bad_post"     // one post of a page has a field of the wrong kind
)

// FaultKinds are all kinds of faults.
func FaultKinds() []string {
	return []string{
		fault429, fault418, fault5xx, fault403, faultHTML, faultSlow, faultTruncatedBody,
		faultRefuse, faultDisconnect, faultClose, faultStall, faultStallSymbol,
		faultTruncated, faultLostClose, faultDuplicate, faultOutOfOrder,
		faultQuota, faultShift, faultBadPost,
	}
}

// targetsOf a kind; the first is what is meant if none is named.
func targetsOf(kind string) []string {
	switch kind {
	case fault429, fault5xx, fault403, faultHTML, faultSlow, faultTruncatedBody:
		return []string{targetExchange, targetNews, feedCryptoPanic, feedRSS}
	case faultBadPost:
		return []string{targetNews, feedCryptoPanic, feedRSS}
	case faultQuota, faultShift:
		return []string{targetNews, feedCryptoPanic}
	}
	return []string{targetExchange}
}

// active is a fault that was injected. A connection that stalls keeps it, also
// when no uses are left.
type active struct {
	Fault
	until time.Time // zero: for ever
	epoch int64
}

type faults struct {
	wall  func() time.Time
	any   atomic.Bool  // spares the lock where all is well
	epoch atomic.Int64 // counts the clearings, each of which ends what was before

	mu      sync.Mutex
	list    []*active
	changed chan struct{} // closed at each injection
}

func newFaults(wall func() time.Time) *faults {
	return &faults{wall: wall, changed: make(chan struct{})}
}

func (f *Fault) validate(b *board) error {
	var bad []error
	if !slices.Contains(FaultKinds(), f.Kind) {
		bad = append(bad, fmt.Errorf("kind %.40q is none of %s", f.Kind, strings.Join(FaultKinds(), " ")))
	}
	targets := targetsOf(f.Kind)
	if f.Target == "" {
		f.Target = targets[0]
	}
	if !slices.Contains(targets, f.Target) {
		bad = append(bad, fmt.Errorf("target %.40q of kind %.40q is none of %s", f.Target, f.Kind, strings.Join(targets, " ")))
	}
	if f.Count < 0 || f.Seconds < 0 || f.Delay < 0 {
		bad = append(bad, fmt.Errorf("count %d, seconds %v or delay %v is negative", f.Count, f.Seconds, f.Delay))
	}
	if f.Symbol == "" {
		if f.Kind == faultStallSymbol {
			bad = append(bad, errors.New(`symbol "" must be named for stall_symbol`))
		}
	} else if f.Target != targetExchange {
		bad = append(bad, fmt.Errorf("symbol %.40q must be empty for target %s", f.Symbol, f.Target))
	} else if in, ok := b.find(f.Symbol); !ok {
		bad = append(bad, fmt.Errorf("symbol %.40q is not served", f.Symbol))
	} else {
		f.Symbol = in.symbol
	}
	return errors.Join(bad...)
}

func (f *faults) inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &active{Fault: fault, epoch: f.epoch.Load()}
	switch {
	case fault.Seconds > 0:
		a.until = f.wall().Add(time.Duration(fault.Seconds * float64(time.Second)))
	case fault.Count == 0:
		a.Count = 1
	}
	f.list = append(f.list, a)
	f.any.Store(true)
	close(f.changed)
	f.changed = make(chan struct{})
}

// clear ends all faults, those that connections keep included.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch.Add(1)
	f.prune()
}

// over tells whether a has had its time.
func (f *faults) over(a *active) bool {
	return a.epoch != f.epoch.Load() || (!a.until.IsZero() && f.wall().After(a.until))
}

// active lists what can still happen, with the uses and seconds that are left.
func (f *faults) active() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prune()
	left := []Fault{}
	for _, a := range f.list {
		fault := a.Fault
		if !a.until.IsZero() {
			fault.Seconds = a.until.Sub(f.wall()).Seconds()
		}
		left = append(left, fault)
	}
	return left
}

func (f *faults) prune() {
	f.list = slices.DeleteFunc(f.list, f.over)
	f.any.Store(len(f.list) > 0)
}

// take uses the oldest fault of a kind for the exchange once. concerns tells of
// a symbol whether what would be hit has to do with it.
func (f *faults) take(kind string, concerns func(symbol string) bool) *active {
	return f.use(func(a *active) bool {
		return a.Kind == kind && a.Target == targetExchange && (a.Symbol == "" || concerns(a.Symbol))
	})
}

// takeNews is take for a feed.
func (f *faults) takeNews(feed, kind string) *active {
	return f.use(func(a *active) bool { return a.Kind == kind && (a.Target == targetNews || a.Target == feed) })
}

func (f *faults) use(hits func(*active) bool) *active {
	if !f.any.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prune()
	for k, a := range f.list {
		if !hits(a) {
			continue
		}
		if a.Count > 0 {
			if a.Count--; a.Count == 0 {
				f.list = slices.Delete(f.list, k, k+1)
				f.any.Store(len(f.list) > 0)
			}
		}
		return a
	}
	return nil
}

// change is closed at the next injection.
func (f *faults) change() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}
