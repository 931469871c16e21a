package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/market"
)

// Handler serves everything: the exchange's routes, the news beside them and,
// under /simulator/, what is the simulator's own.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc("GET "+r.path, s.serve(r))
	}
	for _, r := range s.newsRoutes() {
		mux.HandleFunc("GET "+r.path, s.serveNews(r))
	}
	mux.HandleFunc("GET /ws", s.stream)
	mux.HandleFunc("GET /ws/", s.stream)
	mux.HandleFunc("GET /stream", s.stream)
	mux.HandleFunc("GET /simulator/accounting", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Accounting()) })
	mux.HandleFunc("GET /simulator/answers", s.serveAnswers)
	mux.HandleFunc("GET /simulator/faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.faults.active()) })
	mux.HandleFunc("POST /simulator/faults", s.serveInject)
	mux.HandleFunc("DELETE /simulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /{$}", s.index)
	return mux
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(value) //nolint:errcheck // the client is gone: nobody to tell
}

func (s *Simulator) serveInject(w http.ResponseWriter, q *http.Request) {
	var f Fault
	d := json.NewDecoder(io.LimitReader(q.Body, 1<<16))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if err == nil {
		err = s.Inject(f)
	}
	if err != nil {
		http.Error(w, strings.ReplaceAll(err.Error(), "\n", "; "), http.StatusBadRequest)
		return
	}
	reply(w, s.faults.active())
}

// longestAnswer bounds the work and the memory of one request: four years.
const longestAnswer = 1464 * day

// serveAnswers reads from and to, RFC 3339 or ms; to is now if it is absent.
func (s *Simulator) serveAnswers(w http.ResponseWriter, q *http.Request) {
	from, err := instant(q.FormValue("from"), 0)
	if err == nil && from == 0 {
		err = fmt.Errorf("is missing")
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("from %q: %v", q.FormValue("from"), err), http.StatusBadRequest)
		return
	}
	now := s.clock.now()
	to, err := instant(q.FormValue("to"), now-now%minute)
	if err != nil || to-from > longestAnswer {
		http.Error(w, fmt.Sprintf("to %q: is not a time up to four years after from", q.FormValue("to")), http.StatusBadRequest)
		return
	}
	reply(w, s.Answers(from, to))
}

func instant(text string, absent market.Millis) (market.Millis, error) {
	if text == "" {
		return absent, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return market.MillisOf(t), nil
	}
	var m market.Millis
	if _, err := fmt.Sscanf(text, "%d", &m); err != nil {
		return 0, fmt.Errorf("is neither RFC 3339 nor ms")
	}
	return m, nil
}

func (s *Simulator) index(w http.ResponseWriter, _ *http.Request) {
	var symbols []string
	for _, in := range s.board.order {
		symbols = append(symbols, in.symbol)
	}
	what := fmt.Sprintf("a seeded market, seed %d", s.cfg.Seed)
	if s.cfg.Replay != "" {
		what = "a recording: " + s.cfg.Replay
	}
	news := "seeded posts"
	if s.cfg.ReplayNews != "" {
		news = "a recording: " + s.cfg.ReplayNews
	}
	fmt.Fprintf(w, `Candlestack simulator: an exchange with Binance's wire formats, and news beside it.

serves   %s
news     %s
symbols  %s
clock    %s (real: %s)

REST     http://%[6]s/api/v3/{ping,time,exchangeInfo,klines}
streams  ws://%[6]s/ws/<symbol>@kline_<interval>
         ws://%[6]s/stream?streams=<symbol>@kline_<interval>/...
news     http://%[6]s/api/v1/posts/?auth_token=any            CryptoPanic's API v1 (also /api/free/v1/posts/):
           filter, currencies, kind, regions, metadata, page
         http://%[6]s/news/rss                                RSS 2.0
         http://%[6]s/news/<id>/<slug>                        a post

GET    /simulator/answers?from=2025-03-01T00:00:00Z&to=...   the answer key
GET    /simulator/accounting                                  what clients cost
GET    /simulator/faults                                      faults that are active
DELETE /simulator/faults                                      end them
POST   /simulator/faults  {"kind":"disconnect","target":"","count":1,"seconds":0,"symbol":"","delay":0}
         kinds: %[7]s
         targets: exchange cryptopanic rss news (both feeds)
`, what, news, strings.Join(symbols, " "), s.Now(), market.MillisOf(s.wall()), s.Addr(), strings.Join(FaultKinds(), " "))
}
