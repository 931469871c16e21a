package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/candlestack/candlestack/prometheus/catalogue"
)

var promql = parser.NewParser(parser.Options{})

// Facts are what boards are held to beside each other.
type Facts struct {
	Metrics catalogue.Catalogue
	Records map[string][]catalogue.Record
	Alerts  map[string]parser.Expr // by name
	Sources map[string]string      // type of each provisioned data source, by uid
}

// ReadFacts reads them from a repository by its root. What is wrong with the files
// of provisioning comes as problems.
func ReadFacts(root fs.FS) (*Facts, []Problem, error) {
	metrics, err := catalogue.Read(root)
	if err != nil {
		return nil, nil, err
	}
	f := &Facts{Metrics: metrics, Records: map[string][]catalogue.Record{}, Alerts: map[string]parser.Expr{}, Sources: map[string]string{}}
	files, err := fs.Glob(root, "prometheus/rules/*/*.yml")
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		if err := f.rules(root, file); err != nil {
			return nil, nil, err
		}
	}
	problems, err := f.provisioning(root)
	return f, problems, err
}

func (f *Facts) rules(root fs.FS, file string) error {
	if strings.HasPrefix(file, "prometheus/rules/tests/") {
		return nil
	}
	content, err := fs.ReadFile(root, file)
	if err != nil {
		return err
	}
	groups, problems := rulefmt.Parse(content, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	if len(problems) > 0 {
		return fmt.Errorf("%s: %w", file, errors.Join(problems...))
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			expr, err := promql.ParseExpr(r.Expr)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if r.Alert != "" {
				f.Alerts[r.Alert] = expr
			} else {
				f.Records[r.Record] = append(f.Records[r.Record], catalogue.Record{Expr: expr, Labels: r.Labels})
			}
		}
	}
	return nil
}

// sourcesFile is Grafana's file of data sources, as far as we use it.
type sourcesFile struct {
	APIVersion  int  `yaml:"apiVersion"`
	Prune       bool `yaml:"prune"`
	Datasources []struct {
		Name           string            `yaml:"name"`
		UID            string            `yaml:"uid"`
		Type           string            `yaml:"type"`
		Access         string            `yaml:"access"`
		URL            string            `yaml:"url"`
		User           string            `yaml:"user"`
		IsDefault      bool              `yaml:"isDefault"`
		Editable       bool              `yaml:"editable"`
		JSONData       map[string]any    `yaml:"jsonData"`
		SecureJSONData map[string]string `yaml:"secureJsonData"`
	} `yaml:"datasources"`
}

// boardsFile is Grafana's file of providers of dashboards.
type boardsFile struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name                  string         `yaml:"name"`
		OrgID                 int            `yaml:"orgId"`
		Folder                string         `yaml:"folder"`
		FolderUID             string         `yaml:"folderUid"`
		Type                  string         `yaml:"type"`
		DisableDeletion       bool           `yaml:"disableDeletion"`
		AllowUIUpdates        bool           `yaml:"allowUiUpdates"`
		UpdateIntervalSeconds int            `yaml:"updateIntervalSeconds"`
		Options               map[string]any `yaml:"options"`
	} `yaml:"providers"`
}

// environment are the variables that Grafana is given.
var environment = map[string]bool{"PROMETHEUS_URL": true, "MYSQL_ADDRESS": true, "MYSQL_USER": true, "MYSQL_PASSWORD": true, "ALERTMANAGER_URL": true}

// dollar is what Grafana reads as a variable, or as a dollar that is meant.
var dollar = regexp.MustCompile(`\$\$|\$\{(\w+)\}|\$`)

// provisioning reads the files of provisioning, strictly.
func (f *Facts) provisioning(root fs.FS) (problems []Problem, err error) {
	say := func(file, format string, args ...any) {
		problems = append(problems, Problem{Board: file, Rule: RuleFile, Text: fmt.Sprintf(format, args...)})
	}
	files, err := fs.Glob(root, "grafana/provisioning/*/*.yml")
	if err != nil {
		return nil, err
	}
	sources, folders := 0, 0
	for _, file := range files {
		content, err := fs.ReadFile(root, file)
		if err != nil {
			return nil, err
		}
		for _, m := range dollar.FindAllSubmatch(content, -1) {
			if string(m[0]) != "$$" && !environment[string(m[1])] && string(m[1]) != "NAME" { // NAME stands in a comment
				say(file, "%s is no variable that Grafana is given; a dollar that is meant is $$", m[0])
			}
		}
		strict := yaml.NewDecoder(bytes.NewReader(content))
		strict.KnownFields(true)
		switch {
		case strings.Contains(file, "/datasources/"):
			var s sourcesFile
			if err := strict.Decode(&s); err != nil {
				say(file, "%v", err)
				continue
			}
			sources++
			f.sources(root, file, s, say)
		case strings.Contains(file, "/dashboards/"):
			var b boardsFile
			if err := strict.Decode(&b); err != nil {
				say(file, "%v", err)
				continue
			}
			folders++
			if p := b.Providers; b.APIVersion != 1 || len(p) != 1 || p[0].Type != "file" || p[0].FolderUID != "candlestack" || p[0].AllowUIUpdates || p[0].Options["path"] == nil {
				say(file, "want one provider of type file for folder candlestack, with a path and without updates from the browser")
			}
		default:
			say(file, "the contract knows datasources and dashboards only")
		}
	}
	if sources != 1 || folders != 1 {
		say("grafana/provisioning", "want one file of data sources and one of dashboards, got %d and %d", sources, folders)
	}
	return problems, nil
}

func (f *Facts) sources(root fs.FS, file string, s sourcesFile, say func(file, format string, args ...any)) {
	if s.APIVersion != 1 || !s.Prune {
		say(file, "want apiVersion 1 and prune")
	}
	defaults := 0
	for _, d := range s.Datasources {
		if d.UID == "" || d.Name == "" || d.URL == "" || d.Access != "proxy" || d.Editable || f.Sources[d.UID] != "" {
			say(file, "%s: want a name, a uid of its own, a url, access proxy, not editable", d.Name)
		}
		if d.IsDefault {
			defaults++
		}
		f.Sources[d.UID] = d.Type
		if d.Type == "prometheus" {
			if scrape, err := scrapeInterval(root); err != nil || d.JSONData["timeInterval"] != scrape {
				say(file, "%s: timeInterval is %v, and scrape_interval of prometheus.yml %s %v", d.Name, d.JSONData["timeInterval"], scrape, err)
			}
		}
		if d.Type == "mysql" && d.JSONData["timezone"] != "+00:00" {
			say(file, "%s: timezone is not +00:00", d.Name)
		}
	}
	if defaults != 1 {
		say(file, "want one default data source, got %d", defaults)
	}
}

func scrapeInterval(root fs.FS) (string, error) {
	content, err := fs.ReadFile(root, "prometheus/prometheus.yml")
	if err != nil {
		return "", err
	}
	var config struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		} `yaml:"global"`
	}
	return config.Global.ScrapeInterval, errors.Join(yaml.Unmarshal(content, &config))
}
