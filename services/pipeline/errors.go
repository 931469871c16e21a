package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// Class says what an error means for the batch.
type Class string

// Classes of errors (design §4).
const (
	// Environment: the store is down, read-only, full, locked to us. Wait and
	// try again for ever; the data is fine.
	Environment Class = "environment"
	// Transient: deadlock, lost connection. Try again at once.
	Transient Class = "transient"
	// Poison: this store will never take this event.
	Poison Class = "poison"
)

// Error is an error of an adapter with its class.
type Error struct {
	Class Class
	Code  string // the technology's own: 1213, E11000, http_429
	// Items are the positions in the batch that are poison, where the store can
	// tell. Empty for Poison: one of them is, find out.
	Items []int
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns class and code of err; what nobody classified is Environment,
// because waiting loses nothing.
func ClassOf(err error) (Class, string) {
	var e *Error
	if errors.As(err, &e) {
		return e.Class, e.Code
	}
	return Environment, "unknown"
}

// Causes of a stream's end: labels of metrics.
const (
	CauseEOF      = "eof"      // the venue or the network closed the connection
	CauseStall    = "stall"    // nothing came for too long
	CausePlanned  = "planned"  // the venue's planned close came before a replacement stood
	CauseRefused  = "refused"  // no connection, or it was not let in
	CauseProtocol = "protocol" // what came cannot be read
	CauseBan      = "ban"      // 429 or 418
	CauseTimeout  = "timeout"  // a handshake, a ping or a question was not answered
)

// Causes lists all causes.
func Causes() []string {
	return []string{CauseEOF, CauseStall, CausePlanned, CauseRefused, CauseProtocol, CauseBan, CauseTimeout}
}

// Disconnected is why a Source's stream ended.
type Disconnected struct {
	Cause string // one of Causes
	// RetryAfter is when the exchange allows the next attempt, where it says so.
	RetryAfter time.Duration
	Err        error
}

func (d *Disconnected) Error() string {
	if d.Err == nil {
		return d.Cause
	}
	return fmt.Sprintf("%s: %v", d.Cause, d.Err)
}
func (d *Disconnected) Unwrap() error { return d.Err }

// ConfigError is a setting that cannot be right: the program ends with one line
// and exit code 2. Value must not be a secret.
type ConfigError struct {
	Field, Value string
	Err          error
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s %q: %v", e.Field, e.Value, e.Err) }
func (e *ConfigError) Unwrap() error { return e.Err }
