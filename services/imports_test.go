// Package services_test holds the rule of the house on who may import whom
// (design §2). It reads the source files itself: a test that asks `go list`
// passes from Go's test cache with a breach present, because the cache sees only
// files that the test opened.
package services_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/candlestack/candlestack/"

// room says which folders of this repository the Go files below a folder may
// import, beside what lies below that folder itself. * stands for one name; the
// first room that fits counts.
type room struct {
	folder string
	may    []string
	why    string
}

var rooms = []room{
	{"services/market", nil,
		"the ground stands on nothing of ours"},
	{"services/pipeline/engine", []string{"services/market", "services/pipeline"},
		"the engine owns policy and knows no technology"},
	{"services/pipeline/pipelinetest", []string{"services/market", "services/pipeline"},
		"a conformance suite knows the contract only, or it would test one adapter"},
	{"services/pipeline", []string{"services/market"},
		"contracts stand on the ground; what they describe depends on them"},
	{"services/kafka", []string{"services/market", "services/pipeline", "services/pipeline/engine"},
		"the data path gives the engine its two ends, and knows no exchange and no store"},
	{"services/wire/*", []string{"services/market", "services/pipeline"},
		"a wire carries any exchange, so it knows none"},
	{"services/exchange/*", []string{"services/market", "services/pipeline", "services/wire/*"},
		"an adapter knows its exchange: never another one, never the inside of the engine"},
	{"services/news/*", []string{"services/market", "services/pipeline", "services/wire/*"},
		"an adapter knows its feed: never another one, never the inside of the engine"},
	{"services/store/*", []string{"services/market", "services/pipeline"},
		"a store knows its technology: never another one, never the inside of the engine"},
	{"services/simulator", []string{"services/market"},
		"the twin of an exchange shares no reader with what it tests"},
	{"services/ledger", []string{"services/market"},
		"a witness shares no code with stores and engine, or both would be wrong alike"},
	{"services/telemetry", []string{"services/market", "services/pipeline"},
		"what every command shows knows no part of it"},
	{"services/stack", []string{"services/market", "services/simulator", "services/telemetry", "prometheus", "grafana"},
		"it starts servers and returns their addresses; what moves data is wired by command"},
	{"services/command", []string{"services/market", "services/pipeline", "services/pipeline/engine", "services/kafka", "services/wire/*",
		"services/exchange/*", "services/news/*", "services/store/*", "services/simulator", "services/telemetry"},
		"it wires everything but stack, so that the shipped binary holds no embedded server"},
	{"services/candlestack", []string{"services/command", "services/telemetry"},
		"the binary is ten lines"},
	{"services/demo", []string{"services/command", "services/stack", "services/market", "services/simulator", "services/telemetry",
		"exporters/command", "prometheus", "grafana", "grafana/contract"},
		"it runs the same commands as the binary, on embedded servers"},
	{"services", nil,
		"a folder of services without a room of its own: give it one in the table"},
	{"exporters", []string{"services/market", "services/telemetry"},
		"the watcher does not share eyes with the watched"},
	{"grafana/contract", []string{"grafana", "prometheus", "prometheus/catalogue"},
		"the contract holds dashboards to what rules and pages of metrics say; it knows servers by their address"},
	{"grafana", []string{"services/market"},
		"dashboards are files that others embed"},
	{"prometheus", []string{"services/market"},
		"rules are files that others embed"},
	{"compose", []string{"services", "services/*", "services/*/*", "exporters", "exporters/*", "prometheus", "grafana", "grafana/contract"},
		"benchmarks measure any room"},
}

// testsMay is what external test packages may import beyond their room.
var testsMay = []string{"services/stack", "services/simulator", "services/ledger", "grafana", "prometheus", suites}

// suites know the contracts and nothing that runs: a test within its package may
// run one on a server that only it can look into.
const suites = "services/pipeline/pipelinetest"

const contractTests = "contract tests are external test packages (package x_test): they see what others see"

// library says in which rooms a package from outside may stand.
type library struct {
	path  string
	only  []string // folders; * stands for one name
	tests bool     // tests may, everywhere
	why   string
}

