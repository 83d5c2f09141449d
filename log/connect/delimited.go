package connect

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gretestream/grete/log"
)

// delimitedParser turns lines of columns, named by the first line, into JSON
// objects of strings.
type delimitedParser struct {
	delimiter byte
	keyField  string
	timeField string
	times     timeParser
	now       log.Timestamp

	quotes  bool     // fields in quotes are unquoted
	names   []string // of the columns; empty for those behind the last name
	keys    [][]byte // `{"name":`, `,"name":` … of each column
	key     int      // column of the key; -1: none
	time    int      // column of the time; -1: none
	fields  [][]byte // of the present line
	unquote []byte   // texts of fields with quotes inside
	buf     []byte   // of the value
}

// Header implements HeaderParser: it takes the names of the columns. Columns of
// one name get a number from the second on, columns in between without a name are
// named by their place.
func (p *delimitedParser) Header(line []byte) error {
	// Columns of tabs are as a rule written without quoting, and a quote in them
	// is one of the text, unless the header shows otherwise.
	p.quotes = p.delimiter != '\t' || len(line) > 0 && line[0] == '"'
	if err := p.split(line); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	p.names = nil
	for _, f := range p.fields {
		p.names = append(p.names, string(f))
	}
	for len(p.names) > 0 && p.names[len(p.names)-1] == "" {
		p.names = p.names[:len(p.names)-1]
	}
	if len(p.names) == 0 {
		return errors.New("header names no columns")
	}
	for i, name := range p.names {
		if name == "" {
			name = "column-" + strconv.Itoa(i+1)
		}
		for n := 2; slices.Contains(p.names[:i], name); n++ {
			name = p.names[i] + "-" + strconv.Itoa(n)
		}
		p.names[i] = name
		key := []byte{','}
		if i == 0 {
			key[0] = '{'
		}
		p.keys = append(p.keys, append(appendJSONString(key, []byte(name)), ':'))
	}
	var err error
	if p.key, err = p.column("key", p.keyField); err != nil {
		return err
	}
	p.time, err = p.column("time", p.timeField)
	return err
}

// column returns the number of a column by its name, -1 for no name.
func (p *delimitedParser) column(role, name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	i := slices.Index(p.names, name)
	if i < 0 {
		return -1, fmt.Errorf("%s field %q is not a column, the header has %q", role, name, p.names)
	}
	return i, nil
}

var errQuote = errors.New("quote is not closed, or text follows a closed one")

// split cuts a line into p.fields.
func (p *delimitedParser) split(line []byte) error {
	p.fields, p.unquote = p.fields[:0], p.unquote[:0]
	for {
		if p.quotes && len(line) > 0 && line[0] == '"' {
			rest, ok := p.quotedField(line[1:])
			if !ok {
				return errQuote
			}
			if len(rest) == 0 {
				return nil
			}
			line = rest[1:]
			continue
		}
		i := bytes.IndexByte(line, p.delimiter)
		if i < 0 {
			p.fields = append(p.fields, line)
			return nil
		}
		p.fields = append(p.fields, line[:i])
		line = line[i+1:]
	}
}

// quotedField takes a field off b, which begins behind its quote, as RFC 4180
// says: two quotes are one, a single one ends the field. rest begins with the
// delimiter or is empty.
func (p *delimitedParser) quotedField(b []byte) (rest []byte, ok bool) {
	i := bytes.IndexByte(b, '"')
	if i < 0 {
		return nil, false
	}
	field, rest := b[:i], b[i+1:]
	if len(rest) > 0 && rest[0] == '"' {
		// Fields point into p.unquote, so it never moves: a longer line gets a
		// longer one before its first such field.
		if need := len(p.unquote) + len(b); need > cap(p.unquote) {
			p.unquote = make([]byte, 0, 2*need)
		}
		from := len(p.unquote)
		p.unquote = append(p.unquote, field...)
		for len(rest) > 0 && rest[0] == '"' {
			p.unquote = append(p.unquote, '"')
			if i = bytes.IndexByte(rest[1:], '"'); i < 0 {
				return nil, false
			}
			p.unquote = append(p.unquote, rest[1:1+i]...)
			rest = rest[i+2:]
		}
		field = p.unquote[from:len(p.unquote):len(p.unquote)]
	}
	if len(rest) > 0 && rest[0] != p.delimiter {
		return nil, false
	}
	p.fields = append(p.fields, field)
	return rest, true
}

// Parse implements Parser. More fields than columns are let pass if they are
// empty; fewer make the line malformed.
func (p *delimitedParser) Parse(line []byte, rec *log.Record) error {
	if len(line) == 0 {
		return errEmptyLine
	}
	if err := p.split(line); err != nil {
		return err
	}
	if len(p.fields) < len(p.names) {
		return fmt.Errorf("got %d fields, want %d", len(p.fields), len(p.names))
	}
	for i := len(p.names); i < len(p.fields); i++ {
		if len(p.fields[i]) > 0 {
			return fmt.Errorf("got %q in field %d, want nothing behind the %d columns of the header", shown(p.fields[i]), i+1, len(p.names))
		}
	}
	rec.Timestamp = p.now
	if p.time >= 0 {
		t, err := p.times.parse(p.fields[p.time])
		if err != nil {
			return err
		}
		rec.Timestamp = t
	}
	rec.Key = nil
	if p.key >= 0 {
		rec.Key = p.fields[p.key]
	}
	p.buf = p.buf[:0]
	for i, key := range p.keys {
		p.buf = appendJSONString(append(p.buf, key...), p.fields[i])
	}
	p.buf = append(p.buf, '}')
	rec.Value = p.buf
	return nil
}
