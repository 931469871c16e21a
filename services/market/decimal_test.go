package market_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/candlestack/candlestack/services/market"
)

func TestParseDecimal(t *testing.T) {
	for _, f := range []struct{ in, text string }{
		{"56714.00000000", "56714"},
		{"1.16539E8", "116539000"}, // exponents as venues write them (exchanges.md §6.2)
		{"7.9276E-4", "0.00079276"},
		{"5e-05", "0.00005"},
		{"0.00", "0"},
		{"-0.0", "0"},
		{"-0", "0"},
		{"+1", "1"},
		{"00012.500", "12.5"},
		{"000", "0"},
		{"00.10", "0.1"},
		{".5", "0.5"},
		{"-.50", "-0.5"},
		{"12.", "12"},
		{"100", "100"},
		{"-100.010", "-100.01"},
		{"1e0", "1"},
		{"1E+3", "1000"},
		{"1.5e1", "15"},
		{"12345e-3", "12.345"},
		{"1.e2", "100"},
		{"0e100", "0"},
		{"1e100", "1" + strings.Repeat("0", 100)},
		{"1e-100", "0." + strings.Repeat("0", 99) + "1"},
		{strings.Repeat("9", 100), strings.Repeat("9", 100)},
		{"12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"},
	} {
		d, err := market.ParseDecimal(f.in)
		if err != nil || d.String() != f.text {
			t.Errorf("%s is %s, %v; want %s", f.in, d, err, f.text)
		}
	}
}

func TestParseDecimalRefuses(t *testing.T) {
	for _, in := range []string{
		"", "-", "+", ".", "-.", "e5", ".e5", "1e", "1e+", "1e5.0", "1e5e5", "1e--5", "1e1_0", "--1", "+-1", "-+1", "1-", "1.2.3", "1..2", "1,5", "1_000",
		"0x10", "NaN", "nan", "Inf", "-Infinity", "null", " 1", "1 ", "1\n", "1\x00", "١", "½", "1e999999999", "1e-999999999", "1e101", "1e-101", "1e99999999999999999999",
		strings.Repeat("1", 101), "0." + strings.Repeat("0", 101),
	} {
		if d, err := market.ParseDecimal(in); err == nil {
			t.Errorf("%q was read as %s", in, d)
		}
	}
	_, err := market.ParseDecimal(strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 100 {
		t.Errorf("the error of a hostile text is %d bytes long", len(err.Error()))
	}
}

// A Decimal is compared with an arithmetic that others wrote and use.
func TestDecimalAgreesWithAnotherLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := decimals().Draw(t, "a"), decimals().Draw(t, "b")
		x, y := read(t, a), read(t, b)
		wantX, wantY := decimal.RequireFromString(a), decimal.RequireFromString(b)
		if want := wantX.String(); x.String() != want {
			t.Fatalf("%s is %s, want %s", a, x, want)
		}
		if got, want := x.Cmp(y), wantX.Cmp(wantY); got != want {
			t.Fatalf("%s to %s compares as %d, want %d", a, b, got, want)
		}
		if got, want := x == y, wantX.Equal(wantY); got != want {
			t.Fatalf("%s == %s is %t, want %t", a, b, got, want)
		}
		if got, want := x.Sign(), wantX.Sign(); got != want {
			t.Fatalf("%s has sign %d, want %d", a, got, want)
		}
		integer, fraction := x.Digits()
		// Digits of a DECIMAL(p,s): it holds the number exactly, and with one digit less it does not.
		if !wantX.Equal(wantX.Truncate(int32(fraction))) || fraction > 0 && wantX.Equal(wantX.Truncate(int32(fraction-1))) {
			t.Fatalf("%s is said to have %d digits after the point", a, fraction)
		}
		whole := wantX.Truncate(0).Abs()
		if !whole.LessThan(decimal.New(1, int32(integer))) || integer > 0 && whole.LessThan(decimal.New(1, int32(integer-1))) {
			t.Fatalf("%s is said to have %d digits before the point", a, integer)
		}
		if again := read(t, x.String()); again != x {
			t.Fatalf("%s is read back as %s", x, again)
		}
	})
}

func read(t *rapid.T, s string) market.Decimal {
	d, err := market.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecimalDigits(t *testing.T) {
	type digits struct{ Integer, Fraction int }
	for text, want := range map[string]digits{
		"0": {0, 0}, "0.05": {0, 2}, "-0.05": {0, 2}, "7": {1, 0}, "-100": {3, 0}, "12.50": {2, 1}, "1e20": {21, 0},
	} {
		var got digits
		got.Integer, got.Fraction = dec(text).Digits()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestDecimalInJSON(t *testing.T) {
	for _, f := range []struct{ in, text, problem string }{
		{`"1.50"`, "1.5", ""},
		{`1.50`, "1.5", ""},
		{`-7.9276E-4`, "-0.00079276", ""},
		{`"\u0031"`, "1", ""},
		{`""`, "", "is not a decimal number"},
		{`"NaN"`, "", "is not a decimal number"},
		{`1e999999999`, "", "is not a decimal number"},
		{`true`, "", "a decimal is a JSON string or number, not true"},
		{`null`, "", "a decimal is a JSON string or number, not null"},
		{`[1]`, "", "a decimal is a JSON string or number, not ["},
	} {
		var d market.Decimal
		err := json.Unmarshal([]byte(f.in), &d)
		switch {
		case f.problem == "" && (err != nil || d.String() != f.text):
			t.Errorf("%s is read as %s, %v", f.in, d, err)
		case f.problem != "" && (err == nil || !strings.Contains(err.Error(), f.problem)):
			t.Errorf("%s: error %v, want one with %q", f.in, err, f.problem)
		}
	}
	out, err := json.Marshal(map[string]market.Decimal{"a": dec("1.50"), "b": {}})
	if err != nil || string(out) != `{"a":"1.5","b":"0"}` && string(out) != `{"b":"0","a":"1.5"}` {
		t.Errorf("written as %s, %v", out, err)
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, seed := range []string{"1.16539E8", "7.9276E-4", "5e-05", "-0.0", "00012.500", "1e100", "1e-100", "NaN", "1.2.3", "", ".", "0x10"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := market.ParseDecimal(s)
		if err != nil {
			return
		}
		if len(d.String()) > 210 {
			t.Fatalf("%q became %d bytes", s, len(d.String()))
		}
		want, err := decimal.NewFromString(s)
		if err != nil {
			t.Fatalf("%q was read as %s, the other library says %v", s, d, err)
		}
		if d.String() != want.String() {
			t.Fatalf("%q was read as %s, want %s", s, d, want)
		}
	})
}
