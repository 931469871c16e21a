package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// echo is how long a second signal counts as the first: tools such as timeout(1)
// signal a process and then its group.
const echo = 300 * time.Millisecond

// Signals returns a context that ends at the first SIGINT or SIGTERM, which
// asks for an orderly stop. The second one ends the process at once. Call cancel
// to free what it holds.
func Signals(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(parent)
	first := make(chan os.Signal, 1)
	signal.Notify(first, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		defer signal.Stop(first) // the signals have their default meaning again, to end the process
		select {
		case <-first:
		case <-ctx.Done():
			return
		}
		cancel()
		time.Sleep(echo)
	}()
	return ctx, cancel
}

// Part is one of the things that a command does at the same time.
type Part struct {
	Name string
	// Run blocks until ctx ends and everything taken in is safe, then returns
	// nil or ctx.Err(). Returning earlier ends the command: with nil its work is
	// done, with an error it failed.
	Run func(ctx context.Context) error
}

// Run runs the parts of a command until ctx ends or one of them returns, and
// waits for the others, for grace at most. From the beginning of the end
// /-/ready fails; the ops server ends last, so that the end can be watched. The
// error joins those of the parts, names the parts that did not end in time, and
// is nil where ctx ended and all was in order.
func Run(ctx context.Context, grace time.Duration, health *Health, ops *Ops, parts ...Part) error {
	type result struct {
		part int
		err  error
	}
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOps()
	opsDone := make(chan error, 1)
	go func() { opsDone <- ops.Run(opsCtx) }()

	// Not a child of ctx: /-/ready must fail before the first part hears of the end.
	partsCtx, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	results := make(chan result, len(parts))
	for i, p := range parts {
		go func() { results <- result{i, p.Run(partsCtx)} }()
	}

	var problems []error
	running := make(map[int]bool, len(parts))
	for i := range parts {
		running[i] = true
	}
	ended := func(r result) {
		delete(running, r.part)
		if r.err != nil && !errors.Is(r.err, context.Canceled) {
			problems = append(problems, fmt.Errorf("%s: %w", parts[r.part].Name, r.err))
		}
	}

	select {
	case <-ctx.Done():
	case r := <-results:
		ended(r)
	case err := <-opsDone:
		opsDone = nil
		problems = append(problems, err)
	}
	health.Stopping()
	stopParts()

	late := time.NewTimer(grace)
	defer late.Stop()
	for len(running) > 0 {
		select {
		case r := <-results:
			ended(r)
			continue
		case <-late.C:
			var names []string
			for i, p := range parts {
				if running[i] {
					names = append(names, p.Name)
				}
			}
			problems = append(problems, fmt.Errorf("not stopped within %s: %s", grace, strings.Join(names, ", ")))
		}
		break
	}
	stopOps()
	if opsDone != nil {
		problems = append(problems, <-opsDone)
	}
	return errors.Join(problems...)
}
