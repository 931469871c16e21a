package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// apiError is an error as Binance words it, status 400 (exchanges.md §1.4).
type apiError struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Msg) }

// body of an error; the struct cannot fail to marshal.
func (e *apiError) body() []byte {
	b, _ := json.Marshal(e)
	return b
}

// route is one of the exchange's REST routes.
type route struct {
	name   string
	path   string
	weight int
	answer func(url.Values) ([]byte, error)
}

func (s *Simulator) routes() []route {
	return []route{
		{"ping", "/api/v3/ping", 1, s.ping},
		{"time", "/api/v3/time", 1, s.serverTime},
		{"exchangeInfo", "/api/v3/exchangeInfo", 20, s.exchangeInfo},
		{"klines", "/api/v3/klines", 2, s.klines},
	}
}

// serve wraps a route: its weight is accounted for, then faults strike, then
// it is answered.
func (s *Simulator) serve(r route) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		v := s.limits.request(host(q), r.weight)
		w.Header().Set("X-Mbx-Used-Weight", strconv.Itoa(v.used))
		w.Header().Set("X-Mbx-Used-Weight-1m", strconv.Itoa(v.used))
		if v.status != http.StatusOK {
			s.reject(w, r, v.status, v.until)
			return
		}
		query := q.URL.Query()
		if s.fail(w, q, r, query.Get("symbol")) {
			return
		}
		body, err := r.answer(query)
		status := http.StatusOK
		var bad *apiError
		if errors.As(err, &bad) {
			status, body = http.StatusBadRequest, bad.body()
		}
		s.reply(w, r, status, "application/json;charset=UTF-8", body)
	}
}

func (s *Simulator) reply(w http.ResponseWriter, r route, status int, contentType string, body []byte) {
	s.metrics.requests.WithLabelValues(r.name, strconv.Itoa(status)).Inc()
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nobody to tell
}

// reject says that the client is over the limit (429) or banned (418).
func (s *Simulator) reject(w http.ResponseWriter, r route, status int, until time.Time) {
	wait := max(until.Sub(s.wall()), 0)
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	e := &apiError{-1003, fmt.Sprintf("Too much request weight used; current limit is %d request weight per 1 MINUTE. "+
		"Please use WebSocket Streams for live updates to avoid polling the API.", s.limits.weight)}
	if status == http.StatusTeapot {
		e.Msg = fmt.Sprintf("Way too much request weight used; IP banned until %d. "+
			"Please use WebSocket Streams for live updates to avoid bans.", until.UnixMilli())
	}
	s.reply(w, r, status, "application/json;charset=UTF-8", e.body())
}

const firewallPage = `<html><head><title>ERROR: The request could not be satisfied</title></head>` +
	`<body><h1>403 ERROR</h1><p>Request blocked.</p></body></html>`

const maintenancePage = `<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>`

// fail lets the faults strike that are due for a request; true if one answered.
func (s *Simulator) fail(w http.ResponseWriter, q *http.Request, r route, symbol string) bool {
	due := func(kind string) *active {
		a := s.faults.take(kind, func(of string) bool { return of == symbol })
		if a != nil {
			s.metrics.faults.WithLabelValues(kind).Inc()
		}
		return a
	}
	if a := due(faultSlow); a != nil && !late(q, a) {
		return true
	}
	switch {
	case s.rejectFault(w, r, due(fault429), http.StatusTooManyRequests, time.Second):
	case s.rejectFault(w, r, due(fault418), http.StatusTeapot, firstBan):
	case due(fault5xx) != nil:
		e := &apiError{-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."}
		s.reply(w, r, http.StatusServiceUnavailable, "application/json;charset=UTF-8", e.body())
	case due(fault403) != nil:
		s.reply(w, r, http.StatusForbidden, "text/html", []byte(firewallPage))
	case due(faultHTML) != nil:
		s.reply(w, r, http.StatusOK, "text/html", []byte(maintenancePage))
	case due(faultTruncatedBody) != nil:
		body, err := r.answer(q.URL.Query())
		if err != nil {
			body = []byte(maintenancePage)
		}
		cut(w, "application/json;charset=UTF-8", body)
	default:
		return false
	}
	return true
}

// late waits as long as a fault says; false if the client has left.
func late(q *http.Request, a *active) bool {
	select {
	case <-time.After(a.delay(2 * time.Second)):
		return true
	case <-q.Context().Done():
		return false
	}
}

// cut sends half a body and ends the connection.
func cut(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body[:len(body)/2])    // it is cut in any case
	http.NewResponseController(w).Flush() // the same
	panic(http.ErrAbortHandler)           // net/http's way to cut a connection
}

func (s *Simulator) rejectFault(w http.ResponseWriter, r route, a *active, status int, wait time.Duration) bool {
	if a == nil {
		return false
	}
	until := a.until
	if until.IsZero() || a.Delay > 0 {
		until = s.wall().Add(a.delay(wait))
	}
	s.reject(w, r, status, until)
	return true
}

func (a *active) delay(usual time.Duration) time.Duration {
	if a.Delay > 0 {
		return time.Duration(a.Delay * float64(time.Second))
	}
	return usual
}

// host is the IP of a client: what limits are counted by.
func host(q *http.Request) string {
	ip, _, err := net.SplitHostPort(q.RemoteAddr)
	if err != nil {
		return q.RemoteAddr
	}
	return ip
}

func (s *Simulator) ping(q url.Values) ([]byte, error) { return []byte("{}"), tooMany(q, 0) }

func (s *Simulator) serverTime(q url.Values) ([]byte, error) {
	return fmt.Appendf(nil, `{"serverTime":%d}`, s.clock.now()), tooMany(q, 0)
}

func tooMany(q url.Values, allowed int) error {
	if len(q) > allowed {
		return &apiError{-1101, fmt.Sprintf("Too many parameters; expected '%d' and received '%d'.", allowed, len(q))}
	}
	return nil
}
