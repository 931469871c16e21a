package pipeline_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/pipeline"
)

// original is a record as it lay in a topic: names repeat, one value is empty.
func original() pipeline.Record {
	return pipeline.Record{
		Topic: "market.candles", Partition: 3, Offset: 42, Time: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
		Key: []byte("binance/BTC-USDT/1m"), Value: []byte("\xff not JSON"),
		Headers: []pipeline.Header{
			{Name: "candlestack-kind", Value: []byte("candle")},
			{Name: "trace", Value: []byte("a")},
			{Name: "trace", Value: []byte("b")},
			{Name: "empty", Value: []byte{}},
		},
	}
}

func letter() pipeline.DeadLetter {
	return pipeline.DeadLetter{
		Record: original(), Reason: "decode", Message: "decoding candle: no", By: "candlestack-mysql",
		Time: time.Date(2025, 3, 2, 1, 2, 3, 456_000_000, time.UTC),
	}
}

func TestDeadLetterKeepsTheOriginal(t *testing.T) {
	d := letter()
	encoded := d.Encode()
	want := original()
	want.Topic, want.Partition, want.Offset = "market.candles.dead", -1, -1
	want.Headers = append(want.Headers,
		pipeline.Header{Name: "__connect.errors.topic", Value: []byte("market.candles")},
		pipeline.Header{Name: "__connect.errors.partition", Value: []byte("3")},
		pipeline.Header{Name: "__connect.errors.offset", Value: []byte("42")},
		pipeline.Header{Name: "__connect.errors.exception.message", Value: []byte("decoding candle: no")},
		pipeline.Header{Name: "candlestack-dead-reason", Value: []byte("decode")},
		pipeline.Header{Name: "candlestack-dead-by", Value: []byte("candlestack-mysql")},
		pipeline.Header{Name: "candlestack-dead-time", Value: []byte("2025-03-02T01:02:03.456Z")},
	)
	if diff := cmp.Diff(want, encoded); diff != "" {
		t.Errorf("the letter is not the original and its story:\n%s", diff)
	}
	if diff := cmp.Diff(original(), d.Record); diff != "" {
		t.Errorf("encoding changed the record:\n%s", diff)
	}
	back, err := pipeline.DecodeDeadLetter(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(letter(), back); diff != "" {
		t.Errorf("the letter came back changed:\n%s", diff)
	}
}

// Encode appends to headers that others may hold too.
func TestDeadLettersShareNoHeaders(t *testing.T) {
	r := original()
	r.Headers = append(make([]pipeline.Header, 0, 64), r.Headers...)
	first := pipeline.DeadLetter{Record: r, Reason: "first"}
	second := pipeline.DeadLetter{Record: r, Reason: "second"}
	a, b := first.Encode(), second.Encode()
	if a.Header(pipeline.HeaderDeadReason) != "first" || b.Header(pipeline.HeaderDeadReason) != "second" {
		t.Error("two letters of one record wrote into the same memory")
	}
}

func TestDeadLetterThatDiedTwice(t *testing.T) {
	first := letter()
	again := first.Encode() // as it lies in the dead-letter topic
	again.Partition, again.Offset = 1, 7
	second := pipeline.DeadLetter{Record: again, Reason: "1264", Message: "out of range", By: "candlestack-mongodb", Time: first.Time.Add(time.Hour)}
	encoded := second.Encode()
	back, err := pipeline.DecodeDeadLetter(encoded)
	if err != nil {
		t.Fatal(err)
	}
	want := second
	want.Record.Headers = original().Headers
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("a letter that died twice does not tell of the last time, with the original's headers:\n%s", diff)
	}
}

// A source buries what never got into a topic; such a letter has no offset.
func TestDeadLetterOfASource(t *testing.T) {
	d := letter()
	d.Record.Partition, d.Record.Offset, d.Record.Headers = -1, -1, nil
	back, err := pipeline.DecodeDeadLetter(d.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Error(diff)
	}
}

