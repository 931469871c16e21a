package ledger

import (
	"bytes"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/candlestack/candlestack/services/market"
)

// poison is a way to spoil a good record.
type poison struct {
	name  string
	spoil func(r *record)
}

// poisons fit any record; they are of those in delivery.md §9.2 F16 and
// F19. Each must end in the dead-letter topic, whatever became of its neighbours.
var poisons = []poison{
	{"bad json", func(r *record) { r.value = r.value[:len(r.value)/2] }},
	{"not json", func(r *record) { r.value = []byte("\x00\x01candle") }},
	{"empty", func(r *record) { r.value = nil }},
	{"no object", func(r *record) { r.value = []byte("[1,2,3]") }},
	{"not utf-8", func(r *record) { r.set(r.from(), "\"\xff\xfe\"") }},
	{"wrong type", func(r *record) { r.set(r.from(), "7") }},
	{"duplicate name", func(r *record) { r.value = append([]byte(`{"`+r.from()+`":"ledger",`), r.value[1:]...) }},
	{"unknown contract", func(r *record) { r.header(market.HeaderContract, "2") }},
	{"unknown kind", func(r *record) { r.header(market.HeaderKind, "omen") }},
	{"unknown origin", func(r *record) { r.header(market.HeaderOrigin, "dream") }},
	{"no headers", func(r *record) { r.headers = nil }},
	{"long text", func(r *record) { r.set(r.from(), `"`+strings.Repeat("x", 33)+`"`) }},
}

// seriesPoisons need the fields of a candle or a gap.
var seriesPoisons = []poison{
	{"unknown interval", func(r *record) { r.set("interval", `"7m"`) }},
}

// candlePoisons need a candle's fields. All the columns hold is 20 digits before
// the point and 18 after it.
var candlePoisons = []poison{
	{"not a number", func(r *record) { r.set("open", `"NaN"`) }},
	{"too many digits after the point", func(r *record) { r.set("volume", `"1.0000000000000000001"`) }},
	{"too many digits before the point", func(r *record) { r.set("volume", `"100000000000000000000"`) }},
	{"high below low", func(r *record) { r.set("high", `"1"`); r.set("low", `"2"`) }},
	{"negative volume", func(r *record) { r.set("volume", `"-1"`) }},
	{"time out of range", func(r *record) { r.set("event_time", "7258118400000") }},
}

// poison spoils a record of e.
func (h *history) poison(e market.Event) (record, error) {
	r, err := h.good(e)
	if err != nil {
		return record{}, err
	}
	choice := slices.Clone(poisons)
	switch e.Kind() {
	case market.KindCandle:
		choice = append(append(choice, seriesPoisons...), candlePoisons...)
	case market.KindGap:
		choice = append(choice, seriesPoisons...)
	case market.KindPost:
		choice = append(choice, postPoisons...)
	}
	p := choice[h.rng.IntN(len(choice))]
	p.spoil(&r)
	r.Poison, r.FirstSeen, r.VotesTime, r.Votes = p.name, 0, 0, ""
	r.Hash = hashRecord(r.key, r.value, r.headers)
	return r, nil
}

// from names the member that says whose the event is.
func (r *record) from() string {
	if r.Kind == market.KindPost {
		return "source"
	}
	return "exchange"
}

// set replaces the value of a member of the JSON object; no value here holds a
// comma or a brace.
func (r *record) set(name, value string) {
	quoted := []byte(`"` + name + `":`)
	begin := bytes.Index(r.value, quoted) + len(quoted)
	end := begin + bytes.IndexAny(r.value[begin:], ",}")
	r.value = append(append(bytes.Clone(r.value[:begin]), value...), r.value[end:]...)
}

func (r *record) header(name, value string) {
	headers := append([]kgo.RecordHeader(nil), r.headers...)
	for i := range headers {
		if headers[i].Key == name {
			headers[i].Value = []byte(value)
		}
	}
	r.headers = headers
}
