package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// split gives the store half of the CPUs, and this program with all that it will
// start the others, until back is called.
func (w *world) split(ctx context.Context) (back func() error, shares string, err error) {
	all, err := cpus(procStatus("self", "Cpus_allowed_list"))
	switch {
	case err != nil:
		return nil, "", err
	case w.pid == "":
		return nil, "", errors.New("the store runs on another machine")
	case len(all) < 2:
		return nil, "", errors.New("there is one CPU")
	}
	self, half := strconv.Itoa(os.Getpid()), len(all)/2
	store, rest := strings.Join(all[:half], ","), strings.Join(all[half:], ",")
	back = func() error {
		everything := strings.Join(all, ",")
		return errors.Join(pin(context.WithoutCancel(ctx), w.pid, everything), pin(context.WithoutCancel(ctx), self, everything))
	}
	if err := errors.Join(pin(ctx, w.pid, store), pin(ctx, self, rest)); err != nil {
		return nil, "", errors.Join(err, back())
	}
	return back, fmt.Sprintf("the store: %s; sink or client: %s; Kafka, where it is a real one: all", store, rest), nil
}

// pin restricts all threads of a process to a list of CPUs.
func pin(ctx context.Context, pid, list string) error {
	out, err := exec.CommandContext(ctx, "taskset", "--all-tasks", "--cpu-list", "--pid", list, pid).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset %s %s: %w: %s", list, pid, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// cpus reads a list like 0-2,5.
func cpus(list string) (all []string, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", list, err)
		}
		for i := from; i <= to; i++ {
			all = append(all, strconv.Itoa(i))
		}
	}
	return all, nil
}
