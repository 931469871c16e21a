package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/candlestack/candlestack/services/pipeline"
)

// The server's codes (MongoDB's error_codes.yml) and what they mean for a batch;
// DATA.md publishes them. What is not listed is Environment, since waiting loses
// nothing. They come as an error of the command, of one write of a bulk, or of the
// write concern, and mean the same everywhere.
//
// A server that is no longer the primary is Transient: the driver has noted it, and
// the next attempt waits for a new primary; where none comes, that attempt is
// Environment (connect).
var codes = []struct {
	code    int
	class   pipeline.Class
	meaning string
}{
	{6, pipeline.Transient, "the server cannot reach another one"},
	{7, pipeline.Transient, "the server does not find another one"},
	{24, pipeline.Transient, "lock wait timeout"},
	{43, pipeline.Transient, "cursor is gone"},
	{46, pipeline.Transient, "lock is busy"},
	{50, pipeline.Transient, "command ran too long"},
	{64, pipeline.Transient, "the majority did not confirm in time"},
	{89, pipeline.Transient, "network timeout within the cluster"},
	{91, pipeline.Transient, "server shutdown in progress"},
	{112, pipeline.Transient, "write conflict"},
	{117, pipeline.Transient, "conflicting operation in progress"},
	{133, pipeline.Transient, "no primary at this moment (said by mongos)"},
	{175, pipeline.Transient, "query plan killed"},
	{189, pipeline.Transient, "primary stepped down"},
	{202, pipeline.Transient, "timeout within the cluster"},
	{216, pipeline.Transient, "election in progress"},
	{237, pipeline.Transient, "cursor killed"},
	{262, pipeline.Transient, "time limit exceeded"},
	{279, pipeline.Transient, "client disconnected"},
	{285, pipeline.Transient, "the same index is being built"},
	{365, pipeline.Transient, "temporarily unavailable, cache under pressure"},
	{402, pipeline.Transient, "resources exhausted"},
	{433, pipeline.Transient, "queue of requests is full"},
	{449, pipeline.Transient, "over a limit of requests"},
	{9001, pipeline.Transient, "connection broke within the cluster"},
	{10058, pipeline.Transient, "not the primary (old servers)"},
	{10107, pipeline.Transient, "not the primary"},
	{11600, pipeline.Transient, "interrupted at shutdown"},
	{11601, pipeline.Transient, "operation killed"},
	{11602, pipeline.Transient, "interrupted by a change of primary"},
	{13435, pipeline.Transient, "not the primary, and reading is not allowed"},
	{13436, pipeline.Transient, "neither primary nor secondary: still starting"},

	{8, pipeline.Environment, "the server does not say what"},
	{11, pipeline.Environment, "no such user"},
	{13, pipeline.Environment, "a right is missing"},
	{18, pipeline.Environment, "user or password refused"},
	{20, pipeline.Environment, "not allowed on this server"},
	{26, pipeline.Environment, "no such collection"},
	{59, pipeline.Environment, "the server does not know the command"},
	{73, pipeline.Environment, "name of database or collection refused"},
	{74, pipeline.Environment, "a member of the replica set is missing"},
	{76, pipeline.Environment, "replica set expected"},
	{79, pipeline.Environment, "write concern unknown"},
	{94, pipeline.Environment, "replica set is not initialised"},
	{100, pipeline.Environment, "too few members for the write concern"},
	{115, pipeline.Environment, "command not supported"},
	{146, pipeline.Environment, "over a limit of memory"},
	{166, pipeline.Environment, "the name is a view's"},
	{215, pipeline.Environment, "database is being dropped"},
	{238, pipeline.Environment, "not implemented"},
	{261, pipeline.Environment, "too many sessions"},
	{264, pipeline.Environment, "too many open files"},
	{334, pipeline.Environment, "way to log in is not available"},
	{371, pipeline.Environment, "writes are blocked by the administrator"},
	{391, pipeline.Environment, "log-in has expired"},
	{8000, pipeline.Environment, "refused by Atlas"},
	{11000, pipeline.Environment, "duplicate of a unique index that is not ours; of our keys it is no error"},
	{14031, pipeline.Environment, "disk full"},

	{22, pipeline.Poison, "not BSON"},
	{28, pipeline.Poison, "path cannot be set"},
	{52, pipeline.Poison, "name of a field begins with $"},
	{53, pipeline.Poison, "_id of a wrong type"},
	{56, pipeline.Poison, "name of a field is empty"},
	{57, pipeline.Poison, "name of a field has a dot"},
	{121, pipeline.Poison, "refused by the validator"},
	{171, pipeline.Poison, "index over two arrays"},
	{201, pipeline.Poison, "key of an index cannot be built"},
	{357, pipeline.Poison, "value of a wrong BSON type"},
	{378, pipeline.Poison, "not correct BSON"},
	{10334, pipeline.Poison, "document larger than 16 MiB; also our own check of texts"},
	{17280, pipeline.Poison, "key of an index too long"},
	{17419, pipeline.Poison, "document larger than 16 MiB after the update"},
	{17420, pipeline.Poison, "document larger than 16 MiB after the update"},
}

const duplicateKey = 11000

// Codes of errors that are not the server's.
const (
	codeRefused = "connect" // no connection came about, or no server takes writes
	codeLost    = "lost"    // a connection broke, or the answer did not come in time
	codeKind    = "kind"    // our own check
	codeText    = "text"    // our own check
)

// known gives an error of the server its class.
func known(code int, err error) *pipeline.Error {
	class := pipeline.Environment
	for _, c := range codes {
		if c.code == code {
			class = c.class
		}
	}
	return &pipeline.Error{Class: class, Code: strconv.Itoa(code), Err: err}
}

// classify returns a *pipeline.Error, or err itself if nothing is known of it.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		if errors.Is(err, cause) {
			return err
		}
		return fmt.Errorf("%w: %w", cause, err)
	}
	var selection topology.ServerSelectionError
	var command mongo.CommandError
	var operation *net.OpError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &selection):
		return &pipeline.Error{Class: pipeline.Environment, Code: codeRefused, Err: unavailable(selection)}
	case errors.As(err, &command) && command.Code != 0:
		return known(int(command.Code), err)
	case errors.As(err, &operation) && operation.Op == "dial", errors.As(err, &lookup):
		return &pipeline.Error{Class: pipeline.Environment, Code: codeRefused, Err: err}
	case mongo.IsNetworkError(err), mongo.IsTimeout(err), errors.As(err, &topology.ConnectionError{}),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), operation != nil:
		return &pipeline.Error{Class: pipeline.Transient, Code: codeLost, Err: err}
	}
	return err
}

// unavailable says of each server why it does not do, in one line.
func unavailable(e topology.ServerSelectionError) error {
	var servers []string
	for _, s := range e.Desc.Servers {
		switch {
		case s.LastError != nil:
			servers = append(servers, fmt.Sprintf("%s: %v", s.Addr, s.LastError))
		default:
			servers = append(servers, fmt.Sprintf("%s is %s", s.Addr, s.Kind))
		}
	}
	return fmt.Errorf("no server takes writes: %s", strings.Join(servers, "; "))
}
