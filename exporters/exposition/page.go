package exposition

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// Page is a text and its gzip, for any number of scrapes. The zero Page is
// empty and answers 503.
type Page struct {
	current atomic.Pointer[encoded]
}

type encoded struct{ text, zipped []byte }

// Zipper packs pages, one after the other.
type Zipper struct{ w *gzip.Writer }

// NewZipper makes a Zipper.
func NewZipper() *Zipper {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one
	return &Zipper{w: w}
}

// Show packs a text, which must not change any more, and makes it the page. nil
// is that there is none.
func (p *Page) Show(z *Zipper, text []byte) (size, zipped int) {
	if text == nil {
		p.current.Store(nil)
		return 0, 0
	}
	var packed bytes.Buffer
	packed.Grow(len(text) / 8)
	z.w.Reset(&packed)
	_, _ = z.w.Write(text) // a buffer does not fail
	_ = z.w.Close()
	p.current.Store(&encoded{text: text, zipped: packed.Bytes()})
	return len(text), packed.Len()
}

// Size is how long the text is.
func (p *Page) Size() int {
	if page := p.current.Load(); page != nil {
		return len(page.text)
	}
	return 0
}

// ServeHTTP answers with what was encoded last.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := p.current.Load()
	if page == nil {
		http.Error(w, "there is nothing to show now", http.StatusServiceUnavailable)
		return
	}
	body := page.text
	h := w.Header()
	h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = page.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !ok || err == nil && weight > 0
		}
	}
	return false
}
