package cluster

import (
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"
)

// encoder appends Prometheus's text format.
type encoder struct {
	b        []byte
	constant string // labels of every series, escaped: k="v",k2="v2"
	family   family
	begun    bool // the family's HELP and TYPE are written
	series   int
}

// of begins a family. Its head is written with its first series.
func (e *encoder) of(f family) { e.family, e.begun = f, false }

// head writes everything of a series that stands before its value. parts are
// escaped labels, which are put together as they are.
func (e *encoder) head(parts []string) {
	if !e.begun {
		e.begun = true
		e.b = append(e.b, "# HELP "...)
		e.b = append(e.b, e.family.name...)
		e.b = append(e.b, ' ')
		e.b = append(e.b, helpEscapes.Replace(e.family.help)...)
		e.b = append(e.b, "\n# TYPE "...)
		e.b = append(e.b, e.family.name...)
		e.b = append(e.b, ' ')
		e.b = append(e.b, e.family.kind...)
		e.b = append(e.b, '\n')
	}
	e.series++
	e.b = append(e.b, e.family.name...)
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

func (e *encoder) int(v int64, parts ...string) {
	e.head(parts)
	e.b = strconv.AppendInt(e.b, v, 10)
	e.b = append(e.b, '\n')
}

func (e *encoder) bool(v bool, parts ...string) {
	e.head(parts)
	if v {
		e.b = append(e.b, "1\n"...)
	} else {
		e.b = append(e.b, "0\n"...)
	}
}

// millis writes milliseconds as seconds.
func (e *encoder) millis(ms int64, parts ...string) {
	e.head(parts)
	e.b = strconv.AppendFloat(e.b, float64(ms)/1000, 'f', -1, 64)
	e.b = append(e.b, '\n')
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// longest is how many bytes of a name are shown. A topic's has 249 at most; a
// group's may have any bytes, and 32 thousand of them.
const longest = 249

// label writes name="value". A value that cannot be shown as it is ends in a
// checksum of what it was, so that no two become the same series.
func label(name, value string) string {
	if len(value) > longest || !utf8.ValidString(value) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(value))
		cut := value[:min(len(value), longest-17)]
		value = strings.ToValidUTF8(cut, "\uFFFD") + "~" + hex.EncodeToString(h.Sum(nil))
	}
	return name + `="` + valueEscapes.Replace(value) + `"`
}

// numbers are partition labels, written once.
type numbers []string

func (n *numbers) partition(id int32) string {
	if id < 0 || id > 1<<20 {
		return `,partition="` + strconv.Itoa(int(id)) + `"`
	}
	for int(id) >= len(*n) {
		*n = append(*n, `,partition="`+strconv.Itoa(len(*n))+`"`)
	}
	return (*n)[id]
}
