package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// watch prints until a command or the run ends.
func (d *demo) watch(stdout io.Writer) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for tick := 0; ; {
		select {
		case <-d.ctx.Done():
			return nil
		case <-d.ended:
			return errors.New("a command ended by itself, see the log")
		case <-ticker.C:
		}
		s, err := scrape(d.ctx, d.broker, d.part(sinkMySQL).addr, d.part(sinkMongoDB).addr)
		if err != nil {
			continue // not up yet: what is wrong for long is in the log
		}
		d.last.Store(&s)
		if !d.seen && s.written > 0 {
			d.seen = true
			fmt.Fprintf(stdout, "first row %.1f s after the start\n", time.Since(d.begun).Seconds())
		}
		if tick%10 == 0 {
			fmt.Fprintln(stdout, s)
		}
		tick++
	}
}
