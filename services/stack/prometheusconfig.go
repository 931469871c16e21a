package stack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery/file" // the two ways in which prometheus.yml finds targets
	_ "github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// PrometheusConfig is what takes the place of the addresses of the compose stack;
// all else is what prometheus.yml says.
type PrometheusConfig struct {
	Files        fs.FS             // prometheus.yml, targets/demo.yml, rules/
	Targets      map[string]string // host:port by the name that stands in targets/demo.yml; a target without one is left out
	Discovery    string            // URL of the exporter's list of brokers
	Rules        []string          // folders of rules/
	Alertmanager string            // host:port; "" is none
}

// targetsFile names what the demo runs.
const targetsFile = "targets/demo.yml"

// write puts the files into dir, with the addresses of c, and reads them as
// Prometheus does. own is the address of the server's own metrics.
func (c PrometheusConfig) write(dir, own string) (*config.Config, error) {
	for _, folder := range c.Rules {
		if found, err := fs.Glob(c.Files, "rules/"+folder+"/*.yml"); err != nil || len(found) == 0 {
			return nil, fmt.Errorf("prometheus/rules/%s: holds no rules", folder)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "rules")); err != nil { // files of an earlier version
		return nil, err
	}
	err := fs.WalkDir(c.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := fs.ReadFile(c.Files, path)
		if err != nil {
			return err
		}
		switch path {
		case "prometheus.yml":
			content, err = c.rewrite(content)
		case targetsFile:
			content, err = c.fill(content, own)
		}
		if err != nil {
			return fmt.Errorf("prometheus/%s: %w", path, err)
		}
		return os.WriteFile(to, content, 0o644)
	})
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadFile(filepath.Join(dir, "prometheus.yml"), false, slog.New(slog.DiscardHandler))
	if err == nil {
		err = rules.ParseFiles(cfg.RuleFiles, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	}
	if err != nil { // names of this repository say more than those of the copies
		return nil, errors.New(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "prometheus/"))
	}
	return cfg, nil
}

// rewrite replaces the folders of rules, the file of targets, the address of the
// brokers' list and the Alertmanager.
func (c PrometheusConfig) rewrite(content []byte) ([]byte, error) {
	if _, err := config.Load(string(content), slog.New(slog.DiscardHandler)); err != nil {
		return nil, err // before anything has moved: its lines are right
	}
	var doc map[string]any
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, err
	}
	globs := make([]any, len(c.Rules))
	for i, folder := range c.Rules {
		globs[i] = "rules/" + folder + "/*.yml"
	}
	doc["rule_files"] = globs
	delete(doc, "alerting")
	if c.Alertmanager != "" {
		doc["alerting"] = map[string]any{"alertmanagers": []any{map[string]any{"static_configs": []any{map[string]any{"targets": []any{c.Alertmanager}}}}}}
	}
	scrapes, _ := doc["scrape_configs"].([]any)
	for _, s := range scrapes {
		job, _ := s.(map[string]any)
		replace(job["file_sd_configs"], "files", []any{targetsFile})
		replace(job["http_sd_configs"], "url", c.Discovery)
	}
	return yaml.Marshal(doc)
}

func replace(list any, key string, value any) {
	items, _ := list.([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			m[key] = value
		}
	}
}

// fill puts addresses in the place of names.
func (c PrometheusConfig) fill(content []byte, own string) ([]byte, error) {
	var groups []struct {
		Labels  map[string]string `yaml:"labels"`
		Targets []string          `yaml:"targets"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&groups); err != nil {
		return nil, err
	}
	for i, g := range groups {
		var addrs []string
		for _, name := range g.Targets {
			addr := c.Targets[name]
			if name == "prometheus" {
				addr = own
			}
			if addr != "" {
				addrs = append(addrs, addr)
			}
		}
		groups[i].Targets = addrs
	}
	return yaml.Marshal(groups)
}
