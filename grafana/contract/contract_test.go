package contract_test

import (
	"os"
	"testing"

	"github.com/candlestack/candlestack/grafana"
	"github.com/candlestack/candlestack/grafana/contract"
)

// root is where the repository begins.
const root = "../.."

func facts(t *testing.T) *contract.Facts {
	t.Helper()
	f, problems, err := contract.ReadFacts(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return f
}

func boards(t testing.TB) []*contract.Board {
	t.Helper()
	all, err := contract.ReadBoards(grafana.Dashboards)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStatic(t *testing.T) {
	left, idle := contract.Except(contract.Static(boards(t), facts(t)), contract.Exceptions, "")
	for _, p := range left {
		t.Error(p)
	}
	for _, e := range idle {
		t.Errorf("exception is not needed any more: %+v", e)
	}
}
