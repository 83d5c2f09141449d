// Package counts counts the records of any topic of JSON objects by one field.
//
//	<topic> ──► KeyBy field ──► Window ──► Count counts
//
//	grete run counts --set topic=clicks --set key=tz --set window=1m --set grace=1h
//	grete query counts --store counts --output csv
package counts

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state/codec"
)

// Job is the job as the command line knows it.
var Job = jobs.Job{
	Name: "counts",
	Doc:  "records of any topic per value of one field and window",
	Settings: []jobs.Setting{
		{Name: "topic", Required: true, Help: "the topic to count; its values are JSON objects"},
		{Name: "key", Help: "the field to count by, dots for nested ones (geo.country); host(FIELD) and path(FIELD) take the host or the path of a URL; empty counts all records together"},
		{Name: "window", Default: "1m", Help: "length of a window"},
		{Name: "grace", Default: "1h", Help: "how long after its window's end a late record still counts"},
		{Name: "retain", Default: "8760h", Help: "how long a window stays queryable, in event time"},
	},
	Configure: Configure,
}

// Configure makes the job's graph of its settings. It reports all mistakes at
// once.
func Configure(set map[string]string) (func(*op.Graph), error) {
	var mistakes []error
	duration := func(name string) time.Duration {
		d, err := time.ParseDuration(set[name])
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("--set %s=%s: want a duration such as 1m or 1h30m", name, set[name]))
		}
		return d
	}
	window := op.Tumbling{Size: duration("window"), Grace: duration("grace"), Retain: duration("retain")}
	if set["topic"] == "" {
		mistakes = append(mistakes, errors.New("--set topic=T is missing: name the topic to count"))
	}
	field, key, err := parseKey(set["key"])
	if err != nil {
		mistakes = append(mistakes, err)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	topic := op.NewTopic(set["topic"], op.Bytes, codec.JSONField(field))
	return func(g *op.Graph) {
		byKey := op.KeyBy(op.From(g, topic), "by-key", key)
		op.Count(op.Window(byKey, window), "counts")
	}, nil
}

// parseKey takes --set key apart: FIELD, host(FIELD) or path(FIELD).
func parseKey(text string) (field string, key func(string) string, err error) {
	name, inner, call := strings.Cut(text, "(")
	if !call {
		return text, func(value string) string { return value }, nil
	}
	inner, closed := strings.CutSuffix(inner, ")")
	key = map[string]func(string) string{"host": Host, "path": Path}[name]
	if !closed || inner == "" || key == nil {
		return "", nil, fmt.Errorf("--set key=%s: want FIELD, host(FIELD) or path(FIELD)", text)
	}
	return inner, key, nil
}

// Path returns a request target or URL up to its first '?', without scheme and
// host.
func Path(url string) string {
	if rest, ok := afterScheme(url); ok {
		i := strings.IndexAny(rest, "/?")
		if i < 0 || rest[i] == '?' {
			return "/"
		}
		url = rest[i:]
	}
	path, _, _ := strings.Cut(url, "?")
	return path
}

// Host returns the host of a URL in lower case, without port and user; what has
// none gives "".
func Host(url string) string {
	rest, ok := afterScheme(url)
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		rest = rest[:i]
	}
	return strings.ToLower(rest)
}

// afterScheme returns what follows "scheme://".
func afterScheme(url string) (rest string, ok bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	return rest, ok && !strings.ContainsAny(scheme, "/?#")
}
