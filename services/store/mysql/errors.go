package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"syscall"

	mysql "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/pipeline"
)

// The server's codes and what they mean for a batch; DATA.md publishes them.
// What is not listed is Environment, since waiting loses nothing.
var codes = []struct {
	code    uint16
	class   pipeline.Class
	meaning string
}{
	{1213, pipeline.Transient, "deadlock"},
	{1205, pipeline.Transient, "lock wait timeout"},
	{1020, pipeline.Transient, "row changed since the snapshot (MariaDB 11.6 and later)"},
	{1040, pipeline.Transient, "too many connections"},
	{1053, pipeline.Transient, "server shutdown in progress"},
	{1152, pipeline.Transient, "connection aborted"},
	{1153, pipeline.Transient, "packet too large: the batch is split"},
	{1158, pipeline.Transient, "error reading from the connection"},
	{1159, pipeline.Transient, "timeout reading from the connection"},
	{1160, pipeline.Transient, "error writing to the connection"},
	{1161, pipeline.Transient, "timeout writing to the connection"},
	{1317, pipeline.Transient, "statement killed"},
	{1927, pipeline.Transient, "connection killed (MariaDB)"},
	{1969, pipeline.Transient, "statement ran too long (MariaDB)"},
	{2006, pipeline.Transient, "server has gone away (said by proxies)"},
	{2013, pipeline.Transient, "connection lost (said by proxies)"},
	{3024, pipeline.Transient, "statement ran too long"},
	{4031, pipeline.Transient, "connection was idle for too long"},

	{3, pipeline.Environment, "error writing a file, disk full"},
	{1021, pipeline.Environment, "disk full"},
	{1026, pipeline.Environment, "error writing a file"},
	{1030, pipeline.Environment, "error of the storage engine, disk full"},
	{1041, pipeline.Environment, "out of memory"},
	{1044, pipeline.Environment, "no rights on the database"},
	{1045, pipeline.Environment, "user or password refused"},
	{1049, pipeline.Environment, "no such database"},
	{1054, pipeline.Environment, "no such column"},
	{1064, pipeline.Environment, "the server does not read our SQL"},
	{1114, pipeline.Environment, "table full, disk full"},
	{1129, pipeline.Environment, "host blocked after many errors"},
	{1130, pipeline.Environment, "host not allowed"},
	{1142, pipeline.Environment, "no rights on the table"},
	{1143, pipeline.Environment, "no rights on a column"},
	{1146, pipeline.Environment, "no such table"},
	{1203, pipeline.Environment, "user has too many connections"},
	{1226, pipeline.Environment, "user is over a limit"},
	{1227, pipeline.Environment, "a right is missing"},
	{1290, pipeline.Environment, "server runs read-only"},
	{1364, pipeline.Environment, "a column that we do not know has no default"},
	{1698, pipeline.Environment, "user refused"},
	{1820, pipeline.Environment, "password has expired"},
	{1836, pipeline.Environment, "server runs read-only"},
	{3032, pipeline.Environment, "server is offline"},
	{3118, pipeline.Environment, "account is locked"},

	{1048, pipeline.Poison, "column cannot be NULL"},
	{1264, pipeline.Poison, "number out of range; also our own check of digits before the point"},
	{1265, pipeline.Poison, "value would be truncated; also our own check of digits after the point"},
	{1292, pipeline.Poison, "time does not exist"},
	{1300, pipeline.Poison, "text is not UTF-8"},
	{1366, pipeline.Poison, "value of a wrong type; also our own check of texts"},
	{1406, pipeline.Poison, "text too long"},
	{3140, pipeline.Poison, "not JSON"},
	{3819, pipeline.Poison, "check constraint"},
	{4025, pipeline.Poison, "check constraint (MariaDB)"},
}

// Codes of errors that are not the server's.
const (
	codeRefused = "connect" // no connection came about
	codeLost    = "lost"    // a connection broke
	codePacket  = "packet"  // longer than max_allowed_packet; the driver saw it first
)

// minPacket is where splitting ends: a row with its statement is shorter.
const minPacket = 4096

// defaultPacket is assumed until the server was asked; MariaDB's default.
const defaultPacket = 16 << 20

// failed gives an error of a statement of that length its class. at tells the
// position in the batch of the statement's k-th row.
func (s *Sink) failed(err error, length int, at func(k int) (int, bool)) error {
	err = classify(err)
	var e *pipeline.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Class == pipeline.Environment {
		s.renew()
	}
	switch {
	case e.Code == codePacket || e.Code == "1153":
		if length <= minPacket {
			e.Class = pipeline.Environment // no batch is small enough
			break
		}
		s.packet.Store(int64(max(length/2, minPacket)))
	case e.Class == pipeline.Poison:
		if i, ok := at(rowOf(e)); ok {
			e.Items = []int{i}
		}
	}
	return err
}

// renew lets the next write connect again: a session keeps the rights that it
// had when it began, and the server whose name has moved on.
func (s *Sink) renew() {
	s.db.SetMaxIdleConns(0)
	s.db.SetMaxIdleConns(s.connections)
}

// classify returns a *pipeline.Error, or err itself if nothing is known of it.
func classify(err error) error {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		class := pipeline.Environment
		for _, c := range codes {
			if c.code == server.Number {
				class = c.class
			}
		}
		return &pipeline.Error{Class: class, Code: strconv.Itoa(int(server.Number)), Err: err}
	}
	var operation *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, mysql.ErrPktTooLarge):
		return &pipeline.Error{Class: pipeline.Transient, Code: codePacket, Err: err}
	case errors.As(err, &operation) && operation.Op == "dial":
		return &pipeline.Error{Class: pipeline.Environment, Code: codeRefused, Err: err}
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), operation != nil:
		return &pipeline.Error{Class: pipeline.Transient, Code: codeLost, Err: err}
	}
	return err
}

var atRow = regexp.MustCompile(` at row (\d+)$`)

// rowOf reads from the server's message which row of the statement it means,
// from 0; -1 if it does not say.
func rowOf(err error) int {
	var server *mysql.MySQLError
	if !errors.As(err, &server) {
		return -1
	}
	m := atRow.FindStringSubmatch(server.Message)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n - 1
}
