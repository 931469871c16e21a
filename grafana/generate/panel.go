package main

import (
	"fmt"
	"strings"
)

// Units, by Grafana's ids.
const (
	unitNone        = "none"
	unitCount       = "short"
	unitSeconds     = "s"
	unitDuration    = "dtdurations"
	unitBytes       = "bytes"
	unitBytesRate   = "Bps"
	unitRatio       = "percentunit"
	unitPercent     = "percent"
	unitLocale      = "locale" // 85,237.01
	unitEventRate   = "eps"
	unitRequestRate = "reqps"
	unitRowRate     = "rowsps"
	unitMessageRate = "mps"
	unitPerSecond   = "ops"
)

// rateInterval spans four scrapes at least, and a step of the graph.
const rateInterval = "$__rate_interval"

// Colours by what they mean.
const (
	good    = "green"
	unusual = "yellow"
	bad     = "red"
	neutral = "blue"
)

const runbooks = "https://github.com/candlestack/candlestack/blob/main/prometheus/runbooks/"

// describe makes the description of a panel: what it shows, what is normal, what
// to do else, and the runbooks of the alerts that watch the same.
func describe(what, normal, otherwise string, alerts ...string) string {
	text := what + " **Normal:** " + normal + " **Otherwise:** " + otherwise
	for i, alert := range alerts {
		if i == 0 {
			text += " **Runbook:** "
		} else {
			text += ", "
		}
		text += "[" + alert + "](" + runbooks + alert + ".md)"
	}
	return text
}

// query asks Prometheus, over the range of time that is shown.
func query(expr, legend string) target {
	return target{Datasource: prometheus, EditorMode: "code", Expr: expr, LegendFormat: legend, Range: true, Format: "time_series"}
}

// buckets asks Prometheus for the buckets of a histogram.
func buckets(expr string) target {
	t := query(expr, "{{le}}")
	t.Format = "heatmap"
	return t
}

// statement asks MySQL for a column time and columns of numbers.
func statement(sql string) target {
	return target{Datasource: mysql, EditorMode: "code", RawQuery: true, RawSQL: strings.TrimSpace(sql), Format: "time_series"}
}

// quantile is that of a classic histogram over a window, for each set of the
// labels in by. A window without an observation has no quantile: NaN > -Inf
// leaves it out.
func quantile(q, histogram, selector, window, by string) string {
	if by != "" {
		by += ", "
	}
	return fmt.Sprintf("histogram_quantile(%s, sum by (%sle) (rate(%s_bucket{%s}[%s]))) > -Inf", q, by, histogram, selector, window)
}

// quantiles asks for the median and for the slowest of a hundred, by a label.
func quantiles(histogram, selector, by string) []target {
	return []target{
		query(quantile("0.5", histogram, selector, rateInterval, by), "{{"+by+"}} p50"),
		query(quantile("0.99", histogram, selector, rateInterval, by), "{{"+by+"}} p99"),
	}
}

// instantly asks Prometheus for the newest value alone.
func (p *panel) instantly() *panel {
	for i := range p.Targets {
		if t := &p.Targets[i]; t.Expr != "" {
			t.Instant, t.Range = true, false
		}
	}
	return p
}

// newPanel makes a panel on one data source. Its queries get the letters A, B, C …
func newPanel(kind, title, description, unit string, custom any, options any, targets []target) *panel {
	p := &panel{Type: kind, Title: title, Description: description, Options: options}
	p.FieldConfig = &fieldConfig{
		Defaults:  field{Unit: unit, Color: fieldColor{Mode: "palette-classic-by-name"}, Mappings: []mapping{}, NoValue: "no data", Custom: custom},
		Overrides: []override{},
	}
	p.Datasource = &targets[0].Datasource
	for i, t := range targets {
		t.RefID = string(rune('A' + i))
		p.Targets = append(p.Targets, t)
	}
	return p
}

// stat is a tile: the newest value of each series, coloured by thresholds.
func stat(title, description, unit string, targets ...target) *panel {
	options := &statOptions{
		ReduceOptions: newest, Orientation: "auto", TextMode: "auto", ColorMode: "value",
		GraphMode: "none", JustifyMode: "center", WideLayout: true,
	}
	p := newPanel("stat", title, description, unit, nil, options, targets)
	p.FieldConfig.Defaults.Color = fieldColor{Mode: "thresholds"}
	return p.instantly().levels(neutral)
}

// trend draws the past behind the numbers of a tile.
func (p *panel) trend() *panel {
	p.Options.(*statOptions).GraphMode = "area"
	for i := range p.Targets {
		if t := &p.Targets[i]; t.Expr != "" {
			t.Instant, t.Range = false, true
		}
	}
	return p
}

