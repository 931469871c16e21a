package simulator

import (
	"fmt"
	"math/bits"
	"strconv"

	"github.com/candlestack/candlestack/services/market"
)

// unit is how many units of 1e-8 make one: Binance prints eight decimals.
const unit = 100_000_000

// amount is a quantity of either currency in units of 1e-8, never negative. It
// has 128 bits because a month of quote volume does not fit into 63.
type amount struct{ hi, lo uint64 }

func amountOf(n int64) amount { return amount{lo: uint64(n)} }

func (a amount) add(b amount) amount {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return amount{hi, lo}
}

func (a amount) sub(b amount) amount {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return amount{hi, lo}
}

// scale is a·n/d, rounded down. Only the low 128 bits of a·n are kept: a minute
// that turns over 1e11 in any currency stays far below.
func (a amount) scale(n, d uint64) amount {
	hi, lo := bits.Mul64(a.lo, n)
	hi += a.hi * n
	q := hi / d
	lo, _ = bits.Div64(hi%d, lo, d)
	return amount{q, lo}
}

// append writes a with eight decimals.
func (a amount) append(b []byte) []byte {
	whole, part := bits.Div64(a.hi%unit, a.lo, unit)
	b = strconv.AppendUint(b, whole, 10)
	b = append(b, ".00000000"...)
	for i := len(b) - 1; part > 0; i-- {
		b[i] += byte(part % 10)
		part /= 10
	}
	return b
}

func (a amount) String() string { return string(a.append(nil)) }

func (a amount) decimal() market.Decimal {
	d, err := market.ParseDecimal(a.String())
	if err != nil {
		panic(err) // append writes digits and a point
	}
	return d
}

// maxAmount bounds what is read, so that sums and products stay within 128 bits.
const maxAmount = 1 << 62

// parseAmount reads a number that is not negative and has at most eight decimals.
func parseAmount(s string) (int64, error) {
	d, err := market.ParseDecimal(s)
	if err != nil {
		return 0, err
	}
	integer, fraction := d.Digits()
	if d.Sign() < 0 || fraction > 8 || integer > 11 {
		return 0, fmt.Errorf("%.40q is not a number from 0 to 4e10 with at most 8 decimals", s)
	}
	var n uint64
	for _, c := range []byte(d.String()) {
		if c != '.' {
			n = n*10 + uint64(c-'0')
		}
	}
	for ; fraction < 8; fraction++ {
		n *= 10
	}
	if n > maxAmount {
		return 0, fmt.Errorf("%.40q is not a number from 0 to 4e10 with at most 8 decimals", s)
	}
	return int64(n), nil
}
