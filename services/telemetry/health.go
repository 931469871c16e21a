package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Health is what /-/ready says: which parts of a command cannot work yet, and
// why. It is safe for concurrent use.
type Health struct {
	log *slog.Logger

	mu       sync.Mutex
	problems map[string]string // by part; "" is ready
	stopping bool
}

// starting is the problem of a part that has not spoken yet.
const starting = "starting"

// NewHealth makes the health of a command. The parts named are not ready until
// Set says so; others join at their first Set.
func NewHealth(log *slog.Logger, parts ...string) *Health {
	h := &Health{log: log, problems: map[string]string{}}
	for _, p := range parts {
		h.problems[p] = starting
	}
	return h
}

// Set says that a part has a problem, or with "" that it is ready. A line is
// logged where the part turns from one to the other, but not where only the words
// of a problem change: errors carry port numbers, and would fill the log while we
// wait. The problem "starting" is no news, nor is a part that begins ready.
func (h *Health) Set(part, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.problems[part]
	h.problems[part] = problem
	switch {
	case problem == starting, problem == "" && !known:
	case known && before != starting && (before == "") == (problem == ""):
	case problem == "":
		h.log.Info("ready", "part", part)
	default:
		h.log.Warn("not ready", "part", part, "problem", problem)
	}
}

// Stopping makes /-/ready fail from now on, whatever the parts say.
func (h *Health) Stopping() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopping {
		h.stopping = true
		h.log.Info("stopping")
	}
}

// Problems returns what is not ready, by part; "process" is stopping where
// Stopping was called. Empty means ready.
func (h *Health) Problems() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := maps.Clone(h.problems)
	maps.DeleteFunc(problems, func(_, problem string) bool { return problem == "" })
	if h.stopping {
		problems["process"] = "stopping"
	}
	return problems
}

// ServeHTTP answers 200 and ready, or 503 and a line for each part that is missing.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	problems := h.Problems()
	if len(problems) == 0 {
		_, _ = io.WriteString(w, "ready\n")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, part := range slices.Sorted(maps.Keys(problems)) {
		_, _ = fmt.Fprintf(w, "%s: %s\n", part, problems[part])
	}
}
