package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gretestream/grete/log"
)

// layout prints records as --print asks for, in the tokens that kcat has:
//
//	%t topic · %p partition · %o offset · %T timestamp, ms · %h headers, NAME=VALUE,…
//	%k key · %K its length, -1 if null · %s value · %S its length, -1 if null · %% a percent sign
//	\n \r \t \\ as usual
//
// Keys and values are printed as they are stored.
type layout []func(b []byte, r *log.Record, part int32) []byte

func parseLayout(s, topic string) (layout, error) {
	var l layout
	text := func(t string) {
		l = append(l, func(b []byte, _ *log.Record, _ int32) []byte { return append(b, t...) })
	}
	for s != "" {
		i := strings.IndexAny(s, `%\`)
		if i < 0 {
			text(s)
			break
		}
		if i > 0 {
			text(s[:i])
		}
		if i+1 == len(s) {
			return nil, fmt.Errorf("%q ends the layout, want a letter after it", s[i:])
		}
		token := s[i : i+2]
		s = s[i+2:]
		if field, ok := layoutFields[token]; ok {
			l = append(l, field)
			continue
		}
		switch token {
		case "%t":
			text(topic)
		case "%%", `\\`:
			text(token[1:])
		case `\n`, `\r`, `\t`:
			t, _ := strconv.Unquote(`"` + token + `"`)
			text(t)
		default:
			return nil, fmt.Errorf("%q is not known: want %%t %%p %%o %%T %%h %%k %%K %%s %%S %%%% \\n \\r \\t or \\\\", token)
		}
	}
	return l, nil
}

var layoutFields = map[string]func([]byte, *log.Record, int32) []byte{
	"%p": func(b []byte, _ *log.Record, part int32) []byte { return strconv.AppendInt(b, int64(part), 10) },
	"%o": func(b []byte, r *log.Record, _ int32) []byte { return strconv.AppendInt(b, int64(r.Offset), 10) },
	"%T": func(b []byte, r *log.Record, _ int32) []byte { return strconv.AppendInt(b, int64(r.Timestamp), 10) },
	"%k": func(b []byte, r *log.Record, _ int32) []byte { return append(b, r.Key...) },
	"%K": func(b []byte, r *log.Record, _ int32) []byte { return appendLength(b, r.Key) },
	"%s": func(b []byte, r *log.Record, _ int32) []byte { return append(b, r.Value...) },
	"%S": func(b []byte, r *log.Record, _ int32) []byte { return appendLength(b, r.Value) },
	"%h": func(b []byte, r *log.Record, _ int32) []byte {
		for i, h := range r.Headers {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, h.Key...), '=')
			if h.Value == nil {
				b = append(b, "NULL"...)
			}
			b = append(b, h.Value...)
		}
		return b
	},
}

func appendLength(b, field []byte) []byte {
	if field == nil {
		return append(b, "-1"...)
	}
	return strconv.AppendInt(b, int64(len(field)), 10)
}

func (l layout) append(b []byte, r *log.Record, part int32) []byte {
	for _, field := range l {
		b = field(b, r, part)
	}
	return b
}
