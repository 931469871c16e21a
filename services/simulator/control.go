package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// subscribe adds a stream, once. It sends from the next push on.
func (c *session) subscribe(name string) {
	if !slices.ContainsFunc(c.lines, func(l *line) bool { return l.name == name }) {
		c.lines = append(c.lines, newLine(name, &c.board, c.cursor))
	}
}

// request is a control message.
type request struct {
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	ID     json.RawMessage   `json:"id"`
}

// command answers SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY and
// GET_PROPERTY. Errors are wrapped with the id of their request, as the live
// exchange is known to do.
func (c *session) command(ctx context.Context, message []byte) error {
	var q request
	if err := json.Unmarshal(message, &q); err != nil {
		return c.refuse(ctx, nil, 3, "Invalid JSON: "+err.Error())
	}
	var names []string
	for _, p := range q.Params {
		var name string
		if json.Unmarshal(p, &name) != nil && strings.HasSuffix(q.Method, "SUBSCRIBE") {
			return c.refuse(ctx, q.ID, 2, "Invalid request: params must be an array of strings")
		}
		names = append(names, name)
	}
	result := []byte("null")
	switch q.Method {
	case "SUBSCRIBE":
		if len(c.lines)+len(names) > maxStreams {
			return c.refuse(ctx, q.ID, 2, fmt.Sprintf("Invalid request: more than %d streams", maxStreams))
		}
		for _, name := range names {
			c.subscribe(name)
		}
	case "UNSUBSCRIBE":
		c.lines = slices.DeleteFunc(c.lines, func(l *line) bool { return slices.Contains(names, l.name) })
	case "LIST_SUBSCRIPTIONS":
		all := make([]string, len(c.lines))
		for k, l := range c.lines {
			all[k] = l.name
		}
		result, _ = json.Marshal(all) // strings cannot fail
	case "SET_PROPERTY", "GET_PROPERTY":
		if len(names) == 0 || names[0] != "combined" {
			return c.refuse(ctx, q.ID, 0, "Unknown property")
		}
		if q.Method == "GET_PROPERTY" {
			result = fmt.Append(nil, c.wrapped)
		} else if len(q.Params) != 2 || json.Unmarshal(q.Params[1], &c.wrapped) != nil {
			return c.refuse(ctx, q.ID, 1, "Invalid value type: expected Boolean")
		}
	default:
		return c.refuse(ctx, q.ID, 2, fmt.Sprintf("Invalid request: unknown variant `%.40s`", q.Method))
	}
	return c.text(ctx, fmt.Appendf(nil, `{"result":%s,"id":%s}`, result, idOf(q.ID)))
}

func (c *session) refuse(ctx context.Context, id json.RawMessage, code int, why string) error {
	e := &apiError{code, why}
	return c.text(ctx, fmt.Appendf(nil, `{"error":%s,"id":%s}`, e.body(), idOf(id)))
}

func idOf(id json.RawMessage) string {
	if len(id) == 0 {
		return "null"
	}
	return string(id)
}
