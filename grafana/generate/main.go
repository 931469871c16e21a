// Command generate writes Grafana's dashboards, grafana/dashboards/<name>.json,
// from plain structs: one helper per kind of panel keeps units, texts, colours
// and the layout alike. `make dashboards` runs it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// boards are all dashboards, by the names of their files.
func boards() map[string]*dashboard {
	return map[string]*dashboard{
		"overview": overview(),
		"market":   market(),
		"pipeline": pipeline(),
		"kafka":    kafka(),
		"topics":   topics(),
		"news":     news(),
		"stores":   stores(),
		"runtime":  runtimeBoard(),
	}
}

func main() {
	folder := filepath.Join("grafana", "dashboards")
	for name, board := range boards() {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), encode(board), 0o644); err != nil {
			fmt.Fprintf(os.Stderr, "generate: writing dashboard %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// encode writes a dashboard as Grafana would, and as a person can read it.
func encode(d *dashboard) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		panic(err) // the structs hold nothing that has no JSON
	}
	return b.Bytes()
}
