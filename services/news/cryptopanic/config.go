package cryptopanic

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/candlestack/candlestack/services/pipeline"
)

// Generations of the API.
const (
	apiV1 = "v1"
	apiV2 = "v2"
)

// What the API takes (exchanges.md §2.1, §2.2).
var (
	plans   = []string{"developer", "growth", "enterprise"}
	filters = []string{"rising", "hot", "bullish", "bearish", "important", "saved", "lol"}
)

const (
	maxCurrencies = 50
	maxPages      = 10
)

// Config says what to follow and how. There is no default for the token: the
// service has no free access any more.
type Config struct {
	URL        string        `help:"Address of the service." default:"https://cryptopanic.com" placeholder:"URL"`
	Token      string        `help:"Token of the API. It is a secret: better in a file." placeholder:"TOKEN"`
	TokenFile  string        `help:"File that holds the token. It is read at each request, so that the token can be replaced." placeholder:"PATH"`
	API        string        `help:"Generation of the API: v1 or v2." default:"v1"`
	Plan       string        `help:"Your plan, which is part of v2's address: developer, growth or enterprise." default:"growth"`
	Filter     string        `help:"Posts to follow: rising hot bullish bearish important saved lol, or nothing for all." default:"hot"`
	Currencies []string      `help:"Currencies that the posts are about, up to 50, or nothing for all." default:"BTC,XRP,ETH" placeholder:"CODE"`
	Regions    []string      `help:"Languages of the posts, as en or de. Default: the service's own." placeholder:"CODE"`
	Interval   time.Duration `help:"Time from poll to poll. The service renews its answers each 30s at most." default:"1h"`
	Pages      int           `help:"Pages that a poll reads, 1 to 10. Each is a request." default:"1"`
	Quota      int           `help:"Requests a calendar month (UTC) that your plan allows; none is sent beyond. 0: they are only counted." default:"0"`
	StateDir   string        `help:"Folder that keeps bans, the quota and the time of the last poll over restarts. Default: they are forgotten." placeholder:"DIR"`
}

var (
	tokenForm    = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,200}$`)
	currencyForm = regexp.MustCompile(`^[A-Z0-9._-]{1,32}$`)
	regionForm   = regexp.MustCompile(`^[a-z]{2}$`)
)

// hidden stands for the token wherever something is printed.
const hidden = "(hidden)"

var errNoToken = errors.New("is missing, and the free API ended on 2026-04-01; news without a token: candlestack source rss")

// Validate reports all settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(field, value, format string, args ...any) {
		errs = append(errs, &pipeline.ConfigError{Field: field, Value: value, Err: fmt.Errorf(format, args...)})
	}
	if u, err := url.Parse(c.URL); err != nil {
		wrong("--url", hidden, "is not an http or https address") // what cannot be read may hold anything
	} else if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("--url", u.Scheme+"://"+u.Host+u.Path, "is not an http or https address without user and query")
	}
	if _, err := c.token(); err != nil {
		errs = append(errs, err)
	}
	if c.API != apiV1 && c.API != apiV2 {
		wrong("--api", c.API, "is neither %s nor %s", apiV1, apiV2)
	}
	if !slices.Contains(plans, c.Plan) {
		wrong("--plan", c.Plan, "is none of %s", strings.Join(plans, " "))
	}
	if c.Filter != "" && !slices.Contains(filters, c.Filter) {
		wrong("--filter", c.Filter, "is none of %s", strings.Join(filters, " "))
	}
	if len(c.Currencies) > maxCurrencies {
		wrong("--currencies", strconv.Itoa(len(c.Currencies)), "are more than %d", maxCurrencies)
	}
	codes(wrong, "--currencies", c.Currencies, currencyForm, "BTC")
	codes(wrong, "--regions", c.Regions, regionForm, "en")
	if c.Interval < time.Second {
		wrong("--interval", c.Interval.String(), "is less than 1s")
	}
	if c.Pages < 1 || c.Pages > maxPages {
		wrong("--pages", strconv.Itoa(c.Pages), "is not 1 to %d", maxPages)
	}
	if c.Quota < 0 {
		wrong("--quota", strconv.Itoa(c.Quota), "is less than 0")
	}
	return errors.Join(errs...)
}

func codes(wrong func(field, value, format string, args ...any), field string, names []string, form *regexp.Regexp, example string) {
	for i, name := range names {
		if !form.MatchString(name) {
			wrong(field, name, "is not of the form %s", example)
		} else if slices.Contains(names[:i], name) {
			wrong(field, name, "is named twice")
		}
	}
}

// token is the secret, out of its file where it has one. Its errors do not quote it.
func (c *Config) token() (string, error) {
	field, token := "--token", c.Token
	switch {
	case c.Token != "" && c.TokenFile != "":
		return "", &pipeline.ConfigError{Field: "--token-file", Value: c.TokenFile, Err: errors.New("stands beside --token; give one of them")}
	case c.TokenFile != "":
		text, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return "", &pipeline.ConfigError{Field: "--token-file", Value: c.TokenFile, Err: err}
		}
		field, token = "--token-file", strings.TrimSpace(string(text))
	}
	if token == "" {
		return "", &pipeline.ConfigError{Field: field, Value: c.TokenFile, Err: errNoToken}
	}
	if !tokenForm.MatchString(token) {
		return "", &pipeline.ConfigError{Field: field, Value: hidden, Err: errors.New("holds other characters than letters, digits and ._~-")}
	}
	return token, nil
}

// route is the path of the posts.
func (c *Config) route() string {
	if c.API == apiV2 {
		return "/api/" + c.Plan + "/v2/posts/"
	}
	return "/api/v1/posts/"
}

// query asks for a page. It is made anew for each: the address that the answer
// names as its next holds the token.
func (c *Config) query(token string, page int) url.Values {
	q := url.Values{"auth_token": {token}, "public": {"true"}}
	for name, value := range map[string]string{"filter": c.Filter, "currencies": strings.Join(c.Currencies, ","), "regions": strings.Join(c.Regions, ",")} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if c.API == apiV1 {
		q.Set("metadata", "true") // description and image; v2 has them unasked
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	return q
}
