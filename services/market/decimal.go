package market

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Decimal is an exact number as canonical text: no sign on zero, no leading or
// trailing zeros, no exponent. Text is what the wire gives and what a column
// takes, so nothing is rounded on the way, and == means equal. Arithmetic is
// left to those who need it, with a decimal library on String. The zero value is 0.
type Decimal struct{ text string }

// maxDigits bounds what a hostile exponent can make us write.
const maxDigits = 100

// ParseDecimal reads -12.50, 1.16539E8 and the like; NaN, infinity, an empty
// text, numbers of over 100 digits and exponents beyond ±100 are errors.
func ParseDecimal(s string) (Decimal, error) {
	digits, negative := s, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	point, seen, exponent := -1, 0, 0
scan:
	for i := range len(digits) {
		switch c := digits[i]; {
		case c >= '0' && c <= '9':
			seen++
		case c == '.' && point < 0:
			point = i
		case c == 'e' || c == 'E':
			e, err := strconv.Atoi(digits[i+1:])
			if err != nil || e > maxDigits || e < -maxDigits {
				return Decimal{}, fmt.Errorf("%.40q is not a decimal number", s)
			}
			digits, exponent = digits[:i], e
			break scan
		default:
			return Decimal{}, fmt.Errorf("%.40q is not a decimal number", s)
		}
	}
	if seen == 0 || seen > maxDigits {
		return Decimal{}, fmt.Errorf("%.40q is not a decimal number of 1 to %d digits", s, maxDigits)
	}
	if exponent != 0 {
		digits = shift(digits, point, exponent)
		point = strings.IndexByte(digits, '.')
	}
	return canonical(digits, point, negative), nil
}

// canonical cuts what does not count off digits with a point at that place, or -1.
func canonical(digits string, point int, negative bool) Decimal {
	end := len(digits)
	if point >= 0 {
		for digits[end-1] == '0' {
			end--
		}
		if digits[end-1] == '.' {
			end--
		}
	}
	begin := 0
	for begin < end-1 && digits[begin] == '0' && digits[begin+1] != '.' {
		begin++
	}
	text := digits[begin:end]
	switch {
	case text == "0" || text == "":
		return Decimal{}
	case text[0] == '.':
		text = "0" + text
	}
	if negative {
		text = "-" + text
	}
	return Decimal{text}
}

// shift moves the point of digits by exponent places.
func shift(digits string, point, exponent int) string {
	fraction := ""
	if point >= 0 {
		digits, fraction = digits[:point], digits[point+1:]
	}
	if exponent > 0 {
		fraction += strings.Repeat("0", max(0, exponent-len(fraction)))
		return digits + fraction[:exponent] + "." + fraction[exponent:]
	}
	digits = strings.Repeat("0", max(0, -exponent-len(digits))) + digits
	cut := len(digits) + exponent
	return digits[:cut] + "." + digits[cut:] + fraction
}

// String is the canonical text.
func (d Decimal) String() string {
	if d.text == "" {
		return "0"
	}
	return d.text
}

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int {
	switch {
	case d.text == "":
		return 0
	case d.text[0] == '-':
		return -1
	}
	return 1
}

// Digits counts the digits before and after the point, as a DECIMAL(p,s)
// column counts them: 0.05 has 0 and 2.
func (d Decimal) Digits() (integer, fraction int) {
	whole, part, _ := strings.Cut(strings.TrimPrefix(d.text, "-"), ".")
	if whole == "0" {
		whole = ""
	}
	return len(whole), len(part)
}

// Cmp is -1, 0 or 1 as d is less than, equal to or greater than e.
func (d Decimal) Cmp(e Decimal) int {
	a, b := d.Sign(), e.Sign()
	switch {
	case a != b:
		return cmp.Compare(a, b)
	case a < 0:
		return compareText(e.text[1:], d.text[1:])
	}
	return compareText(d.text, e.text)
}

// compareText compares canonical texts without a sign.
func compareText(a, b string) int {
	aw, ap, _ := strings.Cut(a, ".")
	bw, bp, _ := strings.Cut(b, ".")
	return cmp.Or(cmp.Compare(len(aw), len(bw)), strings.Compare(aw, bw), strings.Compare(ap, bp))
}

// MarshalText writes the canonical text.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDecimal reads.
func (d *Decimal) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDecimal(string(b))
	return err
}

// MarshalJSONTo writes a JSON string: a number would invite readers to use a float.
func (d Decimal) MarshalJSONTo(e *jsontext.Encoder) error {
	return e.WriteToken(jsontext.String(d.String()))
}

// UnmarshalJSONFrom accepts a string or a number.
func (d *Decimal) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if k := token.Kind(); k != '"' && k != '0' {
		return fmt.Errorf("a decimal is a JSON string or number, not %s", k)
	}
	*d, err = ParseDecimal(token.String())
	return err
}
