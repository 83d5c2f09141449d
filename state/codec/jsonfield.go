package codec

import (
	"fmt"
	"strings"

	"github.com/gretestream/grete/log/jsonscan"
)

// JSONField reads one field of JSON objects as text: a string as what it means,
// anything else as it is written, a field that is missing or null as "". The
// path is one name, or names of nested objects joined by dots; a name that itself
// contains dots is tried first. The empty path reads "" from every object.
//
// It is for jobs that learn the field's name only when they are started; it
// writes strings as JSON strings.
func JSONField(path string) Codec[string] {
	return jsonField{path: path, nested: strings.Split(path, ".")}
}

type jsonField struct {
	path   string
	nested []string
}

func (c jsonField) Name() string { return "json-field(" + c.path + ")" }

func (c jsonField) Append(dst []byte, v string) ([]byte, error) { return appendQuoted(dst, v), nil }

func (c jsonField) Decode(dst *string, src []byte, a *Arena) error {
	*dst = ""
	start, end := jsonscan.Lookup(src, c.path)
	if start < 0 && start != jsonscan.NotFound {
		return fmt.Errorf("decode %s at byte %d: want a JSON object: %w", c.Name(), ^start, ErrMalformed)
	}
	if i := jsonscan.Space(src, 0); src[i] != '{' {
		return fmt.Errorf("decode %s at byte %d: got %q, want a JSON object: %w", c.Name(), i, src[i], ErrMalformed)
	}
	if start < 0 && len(c.nested) > 1 {
		start, end = jsonscan.Lookup(src, c.nested...)
	}
	if start < 0 || c.path == "" {
		return nil
	}
	switch raw := src[start:end]; {
	case raw[0] == '"':
		*dst = unquoted(raw[1:len(raw)-1], a)
	case string(raw) != "null":
		*dst = a.String(raw)
	}
	return nil
}

// unquoted returns what the text between two quotes means.
func unquoted(raw []byte, a *Arena) string {
	if jsonscan.Plain(raw, 0) == len(raw) {
		return a.String(raw)
	}
	if a == nil {
		a = &Arena{}
	}
	a.scratch = jsonscan.Unquote(a.scratch[:0], raw)
	return a.String(a.scratch)
}
