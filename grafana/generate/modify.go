package main

// at begins a threshold at a value.
func at(value float64, color string) step { return step{color, &value} }

// levels sets thresholds: base below the first step.
func (p *panel) levels(base string, steps ...step) *panel {
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: append([]step{{Color: base}}, steps...)}
	return p
}

// states names the values of an enumeration, each with a text and a colour.
func (p *panel) states(values map[string]mappingTo) *panel {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, mapping{Type: "value", Options: values})
	return p
}

// isUp names 1 and 0.
func (p *panel) isUp() *panel {
	return p.levels(bad, at(1, good)).states(map[string]mappingTo{"0": {"down", bad, 0}, "1": {"up", good, 1}})
}

// noValue says why there may be nothing.
func (p *panel) noValue(cause string) *panel { p.FieldConfig.Defaults.NoValue = cause; return p }

func (p *panel) from(min float64) *panel { p.FieldConfig.Defaults.Min = &min; return p }
func (p *panel) to(max float64) *panel   { p.FieldConfig.Defaults.Max = &max; return p }
func (p *panel) anyMin() *panel          { p.FieldConfig.Defaults.Min = nil; return p }
func (p *panel) decimals(n int) *panel   { p.FieldConfig.Defaults.Decimals = &n; return p }
func (p *panel) wide(columns int) *panel { p.GridPos.W = columns; return p }

// opens leads from a value to the board that tells more.
func (p *panel) opens(title, uid string) *panel {
	p.FieldConfig.Defaults.Links = append(p.FieldConfig.Defaults.Links, fieldLink{"Open " + title, "/d/" + uid + "?${__url_time_range}"})
	return p
}

// series sets properties of the series or column of a name.
func (p *panel) series(name string, properties ...property) *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byName", name}, properties})
	return p
}

// matching sets properties of the series whose names match a pattern.
func (p *panel) matching(pattern string, properties ...property) *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byRegexp", "/" + pattern + "/"}, properties})
	return p
}

func inColor(name string) property { return property{"color", fieldColor{"fixed", name}} }
func inUnit(id string) property    { return property{"unit", id} }

// limitLines draws series as dashed lines: bounds, not measurements.
func (p *panel) limitLines(pattern string) *panel {
	return p.matching(pattern, inColor(bad), property{"custom.fillOpacity", 0}, property{"custom.lineStyle", map[string]any{"fill": "dash", "dash": []int{8, 8}}})
}

// yUnit gives the rows of a heat map a unit.
func (p *panel) yUnit(id string) *panel { p.Options.(*heatmapOptions).YAxis.Unit = id; return p }

// colored paints the cells of a heat map by a scheme, from one value to another.
func (p *panel) colored(scheme string, from, to float64) *panel {
	c := &p.Options.(*heatmapOptions).Color
	c.Scheme, c.Exponent, c.Min, c.Max = scheme, 1, &from, &to
	return p
}
