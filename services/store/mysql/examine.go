package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// What Examine asks of a server.
const (
	minPacketAdvised = 1 << 20 // a batch of 1000 candles is a quarter of it
	maxClockOffset   = time.Second
)

// Examine looks at version, rights, session, clock, packet limit and schema. It
// changes nothing: what would be written is only explained.
func (s *Sink) Examine(ctx context.Context) []pipeline.Finding {
	conn, err := s.db.Conn(ctx)
	if number(err) == errNoDatabase {
		return []pipeline.Finding{{Subject: "mysql schema", OK: true, Detail: fmt.Sprintf("there is no database %s yet; the sink makes it if it may", s.dsn.DBName)}}
	}
	if err != nil {
		return []pipeline.Finding{{Subject: "mysql server", Detail: s.connecting(err).Error()}}
	}
	defer conn.Close()
	var findings []pipeline.Finding
	for _, look := range []struct {
		subject string
		at      func(context.Context, *sql.Conn) (detail string, ok bool, err error)
	}{
		{"mysql server", examineVersion},
		{"mysql rights", s.examineRights},
		{"mysql session", examineSession},
		{"mysql clock", examineClock},
		{"mysql packet", examinePacket},
		{"mysql schema", examineSchema},
	} {
		detail, ok, err := look.at(ctx, conn)
		if err != nil {
			detail, ok = err.Error(), false
		}
		findings = append(findings, pipeline.Finding{Subject: look.subject, Detail: detail, OK: ok})
	}
	return findings
}

var versionForm = regexp.MustCompile(`^(\d+)\.(\d+)`)

func examineVersion(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	var version string
	if err := conn.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return "", false, err
	}
	m := versionForm.FindStringSubmatch(version)
	if m == nil {
		return fmt.Sprintf("version %q cannot be read", version), false, nil
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	name, oldest, tooOld := "MySQL", "8.4", major < 8 || major == 8 && minor < 4
	if strings.Contains(version, "MariaDB") {
		name, oldest, tooOld = "MariaDB", "10.11", major < 10 || major == 10 && minor < 11
	}
	if tooOld {
		return fmt.Sprintf("%s %s is older than %s", name, version, oldest), false, nil
	}
	return name + " " + version, true, nil
}

// examineRights has the server explain a write: it checks the rights first.
func (s *Sink) examineRights(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	var readOnly bool
	if err := conn.QueryRowContext(ctx, "SELECT @@read_only").Scan(&readOnly); err != nil {
		return "", false, err
	}
	if readOnly {
		return "the server is read-only", false, nil
	}
	rows, err := conn.QueryContext(ctx, "EXPLAIN INSERT INTO candles (exchange) VALUES ('') ON DUPLICATE KEY UPDATE version=version")
	if number(err) == errNoTable {
		return s.examineCreate(ctx, conn)
	}
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() { // only whether it may is asked
	}
	return "may write", true, rows.Err()
}

func (s *Sink) examineCreate(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	rows, err := conn.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return "", false, err
		}
		rights, on, _ := strings.Cut(grant, " ON ")
		here := strings.HasPrefix(on, "*.*") || strings.HasPrefix(on, quoteName(s.dsn.DBName)+".*")
		if here && (strings.Contains(rights, "ALL PRIVILEGES") || strings.Contains(rights, "CREATE,") && strings.Contains(rights, "CREATE VIEW")) {
			return "may create the tables, which are not there yet", true, rows.Err()
		}
	}
	return "the tables are not there, and no right to create them is granted directly", false, rows.Err()
}

func examineSession(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	var mode, zone string
	if err := conn.QueryRowContext(ctx, "SELECT @@sql_mode, @@time_zone").Scan(&mode, &zone); err != nil {
		return "", false, err
	}
	return "time zone " + zone + ", " + mode, zone == "+00:00" && strings.Contains(mode, "STRICT_ALL_TABLES"), nil
}

// examineClock matters for write_time only: candles carry their own clocks.
func examineClock(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	asked := time.Now()
	var theirs time.Time
	if err := conn.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&theirs); err != nil {
		return "", false, err
	}
	taken := time.Since(asked)
	offset := theirs.Sub(asked.Add(taken / 2)).Round(time.Millisecond)
	return fmt.Sprintf("offset %s, asked within %s", offset, taken.Round(time.Microsecond)), offset.Abs() <= maxClockOffset, nil
}

func examinePacket(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	var packet int64
	if err := conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet); err != nil {
		return "", false, err
	}
	if packet < minPacketAdvised {
		return fmt.Sprintf("max_allowed_packet %d splits batches; better %d", packet, minPacketAdvised), false, nil
	}
	return fmt.Sprintf("max_allowed_packet %d", packet), true, nil
}

func examineSchema(ctx context.Context, conn *sql.Conn) (string, bool, error) {
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return "", false, err
	}
	all, err := readMigrations(migrations)
	if err != nil {
		return "", false, err
	}
	switch {
	case version > len(all):
		return fmt.Sprintf("version %d is newer than this program's %d", version, len(all)), false, nil
	case version < len(all):
		return fmt.Sprintf("version %d, will be brought to %d at start", version, len(all)), true, nil
	}
	if err := checkColumns(ctx, conn); err != nil {
		return "", false, err
	}
	return fmt.Sprintf("version %d", version), true, nil
}
