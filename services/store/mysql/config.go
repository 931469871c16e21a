package mysql

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Config is what a user may set of the sink.
type Config struct {
	DSN            string        `help:"Server, user and database in the Go driver's form. The password makes it a secret: better in a file." placeholder:"USER:PASSWORD@tcp(HOST:PORT)/market"`
	DSNFile        string        `help:"File that holds the DSN." placeholder:"PATH"`
	Connections    int           `help:"Connections at most." default:"4"`
	Timeout        time.Duration `help:"How long the server may be silent before a connection counts as lost." default:"20s"`
	OverwriteEqual bool          `help:"For a run that corrects: an event of the stored version replaces the row instead of marking a conflict."`
}

// flagDSN is the setting that most of what goes wrong at the start is about.
const flagDSN = "--mysql.dsn"

// hidden stands for a DSN that could not be read, and so could not be rid of its password.
const hidden = "(hidden)"

// Validate reports every setting that cannot be right.
func (c *Config) Validate() error {
	var errs []error
	if _, err := c.parse(); err != nil {
		errs = append(errs, err)
	}
	if c.Connections < 1 || c.Connections > 100 {
		errs = append(errs, &pipeline.ConfigError{Field: "--mysql.connections", Value: strconv.Itoa(c.Connections), Err: errors.New("is not 1 to 100")})
	}
	if c.Timeout < time.Second {
		errs = append(errs, &pipeline.ConfigError{Field: "--mysql.timeout", Value: c.Timeout.String(), Err: errors.New("is less than 1s")})
	}
	return errors.Join(errs...)
}

// parse reads the DSN. Its errors do not quote it: the driver's own may.
func (c *Config) parse() (*driver.Config, error) {
	field, dsn := flagDSN, c.DSN
	switch {
	case c.DSN != "" && c.DSNFile != "":
		return nil, &pipeline.ConfigError{Field: "--mysql.dsn-file", Value: c.DSNFile, Err: errors.New("stands beside --mysql.dsn; give one of them")}
	case c.DSNFile != "":
		text, err := os.ReadFile(c.DSNFile)
		if err != nil {
			return nil, &pipeline.ConfigError{Field: "--mysql.dsn-file", Value: c.DSNFile, Err: err}
		}
		field, dsn = "--mysql.dsn-file", strings.TrimSpace(string(text))
	}
	if dsn == "" {
		return nil, &pipeline.ConfigError{Field: field, Value: "", Err: errors.New("is empty")}
	}
	d, err := driver.ParseDSN(dsn)
	if err != nil || d.Net != "tcp" && d.Net != "unix" {
		return nil, &pipeline.ConfigError{Field: field, Value: hidden, Err: errors.New("is not of the form user:password@tcp(host:port)/database")}
	}
	if d.DBName == "" {
		return nil, &pipeline.ConfigError{Field: field, Value: redact(d), Err: errors.New("names no database after the last slash")}
	}
	if d.Net == "tcp" {
		host, port, err := net.SplitHostPort(d.Addr)
		if n, bad := strconv.ParseUint(port, 10, 16); err == nil && (bad != nil || n == 0) {
			err = fmt.Errorf("port %q is not 1 to 65535", port)
		}
		if _, bad := netip.ParseAddr(host); err == nil && bad != nil && strings.Contains(host, ":") {
			err = fmt.Errorf("host %q is neither a name nor an address", host) // the driver gave a:b:c brackets
		}
		if err != nil {
			return nil, &pipeline.ConfigError{Field: field, Value: redact(d), Err: err}
		}
	}
	return d, nil
}

// redact is the DSN without password and parameters.
func redact(d *driver.Config) string {
	return fmt.Sprintf("%s@%s(%s)/%s", d.User, d.Net, d.Addr, d.DBName)
}

// lockWait is how long a row's lock is waited for: shorter than any timeout, so
// that the server tells of it (1205) before the connection counts as lost.
const lockWait = 5 * time.Second

// dialTimeout bounds the way to a host that does not answer.
const dialTimeout = 5 * time.Second

// settle puts on top of the user's DSN what exactness needs.
func settle(d *driver.Config, timeout time.Duration) (*driver.Config, error) {
	d = d.Clone()
	if d.Params == nil {
		d.Params = map[string]string{}
	}
	// Names of variables have no case, keys of a map have.
	for name := range d.Params {
		switch strings.ToLower(name) {
		case "sql_mode", "time_zone", "innodb_lock_wait_timeout":
			delete(d.Params, name)
		}
	}
	d.Params["sql_mode"] = "'" + sqlMode + "'"
	d.Params["time_zone"] = "'+00:00'"
	d.Params["innodb_lock_wait_timeout"] = strconv.Itoa(int(lockWait.Seconds()))
	d.Loc = time.UTC
	d.ParseTime = true
	d.ClientFoundRows = true // updated rows = affected - distinct keys
	d.MultiStatements = false
	d.InterpolateParams = false
	d.AllowAllFiles = false
	d.MaxAllowedPacket = 0 // ask the server at connect
	d.Timeout = dialTimeout
	d.ReadTimeout, d.WriteTimeout = timeout, timeout
	d.Logger = &driver.NopLogger{} // what it would say comes back as an error
	return d, d.Apply(driver.Charset("utf8mb4", "utf8mb4_bin"))
}

// sqlMode refuses every value that does not fit and leaves backslashes their
// meaning, which the quoting of texts relies on.
const sqlMode = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
