// Command fresh empties a Kafka for the tests of the notebooks: it deletes the
// topics market.* and news.*, as the tests of services/command do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fresh HOST:PORT")
		os.Exit(2)
	}
	if err := empty(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "fresh:", err)
		os.Exit(1)
	}
}

// empty returns when the topics are gone.
func empty(broker string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin := kadm.NewClient(client)
	for {
		all, err := admin.ListTopics(ctx)
		if err != nil {
			return fmt.Errorf("listing topics: %w", err)
		}
		var ours []string
		for _, name := range all.Names() {
			if strings.HasPrefix(name, "market.") || strings.HasPrefix(name, "news.") {
				ours = append(ours, name)
			}
		}
		if len(ours) == 0 {
			return nil
		}
		if _, err := admin.DeleteTopics(ctx, ours...); err != nil {
			return fmt.Errorf("deleting topics: %w", err)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the topics are still there after a minute: " + strings.Join(ours, " "))
		}
	}
}
