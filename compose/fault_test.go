package compose_test

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// outageAlerts are those that tell of a sink that cannot write.
var outageAlerts = []string{"SinkWaitsForStore", "StoreDown", "CandlesLate"}

// testOutage stops MySQL for a minute at least, until an alert tells of it, and
// then wants every candle of that time, and quiet.
func (s *stack) testOutage(t *testing.T) {
	quiet := func() error {
		alerts, err := s.prometheusAlerts()
		if err == nil && len(alerts) > 0 {
			err = fmt.Errorf("firing: %v", alerts)
		}
		return err
	}
	eventually(t, 5*time.Minute, quiet)
	stopped := time.Now()
	s.compose(t, "stop", "mysql")
	running := lines(s.compose(t, "ps", "--services"))
	for _, watcher := range []struct {
		service, says string
		alerts        func() ([]string, error)
	}{
		{"prometheus", "fired", s.prometheusAlerts},
		{"alertmanager", "reached Alertmanager", s.alertmanagerAlerts},
		{"alerts", "printed by the webhook", func() ([]string, error) {
			out, err := s.try(time.Minute, "docker", "compose", "logs", "--no-log-prefix", "alerts")
			return strings.Fields(out), err
		}},
	} {
		if !slices.Contains(running, watcher.service) {
			s.notRun("outage: %s", watcher.service)
			continue
		}
		var seen []string
		eventually(t, 5*time.Minute, func() error {
			found, err := watcher.alerts()
			seen = slices.DeleteFunc(slices.Clone(outageAlerts), func(name string) bool { return !slices.Contains(found, name) })
			if err == nil && len(seen) == 0 {
				err = errors.New("no alert tells that MySQL is away")
			}
			return err
		})
		s.note("outage: %s %s after %.0f s", strings.Join(seen, " "), watcher.says, time.Since(stopped).Seconds())
	}
	if rest := time.Minute - time.Since(stopped); rest > 0 {
		time.Sleep(rest) // a minute is what the outage lasts, not what is waited for
	}
	s.compose(t, "start", "mysql")
	back := time.Now()
	n := s.sameAsExchange(t, stopped.UTC().Truncate(time.Minute).Add(-time.Hour), back.UTC().Truncate(time.Minute))
	s.note("outage: %.0f s long, no row lost: %d compared, %.0f s after MySQL's return", back.Sub(stopped).Seconds(), n, time.Since(back).Seconds())
	eventually(t, 10*time.Minute, quiet)
	s.note("outage: all quiet %.0f s after MySQL's return", time.Since(back).Seconds())
}

// alert is one as Prometheus and Alertmanager list it.
type alert struct {
	Labels map[string]string
	State  string // of Prometheus; Alertmanager has only what fires
}

func (s *stack) prometheusAlerts() ([]string, error) {
	var answer struct{ Data struct{ Alerts []alert } }
	err := s.get("PROMETHEUS_PORT", "/api/v1/alerts", &answer)
	return s.names(slices.DeleteFunc(answer.Data.Alerts, func(a alert) bool { return a.State != "firing" })), err
}

func (s *stack) alertmanagerAlerts() ([]string, error) {
	var answer []struct{ Labels map[string]string }
	err := s.get("ALERTMANAGER_PORT", "/api/v2/alerts", &answer)
	var all []alert
	for _, a := range answer {
		all = append(all, alert{Labels: a.Labels})
	}
	return s.names(all), err
}

