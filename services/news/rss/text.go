package rss

import (
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// leftover is what text shows that was escaped twice: entities and common tags.
var leftover = regexp.MustCompile(`&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,31}\d{0,2});|</?(a|b|br|div|em|h[1-6]|i|img|li|p|span|strong|ul)(\s[^>]*)?/?>`)

// invisible characters would part a word that people see as one.
var invisible = strings.NewReplacer("\u00AD", "", "\u200B", "", "\uFEFF", "")

// plain is the text of a piece of HTML, also where it was escaped twice or
// thrice, as generators do that pass texts to each other.
func plain(s string) string {
	s = strip(s)
	for range 2 {
		if !leftover.MatchString(s) {
			break
		}
		s = strip(s)
	}
	return invisible.Replace(s)
}

// strip is one layer of plain. It reads tokens, not a tree: a broken page costs
// no more than a good one.
func strip(s string) string {
	if !strings.ContainsAny(s, "<&") {
		return s
	}
	var text strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	z.AllowCDATA(true)
	var hidden atom.Atom // element whose content nobody sees
	for {
		switch z.Next() {
		case html.ErrorToken: // the end: a reader of a string has no other error
			return text.String()
		case html.TextToken:
			if hidden == 0 {
				text.Write(z.Text())
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if hidden == 0 && unseen(tag) {
				hidden = tag
			}
			space(&text, tag)
		case html.SelfClosingTagToken:
			name, _ := z.TagName()
			space(&text, atom.Lookup(name))
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if tag == hidden {
				hidden = 0
			}
			space(&text, tag)
		}
	}
}

func unseen(tag atom.Atom) bool {
	switch tag {
	case atom.Script, atom.Style, atom.Noscript, atom.Iframe, atom.Noembed, atom.Noframes:
		return true
	}
	return false
}

// space parts the texts of two blocks, but not a word that is half bold.
func space(text *strings.Builder, tag atom.Atom) {
	switch tag {
	case atom.A, atom.Abbr, atom.B, atom.Bdi, atom.Bdo, atom.Cite, atom.Code, atom.Em, atom.Font, atom.I, atom.Ins,
		atom.Mark, atom.S, atom.Small, atom.Span, atom.Strong, atom.Sub, atom.Sup, atom.U, atom.Wbr:
		return
	}
	text.WriteByte(' ')
}

// picture is the address of the first picture of a piece of HTML; one pixel is
// a counter of readers.
func picture(s string) string {
	if !strings.Contains(s, "<") {
		return ""
	}
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return ""
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			if t.DataAtom != atom.Img {
				continue
			}
			src, pixel := "", false
			for _, a := range t.Attr {
				switch {
				case a.Key == "src":
					src = strings.TrimSpace(a.Val)
				case (a.Key == "width" || a.Key == "height") && (a.Val == "1" || a.Val == "0"):
					pixel = true
				}
			}
			if src != "" && !strings.HasPrefix(src, "data:") && !pixel {
				return src
			}
		}
	}
}

// withoutFooter cuts the sentence that WordPress puts below each text: it would
// make every post one about Bitcoin, in a magazine of that name.
func withoutFooter(text string) string {
	const longest = 1000
	text = strings.TrimRight(text, " \t\r\n")
	at := strings.LastIndex(text, "The post ")
	if at < 0 || len(text)-at > longest {
		return text
	}
	if footer := text[at:]; strings.Contains(footer, "appeared first on ") || strings.Contains(footer, "first appeared on ") {
		return text[:at]
	}
	return text
}

// address resolves an address against the page where it stands; empty where it
// is none of the web, or longer than max.
func address(base *url.URL, s string, max int) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	u, err := base.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	u.RawQuery = withoutCampaign(u.RawQuery)
	if s = strings.ToValidUTF8(u.String(), ""); len(s) > max {
		return ""
	}
	return s
}

// withoutCampaign drops utm_…: they count readers who came by the feed, which
// ours did not, and make two addresses of one article.
func withoutCampaign(query string) string {
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		if part != "" && !strings.HasPrefix(strings.ToLower(part), "utm_") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}
