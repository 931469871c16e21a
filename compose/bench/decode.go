package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// benchDecode runs the Go benchmark of the Binance decoder, which fills the same
// struct by encoding/json and by ours in one run.
func benchDecode(ctx context.Context, w *world, f flags) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkDecodeFrame$", "-benchmem", "-count="+strconv.Itoa(max(f.Runs, 3)), "./services/exchange/binance")
	cmd.Env = append(os.Environ(), "GOEXPERIMENT=") // with jsonv2, encoding/json would be another
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark: %w\n%s", err, tail(out))
	}
	ours, theirs := parseBench(out, "BenchmarkDecodeFrame/candlestack"), parseBench(out, "BenchmarkDecodeFrame/encoding_json")
	if len(ours["ns/op"]) == 0 || len(ours["ns/op"]) != len(theirs["ns/op"]) {
		return fmt.Errorf("understanding the benchmark:\n%s", tail(out))
	}
	w.report.note("one kline frame of services/exchange/binance/testdata, from bytes to a validated candle, against json.Unmarshal of encoding/json into the same wire struct; no GOEXPERIMENT")
	w.report.add("encoding/json", "ns a frame", theirs["ns/op"], nil)
	w.report.add("ours", "ns a frame", ours["ns/op"], nil)
	w.report.add("encoding/json / ours", "", ratios(theirs["ns/op"], ours["ns/op"]), atLeast(2))
	w.report.add("allocations of encoding/json", "a frame", theirs["allocs/op"], nil)
	w.report.add("our allocations", "a frame", ours["allocs/op"], nil)
	return nil
}

// parseBench collects the values of a benchmark in the output of go test, by unit.
func parseBench(out []byte, name string) map[string][]float64 {
	values := map[string][]float64{}
	for line := range bytes.Lines(out) {
		words := strings.Fields(string(line))
		if len(words) < 4 {
			continue
		}
		rest, found := strings.CutPrefix(words[0], name)
		if _, err := strconv.Atoi(strings.TrimPrefix(rest, "-")); !found || rest != "" && err != nil { // -2 is the number of CPUs
			continue
		}
		for i := 2; i+1 < len(words); i += 2 {
			if v, err := strconv.ParseFloat(words[i], 64); err == nil {
				values[words[i+1]] = append(values[words[i+1]], v)
			}
		}
	}
	return values
}
