package stack

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"

	sqle "github.com/dolthub/go-mysql-server"
	gms "github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	_ "github.com/go-sql-driver/mysql"
	"github.com/sirupsen/logrus"
)

// MySQL is a database server that ends with this process.
type MySQL struct {
	Name string // what runs: mariadbd Ver 10.11…, go-mysql-server
	Addr string // host:port; user root without a password
	// Forgets tells that the data ends with the server; Kafka must then forget too.
	Forgets bool
	stop    func() error
}

// DSN names a database on the server, in the form of go-sql-driver/mysql.
func (m *MySQL) DSN(database string) string { return "root@tcp(" + m.Addr + ")/" + database }

// Close stops the server; data of a real one stays.
func (m *MySQL) Close() error { return m.stop() }

// StartMySQL starts a mariadbd or mysqld that it finds on this machine, with its
// data in dir, else go-mysql-server in this process, which forgets at its end.
// embedded asks for the latter.
func StartMySQL(ctx context.Context, dir string, embedded bool) (*MySQL, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	if path := find(); path != "" && !embedded {
		return startReal(ctx, path, filepath.Join(dir, "mysql"), port)
	}
	return startEmbedded(port)
}

// find looks where distributions put server programs, which is seldom on PATH.
func find() string {
	for _, name := range []string{"mariadbd", "mysqld"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, folder := range []string{"/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/homebrew/bin", "/usr/local/bin"} {
			if path := filepath.Join(folder, name); executable(path) {
				return path
			}
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func startReal(ctx context.Context, path, dir string, port int) (*MySQL, error) {
	version, err := exec.CommandContext(ctx, path, "--no-defaults", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", path, err)
	}
	mariadb := bytes.Contains(version, []byte("MariaDB"))
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := initialise(ctx, path, data, mariadb); err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	args := append(flags(data), "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+filepath.Join(os.TempDir(), fmt.Sprintf("candlestack-%d.sock", port)),
		"--pid-file="+filepath.Join(dir, "pid"))
	if !mariadb {
		args = append(args, "--mysqlx=OFF")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = own()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m := &MySQL{
		Name: strings.TrimSpace(filepath.Base(path) + strings.TrimPrefix(string(bytes.TrimSpace(version)), path)),
		Addr: "127.0.0.1:" + strconv.Itoa(port),
		stop: func() error { return end(cmd, ended) },
	}
	if err := m.await(ctx, ended); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s (see %s): %w", path, logFile.Name(), err), m.stop())
	}
	return m, nil
}

// flags are of both families.
func flags(data string) []string {
	args := []string{"--no-defaults", "--datadir=" + data}
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		args = append(args, "--user=root") // neither family runs as root unasked
	}
	return args
}

// initialise makes the data folder once; a half-made one is made again.
func initialise(ctx context.Context, path, data string, mariadb bool) error {
	made := data + ".made"
	if _, err := os.Stat(made); err == nil {
		return nil
	}
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, append(flags(data), "--initialize-insecure")...)
	if mariadb {
		install, err := exec.LookPath("mariadb-install-db")
		if err != nil {
			return fmt.Errorf("making a data folder for %s: %w", path, err)
		}
		cmd = exec.CommandContext(ctx, install, append(flags(data), "--auth-root-authentication-method=normal", "--skip-test-db")...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making a data folder with %s: %w: %s", cmd.Path, err, lastLine(out))
	}
	return os.WriteFile(made, nil, 0o644)
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func (m *MySQL) await(ctx context.Context, ended chan error) error {
	db, err := sql.Open("mysql", m.DSN(""))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case problem := <-ended:
			ended <- problem
			return fmt.Errorf("it ended: %w", problem)
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end asks for an orderly stop, and insists after ten seconds.
func end(cmd *exec.Cmd, ended chan error) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-ended: //nolint:errcheck // a server that was told to stop may say so by its code
		return nil
	case <-time.After(10 * time.Second):
		return cmd.Process.Kill()
	}
}

func startEmbedded(port int) (*MySQL, error) {
	logrus.SetLevel(logrus.PanicLevel) // it logs every connection to standard error
	// MySQL lets a session set it; here it would be refused.
	gms.SystemVariables.AddSystemVariables([]gms.SystemVariable{&gms.MysqlSystemVariable{
		Name: "innodb_lock_wait_timeout", Scope: gms.GetMysqlScope(gms.SystemVariableScope_Both), Dynamic: true,
		Type: types.NewSystemIntType("innodb_lock_wait_timeout", 1, 1<<30, false), Default: int64(50),
	}})
	database := memory.NewDatabase("market")
	database.EnablePrimaryKeyIndexes() // or each upsert looks at all rows
	provider := memory.NewDBProvider(database)
	addr := "127.0.0.1:" + strconv.Itoa(port)
	s, err := server.NewServer(server.Config{Protocol: "tcp", Address: addr}, sqle.NewDefault(provider), gms.NewContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		return nil, fmt.Errorf("starting go-mysql-server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Start() }()
	return &MySQL{Name: "go-mysql-server", Addr: addr, Forgets: true, stop: func() error {
		return errors.Join(s.Close(), <-ended)
	}}, nil
}
