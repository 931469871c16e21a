package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"strings"

	mysql "github.com/go-sql-driver/mysql"

	"github.com/candlestack/candlestack/services/pipeline"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migration is a file NNNN_name.sql: statements that each end in ";" and a line
// break. DDL is not undone on failure, so each must bear being run again.
type migration struct {
	version    int
	name       string
	statements []string
}

func readMigrations(dir fs.FS) ([]migration, error) {
	names, err := fs.Glob(dir, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("listing migrations: %w", err)
	}
	var all []migration
	for _, name := range names {
		number, title, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(all)+1 {
			return nil, fmt.Errorf("migration %s is not number %d", name, len(all)+1)
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("reading migration: %w", err)
		}
		m := migration{version: version, name: title}
		for statement := range strings.SplitSeq(string(text), ";\n") {
			if statement = strings.TrimSpace(statement); statement != "" {
				m.statements = append(m.statements, statement)
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// Prepare makes the database if it is missing and brings the schema up to date.
// Several sinks may do so at once. It returns a *pipeline.ConfigError where the
// server refuses the user or the schema is newer than this program.
func (s *Sink) Prepare(ctx context.Context) error {
	// Its own connection: a migration may take longer than a batch may.
	dsn := s.dsn.Clone()
	dsn.ReadTimeout, dsn.WriteTimeout = 0, 0
	db, err := open(dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if number(err) == errNoDatabase {
		if err := createDatabase(ctx, dsn); err != nil {
			return err
		}
		conn, err = db.Conn(ctx)
	}
	if err != nil {
		return s.connecting(err)
	}
	defer conn.Close()
	all, err := readMigrations(migrations)
	if err != nil {
		return err
	}
	if err := s.migrate(ctx, conn, all); err != nil {
		return err
	}
	if err := checkColumns(ctx, conn); err != nil {
		return err
	}
	var packet int64
	if err := conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet); err != nil {
		return fmt.Errorf("reading max_allowed_packet: %w", err)
	}
	s.packet.Store(max(packet-packetSlack, minPacket))
	return nil
}

// packetSlack is what a packet holds beside the statement.
const packetSlack = 64

// Codes that Prepare answers to.
const (
	errDenied        = 1044
	errAccess        = 1045
	errNoDatabase    = 1049
	errNoTable       = 1146
	errAccessMariaDB = 1698
	errUnknownVar    = 1193
)

func number(err error) uint16 {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return server.Number
	}
	return 0
}

// connecting tells the user's word from the world: an error of the first
// connection.
func (s *Sink) connecting(err error) error {
	var address *net.AddrError
	var lookup *net.DNSError
	switch n := number(err); {
	case n == errAccess, n == errAccessMariaDB, n == errDenied, n == errUnknownVar,
		errors.As(err, &address), errors.As(err, &lookup) && strings.Contains(lookup.Err, "unknown port"):
		return &pipeline.ConfigError{Field: flagDSN, Value: redact(s.dsn), Err: err}
	}
	return fmt.Errorf("connecting to %s: %w", redact(s.dsn), err)
}

func createDatabase(ctx context.Context, dsn *mysql.Config) error {
	server := dsn.Clone()
	server.DBName = ""
	db, err := open(server)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(dsn.DBName)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	switch number(err) {
	case errDenied, errAccess:
		return &pipeline.ConfigError{Field: flagDSN, Value: redact(dsn), Err: errors.New("the database does not exist and this user may not create it")}
	}
	if err != nil {
		return fmt.Errorf("creating database %s: %w", dsn.DBName, err)
	}
	return nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

const schemaTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
  version    INT          NOT NULL COMMENT 'number of the migration',
  name       VARCHAR(100) NOT NULL COMMENT 'name of the migration',
  applied_at DATETIME(3)  NOT NULL COMMENT 'clock of this server when it was applied, UTC',
  PRIMARY KEY (version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='migrations that this database has seen'`

// schemaVersion is 0 for a database without our tables.
func schemaVersion(ctx context.Context, conn *sql.Conn) (version int, err error) {
	err = conn.QueryRowContext(ctx, "SELECT COALESCE(MAX(version),0) FROM schema_migrations").Scan(&version)
	if number(err) == errNoTable {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the schema's version: %w", err)
	}
	return version, nil
}

// migrate applies what is missing. It takes the lock only if something is, so a
// user without rights to change the schema can use one that is up to date.
func (s *Sink) migrate(ctx context.Context, conn *sql.Conn, all []migration) error {
	missing := func() ([]migration, error) {
		version, err := schemaVersion(ctx, conn)
		if err != nil {
			return nil, err
		}
		if version > len(all) {
			return nil, &pipeline.ConfigError{Field: flagDSN, Value: redact(s.dsn),
				Err: fmt.Errorf("the schema has version %d, this program knows %d: use a newer program", version, len(all))}
		}
		return all[version:], nil
	}
	todo, err := missing()
	if err != nil || len(todo) == 0 {
		return err
	}
	unlock, err := lockSchema(ctx, conn)
	if err != nil {
		return err
	}
	defer unlock()
	if todo, err = missing(); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, schemaTable); err != nil {
		return fmt.Errorf("creating table schema_migrations: %w", err)
	}
	for _, m := range todo {
		for _, statement := range m.statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("applying migration %04d_%s: %w", m.version, m.name, err)
			}
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO schema_migrations (version,name,applied_at) VALUES (?,?,UTC_TIMESTAMP(3))", m.version, m.name); err != nil {
			return fmt.Errorf("recording migration %04d_%s: %w", m.version, m.name, err)
		}
		s.log.Info("schema migrated", slog.String("database", s.dsn.DBName), slog.Int("version", m.version), slog.String("name", m.name))
	}
	return nil
}

// schemaLock is a name of the whole server, at most 64 long, so the database's is in it as a hash.
const schemaLock = "CONCAT('candlestack.', LEFT(SHA2(DATABASE(),256),32))"

// lockSchema waits until no other sink migrates this database.
func lockSchema(ctx context.Context, conn *sql.Conn) (unlock func(), err error) {
	const wait = 3600 // seconds; ctx ends it earlier
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+schemaLock+",?)", wait).Scan(&got); err != nil {
		return nil, fmt.Errorf("locking the schema: %w", err)
	}
	if got.Int64 != 1 {
		return nil, fmt.Errorf("locking the schema: another one held it for %d s", wait)
	}
	return func() {
		// The end of the connection releases it too.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+schemaLock+")")
	}, nil
}

// checkColumns refuses a table whose DECIMAL columns were narrowed: MySQL would
// round what they cannot hold and tell nobody.
func checkColumns(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, `SELECT column_name, column_type FROM information_schema.columns
		WHERE table_schema=DATABASE() AND table_name='candles' AND data_type='decimal'
		AND (numeric_precision-numeric_scale < ? OR numeric_scale < ?)`, integerDigits, scale)
	if err != nil {
		return fmt.Errorf("reading the columns of candles: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		var name, is string
		if err := rows.Scan(&name, &is); err != nil {
			return fmt.Errorf("reading the columns of candles: %w", err)
		}
		return fmt.Errorf("column candles.%s is %s, narrower than decimal(%d,%d): it would round", name, is, precision, scale)
	}
	return rows.Err()
}
