package rss

// tickers are the currencies that a text may name by their code, in capitals.
// true: the code is also a word, a name or an office, and counts only as $SOL,
// (SOL) or SOL/USDT.
var tickers = map[string]bool{
	"BTC": false, "ETH": false, "XRP": false, "BNB": false, "LTC": false, "BCH": false, "BSV": false, "AVAX": false, "TRX": false,
	"XLM": false, "XMR": false, "SHIB": false, "USDT": false, "USDC": false,
	"SOL": true, "ADA": true, "DOGE": true, "DOT": true, "LINK": true, "TON": true, "NEAR": true, "ETC": true, "UNI": true, "SUI": true,
}

// quotes are what a pair is counted in. The dollars among them are no subject.
var quotes = map[string]bool{
	"USD": true, "EUR": true, "GBP": true, "JPY": true, "KRW": true, "TRY": true, "USDT": true, "USDC": true, "FDUSD": true,
	"BTC": true, "ETH": true, "BNB": true, "PERP": true,
}

// term is what a name stands for.
type term struct {
	code string // empty: no currency, though a part of the name looks like one
	// proper names are also common words, and count only with a capital.
	proper bool
}

// names are what currencies are called, in small letters; the longest that fits
// counts. A name whose common meaning is another is missing: Avalanche, Stellar,
// Cosmos, Polygon. Their posts name the code as well.
var names = map[string]term{
	"bitcoin": {code: "BTC"}, "bitcoins": {code: "BTC"},
	"bitcoin cash": {code: "BCH"}, "bitcoincash": {code: "BCH"}, "bitcoin sv": {code: "BSV"}, "bitcoin satoshi vision": {code: "BSV"},
	"bitcoin cash settled": {code: "BTC"}, "bitcoin cash flow": {code: "BTC"}, "bitcoin cash flows": {code: "BTC"},
	"bitcoin magazine": {},
	"ethereum":         {code: "ETH"}, "ether": {code: "ETH"}, "ethereum classic": {code: "ETC"}, "ether classic": {code: "ETC"},
	"ethereum world news": {}, "eth zurich": {}, "eth zürich": {}, "into the ether": {},
	"ripple":        {code: "XRP", proper: true},
	"ripple effect": {}, "ripple effects": {}, "ripple through": {}, "ripple across": {},
	"solana": {code: "SOL"}, "cardano": {code: "ADA"}, "dogecoin": {code: "DOGE"}, "litecoin": {code: "LTC"},
	"polkadot": {code: "DOT"}, "chainlink": {code: "LINK"}, "uniswap": {code: "UNI"}, "monero": {code: "XMR"},
	"binance coin": {code: "BNB"}, "tron": {code: "TRX", proper: true}, "toncoin": {code: "TON"}, "near protocol": {code: "NEAR"},
	"shiba inu": {code: "SHIB"}, "stellar lumens": {code: "XLM"}, "tether": {code: "USDT"}, "usd coin": {code: "USDC"},
}

// longestName is the number of words of the longest of names.
const longestName = 3