// names are those of alerts, without the one that always fires and those about
// what does not run here.
func (s *stack) names(alerts []alert) (found []string) {
	for _, a := range alerts {
		if name := a.Labels["alertname"]; name != "Watchdog" && !slices.Contains(s.absent, a.Labels["job"]) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// content is what a backup must carry over.
type content struct {
	rows    string          // count and checksum of the candles until then
	posts   map[string]bool // ids
	offsets float64         // committed by the sink of candles
}

func (s *stack) rows(t *testing.T, until time.Time) string {
	t.Helper()
	var n int
	var sum string
	if err := s.reader(t).QueryRow("SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT_WS('|', instrument, `interval`, open_time, open, high, low, close, volume, quote_volume, trades, version, origin))), 0)"+
		" FROM candles WHERE closed AND open_time < ?", until).Scan(&n, &sum); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatal("no rows")
	}
	return fmt.Sprintf("%d rows, checksum %s", n, sum)
}

func (s *stack) ids(t *testing.T) map[string]bool {
	t.Helper()
	cursor, err := s.posts(t).Find(t.Context(), bson.D{}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		ID string `bson:"_id"`
	}
	if err := cursor.All(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, one := range all {
		found[one.ID] = true
	}
	if len(found) == 0 {
		t.Fatal("no posts")
	}
	return found
}

// testBackup saves the stack, deletes it, and restores it into an empty one, from
// the dump of MySQL and then from the volumes, and compares.
func (s *stack) testBackup(t *testing.T) {
	const committed = `sum(kafka_consumergroup_current_offset{job="kafka", consumergroup="candlestack-mysql"})`
	until := time.Now().UTC().Truncate(time.Minute).Add(-2 * time.Minute)
	before := content{rows: s.rows(t, until), posts: s.ids(t)}
	offsets, err := s.query(committed, time.Time{})
	if err != nil || len(offsets) != 1 {
		t.Fatalf("offsets %v, %v", offsets, err)
	}
	_, _ = fmt.Sscan(offsets[0].Value[1].(string), &before.offsets)
	asked := time.Now()

	folder := filepath.Join(t.TempDir(), "backup")
	begin := time.Now()
	said := s.run(t, "make", "--no-print-directory", "backup", "BACKUP="+folder)
	s.note("backup: %.0f s until the stack runs again", time.Since(begin).Seconds())
	if strings.Contains(said, "no dump of mongo") {
		s.notRun("dump of MongoDB: its image has no mongodump")
	} else if info, err := os.Stat(filepath.Join(folder, "mongo.archive.gz")); err != nil || info.Size() < 1000 {
		t.Errorf("the dump of MongoDB: %v, %v", info, err)
	}
	if out, err := s.try(time.Minute, "make", "restore", "BACKUP="+folder); err == nil || !strings.Contains(out, "has data") {
		t.Errorf("restore into a stack with data: %v, %s", err, out)
	}
	s.run(t, "make", "reset")
	if left := s.leftovers(t); len(left) > 0 {
		t.Fatalf("reset left %v", left)
	}

	s.compose(t, "up", "-d", "--wait", "mysql")
	s.load(t, filepath.Join(folder, "mysql.sql.gz"))
	if got := s.rows(t, until); got != before.rows {
		t.Errorf("from the dump: %s, before: %s", got, before.rows)
	}
	s.run(t, "make", "reset")

	begin = time.Now()
	s.run(t, "make", "--no-print-directory", "restore", "BACKUP="+folder)
	s.note("restore: %.0f s", time.Since(begin).Seconds())
	s.note("up on restored volumes: %.0f s", s.up(t).Seconds())
	if got := s.rows(t, until); got != before.rows {
		t.Errorf("restored: %s, before: %s", got, before.rows)
	}
	after := s.ids(t)
	for id := range before.posts {
		if !after[id] {
			t.Errorf("post %s is gone", id)
		}
	}
	if old, err := s.query("up", asked); err != nil || len(old) < 10 {
		t.Errorf("Prometheus has forgotten: %v, %v", old, err)
	}
	// The group goes on where it was; an empty Kafka would begin at 0.
	eventually(t, time.Minute, func() error {
		now, err := s.query(committed, time.Time{})
		var n float64
		if err == nil && len(now) == 1 {
			_, err = fmt.Sscan(now[0].Value[1].(string), &n)
		}
		if err == nil && n < before.offsets {
			err = fmt.Errorf("the sink has committed %.0f, before the backup %.0f", n, before.offsets)
		}
		return err
	})
	to := time.Now().UTC().Truncate(time.Minute)
	n := s.sameAsExchange(t, to.Add(-time.Hour), to)
	s.note("restored: %s, %d posts; the last hour, %d rows, as the exchange says", before.rows, len(before.posts), n)
}

// load gives a dump to MySQL as a user would.
func (s *stack) load(t *testing.T, dump string) {
	t.Helper()
	file, err := os.Open(dump)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker", "compose", "exec", "-T", "mysql", "bash", "-c", "MYSQL_PWD=$(cat /run/secrets/mysql-root-password) mysql -uroot")
	cmd.Dir, cmd.Env, cmd.Stdin = "..", s.env, text
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