func TestDeadLetterMessageIsCut(t *testing.T) {
	for _, f := range []struct {
		name, message string
		kept          int
	}{
		{"fits", strings.Repeat("m", 1000), 1000},
		{"one byte more", strings.Repeat("m", 1001), 1000},
		{"in the middle of a rune", strings.Repeat("m", 999) + "€€", 999},
		{"at the end of a rune", strings.Repeat("m", 997) + "€€", 1000},
		{"a megabyte", strings.Repeat("ä", 1<<19), 1000},
	} {
		t.Run(f.name, func(t *testing.T) {
			d := letter()
			d.Message = f.message
			encoded := d.Encode()
			got := encoded.Header(pipeline.HeaderDeadMessage)
			want := f.message
			if len(f.message) > 1000 {
				want = f.message[:f.kept] + "…"
			}
			if got != want || !utf8.ValidString(got) {
				t.Errorf("the message has %d bytes and ends in %q, want %d", len(got), got[len(got)-10:], len(want))
			}
		})
	}
}

func TestDeadLettersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 40)
		var headers []pipeline.Header
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			headers = append(headers, pipeline.Header{Name: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name"), Value: bytes.Draw(t, "value")})
		}
		d := pipeline.DeadLetter{
			Record: pipeline.Record{
				Topic: rapid.StringMatching(`[a-z.]{1,20}`).Draw(t, "topic"), Partition: rapid.Int32Min(-1).Draw(t, "partition"), Offset: rapid.Int64Min(-1).Draw(t, "offset"),
				Time: time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "produced")), Key: bytes.Draw(t, "key"), Value: bytes.Draw(t, "value"), Headers: headers,
			},
			Reason: rapid.String().Draw(t, "reason"), Message: rapid.StringN(0, 100, 400).Draw(t, "message"), By: rapid.String().Draw(t, "by"),
			Time: time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "died")).UTC(),
		}
		back, err := pipeline.DecodeDeadLetter(d.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecodeDeadLetterRefuses(t *testing.T) {
	for _, f := range []struct{ name, header, value, problem string }{
		{"no partition", pipeline.HeaderDeadPartition, "", `record market.candles.dead/1@7 is no dead letter: header __connect.errors.partition: strconv.ParseInt: parsing "": invalid syntax`},
		{"partition beyond 32 bits", pipeline.HeaderDeadPartition, "4294967296", `record market.candles.dead/1@7 is no dead letter: header __connect.errors.partition: strconv.ParseInt: parsing "4294967296": value out of range`},
		{"wrong offset", pipeline.HeaderDeadOffset, "x", `record market.candles.dead/1@7 is no dead letter: header __connect.errors.offset: strconv.ParseInt: parsing "x": invalid syntax`},
		{"no topic", pipeline.HeaderDeadTopic, "", `record market.candles.dead/1@7 is no dead letter: header __connect.errors.topic is empty`},
	} {
		t.Run(f.name, func(t *testing.T) {
			d := letter()
			r := d.Encode()
			r.Partition, r.Offset = 1, 7
			r.Headers = append(r.Headers, pipeline.Header{Name: f.header, Value: []byte(f.value)}) // the last one counts
			_, err := pipeline.DecodeDeadLetter(r)
			if err == nil || err.Error() != f.problem {
				t.Errorf("error\n  %v\nwant\n  %s", err, f.problem)
			}
		})
	}
}

// Letters of Kafka Connect carry no time of ours.
func TestDeadLetterOfAnotherTool(t *testing.T) {
	d, err := pipeline.DecodeDeadLetter(pipeline.Record{Topic: "market.candles.dead", Value: []byte("v"), Headers: []pipeline.Header{
		{Name: "__connect.errors.topic", Value: []byte("market.candles")},
		{Name: "__connect.errors.partition", Value: []byte("0")},
		{Name: "__connect.errors.offset", Value: []byte("9")},
		{Name: "__connect.errors.connector.name", Value: []byte("sink")},
		{Name: "theirs", Value: []byte("kept")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := pipeline.DeadLetter{Record: pipeline.Record{Topic: "market.candles", Offset: 9, Value: []byte("v"), Headers: []pipeline.Header{{Name: "theirs", Value: []byte("kept")}}}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}
