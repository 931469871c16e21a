package exposition

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Page is a text for any number of scrapes. It is kept packed: of a big cluster
// the text is tens of megabytes, a twentieth of it is gzip, and Prometheus asks
// for that. The zero Page is empty and answers 503.
type Page struct {
	current atomic.Pointer[packed]
}

type packed struct {
	gzip []byte
	size int // of the text
}

// packer packs a page at a time.
type packer struct {
	gzip *gzip.Writer
	out  bytes.Buffer
	size int
}

// packers are shared: each takes a megabyte, a quarter of what all else needs of
// a small cluster.
var packers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one
	return &packer{gzip: w}
}}

func (p *packer) Write(text []byte) (int, error) {
	p.size += len(text)
	return p.gzip.Write(text)
}

// Show makes what write writes the page.
func (p *Page) Show(write func(w io.Writer)) {
	z := packers.Get().(*packer)
	defer packers.Put(z)
	z.size = 0
	z.out.Reset()
	z.gzip.Reset(&z.out)
	write(z)
	_ = z.gzip.Close() // a buffer does not fail
	p.current.Store(&packed{gzip: bytes.Clone(z.out.Bytes()), size: z.size})
}

// Size is how long the text is, and its gzip.
func (p *Page) Size() (plain, zipped int) {
	if page := p.current.Load(); page != nil {
		return page.size, len(page.gzip)
	}
	return 0, 0
}

// ServeHTTP answers with what was encoded last.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := p.current.Load()
	if page == nil {
		http.Error(w, "there is nothing to show now", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	body, size := io.Reader(bytes.NewReader(page.gzip)), len(page.gzip)
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
	} else {
		size = page.size
		body, _ = gzip.NewReader(body) // it is ours, and whole
	}
	h.Set("Content-Length", strconv.Itoa(size))
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, body)
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
