package mysql

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// section returns the lines of the first Markdown table after a heading of DATA.md, without its head.
func section(t *testing.T, heading string) (lines []string) {
	t.Helper()
	page, err := os.ReadFile("../../../DATA.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("DATA.md has no heading %q", heading)
	}
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "|") {
			lines = append(lines, strings.TrimSpace(line))
		} else if len(lines) > 0 {
			break
		}
	}
	return lines[2:]
}

// width is how MariaDB shows whole numbers: bigint(20).
var width = regexp.MustCompile(`^(bigint|int)\(\d+\)`)

func TestDataDictionary(t *testing.T) {
	onServers(t, func(t *testing.T, s server) {
		sink := s.prepared(t)
		db := s.admin(t, sink.dsn.DBName)
		columns := func(table string, line func(name, kind, null, comment string) string) (lines []string) {
			t.Helper()
			rows, err := db.Query("SELECT column_name, column_type, LOWER(is_nullable), column_comment FROM information_schema.columns "+
				"WHERE table_schema=DATABASE() AND table_name=? ORDER BY ordinal_position", table)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			defer func() {
				if err := rows.Err(); err != nil {
					t.Error(err)
				}
			}()
			for rows.Next() {
				var name, kind, null, comment string
				if err := rows.Scan(&name, &kind, &null, &comment); err != nil {
					t.Fatal(err)
				}
				if line == nil {
					lines = append(lines, name)
					continue
				}
				if comment == "" {
					t.Errorf("column %s.%s has no comment", table, name)
				}
				lines = append(lines, line(name, width.ReplaceAllString(kind, "$1"), null, comment))
			}
			return lines
		}
		for _, table := range []string{"candles", "gaps", "schema_migrations"} {
			got := columns(table, func(name, kind, null, comment string) string {
				return fmt.Sprintf("| `%s` | %s | %s | %s |", name, kind, null, comment)
			})
			if diff := cmp.Diff(got, section(t, "Table `"+table+"`")); diff != "" {
				t.Errorf("DATA.md of %s (-server +page):\n%s", table, diff)
			}
		}
		for _, view := range []struct{ name, heading string }{
			{"Bitcoin", "Views `Bitcoin`, `Ethereum`, `Ripple`"}, {"Ethereum", "Views `Bitcoin`, `Ethereum`, `Ripple`"}, {"Ripple", "Views `Bitcoin`, `Ethereum`, `Ripple`"},
			{"candles_hourly", "Views `candles_hourly`, `candles_daily`"}, {"candles_daily", "Views `candles_hourly`, `candles_daily`"},
			{"candles_completeness", "View `candles_completeness`"},
		} {
			var page []string
			for _, line := range section(t, view.heading) {
				page = append(page, strings.Trim(strings.Split(line, "|")[1], " `"))
			}
			if diff := cmp.Diff(columns(view.name, nil), page); diff != "" {
				t.Errorf("DATA.md of %s (-server +page):\n%s", view.name, diff)
			}
		}
	})
}

func TestErrorCodesArePublished(t *testing.T) {
	var want []string
	for _, c := range codes {
		want = append(want, fmt.Sprintf("| %d | %s | %s |", c.code, c.class, c.meaning))
	}
	got := section(t, "Error codes")
	if diff := cmp.Diff(want, got[:len(got)-4]); diff != "" {
		t.Errorf("DATA.md (-code +page):\n%s", diff)
	}
	for i, code := range []string{codeRefused, codeLost, codePacket, "kind"} {
		if line := got[len(want)+i]; !strings.HasPrefix(line, "| "+code+" |") {
			t.Errorf("DATA.md has %q where %s is due", line, code)
		}
	}
}
