package simulator

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// The limits of exchanges.md §1.4 and §1.5. They run on the wall clock, because
// that is what a client budgets with.
const (
	defaultWeightLimit = 6000
	patience           = 10 // requests over the limit before a ban
	firstBan           = 2 * time.Minute
	longestBan         = 72 * time.Hour
	maxAttempts        = 300
	attemptWindow      = 5 * time.Minute
	keptMinutes        = 4096
)

// Accounting is what clients cost: GET /simulator/accounting.
type Accounting struct {
	Requests           int64           `json:"requests"` // to the exchange's REST routes, rejected ones included
	Weight             int64           `json:"weight"`   // of those that were accepted
	Minutes            []MinuteAccount `json:"minutes"`  // by minute and IP, the newest 4096
	Bans               []Ban           `json:"bans"`
	ConnectionAttempts int64           `json:"connection_attempts"` // WebSocket handshakes
	Connections        int64           `json:"connections"`         // open now
	Frames             int64           `json:"frames"`              // events sent on all connections
	News               NewsAccounting  `json:"news"`                // on the feeds
}

// MinuteAccount is one wall-clock minute of one client.
type MinuteAccount struct {
	Minute   time.Time `json:"minute"`
	IP       string    `json:"ip"`
	Requests int64     `json:"requests"`
	Rejected int64     `json:"rejected"` // 429 and 418
	Weight   int       `json:"weight"`
}

// Ban is one time for which an IP was shut out.
type Ban struct {
	IP    string    `json:"ip"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

type limits struct {
	wall   func() time.Time
	weight int

	mu     sync.Mutex
	ips    map[string]*account
	totals Accounting
}

type account struct {
	minute   time.Time
	used     int // weight in that minute
	seen     time.Time
	over     int // requests beyond the limit, since the last ban
	bans     int
	banned   time.Time // until
	attempts []time.Time
}

func newLimits(weight int, wall func() time.Time) *limits {
	return &limits{wall: wall, weight: weight, ips: make(map[string]*account)}
}

// verdict on a request: its status, the weight used this minute, and for 429
// and 418 when the client may come again.
type verdict struct {
	status int
	used   int
	until  time.Time
}

// request accounts for a request. One over the limit is told to wait for the
// end of the minute (429); who goes on is banned (418), each time for longer.
func (l *limits) request(ip string, weight int) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.wall().UTC()
	a := l.account(ip, now)
	if start := now.Truncate(time.Minute); !a.minute.Equal(start) {
		a.minute, a.used = start, 0
		if now.After(a.banned) {
			a.over = 0
		}
	}
	line := l.line(ip, a.minute)
	line.Requests++
	l.totals.Requests++
	banned := now.Before(a.banned)
	if !banned && a.used+weight <= l.weight {
		a.used += weight
		line.Weight += weight
		l.totals.Weight += int64(weight)
		return verdict{http.StatusOK, a.used, time.Time{}}
	}
	line.Rejected++
	a.over++
	if a.over > patience {
		a.over = 0
		a.banned = now.Add(min(firstBan<<a.bans, longestBan))
		a.bans = min(a.bans+1, 12)
		l.totals.Bans = append(l.totals.Bans, Ban{ip, now, a.banned})
		banned = true
	}
	if banned {
		return verdict{http.StatusTeapot, a.used, a.banned}
	}
	return verdict{http.StatusTooManyRequests, a.used, a.minute.Add(time.Minute)}
}

// attempt accounts for a WebSocket handshake; false is one too many.
func (l *limits) attempt(ip string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.wall()
	a := l.account(ip, now)
	l.totals.ConnectionAttempts++
	a.attempts = slices.DeleteFunc(a.attempts, func(t time.Time) bool { return now.Sub(t) > attemptWindow })
	if len(a.attempts) >= maxAttempts {
		return false
	}
	a.attempts = append(a.attempts, now)
	return true
}

// account finds the one of an IP; the idle are forgotten when there are many.
func (l *limits) account(ip string, now time.Time) *account {
	a := l.ips[ip]
	if a == nil {
		if len(l.ips) >= 1000 {
			for other, b := range l.ips {
				if now.Sub(b.seen) > attemptWindow && now.After(b.banned) {
					delete(l.ips, other)
				}
			}
		}
		a = &account{}
		l.ips[ip] = a
	}
	a.seen = now
	return a
}

// line of the accounting for this minute and IP.
func (l *limits) line(ip string, start time.Time) *MinuteAccount {
	lines := l.totals.Minutes
	for k := len(lines) - 1; k >= 0 && lines[k].Minute.Equal(start); k-- {
		if lines[k].IP == ip {
			return &lines[k]
		}
	}
	if len(lines) >= keptMinutes {
		lines = slices.Delete(lines, 0, keptMinutes/4)
	}
	l.totals.Minutes = append(lines, MinuteAccount{Minute: start, IP: ip})
	return &l.totals.Minutes[len(l.totals.Minutes)-1]
}

// accounting is a copy of the totals; connections and frames are not known here.
func (l *limits) accounting() Accounting {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.totals
	a.Minutes, a.Bans = slices.Clone(a.Minutes), slices.Clone(a.Bans)
	return a
}
