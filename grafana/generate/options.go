package main

// What the kinds of panels have of their own.

type reduceOptions struct {
	Values bool     `json:"values"`
	Calcs  []string `json:"calcs"`
	Fields string   `json:"fields"`
}

var newest = reduceOptions{Calcs: []string{"lastNotNull"}}

type legend struct {
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	ShowLegend  bool     `json:"showLegend"`
	Calcs       []string `json:"calcs"`
}

type tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

type modeOnly struct {
	Mode string `json:"mode"`
}

type stacking struct {
	Mode  string `json:"mode"`
	Group string `json:"group"`
}

type statOptions struct {
	ReduceOptions reduceOptions `json:"reduceOptions"`
	Orientation   string        `json:"orientation"`
	TextMode      string        `json:"textMode"`
	ColorMode     string        `json:"colorMode"`
	GraphMode     string        `json:"graphMode"`
	JustifyMode   string        `json:"justifyMode"`
	WideLayout    bool          `json:"wideLayout"`
}

type graphOptions struct {
	Legend  legend  `json:"legend"`
	Tooltip tooltip `json:"tooltip"`
}

type graphCustom struct {
	DrawStyle         string   `json:"drawStyle"`
	LineInterpolation string   `json:"lineInterpolation"`
	LineWidth         int      `json:"lineWidth"`
	FillOpacity       int      `json:"fillOpacity"`
	GradientMode      string   `json:"gradientMode"`
	ShowPoints        string   `json:"showPoints"`
	PointSize         int      `json:"pointSize"`
	AxisPlacement     string   `json:"axisPlacement"`
	SpanNulls         bool     `json:"spanNulls"`
	Stacking          stacking `json:"stacking"`
	ThresholdsStyle   modeOnly `json:"thresholdsStyle"`
}

type heatmapOptions struct {
	Calculate    bool           `json:"calculate"`
	Color        heatmapColor   `json:"color"`
	CellGap      int            `json:"cellGap"`
	YAxis        heatmapAxis    `json:"yAxis"`
	CellValues   cellValues     `json:"cellValues"`
	RowsFrame    rowsFrame      `json:"rowsFrame"`
	FilterValues filterValues   `json:"filterValues"`
	Tooltip      heatmapTooltip `json:"tooltip"`
	Legend       showLegend     `json:"legend"`
}

type heatmapColor struct {
	Mode     string   `json:"mode"`
	Scheme   string   `json:"scheme"`
	Steps    int      `json:"steps"`
	Exponent float64  `json:"exponent"`
	Fill     string   `json:"fill"`
	Reverse  bool     `json:"reverse"`
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
}

type heatmapAxis struct {
	AxisPlacement string `json:"axisPlacement"`
	Unit          string `json:"unit"`
	Reverse       bool   `json:"reverse"`
}

type cellValues struct {
	Unit string `json:"unit"`
}

type rowsFrame struct {
	Layout string `json:"layout"`
}

// filterValues leaves out cells below, so that empty buckets have no colour.
type filterValues struct {
	Above float64 `json:"le"`
}

type heatmapTooltip struct {
	Mode       string `json:"mode"`
	YHistogram bool   `json:"yHistogram"`
}

type showLegend struct {
	Show bool `json:"show"`
}

type timelineOptions struct {
	MergeValues bool    `json:"mergeValues"`
	ShowValue   string  `json:"showValue"`
	AlignValue  string  `json:"alignValue"`
	RowHeight   float64 `json:"rowHeight"`
	Legend      legend  `json:"legend"`
	Tooltip     tooltip `json:"tooltip"`
}

type fillCustom struct {
	FillOpacity int `json:"fillOpacity"`
	LineWidth   int `json:"lineWidth"`
}

type gaugeOptions struct {
	ReduceOptions reduceOptions `json:"reduceOptions"`
	DisplayMode   string        `json:"displayMode"`
	Orientation   string        `json:"orientation"`
	ShowUnfilled  bool          `json:"showUnfilled"`
	ValueMode     string        `json:"valueMode"`
	NamePlacement string        `json:"namePlacement"`
	Sizing        string        `json:"sizing"`
	MinVizHeight  int           `json:"minVizHeight"`
	MinVizWidth   int           `json:"minVizWidth"`
	MaxVizHeight  int           `json:"maxVizHeight"`
	Legend        legend        `json:"legend"`
}

type candlestickOptions struct {
	Mode             string       `json:"mode"`
	CandleStyle      string       `json:"candleStyle"`
	ColorStrategy    string       `json:"colorStrategy"`
	Colors           upDown       `json:"colors"`
	Fields           candleFields `json:"fields"`
	IncludeAllFields bool         `json:"includeAllFields"`
	Legend           legend       `json:"legend"`
	Tooltip          tooltip      `json:"tooltip"`
}

type upDown struct {
	Up   string `json:"up"`
	Down string `json:"down"`
	Flat string `json:"flat"`
}

type candleFields struct {
	Open   string `json:"open"`
	High   string `json:"high"`
	Low    string `json:"low"`
	Close  string `json:"close"`
	Volume string `json:"volume"`
}

type tableOptions struct {
	ShowHeader bool     `json:"showHeader"`
	CellHeight string   `json:"cellHeight"`
	SortBy     []sortBy `json:"sortBy"`
}

type sortBy struct {
	DisplayName string `json:"displayName"`
	Desc        bool   `json:"desc"`
}

type tableCustom struct {
	Align       string   `json:"align"`
	CellOptions cellKind `json:"cellOptions"`
	Filterable  bool     `json:"filterable"`
}

type cellKind struct {
	Type string `json:"type"`
}
