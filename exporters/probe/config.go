package probe

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config is what a user may set.
type Config struct {
	Enabled     bool          `help:"Send a canary through every broker and measure its way."`
	Topic       string        `help:"Topic of the canaries. Each broker needs a partition that it leads; where none is, only its answers are measured." default:"candlestack-canary"`
	CreateTopic bool          `help:"Make the topic if it is not there, with a partition for each broker. It is never changed afterwards."`
	Group       string        `help:"Group that commits what has been read of the canaries; it has no members." default:"candlestack-canary"`
	Interval    time.Duration `help:"Time from one canary of a broker to the next." default:"10s"`
	Deadline    time.Duration `help:"Longest time of a measurement, half of the interval at most. A canary that is not back by then is lost." default:"5s"`
}

// topicName is what Kafka allows.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate reports all settings that cannot work, each with flag and value.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, flag string, value any, why string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %q: %s", flag, fmt.Sprint(value), why))
		}
	}
	check(topicName.MatchString(c.Topic) && c.Topic != "." && c.Topic != "..", "--probe.topic", c.Topic, "is not a name of 1 to 249 letters, digits, dots, underscores and dashes")
	check(c.Group != "" && len(c.Group) <= 249, "--probe.group", c.Group, "is not 1 to 249 bytes")
	check(c.Interval >= time.Second && c.Interval <= 5*time.Minute, "--probe.interval", c.Interval, "is not 1s to 5m")
	check(c.Deadline >= 100*time.Millisecond && c.Deadline <= c.Interval/2, "--probe.deadline", c.Deadline, "is not 100ms to half of --probe.interval")
	return errors.Join(errs...)
}
