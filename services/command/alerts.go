package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/candlestack/candlestack/services/telemetry"
)

// alerts is `candlestack alerts`: what a class watches in the place of a pager.
type alerts struct {
	Ops    telemetry.OpsConfig `embed:"" prefix:"ops." set:"ops_listen=127.0.0.1:9622"`
	Listen string              `help:"Address that an Alertmanager's webhook posts to." default:"127.0.0.1:9099" placeholder:"HOST:PORT"`
}

// maxNotification is the longest body that is read: an alert has a few hundred
// bytes, and Alertmanager sends a group of them at a time.
const maxNotification = 4 << 20

// notification is the body of a webhook, as far as it is shown (Alertmanager's
// documentation of webhook_config, version 4).
type notification struct {
	Alerts []struct {
		Status      string            `json:"status"` // firing or resolved
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
}

// Run prints a line an alert until it is told to end.
func (c *alerts) Run(p *process) error {
	if err := c.Ops.Validate(); err != nil {
		return err
	}
	listener, err := telemetry.Listen("--listen", c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	s := service{Ops: c.Ops}
	return s.serve(p, func(report func(part, problem string), _ *prometheus.Registry) ([]telemetry.Part, error) {
		server := &http.Server{
			Handler:           show(p.stdout),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		}
		report("webhook", "")
		return []telemetry.Part{{Name: "webhook", Run: func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = server.Close() })
			defer stop()
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		}}}, nil
	})
}

// show prints what is posted, whatever the path.
func show(out io.Writer) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "an Alertmanager's webhook posts here", http.StatusMethodNotAllowed)
			return
		}
		var n notification
		if err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxNotification), &n); err != nil {
			http.Error(w, "not the body of a webhook: "+err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, a := range n.Alerts {
			// %q: a label may hold anything.
			fmt.Fprintf(out, "%s %-8s %-8s %s %q %s\n", time.Now().UTC().Format(time.TimeOnly), a.Status, a.Labels["severity"], a.Labels["alertname"],
				a.Annotations["summary"], a.Annotations["runbook_url"])
		}
	})
}
