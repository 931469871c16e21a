package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
)

// benchExporter runs the Go benchmarks of the exporter's cluster collector on
// kfake in the same process.
func benchExporter(ctx context.Context, w *world, f flags) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=.", "-count="+strconv.Itoa(f.Runs), "./exporters/cluster")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmarks: %w\n%s", err, tail(out))
	}
	w.report.note("10k: three brokers of kfake in the same process, 10,000 partitions, 1,000 groups with 50 commits each; one of the brokers cut, or silent; classroom: one broker, 60 partitions, 6 groups; a look includes the text and its gzip copy")
	var missing []string
	add := func(name, unit, benchmark, metric string, scale float64, t *target) []float64 {
		values := parseBench(out, benchmark)[metric]
		if len(values) == 0 {
			missing = append(missing, benchmark+" "+metric)
			return nil
		}
		scaled := make([]float64, len(values))
		for i, v := range values {
			scaled[i] = v * scale
		}
		w.report.add(name, unit, scaled, t)
		return scaled
	}
	const seconds, milliseconds = 1e-9, 1e-6
	add("10k: requests a look", "", "BenchmarkRefresh/10k", "requests/op", 1, worstAtMost(24))
	add("10k: a look", "s", "BenchmarkRefresh/10k", "ns/op", seconds, worstAtMost(0.5))
	add("10k: text", "MB", "BenchmarkRefresh/10k", "MB/page", 1, nil)
	add("10k, one broker cut: a look", "s", "BenchmarkRefresh/10k-one-cut", "ns/op", seconds, worstAtMost(2))
	add("10k, one broker silent: a look", "s", "BenchmarkRefresh/10k-one-silent", "ns/op", seconds, worstAtMost(2))
	add("10k: a scrape, p99", "ms", "BenchmarkPage/serve", "p99-ms", 1, worstAtMost(50))
	ours := add("10k: encoding", "ms", "BenchmarkPage/encode", "ns/op", milliseconds, nil)
	theirs := add("10k: the same by client_golang's gatherer", "ms", "BenchmarkPage/client_golang", "ns/op", milliseconds, nil)
	if len(ours) > 0 && len(ours) == len(theirs) {
		w.report.add("10k: client_golang / ours", "", ratios(theirs, ours), nil)
	}
	add("classroom: a look", "ms", "BenchmarkRefresh/classroom", "ns/op", milliseconds, worstAtMost(20))
	if missing != nil {
		return fmt.Errorf("understanding the benchmarks: no %q in\n%s", missing, tail(out))
	}
	return nil
}
