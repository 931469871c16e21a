package contract

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Table shows, by board, how many targets were evaluated and what is left of
// problems after Except.
func (r Result) Table(boards []*Board, left []Problem) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "board\tpanels\ttargets\tevaluated\tempty\tother problems\texcepted\tmost series\tslowest")
	for _, b := range append(slices.Clone(boards), nil) {
		in := func(board string) bool { return b == nil || b.UID == board }
		name, panels, targets := "all", 0, 0
		if b != nil {
			name = b.UID
		}
		for _, of := range boards {
			for _, p := range of.Panels() {
				if in(of.UID) && len(p.Targets) > 0 {
					panels++
					targets += len(p.Targets)
				}
			}
		}
		evaluated, most, slowest := 0, 0, time.Duration(0)
		for _, row := range r.Rows {
			if in(row.Board) {
				evaluated++
				most, slowest = max(most, row.Series), max(slowest, row.Took)
			}
		}
		count := func(problems []Problem, empty bool) (n int) {
			for _, p := range problems {
				if in(p.Board) && (p.Rule == RuleEmpty) == empty {
					n++
				}
			}
			return n
		}
		empty, other := count(left, true), count(left, false)
		excepted := count(r.Problems, true) + count(r.Problems, false) - empty - other
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d ms\n", name, panels, targets, evaluated, empty, other, excepted, most, slowest.Milliseconds())
	}
	_ = w.Flush() // into a text, which cannot fail
	return text.String()
}
