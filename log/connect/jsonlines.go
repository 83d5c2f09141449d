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
	keyPath   []string
	timeField string // as the user wrote it, for reasons
	timePath  []string
	times     timeParser
	now       log.Timestamp
	keyBuf    []byte
	timeBuf   []byte
}

func newJSONParser(keyField, timeField string, times timeParser, now log.Timestamp) *jsonParser {
	p := &jsonParser{timeField: timeField, times: times, now: now}
	if keyField != "" {
		p.keyPath = strings.Split(keyField, ".")
	}
	if timeField != "" {
		p.timePath = strings.Split(timeField, ".")
	}
	return p
}

// Parse implements Parser. A key that is a string becomes its text, null and a
// missing field no key, anything else its JSON.
func (p *jsonParser) Parse(line []byte, rec *log.Record) error {
	if len(line) == 0 {
		return errEmptyLine
	}
	if at := jsonscan.Valid(line); at < 0 {
		if ^at >= len(line) {
			return fmt.Errorf("JSON ends early, at byte %d", len(line))
		}
		return fmt.Errorf("not JSON at byte %d: got %q", ^at, line[^at])
	}
	if start := jsonscan.Space(line, 0); line[start] != '{' {
		return fmt.Errorf("want a JSON object, got %q", shown(line))
	}
	rec.Timestamp = p.now
	if p.timePath != nil {
		text, ok := p.text(line, p.timePath, &p.timeBuf)
		if !ok {
			return fmt.Errorf("no time: field %q is missing or null", p.timeField)
		}
		t, err := p.times.parse(text)
		if err != nil {
			return err
		}
		rec.Timestamp = t
	}
	rec.Key = nil
	if p.keyPath != nil {
		rec.Key, _ = p.text(line, p.keyPath, &p.keyBuf)
	}
	rec.Value = line
	return nil
}

// text returns what the field at path holds; it may point into line or buf.
func (p *jsonParser) text(line []byte, path []string, buf *[]byte) ([]byte, bool) {
	start, end := jsonscan.Lookup(line, path...)
	if start < 0 || line[start] == 'n' {
		return nil, false
	}
	if line[start] != '"' {
		return line[start:end], true
	}
	*buf = jsonscan.Unquote((*buf)[:0], line[start+1:end-1])
	return *buf, true
}
