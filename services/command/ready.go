package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/telemetry"
)

// ready is `candlestack ready`: the health check of an image that has no shell.
type ready struct {
	// Named as in the commands that it asks, so that one environment serves both.
	Listen string        `name:"ops.listen" help:"Address that the command serves /-/ready on." default:"127.0.0.1:9601" placeholder:"[HOST]:PORT"`
	Within time.Duration `help:"Longest time to wait for the answer." default:"3s"`
}

// Run succeeds where the command that listens there is ready; the error is what
// it says is missing.
func (c *ready) Run(p *process) error {
	if err := (telemetry.OpsConfig{Listen: c.Listen}).Validate(); err != nil {
		return err
	}
	if c.Listen == "" {
		return &pipeline.ConfigError{Field: "--ops.listen", Err: errors.New("names no address to ask")}
	}
	ctx, cancel := context.WithTimeout(p.ctx, c.Within)
	defer cancel()
	host, port, _ := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/-/ready", nil)
	if err != nil {
		return err
	}
	// One question without a proxy: the command is near.
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	missing, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	return fmt.Errorf("not ready: %s", strings.TrimSpace(string(missing)))
}
