package probe

import (
	"sync"
	"time"
)

// remembered are the canaries of a broker that are known again when they come;
// older ones are foreign.
const remembered = 64

// fate is what became of a canary.
type fate int

const (
	underWay fate = iota
	came
	givenUp
)

// canary is one that was sent.
type canary struct {
	number uint64
	sent   time.Time
	timed  bool // whether its way is measured
	fate   fate
	at     spot          // where it was first read
	back   chan struct{} // closed when it comes
}

// spot is a place in the topic.
type spot struct {
	partition int32
	offset    int64
}

// book keeps the canaries of one broker. The zero value is an empty one.
type book struct {
	mu   sync.Mutex
	last uint64
	kept [remembered]canary
}

// send enters a new canary. Numbers begin at 1 and never come again.
func (b *book) send(now time.Time, timed bool) (number uint64, back <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	c := canary{number: b.last, sent: now, timed: timed, back: make(chan struct{})}
	b.kept[b.last%remembered] = c
	return b.last, c.back
}

// receive notes that a canary came, and returns it as it was before; false if
// it is not known, or the same record was read again.
func (b *book) receive(number uint64, at spot) (before canary, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.kept[number%remembered]
	if number == 0 || c.number != number || c.fate == came && c.at == at {
		return canary{}, false
	}
	before = *c
	if c.fate == underWay {
		close(c.back)
	}
	if c.fate != came {
		c.fate, c.at = came, at
	}
	return before, true
}

// giveUp ends the waiting for a canary; false if it has come.
func (b *book) giveUp(number uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.kept[number%remembered]
	if c.number != number || c.fate != underWay {
		return false
	}
	c.fate = givenUp
	return true
}
