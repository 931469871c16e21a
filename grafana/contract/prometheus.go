package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// series is one line of an answer.
type series struct {
	labels map[string]string
	name   string // of its column, where it came from MySQL
	times  []time.Time
	values []float64
}

// jobOf finds the one job that an expression names.
var jobOf = regexp.MustCompile(`\bjob="(\w+)"`)

// ask sends a question to the HTTP API of a Prometheus and reads the data of its answer.
func (l *Live) ask(ctx context.Context, path string, args url.Values, data any) error {
	prometheus := l.Prometheus
	if m := jobOf.FindStringSubmatch(args.Get("query")); m != nil && l.Elsewhere[m[1]] != "" {
		prometheus = l.Elsewhere[m[1]]
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, prometheus+"/api/v1/"+path+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status   string          `json:"status"`
		Error    string          `json:"error"`
		Warnings []string        `json:"warnings"`
		Data     json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus says: %s", answer.Error)
	}
	if len(answer.Warnings) > 0 {
		return fmt.Errorf("prometheus warns: %s", strings.Join(answer.Warnings, "; "))
	}
	return json.Unmarshal(answer.Data, data)
}

// Newest evaluates an expression now: how many values, and the first of them.
func (l *Live) Newest(ctx context.Context, expr string) (n int, first float64, err error) {
	lines, err := l.query(ctx, expr, span{to: time.Now()}, true)
	if len(lines) > 0 {
		first = lines[0].values[0]
	}
	return len(lines), first, err
}

// Firing are the names of the alerts that fire now.
func (l *Live) Firing(ctx context.Context) (map[string]bool, error) {
	lines, err := l.query(ctx, `count by (alertname) (ALERTS{alertstate="firing"})`, span{to: time.Now()}, true)
	names := map[string]bool{}
	for _, line := range lines {
		names[line.labels["alertname"]] = true
	}
	return names, err
}

// sample is [seconds, "value"].
type sample [2]any

func (s sample) read() (time.Time, float64, error) {
	seconds, isTime := s[0].(float64)
	text, isText := s[1].(string)
	if !isTime || !isText {
		return time.Time{}, 0, fmt.Errorf("%v is no sample", s)
	}
	value, err := strconv.ParseFloat(text, 64)
	return time.UnixMilli(int64(math.Round(seconds * 1000))), value, err
}

// query evaluates an expression at the end of a span, or at every step of it.
func (l *Live) query(ctx context.Context, expr string, s span, instant bool) ([]series, error) {
	path, args := "query", url.Values{"query": {expr}}
	if instant {
		args.Set("time", seconds(s.to))
	} else {
		path = "query_range"
		args.Set("start", seconds(s.from))
		args.Set("end", seconds(s.to))
		args.Set("step", fmt.Sprint(s.interval.Seconds()))
	}
	var data struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	}
	if err := l.ask(ctx, path, args, &data); err != nil {
		return nil, err
	}
	if data.ResultType == "scalar" {
		data.Result = fmt.Appendf(nil, `[{"metric":{},"value":%s}]`, data.Result)
	}
	var lines []struct {
		Metric map[string]string `json:"metric"`
		Value  *sample           `json:"value"`
		Values []sample          `json:"values"`
	}
	if err := json.Unmarshal(data.Result, &lines); err != nil {
		return nil, err
	}
	all := make([]series, len(lines))
	for i, line := range lines {
		all[i].labels = line.Metric
		if line.Value != nil {
			line.Values = append(line.Values, *line.Value)
		}
		for _, v := range line.Values {
			at, value, err := v.read()
			if err != nil {
				return nil, err
			}
			all[i].times, all[i].values = append(all[i].times, at), append(all[i].values, value)
		}
	}
	return all, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
