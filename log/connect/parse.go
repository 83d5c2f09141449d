package connect

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/gretestream/grete/log"
)

// Parser turns lines into records. It is owned by one goroutine.
type Parser interface {
	// Parse sets rec to what line says. Key and Value may point into line and
	// into the parser; they stop being valid at the next call. An error says
	// in a few words why line is malformed; it is stored with the line.
	Parse(line []byte, rec *log.Record) error
}

// HeaderParser is a Parser whose text begins with a line that is no record. It
// is given that line once, before all others; an error ends the reading.
type HeaderParser interface {
	Parser
	Header(line []byte) error
}

// Kind is a family of text formats.
type Kind string

const (
	AccessLog Kind = "access"    // access logs of Apache and nginx, common and combined
	JSONLines Kind = "json"      // one JSON object per line
	Delimited Kind = "delimited" // columns, named by the first line
)

// Format says how lines become records. The zero value decides by the file.
type Format struct {
	// Kind: empty means Delimited for names in .tsv and .csv and if Delimiter is
	// set, JSONLines for names in .json, .jsonl and .ndjson, if the first line
	// begins with a brace and if TimeField is set, else AccessLog.
	Kind Kind
	// Delimiter separates columns: one character. Default: a tab, for names in
	// .csv a comma.
	Delimiter string
	// KeyField names the field whose value becomes the record's key, by its path
	// with dots for JSON ("user.id"), by its column, or by its name in the value
	// of an access log. Default: no key.
	KeyField string
	// TimeField names the field that holds the record's event time, in the same
	// way. A line without it is malformed. Default: the time of ingesting.
	// Access logs have their own.
	TimeField string
	// TimeUnit says how TimeField is written.
	TimeUnit TimeUnit
}

// Parser makes the parser for the text that begins with head and is called name.
// now is the timestamp of records that have no time of their own.
func (f Format) Parser(name string, head []byte, now log.Timestamp) (Parser, error) {
	kind := f.Kind
	if kind == "" {
		kind = f.detect(name, head)
	}
	times, err := newTimeParser(f.TimeUnit)
	if err != nil {
		return nil, err
	}
	switch kind {
	case AccessLog:
		if f.TimeField != "" && f.TimeField != "time" {
			return nil, fmt.Errorf("time field %q: an access log has its own time; want none, or a format of json or delimited", f.TimeField)
		}
		return newAccessParser(f.KeyField)
	case JSONLines:
		return newJSONParser(f.KeyField, f.TimeField, times, now), nil
	case Delimited:
		d, err := f.delimiter(name)
		if err != nil {
			return nil, err
		}
		return &delimitedParser{delimiter: d, keyField: f.KeyField, timeField: f.TimeField, times: times, now: now}, nil
	}
	return nil, fmt.Errorf("format %q is not known, want %s, %s or %s", kind, AccessLog, JSONLines, Delimited)
}

// detect decides the kind of a text by its name and its first bytes.
func (f Format) detect(name string, head []byte) Kind {
	ext := textExtension(name)
	switch {
	case f.Delimiter != "", ext == ".tsv", ext == ".csv":
		return Delimited
	case ext == ".json", ext == ".jsonl", ext == ".ndjson", f.TimeField != "" && f.TimeField != "time", strings.HasPrefix(strings.TrimSpace(string(head)), "{"):
		return JSONLines
	}
	return AccessLog
}

// textExtension returns the extension of a file's name before that of its
// compression.
func textExtension(name string) string {
	name = strings.ToLower(filepath.Base(name))
	for _, compression := range []string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, compression)
	}
	return filepath.Ext(name)
}

func (f Format) delimiter(name string) (byte, error) {
	switch d := f.Delimiter; {
	case d == "" && textExtension(name) == ".csv":
		return ',', nil
	case d == "", d == `\t`, d == "tab":
		return '\t', nil
	case len(d) == 1 && d != `"` && d != "\n" && d != "\r":
		return d[0], nil
	default:
		return 0, fmt.Errorf("delimiter %q: want one ASCII character other than a quote", d)
	}
}

var errEmptyLine = errors.New("empty line")

// appendJSONString appends text as a JSON string. Bytes that are not UTF-8, which
// JSON cannot hold, become U+FFFD.
func appendJSONString(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if plainInJSON[c] {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRune(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, text[from:i]...)
		dst = appendJSONEscape(dst, c)
		i += size
		from = i
	}
	return append(append(dst, text[from:]...), '"')
}

// plainInJSON is true for the bytes that stand for themselves in a string.
var plainInJSON = func() (set [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		set[c] = c != '"' && c != '\\'
	}
	return set
}()

func appendJSONEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c >= utf8.RuneSelf:
		return append(dst, "\ufffd"...)
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
