package pipeline_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
)

func gap() *market.Gap {
	return &market.Gap{
		Exchange: "binance", Instrument: market.Instrument{Base: "BTC", Quote: "USDT"}, Interval: "1m",
		FromTime: 1725416820000, ToTime: 1725416940000, State: market.GapOpen, Cause: "reconnect", Changed: 1725416950000, Origin: market.OriginRepair,
	}
}

func TestRecordOfAnEvent(t *testing.T) {
	r, err := pipeline.NewRecord(gap(), "binance")
	if err != nil {
		t.Fatal(err)
	}
	want := pipeline.Record{
		Topic: "market.gaps", Key: []byte("binance/BTC-USDT/1m"),
		Value: []byte(`{"exchange":"binance","instrument":"BTC-USDT","interval":"1m","from":1725416820000,"to":1725416940000,"state":"open","cause":"reconnect","changed":1725416950000}`),
		Headers: []pipeline.Header{
			{Name: "candlestack-kind", Value: []byte("gap")},
			{Name: "candlestack-contract", Value: []byte("1")},
			{Name: "candlestack-origin", Value: []byte("repair")},
			{Name: "candlestack-source", Value: []byte("binance")},
		},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	e, err := r.Event()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(market.Event(gap()), e); diff != "" {
		t.Error(diff)
	}
}

// The three ways in which a record is no event; the engine names them so.
func TestRecordThatIsNoEvent(t *testing.T) {
	good, err := pipeline.NewRecord(gap(), "binance")
	if err != nil {
		t.Fatal(err)
	}
	contract := good
	contract.Headers = append(good.Headers[:4:4], pipeline.Header{Name: market.HeaderContract, Value: []byte("2")})
	if e, err := contract.Event(); e != nil || !errors.Is(err, market.ErrContract) {
		t.Errorf("contract of tomorrow: %v, %v", e, err)
	}
	bytes := good
	bytes.Value = []byte("<html>")
	if e, err := bytes.Event(); e != nil || err == nil || errors.Is(err, market.ErrContract) {
		t.Errorf("bad bytes: %v, %v", e, err)
	}
	invalid := good
	invalid.Value = []byte(`{"exchange":""}`)
	if e, err := invalid.Event(); e == nil || err == nil || err.Error() != `exchange "" is not 1 to 32 bytes long` {
		t.Errorf("invalid: %v, %v; the event is needed to tell this from bad bytes", e, err)
	}
}

func TestRecordHeader(t *testing.T) {
	r := original()
	for name, want := range map[string]string{"trace": "b", "empty": "", "absent": "", "Trace": ""} {
		if got := r.Header(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}

func TestClassOf(t *testing.T) {
	cause := errors.New("deadlock")
	wrapped := fmt.Errorf("writing: %w", &pipeline.Error{Class: pipeline.Transient, Code: "1213", Err: cause})
	if class, code := pipeline.ClassOf(wrapped); class != pipeline.Transient || code != "1213" {
		t.Errorf("is %s %s", class, code)
	}
	if !errors.Is(wrapped, cause) || wrapped.Error() != "writing: deadlock" {
		t.Errorf("lost its cause: %v", wrapped)
	}
	// What nobody classified must not cost data.
	if class, code := pipeline.ClassOf(cause); class != pipeline.Environment || code != "unknown" {
		t.Errorf("an error of no class is %s %s", class, code)
	}
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("boom")
	for _, f := range []struct {
		err  error
		text string
	}{
		{&pipeline.Disconnected{Cause: "planned", RetryAfter: time.Second}, "planned"},
		{&pipeline.Disconnected{Cause: "eof", Err: cause}, "eof: boom"},
		{&pipeline.ConfigError{Field: "--since", Value: "x", Err: cause}, `--since "x": boom`},
	} {
		if f.err.Error() != f.text {
			t.Errorf("says %q, want %q", f.err, f.text)
		}
		if f.err.Error() != "planned" && !errors.Is(f.err, cause) {
			t.Errorf("%v lost its cause", f.err)
		}
	}
}

func TestEffectsAdd(t *testing.T) {
	got := pipeline.Effects{Inserted: 1, Updated: 2, Unchanged: 3, Kept: 4}.Add(pipeline.Effects{Inserted: 10, Updated: 20, Unchanged: 30, Kept: 40})
	if diff := cmp.Diff(pipeline.Effects{Inserted: 11, Updated: 22, Unchanged: 33, Kept: 44}, got); diff != "" {
		t.Error(diff)
	}
}
