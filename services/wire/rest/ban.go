package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Bans of exchanges last from minutes to three days (exchanges.md §1.4). A
// longer one is a slip of somebody's clock, and must not silence us for ever.
const (
	shortBan = 2 * time.Minute
	longBan  = 3 * 24 * time.Hour
)

// banEnd is until when nothing may be sent: the latest that header and body say.
func banEnd(status int, retryAfter string, said, now time.Time) time.Time {
	until := said
	if seconds, err := strconv.Atoi(strings.TrimSpace(retryAfter)); err == nil && seconds >= 0 {
		until = later(until, now.Add(time.Duration(min(seconds, int(longBan.Seconds())))*time.Second))
	} else if at, err := http.ParseTime(retryAfter); err == nil {
		until = later(until, at)
	}
	switch {
	case until.After(now.Add(longBan)):
		return now.Add(longBan)
	case until.After(now):
		return until
	case status == http.StatusTooManyRequests:
		return now.Add(window)
	}
	return now.Add(shortBan)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ban is until when a host wants to hear nothing. With a folder it outlives the
// process: a restart under a ban makes the ban longer.
type ban struct {
	host, path string
	log        *slog.Logger

	mu     sync.Mutex
	until  time.Time // zero: none
	reason string
}

// banFile is the form of the file.
type banFile struct {
	Host   string    `json:"host"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

func newBan(host, folder string, log *slog.Logger) (*ban, error) {
	b := &ban{host: host, log: log}
	if folder == "" {
		return b, nil
	}
	b.path = filepath.Join(folder, "ban-"+strings.ReplaceAll(host, ":", "_")+".json")
	if err := b.load(folder); err != nil {
		return nil, &pipeline.ConfigError{Field: "--state-dir", Value: folder, Err: err}
	}
	return b, nil
}

func (b *ban) load(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return unwrapPath(err)
	}
	probe, err := os.CreateTemp(folder, ".write-*") // now, not when a ban is to be kept
	if err != nil {
		return unwrapPath(err)
	}
	defer os.Remove(probe.Name())
	if err := probe.Close(); err != nil {
		return unwrapPath(err)
	}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unwrapPath(err)
	}
	var file banFile
	if err := json.Unmarshal(text, &file); err != nil {
		b.log.Warn("ignoring a ban file that is not readable", "path", b.path, "error", err)
		return nil
	}
	if now := time.Now(); file.Until.After(now) {
		b.until, b.reason = file.Until, file.Reason
		if last := now.Add(longBan); b.until.After(last) {
			b.until = last
		}
		b.log.Warn("still banned", "host", b.host, "until", b.until.UTC(), "reason", b.reason)
	}
	return nil
}

// unwrapPath keeps the folder from standing twice in the message.
func unwrapPath(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// state returns the end and the reason of the ban that holds now.
func (b *ban) state() (until time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() && !time.Now().Before(b.until) {
		b.until = time.Time{}
		b.log.Info("ban is over", "host", b.host)
	}
	return b.until, b.reason
}

// set begins a ban, or makes it longer; never shorter.
func (b *ban) set(until time.Time, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !until.After(b.until) {
		return
	}
	b.until, b.reason = until, reason
	b.log.Warn("banned", "host", b.host, "until", until.UTC(), "reason", reason)
	if err := b.save(); err != nil {
		b.log.Error("keeping a ban over restarts", "path", b.path, "error", err)
	}
}

// save writes the file whole or not at all.
func (b *ban) save() error {
	if b.path == "" {
		return nil
	}
	text, err := json.Marshal(banFile{b.host, b.until, b.reason})
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(b.path), ".write-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), b.path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", b.path, errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
