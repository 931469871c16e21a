package rss

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// instruments are the currencies that texts are about, sorted, each once. A word
// is a run of letters and digits: "Ripple's" and "#BTC-USD" hold Ripple and BTC,
// "method" and "XRPL" hold nothing. Publisher is the feed's own name, which says
// nothing of a post.
func instruments(publisher string, texts ...string) []string {
	found := map[string]bool{}
	for _, text := range texts {
		if strings.Contains(publisher, " ") { // one word may be the subject: Bitcoin
			text = strings.ReplaceAll(text, publisher, "·")
		}
		find(text, found)
	}
	if len(found) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(found))
}

func find(text string, found map[string]bool) {
	words := split(text)
	for i := 0; i < len(words); i++ {
		if n, t := named(text, words[i:]); n > 0 {
			if t.code != "" {
				found[t.code] = true
			}
			i += n - 1
			continue
		}
		if code := coded(text, words[i:]); code != "" {
			found[code] = true
		}
	}
}

// word is where a word stands in a text.
type word struct{ from, to int }

func split(text string) []word {
	var words []word
	from := -1
	for i, r := range text {
		switch in := letter(r); {
		case in && from < 0:
			from = i
		case !in && from >= 0:
			words = append(words, word{from, i})
			from = -1
		}
	}
	if from >= 0 {
		words = append(words, word{from, len(text)})
	}
	return words
}

// letter tells whether r is part of a word. Scripts that write no spaces stand
// beside a word, not in it.
func letter(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

// named returns the longest of names that words begin with, and of how many
// words it is; 0 for none.
func named(text string, words []word) (n int, t term) {
	key := ""
	for i, w := range words[:min(len(words), longestName)] {
		if i > 0 {
			if gap := text[words[i-1].to:w.from]; gap != " " && gap != "-" && gap != "\u00A0" {
				break
			}
			key += " "
		}
		key += strings.ToLower(text[w.from:w.to])
		candidate, ok := names[key]
		if !ok || inDomain(text, w) {
			continue
		}
		first, _ := utf8.DecodeRuneInString(text[words[0].from:])
		if !candidate.proper || unicode.IsUpper(first) || before(text, words[0]) == '#' {
			n, t = i+1, candidate
		}
	}
	return n, t
}

// inDomain tells whether w is the name of a site: bitcoin.com.
func inDomain(text string, w word) bool {
	rest, dot := strings.CutPrefix(text[w.to:], ".")
	next, _ := utf8.DecodeRuneInString(rest)
	return dot && unicode.IsLower(next)
}

// coded returns the code that the first of words is, or "".
func coded(text string, words []word) string {
	w := words[0]
	s, prefix := text[w.from:w.to], before(text, w)
	if ambiguous, ok := tickers[strings.ToUpper(s)]; ok && !ambiguous && (prefix == '$' || prefix == '#') {
		return strings.ToUpper(s)
	}
	ambiguous, ok := tickers[s]
	switch {
	case inDomain(text, w):
	case ok && (s == "USDT" || s == "USDC") && quoted(text, w):
	case ok && (!ambiguous || prefix == '$' || prefix == '(' && after(text, w) == ')' || paired(text, words)):
		return s
	case !ok:
		for quote := range quotes { // BTCUSDT
			base := strings.TrimSuffix(s, quote)
			if _, ok := tickers[base]; ok && base != s && base != "" {
				return base
			}
		}
	}
	return ""
}

// paired tells whether the first of words is the base of a pair: SOL/USDT.
func paired(text string, words []word) bool {
	if len(words) < 2 {
		return false
	}
	gap, quote := text[words[0].to:words[1].from], text[words[1].from:words[1].to]
	return separates(gap) && quotes[quote]
}

// quoted tells whether w is what a pair is counted in.
func quoted(text string, w word) bool {
	if w.from < 2 || !separates(text[w.from-1:w.from]) {
		return false
	}
	r, _ := utf8.DecodeLastRuneInString(text[:w.from-1])
	return unicode.IsUpper(r)
}

func separates(gap string) bool { return gap == "/" || gap == "-" || gap == "_" || gap == ":" }

func before(text string, w word) rune {
	r, _ := utf8.DecodeLastRuneInString(text[:w.from])
	return r
}

func after(text string, w word) rune {
	r, _ := utf8.DecodeRuneInString(text[w.to:])
	return r
}
