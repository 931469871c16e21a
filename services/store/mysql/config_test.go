package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mysql "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/market"
	"github.com/candlestack/candlestack/services/pipeline"
	"github.com/candlestack/candlestack/services/pipeline/pipelinetest"
)

const canary = "s3cret-canary"

func TestConfigValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(file, []byte("root:"+canary+"@tcp(127.0.0.1:3306)/market\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := Config{DSN: "root:" + canary + "@tcp(127.0.0.1:3306)/market", Connections: 2, Timeout: 20 * time.Second}
	f := func(change func(*Config), problems ...string) {
		t.Helper()
		c := good
		change(&c)
		err := c.Validate()
		if (err == nil) != (len(problems) == 0) {
			t.Fatalf("got %v", err)
		}
		if err == nil {
			return
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(problems) {
			t.Fatalf("want %d problems, got %q", len(problems), lines)
		}
		for i, p := range problems {
			if !strings.Contains(lines[i], p) {
				t.Errorf("want %q, got %q", p, lines[i])
			}
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the error tells the password: %v", err)
		}
		var final *pipeline.ConfigError
		if !errors.As(err, &final) {
			t.Errorf("not a ConfigError: %v", err)
		}
	}
	f(func(*Config) {})
	f(func(c *Config) { c.DSN = "root:" + canary + "@unix(/run/mysqld.sock)/market" })
	f(func(c *Config) { c.DSN, c.DSNFile = "", file })
	f(func(c *Config) { c.DSNFile = file }, "--mysql.dsn-file")
	f(func(c *Config) { c.DSN, c.DSNFile = "", "/no/such/file" }, `--mysql.dsn-file "/no/such/file"`)
	f(func(c *Config) { c.DSN = "" }, `--mysql.dsn "": is empty`)
	for _, dsn := range []string{
		"root:" + canary, "root:" + canary + "@tcp(127.0.0.1:3306", "root:" + canary + "@" + canary + "(x)/market",
		"root:x@tcp(h:1)/market?parseTime=" + canary, "root:x@tcp(h:1)/market?tls=" + canary, "root:x@tcp(h:1)/market?loc=%zz" + canary,
	} {
		f(func(c *Config) { c.DSN = dsn }, `--mysql.dsn "(hidden)": is not of the form`)
	}
	f(func(c *Config) { c.DSN = "root:" + canary + "@tcp(127.0.0.1:3306)/" }, `--mysql.dsn "root@tcp(127.0.0.1:3306)/": names no database`)
	f(func(c *Config) { c.DSN = "root:" + canary + "@tcp(a:b:c)/market" }, `host "a:b:c"`)
	f(func(c *Config) { c.DSN = "root:" + canary + "@tcp([::1]:3306)/market" })
	f(func(c *Config) { c.DSN = "root:" + canary + "@tcp(host:99999)/market" }, `port "99999"`)
	f(func(c *Config) { c.DSN, c.Connections, c.Timeout = "", 0, 0 }, "--mysql.dsn", "--mysql.connections \"0\"", "--mysql.timeout \"0s\"")
}

// What exactness needs is not the user's to change.
func TestSettleOverrules(t *testing.T) {
	c := Config{DSN: "u:p@tcp(h:1)/market?SQL_MODE='ANSI'&time_zone='SYSTEM'&clientFoundRows=false&parseTime=false&loc=Local&interpolateParams=true&multiStatements=true&maxAllowedPacket=99&charset=latin1"}
	parsed, err := c.parse()
	if err != nil {
		t.Fatal(err)
	}
	d, err := settle(parsed, 7*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Params) != 3 || d.Params["sql_mode"] != "'"+sqlMode+"'" || d.Params["time_zone"] != "'+00:00'" {
		t.Errorf("params %v", d.Params)
	}
	if !d.ClientFoundRows || !d.ParseTime || d.Loc != time.UTC || d.InterpolateParams || d.MultiStatements || d.MaxAllowedPacket != 0 ||
		d.ReadTimeout != 7*time.Second || d.WriteTimeout != 7*time.Second || !strings.Contains(d.FormatDSN(), "charset=utf8mb4&collation=utf8mb4_bin") {
		t.Errorf("settled to %s", d.FormatDSN())
	}
}

func TestClassify(t *testing.T) {
	f := func(err error, class pipeline.Class, code string) {
		t.Helper()
		gotClass, gotCode := pipeline.ClassOf(classify(fmt.Errorf("wrapped: %w", err)))
		if gotClass != class || gotCode != code {
			t.Errorf("%v is %s %s, want %s %s", err, gotClass, gotCode, class, code)
		}
	}
	for _, c := range codes {
		f(&mysql.MySQLError{Number: c.code, Message: c.meaning}, c.class, fmt.Sprint(c.code))
	}
	f(&mysql.MySQLError{Number: 9999}, pipeline.Environment, "9999")
	f(mysql.ErrInvalidConn, pipeline.Transient, codeLost)
	f(driver.ErrBadConn, pipeline.Transient, codeLost)
	f(io.ErrUnexpectedEOF, pipeline.Transient, codeLost)
	f(&net.OpError{Op: "read", Err: syscall.ECONNRESET}, pipeline.Transient, codeLost)
	f(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, pipeline.Environment, codeRefused)
	f(mysql.ErrPktTooLarge, pipeline.Transient, codePacket)
	f(context.Canceled, pipeline.Environment, "unknown")
	f(errors.New("never seen"), pipeline.Environment, "unknown")
}

func TestPacketLimitEnds(t *testing.T) {
	s := &Sink{}
	s.packet.Store(1 << 20)
	nowhere := func(int) (int, bool) { return 0, false }
	length := 1 << 20
	for range 9 {
		err := s.failed(mysql.ErrPktTooLarge, length, nowhere)
		if class, _ := pipeline.ClassOf(err); class == pipeline.Environment {
			if s.packet.Load() != minPacket {
				t.Errorf("gave up at %d", s.packet.Load())
			}
			return
		}
		length = int(s.packet.Load())
	}
	t.Error("the batch is split for ever")
}

func TestStatementFitsPacket(t *testing.T) {
	u := newCandleUpsert(false)
	var rows []row[*market.Candle]
	for i := range 100 {
		rows = append(rows, row[*market.Candle]{event: pipelinetest.Candle(i), at: i})
	}
	for _, limit := range []int{0, 3000, 4096, 10000, 1 << 20} {
		sent := 0
		for rest := rows; len(rest) > 0; {
			b, n := u.statement(nil, rest, limit)
			if len(b) > limit && n > 1 {
				t.Errorf("%d rows in %d bytes, limit %d", n, len(b), limit)
			}
			if strings.Count(string(b), resetCounter) != 1 {
				t.Errorf("the counter is not reset once")
			}
			rest, sent = rest[n:], sent+n
		}
		if sent != len(rows) {
			t.Errorf("limit %d: sent %d rows of %d", limit, sent, len(rows))
		}
	}
	if b, n := u.statement(nil, rows, minPacket); n < 1 || len(b) > minPacket {
		t.Errorf("a statement of a row is longer than %d", minPacket)
	}
}
