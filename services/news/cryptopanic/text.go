package cryptopanic

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/candlestack/candlestack/services/market"
)

// plain is a text without markup, entities decoded, at most max bytes.
func plain(t text, max int) string {
	s := string(t)
	if strings.ContainsAny(s, "<&") {
		s = strip(s)
	}
	return market.CleanText(s, max)
}

// inline are elements that stand within a word or a line: all others part words.
var inline = map[atom.Atom]bool{
	atom.A: true, atom.Abbr: true, atom.B: true, atom.Code: true, atom.Em: true, atom.Font: true, atom.I: true, atom.Mark: true,
	atom.S: true, atom.Small: true, atom.Span: true, atom.Strong: true, atom.Sub: true, atom.Sup: true, atom.U: true,
}

// unseen are elements whose content is not for readers.
var unseen = map[atom.Atom]bool{atom.Script: true, atom.Style: true, atom.Iframe: true, atom.Noembed: true, atom.Noframes: true}

func strip(s string) string {
	var b strings.Builder
	var within atom.Atom // an unseen element
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			// A < that opens no element, as in "fees <b", ends up here.
			b.WriteString(html.UnescapeString(string(z.Raw())))
			return b.String()
		}
		token := z.Token()
		switch {
		case kind == html.TextToken:
			if within == 0 {
				b.WriteString(token.Data)
			}
			continue
		case kind == html.StartTagToken && unseen[token.DataAtom]:
			within = token.DataAtom
		case kind == html.EndTagToken && token.DataAtom == within:
			within = 0
		}
		if !inline[token.DataAtom] {
			b.WriteByte(' ')
		}
	}
}

// secretParameter is the query's member that holds a token.
const secretParameter = "auth_token"

// link is an absolute address for people, without a token; empty where it is
// none or too long. A cut address would lead elsewhere.
func link(t text) string {
	s := strings.TrimSpace(string(t))
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	if query := u.Query(); query.Has(secretParameter) {
		query.Del(secretParameter)
		u.RawQuery = query.Encode()
		s = u.String()
	}
	if len(s) > market.MaxURL || strings.Contains(s, secretParameter) || s != market.CleanText(s, market.MaxURL) {
		return ""
	}
	return s
}
