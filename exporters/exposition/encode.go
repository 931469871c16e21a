// Package exposition writes Prometheus's text format, and serves what was
// written, encoded once for all scrapes.
package exposition

import (
	"encoding/hex"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Family is a metric: its name, type and help.
type Family struct{ Name, Kind, Help string }

// Encoder writes series of one family after the other.
type Encoder struct {
	w        io.Writer
	b        []byte // not yet written to w
	constant string
	family   Family
	begun    bool // the family's HELP and TYPE are written
	series   int
}

// chunk is how many bytes are written at once.
const chunk = 16 << 10

// NewEncoder makes an Encoder that writes to w, which must not fail. constant are
// labels of every series, escaped: k="v",k2="v2". Close it.
func NewEncoder(w io.Writer, constant string) Encoder {
	return Encoder{w: w, b: make([]byte, 0, chunk+chunk/4), constant: constant}
}

// Close writes what is left, and returns the number of series.
func (e *Encoder) Close() (series int) {
	_, _ = e.w.Write(e.b)
	e.b = nil
	return e.series
}

// Of begins a family. Its head is written with its first series.
func (e *Encoder) Of(f Family) { e.family, e.begun = f, false }

// Begun tells whether the family has a series.
func (e *Encoder) Begun() bool { return e.begun }

// head writes everything of a series that stands before its value. parts are
// escaped labels, which are put together as they are.
func (e *Encoder) head(parts []string) {
	if len(e.b) >= chunk {
		_, _ = e.w.Write(e.b)
		e.b = e.b[:0]
	}
	if !e.begun {
		e.begun = true
		e.b = append(e.b, "# HELP "...)
		e.b = append(e.b, e.family.Name...)
		e.b = append(e.b, ' ')
		e.b = append(e.b, helpEscapes.Replace(e.family.Help)...)
		e.b = append(e.b, "\n# TYPE "...)
		e.b = append(e.b, e.family.Name...)
		e.b = append(e.b, ' ')
		e.b = append(e.b, e.family.Kind...)
		e.b = append(e.b, '\n')
	}
	e.series++
	e.b = append(e.b, e.family.Name...)
	if len(parts) > 0 || e.constant != "" {
		e.b = append(e.b, '{')
		for _, p := range parts {
			e.b = append(e.b, p...)
		}
		if len(parts) > 0 && e.constant != "" {
			e.b = append(e.b, ',')
		}
		e.b = append(e.b, e.constant...)
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, ' ')
}

// Int writes a series. parts are its labels, escaped, with their commas.
func (e *Encoder) Int(v int64, parts ...string) {
	e.head(parts)
	e.b = strconv.AppendInt(e.b, v, 10)
	e.b = append(e.b, '\n')
}

// Bool writes 1 or 0.
func (e *Encoder) Bool(v bool, parts ...string) {
	e.head(parts)
	if v {
		e.b = append(e.b, "1\n"...)
	} else {
		e.b = append(e.b, "0\n"...)
	}
}

// Millis writes milliseconds as seconds.
func (e *Encoder) Millis(ms int64, parts ...string) {
	e.head(parts)
	e.b = strconv.AppendFloat(e.b, float64(ms)/1000, 'f', -1, 64)
	e.b = append(e.b, '\n')
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// Longest is how many bytes of a name are shown. A topic's has 249 at most; a
// group's may have any bytes, and 32 thousand of them.
const Longest = 249

// Label writes name="value". A value that cannot be shown as it is ends in a
// checksum of what it was, so that no two become the same series.
func Label(name, value string) string {
	if len(value) > Longest || !utf8.ValidString(value) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(value))
		cut := value[:min(len(value), Longest-17)]
		value = strings.ToValidUTF8(cut, "\uFFFD") + "~" + hex.EncodeToString(h.Sum(nil))
	}
	return name + `="` + valueEscapes.Replace(value) + `"`
}

// Numbers are partition labels, written once.
type Numbers []string

// Partition is the label of a partition, which comes after another.
func (n *Numbers) Partition(id int32) string {
	if id < 0 || id > 1<<20 {
		return `,partition="` + strconv.Itoa(int(id)) + `"`
	}
	for int(id) >= len(*n) {
		*n = append(*n, `,partition="`+strconv.Itoa(len(*n))+`"`)
	}
	return (*n)[id]
}