var libraries = []library{
	{"github.com/confluentinc/confluent-kafka-go", []string{"services/kafka"}, false,
		"one room knows librdkafka's rules of ownership"},
	{"github.com/twmb/franz-go/pkg/kfake", []string{"services/stack"}, true,
		"the shipped binary holds no embedded server"},
	{"github.com/dolthub", []string{"services/stack"}, true,
		"the shipped binary holds no embedded server"},
	{"github.com/FerretDB", []string{"services/stack"}, true,
		"the shipped binary holds no embedded server"},
	{"github.com/prometheus/prometheus", []string{"services/stack", "prometheus/catalogue", "grafana/contract"}, true,
		"the shipped binary holds no embedded server"},
	{"github.com/twmb/franz-go", []string{"services/kafka", "services/stack", "services/ledger", "exporters", "compose"}, true,
		"the data path is librdkafka's; this client is for administration and witnesses"},
	{"github.com/go-sql-driver/mysql", []string{"services/store/mysql", "services/stack", "services/ledger", "exporters", "compose"}, true,
		"an adapter knows one technology, and only it knows this one"},
	{"go.mongodb.org/mongo-driver", []string{"services/store/mongodb", "services/stack", "services/ledger", "exporters", "compose"}, true,
		"an adapter knows one technology, and only it knows this one"},
}

// groundMay is what the ground may import from outside, and groundMayNot what
// it may not of the standard library.
var (
	groundMay    = []string{"github.com/go-json-experiment/json", "github.com/shopspring/decimal"}
	groundMayNot = []string{"log", "log/slog"}
)

// nowhere are names of folders that gather what has no home.
var nowhere = []string{"internal", "pkg", "util", "utils", "common", "helpers", "config"}

func TestImportsGoDownwardsOnly(t *testing.T) {
	breaches, files, err := check("..")
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("found no Go file: the test looks in the wrong place")
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// check reads every Go file below root and returns a line for each breach.
func check(root string) (breaches []string, files int, err error) {
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			if slices.Contains(nowhere, entry.Name()) {
				breaches = append(breaches, relative+": no folder of this name: each thing has a home (design §2)")
			}
			if relative != "." && strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || entry.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(relative) != ".go" {
			return nil
		}
		files++
		found, err := checkFile(name, relative)
		breaches = append(breaches, found...)
		return err
	})
	return breaches, files, err
}

func checkFile(name, relative string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	folder := path.Dir(relative)
	test := strings.HasSuffix(relative, "_test.go")
	external := test && strings.HasSuffix(file.Name.Name, "_test")
	i := roomOf(folder)
	if i < 0 {
		return []string{relative + ": no Go file stands here (design §2)"}, nil
	}
	var breaches []string
	breach := func(imported, why string) {
		breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", relative, imported, why))
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if ours, ok := strings.CutPrefix(imported, module); ok {
			switch {
			case mayImport(i, folder, ours), external && fitsAny(ours, testsMay), test && ours == suites:
			case test && fitsAny(ours, testsMay):
				breach(ours, contractTests)
			default:
				breach(ours, rooms[i].why)
			}
			continue
		}
		if rooms[i].folder == "services/market" && !test && !groundMayImport(imported) {
			breach(imported, "the ground knows the standard library, a decimal and a JSON library, and does not log")
		}
		j := slices.IndexFunc(libraries, func(l library) bool { return below(imported, l.path) })
		if j >= 0 && !(test && libraries[j].tests) && !slices.ContainsFunc(libraries[j].only, func(p string) bool { return within(folder, p) }) {
			breach(imported, libraries[j].why)
		}
	}
	return breaches, nil
}

// roomOf returns the position of the room that a folder lies in, or -1.
func roomOf(folder string) int {
	return slices.IndexFunc(rooms, func(r room) bool { return within(folder, r.folder) })
}

// mayImport tells whether a file of folder, in room i, may import another of our folders.
func mayImport(i int, folder, imported string) bool {
	depth := strings.Count(rooms[i].folder, "/") + 1
	own := strings.Join(strings.Split(folder, "/")[:depth], "/") // services/exchange/binance for services/exchange/*
	return own != "services" && below(imported, own) && roomOf(imported) == i || fitsAny(imported, rooms[i].may)
}

func groundMayImport(imported string) bool {
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		return slices.ContainsFunc(groundMay, func(p string) bool { return below(imported, p) })
	}
	return !slices.Contains(groundMayNot, imported)
}

// fitsAny tells whether folder is one that a pattern names.
func fitsAny(folder string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, folder); return ok })
}

// within tells whether folder is the one that pattern names, or lies below it.
func within(folder, pattern string) bool {
	for ; folder != "."; folder = path.Dir(folder) {
		if ok, _ := path.Match(pattern, folder); ok {
			return true
		}
	}
	return false
}

