// Package telemetry is what every command needs to be watched and stopped: its
// log, its metrics registry, the server that shows both its numbers and its
// health, and the group in which its parts run and end (design §4.6, §4.7, §7).
package telemetry

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"

	"github.com/candlestack/candlestack/services/pipeline"
)

// LogConfig says how to write the log. The zero value is text at info.
type LogConfig struct {
	Format string `help:"Form of log lines: text or json." default:"text" placeholder:"text|json"`
	Level  string `help:"Least level that is logged: debug, info, warn or error." default:"info" placeholder:"debug|info|warn|error"`
}

// Validate returns all problems joined, each a *pipeline.ConfigError.
func (c LogConfig) Validate() error {
	var problems []error
	switch c.Format {
	case "", "text", "json":
	default:
		problems = append(problems, &pipeline.ConfigError{Field: "--log.format", Value: c.Format, Err: errors.New("is not text or json")})
	}
	if _, ok := level(c.Level); !ok {
		problems = append(problems, &pipeline.ConfigError{Field: "--log.level", Value: c.Level, Err: errors.New("is not debug, info, warn or error")})
	}
	return errors.Join(problems...)
}

func level(name string) (slog.Level, bool) {
	switch name {
	case "debug":
		return slog.LevelDebug, true
	case "", "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	}
	return 0, false
}

// Logger makes the logger of a command, which writes a line per record to w.
// The error is that of Validate.
func (c LogConfig) Logger(w io.Writer) (*slog.Logger, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	least, _ := level(c.Level)
	options := &slog.HandlerOptions{Level: least}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// OpsConfig says where a command answers the people who run it. The command
// gives the default address of Listen by kong's tag set:"ops_listen=ADDRESS" on
// the field that embeds this struct, since commands on one machine need
// different ports.
type OpsConfig struct {
	Listen string `help:"Address of /metrics, /-/healthy and /-/ready; empty: not served." default:"${ops_listen}" placeholder:"HOST:PORT"`
	Pprof  bool   `help:"Serve profiles at /debug/pprof/ too."`
}

// Validate returns a *pipeline.ConfigError where Listen is no host:port.
func (c OpsConfig) Validate() error {
	if c.Listen == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		if _, bad := strconv.ParseUint(port, 10, 16); bad != nil {
			err = errors.New("the port is not a number from 0 to 65535")
		}
	}
	if err != nil {
		return &pipeline.ConfigError{Field: "--ops.listen", Value: c.Listen, Err: err}
	}
	return nil
}
