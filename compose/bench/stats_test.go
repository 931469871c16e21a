package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, f := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := append([]float64(nil), f.values...)
		if got := median(f.values); got != f.want {
			t.Errorf("median of %v is %v, want %v", f.values, got, f.want)
		}
		if diff := cmp.Diff(before, f.values); diff != "" {
			t.Error(diff)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, f := range []struct {
		values []float64
		p      float64
		want   float64
	}{
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 99.1, 100}, {hundred, 100, 100}, {hundred, 0, 1},
		{[]float64{7}, 50, 7}, {[]float64{7, 8}, 50, 7}, {[]float64{7, 8}, 51, 8},
	} {
		if got := percentile(f.values, f.p); got != f.want {
			t.Errorf("percentile %v of %d values is %v, want %v", f.p, len(f.values), got, f.want)
		}
	}
	if !math.IsNaN(percentile(nil, 99)) {
		t.Error("a percentile of nothing is a number")
	}
}

func TestRatios(t *testing.T) {
	if diff := cmp.Diff([]float64{2, 0.5}, ratios([]float64{4, 1}, []float64{2, 2})); diff != "" {
		t.Error(diff)
	}
}

func TestFigure(t *testing.T) {
	for _, f := range []struct {
		figure figure
		line   string
		met    string
	}{
		{figure{name: "ratio", values: []float64{0.95, 0.85, 1}, target: atLeast(0.9)}, "0.950 (0.850 to 1.00)", "met"},
		{figure{name: "ratio", values: []float64{0.95, 0.85, 0.8}, target: atLeast(0.9)}, "0.850 (0.800 to 0.950)", "MISSED"},
		{figure{name: "peak", unit: "MiB", values: []float64{40, 70, 50}, target: worstAtMost(64)}, "50.0 MiB (40.0 to 70.0)", "MISSED"},
		{figure{name: "rows", unit: "rows/s", values: []float64{123456}}, "123456 rows/s", ""},
	} {
		if got := f.figure.text(); got != f.line {
			t.Errorf("%s reads %q, want %q", f.figure.name, got, f.line)
		}
		if got := f.figure.verdict(); got != f.met {
			t.Errorf("%s is %q, want %q", f.figure.name, got, f.met)
		}
	}
}
