package cryptopanic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/candlestack/candlestack/services/pipeline"
)

func good() Config {
	return Config{URL: "https://cryptopanic.com", Token: "secret-token", API: "v1", Plan: "growth", Interval: time.Hour, Pages: 1}
}

func TestDefaultsNeedATokenOnly(t *testing.T) {
	var c Config
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(nil)
	if err == nil || !strings.Contains(err.Error(), "--token") || !strings.Contains(err.Error(), "candlestack source rss") ||
		!strings.Contains(err.Error(), "2026-04-01") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a token: %v", err)
	}
	if _, err := parser.Parse([]string{"--token=secret-token"}); err != nil {
		t.Error(err)
	}
	if c.route() != "/api/v1/posts/" || c.Interval != time.Hour || c.Pages != 1 || strings.Join(c.Currencies, ",") != "BTC,XRP,ETH" {
		t.Errorf("%+v", c)
	}
	if _, err := parser.Parse([]string{"--token=secret-token", "--filter=", "--currencies=", "--api=v2"}); err != nil || c.Filter != "" || len(c.Currencies) != 0 || c.route() != "/api/growth/v2/posts/" {
		t.Errorf("all posts: %+v, %v", c, err)
	}
}

func TestValidate(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprint("C", i))
	}
	for _, f := range []struct {
		name  string
		set   func(*Config)
		field string // empty: fine
		value string
	}{
		{"fine", func(*Config) {}, "", ""},
		{"file", func(c *Config) { c.Token, c.TokenFile = "", file("good", " secret-token\n") }, "", ""},
		{"all set", func(c *Config) {
			c.API, c.Plan, c.Filter, c.Currencies, c.Regions, c.Pages, c.Quota = "v2", "enterprise", "lol", many[:50], []string{"en", "de"}, 10, 100
		}, "", ""},
		{"no token", func(c *Config) { c.Token = "" }, "--token", ""},
		{"two tokens", func(c *Config) { c.TokenFile = "x" }, "--token-file", "x"},
		{"no file", func(c *Config) { c.Token, c.TokenFile = "", filepath.Join(folder, "none") }, "--token-file", filepath.Join(folder, "none")},
		{"empty file", func(c *Config) { c.Token, c.TokenFile = "", file("empty", "\n") }, "--token-file", filepath.Join(folder, "empty")},
		{"token of other characters", func(c *Config) { c.Token = "secret token" }, "--token", hidden},
		{"file of other characters", func(c *Config) { c.Token, c.TokenFile = "", file("odd", "secret&token") }, "--token-file", hidden},
		{"no address", func(c *Config) { c.URL = "cryptopanic.com" }, "--url", "://cryptopanic.com"},
		{"ftp", func(c *Config) { c.URL = "ftp://x.example" }, "--url", "ftp://x.example"},
		{"user", func(c *Config) { c.URL = "http://secret-token@x.example" }, "--url", "http://x.example"},
		{"query", func(c *Config) { c.URL = "http://x.example/?auth_token=secret-token" }, "--url", "http://x.example/"},
		{"address that cannot be read", func(c *Config) { c.URL = "http://[secret-token" }, "--url", hidden},
		{"api", func(c *Config) { c.API = "v3" }, "--api", "v3"},
		{"plan", func(c *Config) { c.Plan = "pro" }, "--plan", "pro"},
		{"filter", func(c *Config) { c.Filter = "HOT" }, "--filter", "HOT"},
		{"many currencies", func(c *Config) { c.Currencies = many }, "--currencies", "51"},
		{"currency", func(c *Config) { c.Currencies = []string{"btc"} }, "--currencies", "btc"},
		{"pair", func(c *Config) { c.Currencies = []string{"BTC/USDT"} }, "--currencies", "BTC/USDT"},
		{"currency twice", func(c *Config) { c.Currencies = []string{"BTC", "BTC"} }, "--currencies", "BTC"},
		{"region", func(c *Config) { c.Regions = []string{"english"} }, "--regions", "english"},
		{"interval", func(c *Config) { c.Interval = 999 * time.Millisecond }, "--interval", "999ms"},
		{"no page", func(c *Config) { c.Pages = 0 }, "--pages", "0"},
		{"pages", func(c *Config) { c.Pages = 11 }, "--pages", "11"},
		{"quota", func(c *Config) { c.Quota = -1 }, "--quota", "-1"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := good()
			f.set(&c)
			err := c.Validate()
			var wrong *pipeline.ConfigError
			switch {
			case f.field == "" && err != nil:
				t.Error(err)
			case f.field != "" && (!errors.As(err, &wrong) || wrong.Field != f.field || wrong.Value != f.value):
				t.Errorf("got %v", err)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the token is in %v", err)
			}
		})
	}
	bad := Config{}
	if err := bad.Validate(); strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("not all problems at once: %v", err)
	}
}
