package simulator

import (
	"hash/fnv"
	"math"

	"github.com/candlestack/candlestack/services/market"
)

const (
	minute = market.Millis(60_000)
	hour   = 60 * minute
	day    = 24 * hour

	dayMinutes = int64(day / minute)
)

// genesis is the day on which the seeded market opens, the one on which
// Binance did: 2017-08-17.
const genesis = market.Millis(1502928000000)

// noise is a seeded market. The price at a minute is a sum of noises of doubling
// period, each interpolated between hashed nodes, so it costs the same at any
// time and needs no past; the seconds between two minutes are a random bridge.
// All arithmetic is on integers: a seed means the same market on every machine.
type noise struct {
	key    uint64
	lot    lot
	level  int64 // middle of the price, in ticks
	temper int64 // how far prices move, per mille of Bitcoin's
	flow   int64 // steps of base volume traded in a middling second
	pace   int64 // trades in a middling second, times 8
	news   *desk // whose posts move the price; nil: none
}

// amplitudes of the noise by level, in 1e-9 of the price; level k has a period
// of 2^k minutes. Up to four hours it grows like a random walk, then slower, so
// that the price stays within 23 % of its middle.
var amplitudes = func() (a [18]int64) {
	x := [...]int64{400_000, 565_685, 800_000, 1_131_371, 1_600_000, 2_262_742, 3_200_000, 4_525_483, 6_400_000}
	copy(a[:], x[:])
	for k := len(x); k < len(a); k++ {
		a[k] = a[k-1] * 5 / 4
	}
	return a
}()

// cycle is the activity by hour of the day, UTC, per mille.
var cycle = [24]int64{
	900, 850, 750, 650, 600, 600, 650, 750, 850, 900, 900, 950,
	1100, 1400, 1700, 1750, 1600, 1400, 1250, 1150, 1050, 1000, 950, 900,
}

// Streams of hashes: what a hash is for.
const (
	forJump = 100 + iota
	forJumpPlace
	forHole
	forHolePlace
	forBurst
	forSeconds
	forProfile
)

// jumpSizes in parts per million, and how long their effect takes to fade.
var jumpSizes = [...]int64{10_000, -10_000, 50_000, -50_000, 100_000, -100_000}

const (
	jumpFade     = 2 * dayMinutes
	jumpEveryDay = 8  // one day in eight has a jump
	holeEveryDay = 10 // one in ten a hole
	maxHole      = 30 // minutes
)

// newNoise makes the market of symbol under seed, without news.
func newNoise(seed int64, symbol string) *noise {
	h := fnv.New64a()
	h.Write([]byte(symbol))
	n := &noise{key: mix(h.Sum64() ^ mix(uint64(seed)))}
	switch symbol {
	case "BTCUSDT":
		n.lot, n.level, n.temper, n.flow, n.pace = lot{2, 5}, 75_000_00, 1000, 25_000, 180
	case "ETHUSDT":
		n.lot, n.level, n.temper, n.flow, n.pace = lot{2, 4}, 3_000_00, 1300, 25_000, 120
	case "XRPUSDT":
		n.lot, n.level, n.temper, n.flow, n.pace = lot{4, 1}, 1_7500, 2200, 25_000, 60
	default:
		n.derive()
	}
	return n
}

