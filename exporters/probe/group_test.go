package probe_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The group has read to the end, whichever broker led the partitions.
func TestTheGroupHasNoLag(t *testing.T) {
	w := three(t, 3)
	w.probe(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	eventually(t, func() bool {
		offsets, err := admin.FetchOffsets(t.Context(), "candlestack-canary")
		if err != nil {
			return false // the group begins with its first commit
		}
		n := 0
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic && o.At >= 2 {
				n++
			}
		})
		return n == 3
	}, "the group does not commit all partitions")
}

func TestCommitsWithoutACoordinator(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	w.probe(t)
	w.grow(t, 2, "commit_duration_seconds", "broker=none", "outcome=error")
	w.grow(t, 1, "canaries_received_total", "broker=1")
}

func TestCommitIsRefused(t *testing.T) {
	w := three(t, 3)
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	w.probe(t)
	w.grow(t, 2, "commit_duration_seconds", "outcome=error")
	if got := w.value(t, "commit_duration_seconds", "outcome=ok"); got != 0 {
		t.Errorf("%v commits succeeded", got)
	}
	eventually(t, func() bool { return w.log.count("GROUP_AUTHORIZATION_FAILED") == 1 }, "it is not said")
}
