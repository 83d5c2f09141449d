package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// Format is how an answer is written.
type Format uint8

const (
	JSON   Format = iota // one object
	NDJSON               // a row a line
	CSV
	Arrow // IPC stream
)

var formats = [...]struct{ name, contentType string }{
	JSON:   {"json", "application/json"},
	NDJSON: {"ndjson", "application/x-ndjson"},
	CSV:    {"csv", "text/csv; charset=utf-8"},
	Arrow:  {"arrow", "application/vnd.apache.arrow.stream"},
}

func (f Format) String() string { return formats[f].name }

// ContentType is the media type of the format.
func (f Format) ContentType() string { return formats[f].contentType }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	for i := range formats {
		if formats[i].name == s {
			return Format(i), nil
		}
	}
	return 0, badf("format %q: want json, ndjson, csv or arrow", s)
}

// negotiate picks the first format that an Accept header names.
func negotiate(accept string) (Format, error) {
	if accept == "" {
		return JSON, nil
	}
	for _, part := range strings.Split(accept, ",") {
		media, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch media = strings.TrimSpace(media); media {
		case "*/*", "application/*":
			return JSON, nil
		case "text/*":
			return CSV, nil
		}
		for i := range formats {
			if t, _, _ := strings.Cut(formats[i].contentType, ";"); t == media {
				return Format(i), nil
			}
		}
	}
	return 0, badf("accept %q: want application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream or text/event-stream", accept)
}

