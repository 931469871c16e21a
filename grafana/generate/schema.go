package main

// The structs below are Grafana's classic dashboard as far as we use it, in the
// order of its own exports (grafana.md §B3).

// schemaVersion is the one of Grafana 12.0; later versions migrate it on load.
const schemaVersion = 41

type dashboard struct {
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	Timezone      string      `json:"timezone"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"`
	Refresh       string      `json:"refresh"`
	SchemaVersion int         `json:"schemaVersion"`
	Version       int         `json:"version"`
	Time          timeRange   `json:"time"`
	Timepicker    timepicker  `json:"timepicker"`
	Templating    templating  `json:"templating"`
	Annotations   annotations `json:"annotations"`
	Links         []boardLink `json:"links"`
	Panels        []*panel    `json:"panels"`

	lastID int // the number of the panel that was placed last
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type timepicker struct {
	RefreshIntervals []string `json:"refresh_intervals"`
}

type templating struct {
	List []variable `json:"list"`
}

type variable struct {
	Name       string  `json:"name"`
	Type       string  `json:"type"`
	Label      string  `json:"label"`
	Hide       int     `json:"hide"`
	Query      any     `json:"query"`
	Definition string  `json:"definition,omitempty"`
	Datasource *source `json:"datasource,omitempty"`
	Regex      string  `json:"regex"`
	Refresh    int     `json:"refresh"`
	Sort       int     `json:"sort"`
	Multi      bool    `json:"multi"`
	IncludeAll bool    `json:"includeAll"`
	AllValue   string  `json:"allValue,omitempty"`
	Current    option  `json:"current"`
	Options    []any   `json:"options"`
}

type variableQuery struct {
	Kind  int    `json:"qryType"`
	Query string `json:"query"`
	RefID string `json:"refId"`
}

type option struct {
	Text  any `json:"text"`
	Value any `json:"value"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type annotations struct {
	List []annotation `json:"list"`
}

type annotation struct {
	Name        string `json:"name"`
	Datasource  source `json:"datasource"`
	Enable      bool   `json:"enable"`
	Hide        bool   `json:"hide"`
	IconColor   string `json:"iconColor"`
	Expr        string `json:"expr"`
	Step        string `json:"step"`
	TitleFormat string `json:"titleFormat"`
	TextFormat  string `json:"textFormat"`
	TagKeys     string `json:"tagKeys"`
}

type boardLink struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url"`
}

type panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description,omitempty"`
	GridPos         gridPos          `json:"gridPos"`
	Datasource      *source          `json:"datasource,omitempty"`
	Repeat          string           `json:"repeat,omitempty"`
	RepeatDirection string           `json:"repeatDirection,omitempty"`
	MaxPerRow       int              `json:"maxPerRow,omitempty"`
	MaxDataPoints   int              `json:"maxDataPoints,omitempty"`
	Interval        string           `json:"interval,omitempty"`
	TimeFrom        string           `json:"timeFrom,omitempty"`
	FieldConfig     *fieldConfig     `json:"fieldConfig,omitempty"`
	Options         any              `json:"options,omitempty"`
	Targets         []target         `json:"targets,omitempty"`
	Transformations []transformation `json:"transformations,omitempty"`
	Collapsed       *bool            `json:"collapsed,omitempty"`
	Panels          []*panel         `json:"panels,omitempty"`
}

type gridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type target struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	EditorMode   string `json:"editorMode"`
	Expr         string `json:"expr,omitempty"`
	LegendFormat string `json:"legendFormat,omitempty"`
	Range        bool   `json:"range,omitempty"`
	Instant      bool   `json:"instant,omitempty"`
	RawQuery     bool   `json:"rawQuery,omitempty"`
	RawSQL       string `json:"rawSql,omitempty"`
	Format       string `json:"format"`
}

type transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}

type fieldConfig struct {
	Defaults  field      `json:"defaults"`
	Overrides []override `json:"overrides"`
}

type field struct {
	Unit       string      `json:"unit,omitempty"`
	Decimals   *int        `json:"decimals,omitempty"`
	Min        *float64    `json:"min,omitempty"`
	Max        *float64    `json:"max,omitempty"`
	NoValue    string      `json:"noValue,omitempty"`
	Color      fieldColor  `json:"color"`
	Thresholds *thresholds `json:"thresholds,omitempty"`
	Mappings   []mapping   `json:"mappings"`
	Links      []fieldLink `json:"links,omitempty"`
	Custom     any         `json:"custom,omitempty"`
}

type fieldColor struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor,omitempty"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

type mapping struct {
	Type    string               `json:"type"`
	Options map[string]mappingTo `json:"options"`
}

type mappingTo struct {
	Text  string `json:"text"`
	Color string `json:"color"`
	Index int    `json:"index"`
}

type fieldLink struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

type override struct {
	Matcher    matcher    `json:"matcher"`
	Properties []property `json:"properties"`
}

type matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

type property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}
