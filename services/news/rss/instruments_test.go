package rss

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestInstruments(t *testing.T) {
	for _, f := range []struct{ text, want string }{
		// names
		{"Bitcoin rises", "BTC"},
		{"bitcoin rises", "BTC"},
		{"BITCOIN RISES", "BTC"},
		{"All the bitcoins in the world", "BTC"},
		{"Ethereum and Solana lead, Cardano lags", "ADA ETH SOL"},
		{"ether slips below $3,000", "ETH"},
		{"Dogecoin, Litecoin, Polkadot & Chainlink", "DOGE DOT LINK LTC"},
		{"Binance Coin burns; Binance pays", "BNB"},
		{"Binance pays", ""},
		{"NEAR Protocol and Toncoin", "NEAR TON"},
		{"near protocol", "NEAR"},
		{"Shiba Inu, Stellar Lumens, Monero", "SHIB XLM XMR"},
		{"USD Coin loses its peg", "USDC"},
		// tickers
		{"BTC", "BTC"},
		{"BTC, ETH, XRP and BNB", "BNB BTC ETH XRP"},
		{"btc and eth in small letters", ""},
		{"$btc and #eth", "BTC ETH"},
		{"LTC/BCH AVAX TRX XLM XMR", "AVAX BCH LTC TRX XLM XMR"},
		{"USDT and USDC supply", "USDC USDT"},
		// boundaries
		{"a new method", ""},
		{"Netherlands, together, whether", ""},
		{"XRPL is live", ""},
		{"XRP Ledger is live", "XRP"},
		{"wBTC, WBTC and cbBTC", ""},
		{"stETH", ""},
		{"BTCs", ""},
		{"1BTC", ""},
		{"Bitcoinist writes", ""},
		{"Ethereum2", ""},
		{"BTC\u0301", ""},
		{"non-BTC assets", "BTC"},
		{"Bitcoin-backed", "BTC"},
		{"(Bitcoin)", "BTC"},
		{"“Bitcoin”—again", "BTC"},
		{"Bitcoin…", "BTC"},
		{"Bitcoin.The end", "BTC"},
		{"比特币BTC上涨", "BTC"},
		{"BTC가 오른다", "BTC"},
		{"биткоин BTC", "BTC"},
		{"БBTC", ""},
		// possessives, hash tags, pairs
		{"Ripple's case", "XRP"},
		{"Ripple’s case", "XRP"},
		{"BTC’s rally", "BTC"},
		{"Ethereum's merge", "ETH"},
		{"#bitcoin #ripple", "BTC XRP"},
		{"#BitcoinCash", "BCH"},
		{"BTC-USD", "BTC"},
		{"BTC/USDT", "BTC"},
		{"BTC_USDC", "BTC"},
		{"ETH/BTC ratio", "BTC ETH"},
		{"BTCUSDT and SOLUSD", "BTC SOL"},
		{"FLOWUSDT", ""},
		// codes that are words
		{"SOL soars", ""},
		{"El Sol de Mexico", ""},
		{"$SOL soars", "SOL"},
		{"$sol soars", ""},
		{"the token (SOL) soars", "SOL"},
		{"(SOL and others)", ""},
		{"SOL/USDT, ADA-USD, TON/BTC", "ADA BTC SOL TON"},
		{"SOL-based tokens", ""},
		{"CLICK THE LINK NEAR THE DOT", ""},
		{"Ada Lovelace and the ADA", ""},
		{"DOGE cuts the budget", ""},
		{"STOCKS, BONDS, ETC", ""},
		{"a ton of links", ""},
		{"Avalanche of liquidations", ""},
		{"Avalanche (AVAX)", "AVAX"},
		{"stellar results on polygon", ""},
		// names within names
		{"Tether mints", "USDT"},
		{"Tether and ether", "ETH USDT"},
		{"Ethereum Classic forks", "ETC"},
		{"Ethereum classic, not Ethereum", "ETC ETH"},
		{"Bitcoin Cash halves", "BCH"},
		{"Bitcoin Cash's fork of Bitcoin", "BCH BTC"},
		{"Bitcoin, cash and gold", "BTC"},
		{"Bitcoin cash-settled futures", "BTC"},
		{"Bitcoin SV", "BSV"},
		{"Bitcoin Magazine reports", ""},
		{"told Bitcoin Magazine that Bitcoin is fine", "BTC"},
		{"Researchers of ETH Zurich", ""},
		{"vanished into the ether", ""},
		// words that are names only with a capital, and sites
		{"a ripple in the market", ""},
		{"the ripple effect", ""},
		{"The Ripple Effect of Rates", ""},
		{"Ripple wins", "XRP"},
		{"Tron and tron", "TRX"},
		{"see bitcoin.com, ripple.com or the pool BTC.com", ""},
		{"", ""}, {"$", ""}, {"()", ""}, {"/", ""}, {"\xff\xfeBTC\xff", "BTC"},
	} {
		if got := strings.Join(instruments("", f.text), " "); got != f.want {
			t.Errorf("%q: %q, want %q", f.text, got, f.want)
		}
	}
}

