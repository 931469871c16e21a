package contract

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Board is a classic dashboard, as far as the contract looks at it.
type Board struct {
	UID           string   `json:"uid"`
	Title         string   `json:"title"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	Timezone      string   `json:"timezone"`
	Editable      bool     `json:"editable"`
	SchemaVersion int      `json:"schemaVersion"`
	Refresh       string   `json:"refresh"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name       string `json:"name"`
			Datasource source `json:"datasource"`
			Expr       string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Links []struct {
		Type string   `json:"type"`
		Tags []string `json:"tags"`
		URL  string   `json:"url"`
	} `json:"links"`
	Rows []*Panel `json:"panels"` // a row that is closed holds panels of its own

	file string
	keys []string
}

// Variable is what a user may choose.
type Variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"` // a text, or an object with one
	Datasource *source         `json:"datasource"`
	Regex      string          `json:"regex"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Current    struct {
		Value any `json:"value"`
	} `json:"current"`
}

func (v *Variable) query() string {
	var text string
	if json.Unmarshal(v.Query, &text) == nil {
		return text
	}
	var object struct {
		Query  string `json:"query"`
		RawSQL string `json:"rawSql"`
	}
	if json.Unmarshal(v.Query, &object) != nil {
		return ""
	}
	return object.Query + object.RawSQL
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a panel or a row.
type Panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Datasource      *source          `json:"datasource"`
	Repeat          string           `json:"repeat"`
	MaxDataPoints   int              `json:"maxDataPoints"`
	Interval        string           `json:"interval"`
	TimeFrom        string           `json:"timeFrom"`
	FieldConfig     fieldConfig      `json:"fieldConfig"`
	Options         json.RawMessage  `json:"options"`
	Targets         []Target         `json:"targets"`
	Transformations []transformation `json:"transformations"`
	Collapsed       bool             `json:"collapsed"`
	Panels          []*Panel         `json:"panels"`
}

// Target is a query of a panel.
type Target struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	Instant      bool   `json:"instant"`
	RawSQL       string `json:"rawSql"`
	Format       string `json:"format"`
}

type transformation struct {
	ID      string          `json:"id"`
	Options json.RawMessage `json:"options"`
}

type fieldConfig struct {
	Defaults struct {
		Unit       string      `json:"unit"`
		NoValue    string      `json:"noValue"`
		Thresholds *thresholds `json:"thresholds"`
		Links      []struct {
			URL string `json:"url"`
		} `json:"links"`
	} `json:"defaults"`
	Overrides []struct {
		Matcher struct {
			ID      string `json:"id"`
			Options string `json:"options"`
		} `json:"matcher"`
		Properties []struct {
			ID    string          `json:"id"`
			Value json.RawMessage `json:"value"`
		} `json:"properties"`
	} `json:"overrides"`
}

type thresholds struct {
	Steps []struct {
		Value *float64 `json:"value"`
	} `json:"steps"`
}

// ReadBoards reads dashboards/*.json.
func ReadBoards(files fs.FS) (boards []*Board, err error) {
	names, err := fs.Glob(files, "dashboards/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		b, err := ParseBoard(name, content)
		if err != nil {
			return nil, err
		}
		boards = append(boards, b)
	}
	if len(boards) == 0 {
		return nil, fmt.Errorf("grafana/dashboards holds no board")
	}
	return boards, nil
}

// ParseBoard reads a board; the error names file, line and reason.
func ParseBoard(file string, content []byte) (*Board, error) {
	b := &Board{file: path.Base(file)}
	var all map[string]json.RawMessage
	err := json.Unmarshal(content, &all)
	if err == nil {
		err = json.Unmarshal(content, b)
	}
	if err != nil {
		return nil, fmt.Errorf("grafana/%s:%d: %w", file, lineOf(content, err), err)
	}
	for key := range all {
		b.keys = append(b.keys, key)
	}
	slices.Sort(b.keys)
	return b, nil
}

// lineOf is the line of a mistake in JSON.
func lineOf(content []byte, err error) int {
	at := int64(0)
	switch e := err.(type) { //nolint:errorlint // what encoding/json returns is not wrapped
	case *json.SyntaxError:
		at = e.Offset
	case *json.UnmarshalTypeError:
		at = e.Offset
	}
	return 1 + strings.Count(string(content[:min(at, int64(len(content)))]), "\n")
}

// Panels are all panels but rows, those of closed rows too.
func (b *Board) Panels() (all []*Panel) {
	for _, p := range b.Rows {
		if p.Type == "row" {
			all = append(all, p.Panels...)
		} else {
			all = append(all, p)
		}
	}
	return all
}