// Write writes the whole answer to w.
func (a *Answer) Write(ctx context.Context, w io.Writer, f Format) error {
	if f == Arrow {
		return a.writeArrow(ctx, w)
	}
	out := bufio.NewWriterSize(w, 32<<10)
	var err error
	switch f {
	case CSV:
		err = a.writeCSV(ctx, out)
	case NDJSON:
		err = a.writeNDJSON(ctx, out)
	default:
		err = a.writeJSON(ctx, out)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func (a *Answer) writeCSV(ctx context.Context, out *bufio.Writer) error {
	windowed := a.Store.Query.Windowed
	header := "key,value\n"
	if windowed {
		header = "window_start_ms,window_start,key,value\n"
	}
	if _, err := out.WriteString(header); err != nil {
		return err
	}
	var line, text []byte
	return a.Rows(ctx, func(r *op.Row) error {
		line = line[:0]
		if windowed {
			line = strconv.AppendInt(line, r.Start, 10)
			line = append(line, ',')
			line = appendTime(line, r.Start)
			line = append(line, ',')
		}
		text = AppendText(text[:0], r.Key)
		line = append(AppendCSV(line, text), ',')
		text = AppendText(text[:0], r.Value)
		line = append(AppendCSV(line, text), '\n')
		_, err := out.Write(line)
		return err
	})
}

// AppendCSV appends a field, quoted only if it holds a comma, a quote, CR or LF.
func AppendCSV(dst, field []byte) []byte {
	plain := true
	for _, c := range field {
		if c == ',' || c == '"' || c == '\r' || c == '\n' {
			plain = false
			break
		}
	}
	if plain {
		return append(dst, field...)
	}
	dst = append(dst, '"')
	for _, c := range field {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// AppendText appends a key or value as text: strings and bytes as they are,
// numbers in decimals, all else as JSON.
func AppendText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(dst, v...)
	case []byte:
		return append(dst, v...)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		return appendFloat(dst, v)
	case nil:
		return dst
	}
	rv := reflect.ValueOf(v)
	switch kindOf(rv.Type()) {
	case kindText:
		return append(dst, rv.String()...)
	case kindInt:
		return strconv.AppendInt(dst, rv.Int(), 10)
	case kindUint:
		return strconv.AppendUint(dst, rv.Uint(), 10)
	case kindFloat:
		return appendFloat(dst, rv.Float())
	case kindBool:
		return strconv.AppendBool(dst, rv.Bool())
	case kindBytes:
		return append(dst, rv.Bytes()...)
	}
	return appendJSON(dst, v)
}

// appendFloat writes the shortest text that reads back as v, and NaN and
// infinities, which JSON has no numbers for, by name.
func appendFloat(dst []byte, v float64) []byte {
	if abs := max(v, -v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendJSON appends v as JSON. What JSON has no form for becomes the text of
// the error: a row is never left out.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		if isPlain(v) {
			dst = append(dst, '"')
			dst = append(dst, v...)
			return append(dst, '"')
		}
	case int64:
		return strconv.AppendInt(dst, v, 10)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		b.Reset()
		_ = enc.Encode(fmt.Sprintf("cannot be written as JSON: %v", err))
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// isPlain tells whether s stands for itself between quotes.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// kind is how a type is written.
type kind uint8

const (
	kindOther kind = iota // JSON
	kindText
	kindBytes
	kindInt
	kindUint
	kindFloat
	kindBool
)

func kindOf(t reflect.Type) kind {
	if t == nil {
		return kindOther
	}
	switch t.Kind() {
	case reflect.String:
		return kindText
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return kindUint
	case reflect.Float32, reflect.Float64:
		return kindFloat
	case reflect.Bool:
		return kindBool
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return kindBytes
		}
	}
	return kindOther
}

// appendMember appends `"name":value`. Text and bytes that are not UTF-8, which
// JSON cannot hold, stand as base64 in "name_base64".
func appendMember(dst []byte, name string, v any) []byte {
	var raw []byte
	rv := reflect.ValueOf(v)
	if rv.IsValid() {
		switch kindOf(rv.Type()) {
		case kindText:
			if s := rv.String(); !utf8.ValidString(s) {
				raw = []byte(s)
			}
		case kindBytes:
			b := rv.Bytes()
			if utf8.Valid(b) {
				v = string(b)
			} else {
				raw = b
			}
		case kindFloat:
			if f := rv.Float(); f != f || f-f != 0 { // NaN or infinite
				v = string(appendFloat(nil, f))
			}
		}
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	if raw == nil {
		dst = append(dst, '"', ':')
		return appendJSON(dst, v)
	}
	dst = append(dst, `_base64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

// appendRow appends a row as a JSON object.
func (a *Answer) appendRow(dst []byte, r *op.Row) []byte {
	dst = append(dst, '{')
	if a.Store.Query.Windowed {
		dst = append(dst, `"window_start_ms":`...)
		dst = strconv.AppendInt(dst, r.Start, 10)
		dst = append(dst, `,"window_start":"`...)
		dst = appendTime(dst, r.Start)
		dst = append(dst, `","window_end":"`...)
		dst = appendTime(dst, r.End)
		dst = append(dst, `","closed":`...)
		dst = strconv.AppendBool(dst, r.Closed)
		dst = append(dst, ',')
	}
	dst = append(appendMember(dst, "key", r.Key), ',')
	return append(appendMember(dst, "value", r.Value), '}')
}

func (a *Answer) writeNDJSON(ctx context.Context, out *bufio.Writer) error {
	var line []byte
	return a.Rows(ctx, func(r *op.Row) error {
		line = append(a.appendRow(line[:0], r), '\n')
		_, err := out.Write(line)
		return err
	})
}

func (a *Answer) writeJSON(ctx context.Context, out *bufio.Writer) error {
	if _, err := out.Write(a.appendHead(nil)); err != nil {
		return err
	}
	var line []byte
	sep := "\n"
	err := a.Rows(ctx, func(r *op.Row) error {
		line = a.appendRow(append(line[:0], sep...), r)
		sep = ",\n"
		_, err := out.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	_, err = out.WriteString("\n]}\n")
	return err
}

// appendHead appends the object of a JSON answer up to its rows.
func (a *Answer) appendHead(dst []byte) []byte {
	dst = append(dst, `{"job":`...)
	dst = appendJSON(dst, a.Job)
	dst = append(dst, `,"generation":`...)
	dst = strconv.AppendInt(dst, a.Generation, 10)
	dst = append(dst, `,"store":`...)
	dst = appendJSON(dst, a.Store.Name)
	dst = append(dst, `,"true_up_to":`...)
	dst = appendJSON(dst, a.TrueUpTo.object())
	if len(a.Elsewhere) > 0 {
		dst = append(dst, `,"elsewhere":`...)
		dst = appendJSON(dst, a.Elsewhere)
	}
	return append(dst, `,"rows":[`...)
}

// trueObject is TrueUpTo in JSON.
type trueObject struct {
	Inputs      []inputObject `json:"inputs"`
	WatermarkMs *int64        `json:"watermark_ms"`
	Watermark   *string       `json:"watermark"`
}

type inputObject struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (t *TrueUpTo) object() trueObject {
	o := trueObject{Inputs: []inputObject{}}
	for _, in := range t.Inputs {
		o.Inputs = append(o.Inputs, inputObject{in.Topic, in.Partition, int64(in.Offset)})
	}
	if t.Watermark != jobs.NoWatermark {
		text := FormatTime(t.Watermark)
		o.WatermarkMs, o.Watermark = &t.Watermark, &text
	}
	return o
}

// Offsets is the inputs as "topic-0=17, topic-1=20".
func (t *TrueUpTo) Offsets() string {
	var b []byte
	for i, in := range t.Inputs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%v=%d", in.TopicPartition, in.Offset)
	}
	return string(b)
}

// WatermarkText is the watermark in RFC 3339, or "" if there is none.
func (t *TrueUpTo) WatermarkText() string {
	if t.Watermark == jobs.NoWatermark {
		return ""
	}
	return FormatTime(t.Watermark)
}
