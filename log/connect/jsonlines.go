package connect

import (
	"fmt"
	"strings"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/jsonscan"
)

// jsonParser takes lines that are JSON objects as they are, and finds key and
// time in them.
type jsonParser struct {
	key, time jsonPath
	times     timeParser
	now       log.Timestamp
}

// jsonPath is a field to look for: a name, or, if no field has it, names of
// nested objects joined by dots.
type jsonPath struct {
	name   string // empty: no field
	nested []string
	buf    []byte // of unquoted text
}

func newJSONPath(name string) jsonPath { return jsonPath{name: name, nested: strings.Split(name, ".")} }

func newJSONParser(keyField, timeField string, times timeParser, now log.Timestamp) *jsonParser {
	return &jsonParser{key: newJSONPath(keyField), time: newJSONPath(timeField), times: times, now: now}
}

// Parse implements Parser. A key that is a string becomes its text, null and a
// missing field no key, anything else its JSON.
func (p *jsonParser) Parse(line []byte, rec *log.Record) error {
	if len(line) == 0 {
		return errEmptyLine
	}
	start, end := jsonscan.Lookup(line, p.time.name)
	if start < 0 && start != jsonscan.NotFound {
		if ^start >= len(line) {
			return fmt.Errorf("JSON ends early, at byte %d", len(line))
		}
		return fmt.Errorf("not JSON at byte %d: got %q", ^start, line[^start])
	}
	if at := jsonscan.Space(line, 0); line[at] != '{' {
		return fmt.Errorf("want a JSON object, got %q", shown(line))
	}
	rec.Timestamp = p.now
	if p.time.name != "" {
		text := p.time.text(line, start, end)
		if text == nil {
			return fmt.Errorf("no time: field %q is missing or null", p.time.name)
		}
		t, err := p.times.parse(text)
		if err != nil {
			return err
		}
		rec.Timestamp = t
	}
	rec.Key = nil
	if p.key.name != "" {
		start, end := jsonscan.Lookup(line, p.key.name)
		rec.Key = p.key.text(line, start, end)
	}
	rec.Value = line
	return nil
}

// text returns what the field holds, nil for null and a missing one; it may
// point into line, which is JSON, or into p. start and end are where the field of
// the whole name was found, if it was.
func (p *jsonPath) text(line []byte, start, end int) []byte {
	if start < 0 && len(p.nested) > 1 {
		start, end = jsonscan.Lookup(line, p.nested...)
	}
	if start < 0 || line[start] == 'n' {
		return nil
	}
	if line[start] != '"' {
		return line[start:end]
	}
	if p.buf = jsonscan.Unquote(p.buf[:0], line[start+1:end-1]); p.buf == nil {
		return []byte{} // empty is not missing
	}
	return p.buf
}
