package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const folder = "../dashboards"

// TestDashboardsAreGenerated compares the files with what the boards say, so that
// nobody mends a file by hand or forgets `make dashboards`.
func TestDashboardsAreGenerated(t *testing.T) {
	written, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); boards()[name] == nil {
			t.Errorf("%s: no board makes this file: delete it", file)
		}
	}
	for name, board := range boards() {
		file := filepath.Join(folder, name+".json")
		got, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: run make dashboards", err)
			continue
		}
		if diff := cmp.Diff(string(encode(board)), string(got)); diff != "" {
			t.Errorf("%s is not what the board says, run make dashboards (-board +file):\n%s", file, diff)
		}
		if want := uid(name); board.UID != want {
			t.Errorf("%s: uid %q, want %q: links name it", file, board.UID, want)
		}
	}
}

func TestALineFillsTheGrid(t *testing.T) {
	for name, widths := range map[string][]int{"too wide": {20, 8}, "not full": {12, 6}, "no place for the last": {24, 0}} {
		t.Run(name, func(t *testing.T) {
			panels := make([]*panel, len(widths))
			for i, w := range widths {
				panels[i] = stat("part", "", unitNone, query("1", "")).wide(w)
			}
			defer func() {
				if recover() == nil {
					t.Errorf("widths %v were laid out", widths)
				}
			}()
			newBoard("test", "Test", "?").section("", across(4, panels...))
		})
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	for name, board := range boards() {
		taken := map[[2]int]string{} // a closed row's panels lie where the next row's do
		for _, p := range board.Panels {
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other, twice := taken[cell]; twice {
						t.Fatalf("%s: %q lies on %q", name, p.Title, other)
					}
					taken[cell] = p.Title
				}
			}
		}
		if want := board.bottom() * columns; len(taken) != want {
			t.Errorf("%s: panels cover %d cells of %d: there are holes", name, len(taken), want)
		}
	}
}