// graph is a time series, from zero upwards, its newest value beside each name.
func graph(title, description, unit string, targets ...target) *panel {
	custom := &graphCustom{
		DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, FillOpacity: 8, GradientMode: "none", ShowPoints: "auto", PointSize: 4,
		AxisPlacement: "auto", Stacking: stacking{Mode: "none", Group: "A"}, ThresholdsStyle: modeOnly{"off"},
	}
	options := &graphOptions{Legend: legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}}, Tooltip: tooltip{"multi", "desc"}}
	return newPanel("timeseries", title, description, unit, custom, options, targets).from(0)
}

// listed shows last, mean and greatest of each series in a table, for a graph of
// more than a few.
func (p *panel) listed() *panel {
	p.Options.(*graphOptions).Legend = legend{DisplayMode: "table", Placement: "bottom", ShowLegend: true, Calcs: []string{"lastNotNull", "mean", "max"}}
	return p
}

// stacked piles up the series of a graph, because their sum means something.
func (p *panel) stacked() *panel {
	c := p.FieldConfig.Defaults.Custom.(*graphCustom)
	c.Stacking.Mode, c.FillOpacity = "normal", 30
	return p
}

// bars draws a graph as bars.
func (p *panel) bars() *panel {
	c := p.FieldConfig.Defaults.Custom.(*graphCustom)
	c.DrawStyle, c.FillOpacity, c.ShowPoints = "bars", 60, "never"
	return p
}

// limits draws the thresholds as dashed lines.
func (p *panel) limits(base string, steps ...step) *panel {
	p.FieldConfig.Defaults.Custom.(*graphCustom).ThresholdsStyle.Mode = "dashed"
	return p.levels(base, steps...)
}

// heatmap shows how a distribution changes, or how good each hour was.
func heatmap(title, description, unit string, targets ...target) *panel {
	options := &heatmapOptions{
		Color: heatmapColor{Mode: "scheme", Scheme: "Oranges", Steps: 64, Exponent: 0.5, Fill: "dark-orange"}, CellGap: 1,
		YAxis: heatmapAxis{AxisPlacement: "left", Unit: unitNone}, CellValues: cellValues{unit}, RowsFrame: rowsFrame{"auto"}, FilterValues: filterValues{1e-9},
		Tooltip: heatmapTooltip{Mode: "single"}, Legend: showLegend{true},
	}
	return newPanel("heatmap", title, description, unit, nil, options, targets)
}

// timeline shows which state each series was in.
func timeline(title, description string, targets ...target) *panel {
	options := &timelineOptions{
		MergeValues: true, ShowValue: "auto", AlignValue: "left", RowHeight: 0.8,
		Legend: legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}}, Tooltip: tooltip{"single", "none"},
	}
	p := newPanel("state-timeline", title, description, unitNone, &fillCustom{FillOpacity: 70}, options, targets)
	p.FieldConfig.Defaults.Color = fieldColor{Mode: "thresholds"}
	return p
}

// gauges shows the newest value of each series as a bar.
func gauges(title, description, unit string, targets ...target) *panel {
	options := &gaugeOptions{
		ReduceOptions: newest, DisplayMode: "basic", Orientation: "horizontal", ShowUnfilled: true, ValueMode: "color",
		NamePlacement: "left", Sizing: "auto", MinVizHeight: 16, MaxVizHeight: 40, Legend: legend{DisplayMode: "list", Placement: "bottom", Calcs: []string{}},
	}
	p := newPanel("bargauge", title, description, unit, nil, options, targets)
	p.FieldConfig.Defaults.Color = fieldColor{Mode: "thresholds"}
	return p.instantly().levels(neutral).from(0)
}

// candlestick draws columns open, high, low, close and volume, and every other
// column as a line.
func candlestick(title, description string, t target) *panel {
	options := &candlestickOptions{
		Mode: "candles+volume", CandleStyle: "candles", ColorStrategy: "open-close", Colors: upDown{"green", "red", "gray"},
		Fields: candleFields{"open", "high", "low", "close", "volume"}, IncludeAllFields: true,
		Legend: legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}}, Tooltip: tooltip{"multi", "none"},
	}
	custom := &graphCustom{
		DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, GradientMode: "none", ShowPoints: "never", PointSize: 4,
		AxisPlacement: "auto", Stacking: stacking{Mode: "none", Group: "A"}, ThresholdsStyle: modeOnly{"off"},
	}
	return newPanel("candlestick", title, description, unitCount, custom, options, []target{t})
}