// TestPublisherIsNoSubject: a feed's own name in its texts says nothing, but a
// feed that is called Bitcoin may write of bitcoin.
func TestPublisherIsNoSubject(t *testing.T) {
	for _, f := range []struct{ publisher, text, want string }{
		{"Ethereum Daily", "Subscribe to Ethereum Daily", ""},
		{"Ethereum Daily", "Ethereum moves, says Ethereum Daily", "ETH"},
		{"Bitcoin", "Bitcoin moves", "BTC"},
		{"", "Bitcoin moves", "BTC"},
	} {
		if got := strings.Join(instruments(f.publisher, f.text), " "); got != f.want {
			t.Errorf("%q by %q: %q, want %q", f.text, f.publisher, got, f.want)
		}
	}
}

func TestDictionary(t *testing.T) {
	for name, term := range names {
		if _, ok := tickers[term.code]; !ok && term.code != "" {
			t.Errorf("%s is %s, which is no ticker", name, term.code)
		}
		if name != strings.ToLower(name) || len(strings.Fields(name)) > longestName || name != strings.Join(strings.Fields(name), " ") {
			t.Errorf("%q can never be found", name)
		}
	}
}

// TestWordBoundaries: a name counts between any two characters that are not
// letters, and never with a letter or digit on either side.
func TestWordBoundaries(t *testing.T) {
	var codes []string
	for code, ambiguous := range tickers {
		if !ambiguous {
			codes = append(codes, code)
		}
	}
	for name, term := range names {
		if term.code != "" && !term.proper {
			codes = append(codes, name)
		}
	}
	slices.Sort(codes)
	letters := rapid.SampledFrom([]rune("abzXYZ019éßжΩ٣ñ"))
	gaps := rapid.SampledFrom([]rune(" \t,;!?()[]{}\"'’“”«»…—+*=<>|~^%&价格のビ🚀"))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(codes).Draw(t, "name")
		code := s
		if term, ok := names[s]; ok {
			code = term.code
		}
		left, right := string(gaps.Draw(t, "left")), string(gaps.Draw(t, "right"))
		if got := instruments("", left+s+right); !slices.Equal(got, []string{code}) {
			t.Fatalf("%q: %q, want %s", left+s+right, got, code)
		}
		letter := string(letters.Draw(t, "letter"))
		for _, text := range []string{left + letter + s + right, left + s + letter + right} {
			if got := instruments("", text); slices.Contains(got, code) && !strings.Contains(s, " ") {
				t.Fatalf("%q: %q", text, got)
			}
		}
	})
}

// TestInstrumentsOfAnything: whatever the text, what is found fits a post.
func TestInstrumentsOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		got := instruments(rapid.String().Draw(t, "publisher"), rapid.String().Draw(t, "text"))
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%q", got)
		}
	})
}
