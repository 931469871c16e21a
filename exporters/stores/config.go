package stores

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Config is what a user may set. A store without an address is not asked.
type Config struct {
	MySQL   MySQLConfig   `embed:"" prefix:"mysql."`
	MongoDB MongoDBConfig `embed:"" prefix:"mongodb."`
	Stores  ClockConfig   `embed:"" prefix:"stores."`
}

// MySQLConfig tells where candles are stored.
type MySQLConfig struct {
	DSN     string `help:"MySQL or MariaDB with the candles, in the Go driver's form, as a user who may only read; not asked if neither this nor a file is given. The password makes it a secret: better in a file." placeholder:"USER:PASSWORD@tcp(HOST:PORT)/market"`
	DSNFile string `help:"File that holds the DSN." placeholder:"PATH"`
	Group   string `help:"Consumer group of the sink that fills it: an hour is compared with Kafka once this group has stored it." default:"candlestack-mysql"`
}

// MongoDBConfig tells where posts are stored.
type MongoDBConfig struct {
	URI      string `help:"MongoDB with the posts, as a user who may only read; not asked if neither this nor a file is given. The password makes it a secret: better in a file." placeholder:"mongodb://USER:PASSWORD@HOST:PORT/"`
	URIFile  string `help:"File that holds the URI." placeholder:"PATH"`
	Database string `help:"Database of the posts." default:"news"`
}

// ClockConfig tells how often the stores are asked; a scrape never asks them.
type ClockConfig struct {
	Interval     time.Duration `help:"Time between two questions that an index answers." default:"15s"`
	SlowInterval time.Duration `help:"Time between two questions that read many rows; longer where they take more than a fiftieth of it." default:"1m"`
	Timeout      time.Duration `help:"How long one query may take." default:"10s"`
}

// hidden stands for an address that could not be read, and so could not be rid of its password.
const hidden = "(hidden)"

func wrong(field, value string, problem error) error {
	return fmt.Errorf("%s %q: %w", field, value, problem)
}

// Validate reports every setting that cannot be right.
func (c *Config) Validate() error {
	var errs []error
	if _, err := c.MySQL.parse(); err != nil {
		errs = append(errs, err)
	}
	if c.MySQL.Group == "" {
		errs = append(errs, wrong("--mysql.group", "", errors.New("is empty")))
	}
	if _, err := c.MongoDB.parse(); err != nil {
		errs = append(errs, err)
	}
	if d := c.MongoDB.Database; d == "" || len(d) > 63 || strings.ContainsAny(d, "/\\. \"$*<>:|?\x00") {
		errs = append(errs, wrong("--mongodb.database", d, errors.New("is not 1 to 63 bytes without any of /\\. \"$*<>:|?")))
	}
	k := c.Stores
	for _, d := range []struct {
		field string
		is    time.Duration
		least time.Duration
	}{
		{"--stores.interval", k.Interval, time.Second},
		{"--stores.slow-interval", k.SlowInterval, k.Interval},
		{"--stores.timeout", k.Timeout, 100 * time.Millisecond},
	} {
		if d.is < d.least || d.is > 24*time.Hour {
			errs = append(errs, wrong(d.field, d.is.String(), fmt.Errorf("is not %s to 24h", d.least)))
		}
	}
	return errors.Join(errs...)
}

// secret reads a setting that is given itself or in a file; both empty: not given.
func secret(flag, value, file string) (field, text string, err error) {
	switch {
	case value != "" && file != "":
		return "", "", wrong(flag+"-file", file, fmt.Errorf("stands beside %s; give one of them", flag))
	case file == "":
		return flag, value, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", wrong(flag+"-file", file, err)
	}
	if text = strings.TrimSpace(string(b)); text == "" {
		return "", "", wrong(flag+"-file", file, errors.New("is empty"))
	}
	return flag + "-file", text, nil
}

// parse reads the DSN; nil if none is given. Its errors do not quote it: the driver's own may.
func (c *MySQLConfig) parse() (*driver.Config, error) {
	field, dsn, err := secret("--mysql.dsn", c.DSN, c.DSNFile)
	if err != nil || dsn == "" {
		return nil, err
	}
	d, err := driver.ParseDSN(dsn)
	if err != nil || d.Net != "tcp" && d.Net != "unix" {
		return nil, wrong(field, hidden, errors.New("is not of the form user:password@tcp(host:port)/database"))
	}
	shown := fmt.Sprintf("%s@%s(%s)/%s", d.User, d.Net, d.Addr, d.DBName)
	if d.DBName == "" {
		return nil, wrong(field, shown, errors.New("names no database after the last slash"))
	}
	if d.Net == "tcp" {
		_, port, err := net.SplitHostPort(d.Addr)
		if n, bad := strconv.ParseUint(port, 10, 16); err == nil && (bad != nil || n == 0) {
			err = fmt.Errorf("port %q is not 1 to 65535", port)
		}
		if err != nil {
			return nil, wrong(field, shown, err)
		}
	}
	return d, nil
}

// parse reads the URI; nil if none is given. Its errors do not quote it: the driver's own may.
func (c *MongoDBConfig) parse() (*options.ClientOptions, error) {
	field, uri, err := secret("--mongodb.uri", c.URI, c.URIFile)
	if err != nil || uri == "" {
		return nil, err
	}
	// A name of this form is looked up where it is read: a start must not need the network.
	if strings.HasPrefix(uri, "mongodb+srv://") {
		return nil, wrong(field, hidden, errors.New("is of the form mongodb+srv; name the servers instead: mongodb://host:port,host:port/?replicaSet=name&tls=true"))
	}
	o := options.Client().ApplyURI(uri)
	if err := o.Validate(); err != nil {
		return nil, wrong(field, hidden, errors.New("is not of the form mongodb://user:password@host:port/?option=value, or an option is unknown"))
	}
	return o, nil
}

// dialTimeout bounds the way to a host that does not answer.
const dialTimeout = 5 * time.Second

// settleMySQL puts on top of the user's DSN what reading needs.
func settleMySQL(d *driver.Config, timeout time.Duration) (*driver.Config, error) {
	d = d.Clone()
	if d.Params == nil {
		d.Params = map[string]string{}
	}
	for name := range d.Params { // names of variables have no case, keys of a map have
		if strings.EqualFold(name, "time_zone") {
			delete(d.Params, name)
		}
	}
	d.Params["time_zone"] = "'+00:00'"
	d.Loc = time.UTC
	d.ParseTime = true
	d.InterpolateParams = true // one way to the server a query
	d.MultiStatements = false
	d.AllowAllFiles = false
	d.Timeout = min(dialTimeout, timeout)
	d.ReadTimeout, d.WriteTimeout = timeout+dialTimeout, timeout+dialTimeout // after the deadline of a query, which tells more
	d.Logger = &driver.NopLogger{}                                           // what it would say comes back as an error
	return d, d.Apply(driver.Charset("utf8mb4", "utf8mb4_bin"))
}

// settleMongo does the same for MongoDB. A secondary may answer while there is no primary.
func settleMongo(o *options.ClientOptions, timeout time.Duration) *options.ClientOptions {
	return o.
		SetAppName("candlestack-exporter").
		SetReadPreference(readpref.PrimaryPreferred()).
		SetMaxPoolSize(2).
		SetConnectTimeout(min(dialTimeout, timeout)).
		SetServerSelectionTimeout(min(dialTimeout, timeout)).
		SetTimeout(timeout)
}
