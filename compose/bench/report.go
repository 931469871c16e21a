package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one number of the report, with its value in each run.
type figure struct {
	bench, name, unit string
	values            []float64
	target            *target
	load              string // when it was measured
}

// target is what a figure should reach.
type target struct {
	text string
	met  func(values []float64) bool
}

func atLeast(limit float64) *target {
	return &target{fmt.Sprintf("≥ %v", limit), func(v []float64) bool { return median(v) >= limit }}
}

func below(limit float64) *target {
	return &target{fmt.Sprintf("< %v", limit), func(v []float64) bool { return median(v) < limit }}
}

// worstAtMost is for what must hold in every run.
func worstAtMost(limit float64) *target {
	return &target{fmt.Sprintf("≤ %v in each run", limit), func(v []float64) bool { return slices.Max(v) <= limit }}
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case v >= 100 || v <= -100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v <= -1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// text is the median, and the extremes where there is more than one value.
func (f *figure) text() string {
	s := strings.TrimSpace(number(median(f.values)) + " " + f.unit)
	if len(f.values) > 1 {
		s += fmt.Sprintf(" (%s to %s)", number(slices.Min(f.values)), number(slices.Max(f.values)))
	}
	return s
}

func (f *figure) verdict() string {
	switch {
	case f.target == nil:
		return ""
	case f.target.met(f.values):
		return "met"
	}
	return "MISSED"
}

// report prints as it grows.
type report struct {
	out      io.Writer
	started  time.Time
	settings [][2]string
	figures  []figure
	notes    map[string][]string // by benchmark
	bench    string              // that runs
}

func newReport(out io.Writer) *report {
	r := &report{out: out, started: time.Now(), notes: map[string][]string{}}
	r.config("machine", machine())
	r.config("load average at the start", loadAverage())
	r.config("Go", runtime.Version())
	return r
}

// config tells of a circumstance.
func (r *report) config(name, value string) {
	r.settings = append(r.settings, [2]string{name, value})
	fmt.Fprintf(r.out, "%-26s %s\n", name, value)
}

func (r *report) begin(bench string) {
	r.bench = bench
	fmt.Fprintf(r.out, "\n%s\n", bench)
}

// add prints a figure of the benchmark that runs.
func (r *report) add(name, unit string, values []float64, t *target) {
	f := figure{r.bench, name, unit, values, t, loadAverage()}
	r.figures = append(r.figures, f)
	line := fmt.Sprintf("  %-46s %-34s", f.name, f.text())
	if t != nil {
		line += fmt.Sprintf(" %s: %s", t.text, f.verdict())
	}
	fmt.Fprintln(r.out, strings.TrimRight(line, " "))
}

// note tells how a figure came about, or what it is not.
func (r *report) note(format string, args ...any) {
	n := fmt.Sprintf(format, args...)
	r.notes[r.bench] = append(r.notes[r.bench], n)
	fmt.Fprintf(r.out, "  · %s\n", n)
}

// progress is for those who wait.
func (r *report) progress(format string, args ...any) {
	fmt.Fprintf(r.out, "    %s\n", fmt.Sprintf(format, args...))
}

// markdown is the whole report.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Results\n\nWritten by `make bench ARGS='--save PATH'`. Numbers are the median of the runs, with the extremes in brackets; ratios compare what ran in turns, on one machine, in one run.\n\n")
	fmt.Fprintf(&b, "| configuration | |\n|---|---|\n| date | %s |\n", r.started.UTC().Format(time.DateOnly))
	for _, s := range r.settings {
		fmt.Fprintf(&b, "| %s | %s |\n", s[0], strings.ReplaceAll(s[1], "|", "\\|"))
	}
	for i, f := range r.figures {
		if i == 0 || r.figures[i-1].bench != f.bench {
			fmt.Fprintf(&b, "\n## %s\n\n", f.bench)
			for _, n := range r.notes[f.bench] {
				fmt.Fprintf(&b, "* %s\n", n)
			}
			b.WriteString("\n| figure | result | runs | target | | load average |\n|---|---|---|---|---|---|\n")
		}
		goal := ""
		if f.target != nil {
			goal = f.target.text
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s |\n", f.name, f.text(), len(f.values), goal, f.verdict(), f.load)
	}
	return b.String()
}

func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d CPUs, %s", model, runtime.NumCPU(), runtime.GOOS)
}

// loadAverage over 1, 5 and 15 minutes; our own work and that of the servers is in it.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
