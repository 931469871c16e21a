package main

import (
	"context"
	"embed"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

//go:embed page
var page embed.FS

// view is what /state tells the page, as JSON.
type view struct {
	Begun   time.Time         `json:"begun"`
	Parts   []partView        `json:"parts"`
	Servers map[string]string `json:"servers"` // where clients connect, by server
	Figures figures           `json:"figures"`
}

// partView is a part and what it lacks.
type partView struct {
	Name    string `json:"name"`
	Metrics string `json:"metrics"` // URL
	Ready   bool   `json:"ready"`
	Lacks   string `json:"lacks"` // of a part that is not ready: what it says; "" for others
}

// figures are those of the line that the terminal shows each second.
type figures struct {
	Appended float64 `json:"appended"`
	Durable  float64 `json:"durable"`
	Written  float64 `json:"written"`
	Posts    float64 `json:"posts"`
	Retries  float64 `json:"retries"`
	Dead     float64 `json:"dead"`
	Newest   float64 `json:"newest"` // unix seconds of the newest durable live candle, 0 before it
}

// serve shows the page until it is closed; /prometheus/ is the API of Prometheus,
// so that the page may ask it.
func (d *demo) serve(listener net.Listener, servers map[string]string, prometheus string) io.Closer {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.MarshalWrite(w, d.view(r.Context(), servers)) // the reader is gone, or all is well
	})
	mux.Handle("GET /prometheus/", http.StripPrefix("/prometheus", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: prometheus})))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return server
}

func (d *demo) view(ctx context.Context, servers map[string]string) view {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	v := view{Begun: d.begun, Servers: servers, Parts: make([]partView, len(d.parts))}
	if last := d.last.Load(); last != nil {
		v.Figures = figures{last.appended, last.durable, last.written, last.posts, last.retries, last.dead, last.newest}
	}
	var group sync.WaitGroup
	for i, p := range d.parts {
		group.Go(func() {
			lacks := lacks(ctx, p.addr)
			v.Parts[i] = partView{p.name, "http://" + p.addr + "/metrics", lacks == "", lacks}
		})
	}
	group.Wait()
	return v
}

// lacks asks a part why it is not ready; "" if it is.
func lacks(ctx context.Context, addr string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "does not answer"
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return ""
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // half a sentence is better than none
	return strings.TrimSpace(string(said))
}
