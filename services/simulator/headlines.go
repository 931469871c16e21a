package simulator

import (
	"strconv"
	"strings"

	"github.com/candlestack/candlestack/services/market"
)

// publisher is who wrote a post. All are invented, their domains can belong to
// nobody (RFC 2606).
type publisher struct{ title, domain, region, kind string }

var publishers = [...]publisher{
	{"The Chain Courier", "chaincourier.example", "en", "news"},
	{"Block Gazette", "blockgazette.example", "en", "news"},
	{"Coinhaven Daily", "coinhaven.example", "en", "news"},
	{"Ledger & Co", "ledgerandco.example", "en", "news"},
	{"Hashrate Herald", "hashrateherald.example", "en", "news"},
	{"Krypto Kurier", "kryptokurier.example", "de", "news"},
	{"Candle TV", "candletv.example", "en", "media"},
}

// Headlines by what they are about: {coin} {code} {other} {n}.
var (
	oneCoin = []string{
		"{coin} trades in a narrow range as volume falls {n} %",
		"{n} new wallets hold more than a thousand {code}",
		"{coin} developers merge {n} changes ahead of the next release",
		"Why {n} analysts disagree about {coin}",
		"Fees of {coin} drop by {n} % over the weekend",
		"Survey: {n} % of shops would take {code}",
		"What the last {n} days tell about {coin}",
		"{coin} R&D fund pays out its grant no. {n}",
		"\u201cWe buy {code} every week\u201d, says a fund with {n} clients",
	}
	twoCoins = []string{
		"{coin} or {other}? {n} readers answer",
		"Bridge between {coin} and {other} passes {n} million transfers",
		"{coin} and {other} have moved together for {n} days",
		"Swap of {code} for {other} gets {n} % cheaper",
	}
	noCoin = []string{
		"Regulators of {n} countries meet on digital assets",
		"{n} start-ups show their wallets at the spring fair",
		"Stock markets open {n} points lower",
		"Card company opens its network to {n} banks",
		"Museum lends {n} pieces of digital art",
		"How to keep a seed phrase: {n} rules",
	}
	riseCoin = []string{
		"Pension fund puts {n} million into {coin}",
		"{coin} upgrade goes live without a hitch, fees fall by {n} %",
		"Court sides with {coin}: case of {n} months is over",
		"Retailer with {n} thousand shops accepts {code}",
	}
	fallCoin = []string{
		"{coin} exchange halts withdrawals of {n} thousand clients",
		"Bug in {coin} wallet puts {n} million at risk",
		"Fund sells {n} % of its {code}",
		"Ministry plans a tax of {n} % on {coin} sales",
	}
	texts = []string{
		"The figures come from a report of {n} pages. {publisher} could not check all of them.",
		"{publisher} has asked {n} market participants. Most expect no quick decision.",
		"Details were not made public. A speaker promised more within {n} days.",
		"There were {n} such notices this year, as {publisher} has counted.",
	}
)

func (p *post) publisher() publisher {
	return publishers[p.roll(rollPublisher, int64(len(publishers)))]
}

// title as it stood at first, or as it was corrected.
func (p *post) title(corrected bool) string {
	from := oneCoin
	about := p.about()
	switch {
	case p.percent > 0:
		from = riseCoin
	case p.percent < 0:
		from = fallCoin
	case len(about) == 0:
		from = noCoin
	case len(about) == 2:
		from = twoCoins
	}
	title := p.fill(from[p.roll(rollTitle, int64(len(from)))], rollNumber)
	if corrected {
		title = "Corrected: " + p.fill(from[p.roll(rollTitle, int64(len(from)))], rollCorrectNumber)
	}
	return title
}

func (p *post) text() string {
	return p.fill(texts[p.roll(rollText, int64(len(texts)))], rollNumber)
}

func (p *post) fill(template string, number int) string {
	other := ""
	if about := p.about(); len(about) == 2 {
		other = about[1].title
	}
	return strings.NewReplacer("{coin}", p.coin.title, "{code}", p.code, "{other}", other,
		"{publisher}", p.publisher().title, "{n}", strconv.FormatInt(4+p.roll(number, 90), 10)).Replace(template)
}

// slugOf a title, of letters and digits: SEC-Drops-Uniswap-Case.
func slugOf(title string) string {
	letters := strings.Map(func(c rune) rune {
		if c == ' ' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			return c
		}
		return -1
	}, title)
	return strings.Join(strings.Fields(letters), "-")
}

// story is the post as it reads at a time.
func (p *post) story(now market.Millis) story {
	by := p.publisher()
	first := p.title(false)
	s := story{
		id: p.id, kind: by.kind, publisher: by, coins: p.about(), title: first, slug: slugOf(first), text: p.text(),
		published: p.published(), created: p.created(), changed: p.created(), votes: p.votes(now),
	}
	if at, ok := p.corrected(); ok && at <= now {
		s.title, s.changed = p.title(true), at
	}
	return s
}
