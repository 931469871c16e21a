package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// benchExporter runs the Go benchmark of the exporter, which is a process of its
// own beside a kfake.
func benchExporter(ctx context.Context, w *world, f flags) error {
	database, err := w.database(ctx, "exporter")
	if err != nil {
		return err
	}
	if err := w.migrate(ctx, database); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkExporter$", "-benchtime=1x", "-timeout=1h", "-count="+strconv.Itoa(f.Runs), "./exporters/cluster")
	cmd.Env = append(os.Environ(), "CANDLESTACK_BENCH_MYSQL="+w.dsnOf(database))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark: %w\n%s", err, tail(out))
	}
	stores := "MySQL"
	if os.Getenv("CANDLESTACK_TEST_MONGODB") != "" {
		stores += " and MongoDB"
	}
	w.report.note("the binary as it is shipped, a process of its own that looks every second, with the pages of the cluster, of each broker and of the controller; kfake shares the machine with it, and a look lasts until kfake has answered")
	w.report.note("10k: three brokers, 10,000 partitions with a replica on each, 1,000 groups with 50 commits each; cut, silent: what one of the brokers does; classroom: one broker, 60 partitions, 6 groups")
	w.report.note("everything: with the probe, a canary a second, and %s", stores)
	w.report.note("ten looks a run, while /metrics is scraped over HTTP, packed, ten times a second: if scrapes asked Kafka, the requests a look would be many more")
	w.report.note("CPU is that of the exporter alone, scrapes included; unlike time it tells the same on a machine that others use")
	var missing []string
	add := func(name, unit, size, metric string, t *target) []float64 {
		values := parseBench(out, "BenchmarkExporter/"+size)[metric]
		if len(values) == 0 {
			missing = append(missing, size+" "+metric)
			return nil
		}
		w.report.add(name, unit, values, t)
		return values
	}
	for _, size := range []struct {
		name           string
		requests, look *target
		scrape, memory *target
	}{
		{"10k", worstAtMost(24), worstAtMost(0.5), worstAtMost(50), worstAtMost(200)},
		{"10k-everything", worstAtMost(24), worstAtMost(0.5), worstAtMost(50), worstAtMost(200)},
		{"10k-one-cut", nil, worstAtMost(2), worstAtMost(50), nil},
		{"10k-one-silent", nil, worstAtMost(2), worstAtMost(50), nil},
		{"classroom", nil, worstAtMost(0.02), nil, worstAtMost(30)},
		{"classroom-everything", nil, worstAtMost(0.02), nil, worstAtMost(30)},
	} {
		add(size.name+": requests a look", "", size.name, "requests/look", size.requests)
		add(size.name+": a look, median of ten", "s", size.name, "s/look", size.look)
		add(size.name+": a look, the longest of ten", "s", size.name, "s/look-max", nil)
		add(size.name+": CPU a look", "s", size.name, "cpu-s/look", nil)
		add(size.name+": a scrape, p99", "ms", size.name, "ms/scrape-p99", size.scrape)
		add(size.name+": memory, resident", "MB", size.name, "MB-RSS", nil)
		add(size.name+": memory, resident at its peak", "MB", size.name, "MB-peak", size.memory)
	}
	add("10k: text of all pages", "MB", "10k", "MB/pages", nil)
	ours := add("10k: making and packing all pages", "ms", "10k", "ms/pages", nil)
	theirs := add("10k: the same series by client_golang's gatherer, not packed", "ms", "10k", "ms/pages-client_golang", nil)
	if len(ours) > 0 && len(ours) == len(theirs) {
		w.report.add("10k: client_golang / ours", "", ratios(theirs, ours), nil)
	}
	if missing != nil {
		return fmt.Errorf("understanding the benchmark: no %q in\n%s", missing, tail(out))
	}
	return nil
}