// derive chooses a level between 0.01 and 1000 for an instrument that we know
// nothing of, and a grid with which a tick is about a hundred-thousandth.
func (n *noise) derive() {
	p := n.hash(forProfile, 0)
	lots := [...]lot{{6, 0}, {5, 0}, {4, 1}, {3, 2}, {2, 3}}
	n.lot = lots[p%uint64(len(lots))]
	n.level = 10_000 + int64(p>>8%90_000)
	n.temper = 1000 + int64(p>>32%1500)
	n.flow = 500 + int64(p>>44%5000)
	n.pace = 4 + int64(p>>56%32)
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

func hashOf(key uint64, purpose int, at int64) uint64 {
	return mix(key + mix(uint64(at)*golden+uint64(purpose)))
}

func (n *noise) hash(purpose int, at int64) uint64 { return hashOf(n.key, purpose, at) }

// drift is how far the price is from its middle at the start of minute m, in
// 1e-9 of it and before the instrument's temper.
func (n *noise) drift(m int64) (sum int64) {
	for k, a := range amplitudes {
		left, right := n.node(k, m>>k), n.node(k, m>>k+1)
		f := m & (1<<k - 1)
		sum += (left + (right-left)*f>>k) * a >> 20
	}
	return sum
}

// node is in [-2^20, 2^20).
func (n *noise) node(level int, i int64) int64 { return int64(n.hash(level, i)>>43) - 1<<20 }

// jump returns the minute in which the price jumps on a day, and by how much.
func (n *noise) jump(d int64) (m, ppm int64, ok bool) {
	h := n.hash(forJump, d)
	if h%jumpEveryDay != 0 {
		return 0, 0, false
	}
	place := n.hash(forJumpPlace, d)
	return d*dayMinutes + int64(place%uint64(dayMinutes)), jumpSizes[h>>32%uint64(len(jumpSizes))], true
}

// hole returns the minutes of a day in which the exchange itself has nothing.
// A hole never hides a jump.
func (n *noise) hole(d int64) (from, to int64, ok bool) {
	h := n.hash(forHole, d)
	if h%holeEveryDay != 0 {
		return 0, 0, false
	}
	length := 1 + int64(h>>32%maxHole)
	from = d*dayMinutes + int64(n.hash(forHolePlace, d)%uint64(dayMinutes-length))
	to = from + length
	if m, _, jumps := n.jump(d); jumps && m >= from && m < to {
		return 0, 0, false
	}
	return from, to, true
}

// price at the start of minute m, in ticks.
func (n *noise) price(m int64) int64 {
	p := n.level + n.level*n.drift(m)/1000*n.temper/1_000_000_000
	today := m / dayMinutes
	for d := today - jumpFade/dayMinutes; d <= today; d++ {
		if at, ppm, ok := n.jump(d); ok && m > at && m-at <= jumpFade {
			p += p * ppm / 1_000_000 * (jumpFade - (m - at - 1)) / jumpFade
		}
	}
	if n.news != nil {
		p = n.news.moved(p, m)
	}
	return max(p, 1)
}

// activity at minute m, per mille: the daily cycle, bursts of eight minutes,
// and the crowd that follows a jump.
func (n *noise) activity(m int64) int64 {
	h, f := m/60%24, m%60
	a := (cycle[h]*(60-f) + cycle[(h+1)%24]*f) / 60
	if b := n.hash(forBurst, m/8); b%64 == 0 {
		a *= 3 + int64(b>>32%6)
	}
	if at, _, ok := n.jump(m / dayMinutes); ok && m >= at && m < at+16 {
		a = a * (160 - 9*(m-at)) / 16
	}
	return a
}

// slice is the bar of the seconds [from, to) of minute m, counted from the
// epoch; false in a hole and before the market opened.
func (n *noise) slice(m int64, from, to int) (bar, bool) {
	if m < int64(genesis/minute) {
		return bar{}, false
	}
	if a, b, ok := n.hole(m / dayMinutes); ok && m >= a && m < b {
		return bar{}, false
	}
	activity := n.activity(m)
	var walk [61]int64 // in 1/1024 of a tick
	var dice [60]uint64
	reach := n.level * n.temper / 1000 * (500 + min(activity, 4000)/2) / 1000 // of a step, in ticks, times 2e4
	h := n.hash(forSeconds, m)
	for s := range dice {
		h += golden
		dice[s] = mix(h)
		walk[s+1] = walk[s] + int64(int16(dice[s]))*reach/640_000
	}
	begin, end := n.price(m)<<10, n.price(m+1)<<10
	at := func(s int) int64 {
		line := begin + (end-begin)*int64(s)/60
		return max((line+walk[s]-walk[60]*int64(s)/60)>>10, 1)
	}
	open := at(from)
	high, low, previous := open, open, open
	var volume, quote, takerVolume, takerQuote, trades, last int64
	for s := from; s < to; s++ {
		p := at(s + 1)
		high, low = max(high, p), min(low, p)
		u := int64(dice[s] >> 16 & 1023)
		v := 1 + n.flow*activity/1000*(u*u>>10)/341
		taken := v * (300 + int64(dice[s]>>26&1023)*400/1024) / 1000
		last = min(1+int64(dice[s]>>36&255)*n.pace/1024*activity/1000, 999)
		volume += v
		takerVolume += taken
		quote += v * p
		takerQuote += taken * p
		trades += last
		previous = p
	}
	tick, step, cent := n.lot.tick(), n.lot.step(), n.lot.cent()
	second := m*60 + int64(from)
	return bar{
		open: open * tick, high: high * tick, low: low * tick, close: previous * tick,
		volume: amountOf(volume * step), takerVolume: amountOf(takerVolume * step),
		quote: amountOf(quote).scale(cent, 1), takerQuote: amountOf(takerQuote).scale(cent, 1),
		trades: trades, first: second * idsASecond, last: (m*60+int64(to)-1)*idsASecond + last - 1,
	}, true
}

// idsASecond is how many trade ids are kept free for each second: ids rise with
// time and need no count from the beginning, but leave holes.
const idsASecond = 1000

// span of a seeded market has no end.
func (n *noise) span() (first, end int64) { return int64(genesis / minute), math.MaxInt32 }

// jumps planted in minutes [from, to).
func (n *noise) jumps(from, to int64) (all []Jump) {
	for d := max(from/dayMinutes, int64(genesis/day)); d <= to/dayMinutes; d++ {
		if m, ppm, ok := n.jump(d); ok && m >= from && m < to {
			all = append(all, Jump{Time: market.Millis(m) * minute, Percent: int(ppm / 10_000)})
		}
	}
	return all
}