func below(name, top string) bool { return name == top || strings.HasPrefix(name, top+"/") }

func TestPlantedBreachesAreNoticed(t *testing.T) {
	f := func(file, pkg, imported, why string) {
		t.Helper()
		root := t.TempDir()
		name := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, fmt.Appendf(nil, "package %s\n\nimport _ %q\n", pkg, imported), 0o644); err != nil {
			t.Fatal(err)
		}
		var want []string
		if why != "" {
			want = []string{fmt.Sprintf("%s imports %s: %s", file, strings.TrimPrefix(imported, module), why)}
		}
		got, _, err := check(root)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	reason := func(folder string) string {
		t.Helper()
		i := slices.IndexFunc(rooms, func(r room) bool { return r.folder == folder })
		if i < 0 {
			t.Fatalf("no room %s", folder)
		}
		return rooms[i].why
	}
	const ground = "the ground knows the standard library, a decimal and a JSON library, and does not log"

	f("services/market/a.go", "market", module+"services/pipeline", reason("services/market"))
	f("services/market/a.go", "market", "log/slog", ground)
	f("services/market/a.go", "market", "github.com/prometheus/client_golang/prometheus", ground)
	f("services/market/a.go", "market", "github.com/shopspring/decimal", "")
	f("services/pipeline/a.go", "pipeline", module+"services/pipeline/engine", reason("services/pipeline"))
	f("services/pipeline/engine/a.go", "engine", module+"services/kafka", reason("services/pipeline/engine"))
	f("services/pipeline/engine/a.go", "engine", module+"services/pipeline", "")
	f("services/exchange/binance/a.go", "binance", module+"services/exchange/kraken", reason("services/exchange/*"))
	f("services/exchange/binance/a.go", "binance", module+"services/exchange/binance/testdata/x", "")
	f("services/exchange/binance/a.go", "binance", module+"services/pipeline/engine", reason("services/exchange/*"))
	f("services/exchange/binance/a.go", "binance", module+"services/wire/rest", "")
	f("services/store/mysql/a.go", "mysql", module+"services/store/mongodb", reason("services/store/*"))
	f("services/simulator/a.go", "simulator", module+"services/exchange/binance", reason("services/simulator"))
	f("services/ledger/a.go", "ledger", module+"services/store/mysql", reason("services/ledger"))
	f("services/ledger/a.go", "ledger", module+"services/pipeline", reason("services/ledger"))
	f("services/command/a.go", "command", module+"services/stack", reason("services/command"))
	f("services/command/a_test.go", "command", module+"services/stack", contractTests)
	f("services/command/a_test.go", "command_test", module+"services/stack", "")
	f("services/candlestack/main.go", "main", module+"services/kafka", reason("services/candlestack"))
	f("services/novelty/a.go", "novelty", module+"services/market", reason("services"))
	f("exporters/cluster/a.go", "cluster", module+"services/kafka", reason("exporters"))
	f("exporters/cluster/a.go", "cluster", module+"exporters/snapshot", "")
	f("services/command/a.go", "command", "github.com/confluentinc/confluent-kafka-go/v2/kafka", "one room knows librdkafka's rules of ownership")
	f("services/command/a_test.go", "command_test", "github.com/confluentinc/confluent-kafka-go/v2/kafka", "one room knows librdkafka's rules of ownership")
	f("services/kafka/a.go", "kafka", "github.com/confluentinc/confluent-kafka-go/v2/kafka", "")
	f("services/store/mysql/a.go", "mysql", "github.com/twmb/franz-go/pkg/kgo", "the data path is librdkafka's; this client is for administration and witnesses")
	f("services/store/mysql/a_test.go", "mysql_test", "github.com/twmb/franz-go/pkg/kgo", "")
	f("services/kafka/a.go", "kafka", "github.com/twmb/franz-go/pkg/kfake", "the shipped binary holds no embedded server")
	f("services/command/a.go", "command", "github.com/dolthub/go-mysql-server", "the shipped binary holds no embedded server")
	f("services/store/mongodb/a.go", "mongodb", "github.com/go-sql-driver/mysql", "an adapter knows one technology, and only it knows this one")
}

func TestFoldersWithoutAPurposeAreNoticed(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"services/utils/a.go", "cmd/main.go", ".tools/a.go", "services/market/testdata/a.go"} {
		name := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("package a\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, _, err := check(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cmd/main.go: no Go file stands here (design §2)",
		"services/utils: no folder of this name: each thing has a home (design §2)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
