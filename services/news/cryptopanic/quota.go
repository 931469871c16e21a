package cryptopanic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

// quota counts the requests of a calendar month (UTC), because the quota of a
// plan is what bites: hourly polls are 744 a month, and the free plan had 100.
// With a folder it outlives the process, and is shared by doctor and source.
type quota struct {
	limit int    // 0: nobody told
	path  string // empty: not kept
	log   *slog.Logger

	mu     sync.Mutex
	state  quotaState
	failed bool // the file could not be read or written, and it was said
}

// quotaState is the form of the file.
type quotaState struct {
	Month  string    `json:"month"` // 2026-11
	Used   int       `json:"used"`  // requests in it
	Polled time.Time `json:"polled,omitzero"`
	Closed time.Time `json:"closed,omitzero"` // until then the feed wants to hear nothing
	Reason string    `json:"reason,omitzero"`
}

// newQuota reads what the last process left. The folder is there: the ban of the
// same host lies in it.
func newQuota(limit int, host, folder string, log *slog.Logger) *quota {
	q := &quota{limit: limit, log: log}
	if folder != "" {
		q.path = filepath.Join(folder, "quota-"+strings.ReplaceAll(host, ":", "_")+".json")
		q.load(time.Now())
	}
	return q
}

// load takes from the file what goes beyond what we know: another process may
// have asked.
func (q *quota) load(now time.Time) {
	q.turn(now)
	if q.path == "" {
		return
	}
	content, err := os.ReadFile(q.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var file quotaState
	if err == nil {
		err = json.Unmarshal(content, &file)
	}
	if err != nil {
		q.complain("ignoring a quota file that is not readable: requests before now are not counted", err)
		return
	}
	if file.Month == q.state.Month {
		q.state.Used = max(q.state.Used, file.Used)
	}
	if file.Polled.After(q.state.Polled) && !file.Polled.After(now) {
		q.state.Polled = file.Polled
	}
	if end := monthAfter(now); file.Closed.After(q.state.Closed) && !file.Closed.After(end) {
		q.state.Closed, q.state.Reason = file.Closed, file.Reason
	}
}

// turn begins a new month.
func (q *quota) turn(now time.Time) {
	if month := now.UTC().Format("2006-01"); month != q.state.Month {
		q.state.Month, q.state.Used = month, 0
	}
}

func monthAfter(t time.Time) time.Time {
	month := market.Interval("1M")
	return month.Next(month.Start(market.MillisOf(t))).Time()
}

// take reserves a request, or says until when none may be sent: the error is a
// *pipeline.Disconnected. It is written down before the request leaves, so that
// a crash loop cannot spend more than it counts.
func (q *quota) take(now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.load(now)
	if until, reason := q.closed(now); !until.IsZero() {
		if q.path != "" {
			reason += ", says " + q.path // for who has another plan by now
		}
		return &pipeline.Disconnected{
			Cause: pipeline.CauseBan, RetryAfter: max(until.Sub(now), time.Second),
			Err: fmt.Errorf("nothing is sent until %s: %s", until.UTC().Format(time.RFC3339), reason),
		}
	}
	q.state.Used++
	q.save()
	return nil
}

// closed is until when nothing may be sent, and why; zero: it may.
func (q *quota) closed(now time.Time) (until time.Time, reason string) {
	if q.state.Closed.After(now) {
		return q.state.Closed, q.state.Reason
	}
	if q.limit > 0 && q.state.Used >= q.limit {
		return monthAfter(now), fmt.Sprintf("the quota of %d requests in %s is spent", q.limit, q.state.Month)
	}
	return time.Time{}, ""
}

// giveBack returns a request that was not sent after all.
func (q *quota) giveBack(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turn(now)
	q.state.Used = max(q.state.Used-1, 0)
	q.save()
}

// close notes that the feed counts otherwise than we do, and its quota is spent.
func (q *quota) close(until time.Time, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state.Closed, q.state.Reason = until, reason
	q.save()
}

// wait is how long the feed says that its quota is spent.
func (q *quota) wait(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(q.state.Closed.Sub(now), 0)
}

// pause is the time left until interval after the last poll, of this process or
// one before it.
func (q *quota) pause(interval time.Duration, now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state.Polled.IsZero() || q.state.Polled.After(now) { // the clock was set back
		return 0
	}
	return max(q.state.Polled.Add(interval).Sub(now), 0)
}

// poll notes that a poll begins; the zero time that the last one failed, so that
// the next need not wait.
func (q *quota) poll(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state.Polled = at.Round(0) // what is told by the clock on the wall, as in the file
	q.save()
}

// usage is the count of requests of this month.
func (q *quota) usage(now time.Time) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turn(now)
	return q.state.Used
}

// save writes the file whole or not at all. Without it the count goes on in memory.
func (q *quota) save() {
	if q.path == "" {
		return
	}
	if err := q.write(); err != nil {
		q.complain("the quota is not kept over restarts", err)
		return
	}
	q.failed = false
}

func (q *quota) write() error {
	content, err := json.Marshal(q.state)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(q.path), ".write-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), q.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// complain says once what stays wrong.
func (q *quota) complain(message string, err error) {
	if !q.failed {
		q.log.Warn(message, "path", q.path, "error", err)
	}
	q.failed = true
}
