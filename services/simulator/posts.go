package simulator

import (
	"hash/fnv"

	"github.com/candlestack/candlestack/services/market"
)

// coin is a currency as CryptoPanic describes it.
type coin struct {
	code, title, slug string
	daily             int64 // posts that its desk writes on a middling day
}

// coins that there is always news about, also where they are not traded. With
// the posts about none they make 28 posts an hour.
var coins = [...]coin{
	{"BTC", "Bitcoin", "bitcoin", 192},
	{"ETH", "Ethereum", "ethereum", 144},
	{"XRP", "XRP", "ripple", 96},
	{"SOL", "Solana", "solana", 42},
	{"ADA", "Cardano", "cardano", 30},
	{"DOGE", "Dogecoin", "dogecoin", 30},
	{"LTC", "Litecoin", "litecoin", 24},
	{"LINK", "Chainlink", "chainlink", 24},
}

const (
	generalDaily = 96 // posts a day about no coin
	otherDaily   = 96 // about a coin that only the board knows

	// Ids are minute × deskSpan + number of the desk, so they rise with time and
	// need no count; the numbers from breakingDesk on are those of posts that a
	// fault inserts.
	deskSpan     = 100
	breakingDesk = 90
)

// Posts that move the price: in every third of a day one with an even chance.
// From the minute after publication on the price moves within effectRamp
// minutes, then the effect fades; effectLife minutes after that minute began it
// is gone.
const (
	effectSlot = dayMinutes / 3
	effectRamp = 15
	effectLife = dayMinutes
)

// Streams of a desk's hashes.
const (
	forPost = 200 + iota
	forEffect
	forBreaking
)

// desk writes the posts about one coin, or about none. Whether it published in a
// minute, what, and what that does to the price depends on seed and coin alone.
type desk struct {
	coin
	key    uint64
	number int64
}

func newDesk(seed int64, c coin, number int64) desk {
	h := fnv.New64a()
	h.Write([]byte("news " + c.code))
	return desk{coin: c, key: mix(h.Sum64() ^ mix(uint64(seed))), number: number}
}

// effect returns the post of a third of a day that moves the price: the minute
// of its publication and by how much.
func (d *desk) effect(slot int64) (m, percent int64, ok bool) {
	h := hashOf(d.key, forEffect, slot)
	if d.code == "" || h&1 == 0 {
		return 0, 0, false
	}
	percent = 1 + int64(h>>8%3)
	if h>>16&1 == 0 {
		percent = -percent
	}
	return slot*effectSlot + int64(h>>24%uint64(effectSlot)), percent, true
}

// moved is a price at the start of minute m after the posts of the day before.
// Four hashes, whatever m is.
func (d *desk) moved(p, m int64) int64 {
	for slot := m/effectSlot - effectLife/effectSlot; slot <= m/effectSlot; slot++ {
		at, percent, ok := d.effect(slot)
		age := m - at - 1
		switch {
		case !ok || age <= 0 || age >= effectLife:
		case age < effectRamp:
			p += p * percent * age / (100 * effectRamp)
		default:
			p += p * percent * (effectLife - age) / (100 * (effectLife - effectRamp))
		}
	}
	return p
}

// post is one that was published. All it says follows from these fields and the
// time at which it is read.
type post struct {
	*desk
	id      int64
	minute  int64
	dice    uint64
	percent int64 // that it moves the price by
	// breaking is a post that a fault inserted: published and created at this
	// second of its minute, and voted for at once, so that it comes first.
	breaking bool
	second   int64
}

// post returns what the desk published in minute m: one post at most.
func (d *desk) post(m int64) (post, bool) {
	p := post{desk: d, id: postID(m, d.number), minute: m, dice: hashOf(d.key, forPost, m)}
	if at, percent, ok := d.effect(m / effectSlot); ok && at == m {
		p.percent = percent
		return p, true
	}
	return p, int64(p.dice%uint64(dayMinutes)) < d.daily
}

func postID(m, number int64) int64 { return (m-int64(genesis/minute))*deskSpan + number }

// What a post's dice are rolled for.
const (
	rollSecond = iota + 1
	rollDelay
	rollPublisher
	rollOther
	rollOtherCoin
	rollTitle
	rollNumber
	rollText
	rollCorrected
	rollCorrection
	rollCorrectNumber
	rollVotes // and the kinds of votes after it
)

// roll is in [0, n), and the same for the same purpose at any time.
func (p *post) roll(purpose int, n int64) int64 {
	return int64(mix(p.dice+uint64(purpose)*golden) % uint64(n))
}

// published is a whole second; created, when the feed takes the post up, is 2 to
// 30 seconds later.
func (p *post) published() market.Millis {
	second := p.second
	if !p.breaking {
		second = p.roll(rollSecond, 60)
	}
	return market.Millis(p.minute)*minute + market.Millis(second)*1000
}

func (p *post) created() market.Millis {
	if p.breaking {
		return p.published()
	}
	return p.published() + market.Millis(2+p.roll(rollDelay, 29))*1000
}

// corrected is when the title changes; false for nine posts in ten.
func (p *post) corrected() (market.Millis, bool) {
	return p.created() + market.Millis(10+p.roll(rollCorrection, 111))*minute, p.roll(rollCorrected, 10) == 0
}

// about are the coins of a post: that of its desk, and in one post of six,
// another. Never in one that moves the price; nor in those of desks that only
// the board calls for, so that what is said about the usual coins does not
// depend on the board.
func (p *post) about() []coin {
	switch {
	case p.code == "":
		return nil
	case p.percent == 0 && p.number <= int64(len(coins)) && p.roll(rollOther, 6) == 0:
		if other := coins[p.roll(rollOtherCoin, int64(len(coins)))]; other.code != p.code {
			return []coin{p.coin, other}
		}
	}
	return []coin{p.coin}
}

// votes by kind, in the order of CryptoPanic.
type votes [9]int64

const (
	voteNegative  = 0
	votePositive  = 1
	voteImportant = 2
	voteLiked     = 3
	voteDisliked  = 4
	voteLOL       = 5
	voteToxic     = 6
	voteSaved     = 7
	voteComments  = 8
)

// votes of a post at a time. They only grow, a sixth in the first hour, and are
// complete a day after its creation: 40 on average, and some 200 on a post that
// moves the price, most of them as it does.
func (p *post) votes(now market.Millis) (v votes) {
	const whole = dayMinutes * dayMinutes * dayMinutes * dayMinutes
	left := dayMinutes - min(max(int64((now-p.created())/minute), 0), dayMinutes)
	for kind := range v {
		x := p.roll(rollVotes+kind, 20)
		v[kind] = x * x * x / 400
	}
	strong := max(p.percent, -p.percent)
	v[voteImportant] += 20 * strong
	if p.percent > 0 {
		v[votePositive] += 40 * strong
		v[voteLiked] += 20 * strong
	} else {
		v[voteNegative] += 40 * strong
		v[voteDisliked] += 20 * strong
	}
	if p.breaking {
		left = 0
		v[voteImportant] += 1000
	}
	for kind := range v {
		v[kind] = v[kind] * (whole - left*left*left*left) / whole
	}
	return v
}

func (v *votes) sum() (n int64) {
	for _, count := range v {
		n += count
	}
	return n
}
