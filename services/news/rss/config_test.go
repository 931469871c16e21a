package rss

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestConfig(t *testing.T) {
	parse := func(args ...string) Config {
		t.Helper()
		var cfg Config
		parser, err := kong.New(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	usual := parse()
	if err := usual.Validate(); err != nil || len(usual.Feeds) != 5 || usual.Interval != 10*time.Minute {
		t.Errorf("the defaults are %+v: %v", usual, err)
	}
	own := parse("--feed=https://a.example/1,http://a.example/2", "--feed=http://b.example", "--interval=1s")
	if err := own.Validate(); err != nil || len(own.Feeds) != 3 {
		t.Errorf("%+v: %v", own, err)
	}
}

func TestConfigNamesAllProblems(t *testing.T) {
	cfg := Config{Interval: time.Millisecond, Feeds: []string{
		"ftp://a.example/feed?token=secret", "feed", "https://me:secret@b.example/feed", "https://c.example/", "https://c.example/", "http://%zz?token=secret",
	}}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`--feed "ftp://a.example/feed": is not`, `--feed "feed": is not`, `--feed "https://b.example/feed": names a user`,
		`--feed "https://c.example/": is named twice`, `--feed "http://%zz": is not`, `--interval "1ms": must be 1s`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a secret stands in %v", err)
	}
	for _, cfg := range []Config{
		{Interval: time.Second},
		{Interval: time.Second, Feeds: strings.Split(strings.Repeat("https://a.example/,", maxFeeds+1), ",")},
	} {
		if cfg.Validate() == nil {
			t.Errorf("%d feeds are accepted", len(cfg.Feeds))
		}
	}
}
