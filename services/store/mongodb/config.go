package mongodb

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Config is what a user may set of the sink.
type Config struct {
	URI         string        `help:"Servers, user and options in MongoDB's form; mongodb://127.0.0.1:27017/?directConnection=true if neither this nor a file is given. The password makes it a secret: better in a file." placeholder:"mongodb://USER:PASSWORD@HOST:PORT/"`
	URIFile     string        `help:"File that holds the URI." placeholder:"PATH"`
	Database    string        `help:"Database for the collections. What the URI names after its slash is where the user is known, as with all drivers." default:"news"`
	Connections int           `help:"Connections at most." default:"4"`
	Timeout     time.Duration `help:"How long a request may take before its connection counts as lost." default:"20s"`
}

// defaultURI is a server on this machine, be it a replica set or not.
const defaultURI = "mongodb://127.0.0.1:27017/?directConnection=true"

// Settings that most of what goes wrong at the start is about.
const (
	flagURI      = "--mongodb.uri"
	flagURIFile  = "--mongodb.uri-file"
	flagDatabase = "--mongodb.database"
)

// hidden stands for a URI that could not be read, and so could not be rid of its password.
const hidden = "(hidden)"

// Validate reports every setting that cannot be right.
func (c *Config) Validate() error {
	var errs []error
	if _, err := c.parse(); err != nil {
		errs = append(errs, err)
	}
	if c.Database == "" || len(c.Database) > 63 || strings.ContainsAny(c.Database, "/\\. \"$*<>:|?\x00") || isSystem(c.Database) {
		errs = append(errs, &pipeline.ConfigError{Field: flagDatabase, Value: c.Database, Err: errors.New("is not 1 to 63 bytes without any of /\\. \"$*<>:|? or is the server's own")})
	}
	if c.Connections < 1 || c.Connections > 100 {
		errs = append(errs, &pipeline.ConfigError{Field: "--mongodb.connections", Value: strconv.Itoa(c.Connections), Err: errors.New("is not 1 to 100")})
	}
	if c.Timeout < time.Second {
		errs = append(errs, &pipeline.ConfigError{Field: "--mongodb.timeout", Value: c.Timeout.String(), Err: errors.New("is less than 1s")})
	}
	return errors.Join(errs...)
}

func isSystem(database string) bool {
	return database == "admin" || database == "local" || database == "config"
}

// parse reads the URI. Its errors do not quote it: the driver's own may.
func (c *Config) parse() (*options.ClientOptions, error) {
	field, uri := flagURI, c.URI
	switch {
	case c.URI != "" && c.URIFile != "":
		return nil, &pipeline.ConfigError{Field: flagURIFile, Value: c.URIFile, Err: errors.New("stands beside --mongodb.uri; give one of them")}
	case c.URIFile != "":
		text, err := os.ReadFile(c.URIFile)
		if err != nil {
			return nil, &pipeline.ConfigError{Field: flagURIFile, Value: c.URIFile, Err: err}
		}
		field, uri = flagURIFile, strings.TrimSpace(string(text))
	case c.URI == "":
		uri = defaultURI
	}
	// A name of this form is looked up where it is read: a start must not need the network.
	if strings.HasPrefix(uri, "mongodb+srv://") {
		return nil, &pipeline.ConfigError{Field: field, Value: hidden, Err: errors.New("is of the form mongodb+srv; name the servers instead: mongodb://host:port,host:port/?replicaSet=name&tls=true")}
	}
	o := options.Client().ApplyURI(uri)
	if err := o.Validate(); err != nil {
		return nil, &pipeline.ConfigError{Field: field, Value: hidden, Err: errors.New("is not of the form mongodb://user:password@host:port/?option=value, or an option is unknown")}
	}
	return o, nil
}

// redact is the URI without password and options, with the database that is written to.
func redact(o *options.ClientOptions, database string) string {
	user := ""
	if o.Auth != nil && o.Auth.Username != "" {
		user = o.Auth.Username + "@"
	}
	return fmt.Sprintf("mongodb://%s%s/%s", user, strings.Join(o.Hosts, ","), database)
}

// dialTimeout bounds the way to a host that does not answer, and the search for
// one that takes writes: long enough for an ordinary election to end.
const dialTimeout = 5 * time.Second

// settle puts on top of the user's URI what the promises need.
//
// Majority is right without a replica set too: there it means "in the journal",
// where the server's default would lose the last 100 ms when it is killed.
func settle(o *options.ClientOptions, c Config) *options.ClientOptions {
	return o.
		SetAppName("candlestack").
		SetWriteConcern(writeconcern.Majority()).
		SetReadConcern(readconcern.Local()).
		SetReadPreference(readpref.Primary()).
		SetMaxPoolSize(uint64(c.Connections)).
		SetConnectTimeout(dialTimeout).
		SetServerSelectionTimeout(dialTimeout).
		SetTimeout(c.Timeout)
}
