// Package catalogue knows which metrics there are, by job, and which labels they
// have: from METRICS.md and its like, and from lists of what foreign programs
// show. Tests of rules and of dashboards ask it, so that a renamed metric fails
// wherever it is named.
package catalogue

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"strings"
)

// runtime is what every Go program of ours and of Prometheus' shows of itself.
const runtime = "prometheus/foreign/client_golang-*.txt"

// jobs says what each job shows: pages with tables of metrics (behind # the one
// section that counts), or lists of foreign exporters; and the labels that its
// targets have beside job and instance.
var jobs = map[string]struct {
	pages  []string
	labels []string
}{
	"candlestack":  {[]string{"METRICS.md", runtime}, []string{"component"}},
	"kafka":        {[]string{"exporters/METRICS.md#The cluster"}, nil},
	"kafka-broker": {[]string{"exporters/FIDELITY.md"}, []string{"broker_id", "kafka_cluster"}},
	"probe":        {[]string{"exporters/METRICS.md#The probe"}, nil},
	"stores":       {[]string{"exporters/METRICS.md#The stores"}, nil},
	"exporter":     {[]string{"exporters/METRICS.md#The exporter itself", runtime}, nil},
	"prometheus":   {[]string{"prometheus/foreign/prometheus-*.txt", runtime}, nil},
	"alertmanager": {[]string{"prometheus/foreign/alertmanager-*.txt", runtime}, nil},
	"mysql":        {[]string{"prometheus/foreign/mysqld-exporter-*.txt", runtime}, nil},
	"mongodb":      {[]string{"prometheus/foreign/mongodb_exporter-*.txt", runtime}, nil},
}

// ofScrape is what Prometheus itself adds to each target.
var ofScrape = []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}

// Labels are those that a vector may have; nil: not known.
type Labels map[string]bool

// LabelsOf makes a set of names.
func LabelsOf(names ...string) Labels {
	s := Labels{}
	for _, n := range names {
		s[n] = true
	}
	return s
}

// With adds more; what is not known stays unknown.
func (s Labels) With(more Labels) Labels {
	if s == nil || more == nil {
		return nil
	}
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// Catalogue is what there is: job, metric, labels.
type Catalogue map[string]map[string]Labels

// Read reads the pages of a repository by its root. A page that is missing, or
// lists nothing, is an error.
func Read(root fs.FS) (Catalogue, error) {
	all := Catalogue{}
	for job, its := range jobs {
		all[job] = map[string]Labels{}
		target := LabelsOf(append(its.labels, "job", "instance")...)
		for _, name := range ofScrape {
			all[job][name] = target
		}
		for _, page := range its.pages {
			found, err := readPage(root, page)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				return nil, fmt.Errorf("job %s: %s lists no metric", job, page)
			}
			for name, own := range found {
				own = own.With(target)
				if was, twice := all[job][name]; twice {
					own = own.With(was)
				}
				all[job][name] = own
			}
		}
	}
	return all, nil
}

func readPage(root fs.FS, page string) (map[string]Labels, error) {
	pattern, section, _ := strings.Cut(page, "#")
	files, err := fs.Glob(root, pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("%s: want one file, got %q", pattern, files)
	}
	text, err := fs.ReadFile(root, files[0])
	if err != nil {
		return nil, err
	}
	if path.Ext(files[0]) == ".txt" {
		return readList(files[0], string(text))
	}
	return readTables(string(text), section), nil
}

// readList reads a foreign exporter's metrics, a line each: name, type and labels
// with commas between.
func readList(file, text string) (map[string]Labels, error) {
	all := map[string]Labels{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || len(words) > 3 {
			return nil, fmt.Errorf("%s: %q is not a name, a type and labels with commas between", file, strings.TrimSpace(line))
		}
		own := LabelsOf()
		if len(words) == 3 {
			own = LabelsOf(strings.Split(words[2], ",")...)
		}
		list(all, words[0], words[1], own)
	}
	return all, nil
}

// list adds a metric of a type with all its names.
func list(all map[string]Labels, name, kind string, own Labels) {
	if was, twice := all[name]; twice {
		own = own.With(was) // several commands show it
	}
	all[name] = own
	switch kind {
	case "histogram":
		all[name+"_bucket"] = own.With(LabelsOf("le"))
		all[name+"_sum"], all[name+"_count"] = own, own
	case "summary":
		all[name] = own.With(LabelsOf("quantile"))
		all[name+"_sum"], all[name+"_count"] = own, own
	}
}

var code = regexp.MustCompile("`([^`]+)`")

// readTables reads the tables of a page, or of one of its sections. Where a table
// has no column of labels they are not known.
func readTables(text, section string) map[string]Labels {
	all := map[string]Labels{}
	inside := section == ""
	column := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok && section != "" {
			inside = heading == section
		}
		if !inside || !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if strings.TrimSpace(cells[0]) == "name" {
			column = map[string]int{}
			for i, cell := range cells {
				column[strings.TrimSpace(cell)] = i
			}
			continue
		}
		cell := func(name string) string {
			if i, ok := column[name]; ok {
				return cells[i]
			}
			return ""
		}
		var own Labels
		if _, listed := column["labels"]; listed {
			own = LabelsOf()
			for _, m := range code.FindAllStringSubmatch(cell("labels"), -1) {
				own[m[1]] = true
			}
		}
		for _, m := range code.FindAllStringSubmatch(cell("name"), -1) {
			list(all, m[1], strings.TrimSpace(cell("type")), own)
		}
	}
	return all
}
