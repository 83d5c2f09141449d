package codec

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// An encodeNode says how a value of one type is written; it is compiled once
// from the type. Maps, interfaces and types with a way of their own are given
// to encoding/json, value by value.
type encodeNode struct {
	op     encodeOp
	typ    reflect.Type
	quoted bool        // the tag option "string"
	elem   *encodeNode // of pointers, slices and arrays
	len    int         // of arrays
	fields []field     // of structs
}

type encodeOp uint8

const (
	encodeFallback encodeOp = iota // json.Marshal
	encodeString
	encodeInt
	encodeUint
	encodeFloat
	encodeBool
	encodeTime
	encodeStruct
	encodePointer
	encodeSlice
	encodeBytes
	encodeArray
)

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	timeType          = reflect.TypeFor[time.Time]()
)

// compileEncoder makes the node of t, or returns nil where only encoding/json
// with the whole value gives the right bytes: if t holds a type whose methods
// depend on whether the value can be addressed, contains itself (its values may
// be cyclic), embeds pointers, or uses omitzero. within lists the types that t
// is part of.
func compileEncoder(t reflect.Type, quoted bool, within []reflect.Type) *encodeNode {
	n := &encodeNode{typ: t, quoted: quoted}
	if t == timeType {
		n.op = encodeTime
		return n
	}
	if t.Implements(marshalerType) || t.Implements(textMarshalerType) {
		if elem := t; elem.Kind() == reflect.Pointer && elem.Elem() == timeType {
			n.op, n.elem = encodePointer, &encodeNode{typ: timeType, op: encodeTime}
		}
		return n
	}
	if p := reflect.PointerTo(t); p.Implements(marshalerType) || p.Implements(textMarshalerType) {
		return nil
	}
	if slices.Contains(within, t) {
		return nil
	}
	within = append(slices.Clip(within), t)
	switch t.Kind() {
	case reflect.String:
		if t == jsonNumberType {
			if quoted {
				return nil
			}
			return n
		}
		n.op = encodeString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.op = encodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n.op = encodeUint
	case reflect.Float32, reflect.Float64:
		n.op = encodeFloat
	case reflect.Bool:
		n.op = encodeBool
	case reflect.Map, reflect.Interface:
	case reflect.Pointer, reflect.Slice, reflect.Array:
		if n.elem = compileEncoder(t.Elem(), quoted, within); n.elem == nil {
			return nil
		}
		switch {
		case t.Kind() == reflect.Pointer:
			n.op = encodePointer
		case t.Kind() == reflect.Array:
			n.op, n.len = encodeArray, t.Len()
		case n.elem.op == encodeUint && t.Elem().Kind() == reflect.Uint8:
			n.op = encodeBytes
		default:
			n.op = encodeSlice
		}
	case reflect.Struct:
		n.op, n.fields = encodeStruct, fieldsOf(t)
		for i := range n.fields {
			f := &n.fields[i]
			f.encode = compileEncoder(f.typ, f.quoted, within)
			if f.pointer || f.omitZero || f.encode == nil {
				return nil
			}
			f.prefix = string(appendQuoted(nil, f.name)) + ":"
		}
	default:
		return nil
	}
	return n
}

// append appends the JSON of the value at p.
func (n *encodeNode) append(dst []byte, p place) ([]byte, error) {
	switch n.op {
	case encodeString:
		return n.appendString(dst, *as[string](p)), nil
	case encodeInt, encodeUint, encodeBool:
		return n.appendPlain(dst, p), nil
	case encodeFloat:
		return n.appendFloat(dst, p)
	case encodeTime:
		return appendTime(dst, as[time.Time](p))
	case encodeStruct:
		return n.appendObject(dst, p)
	case encodePointer:
		q := pointerAt(p)
		if q == nil {
			return append(dst, "null"...), nil
		}
		return n.elem.append(dst, q)
	case encodeBytes:
		b := *as[[]byte](p)
		if b == nil {
			return append(dst, "null"...), nil
		}
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"'), nil
	case encodeSlice:
		s := sliceAt(p)
		if s.data == nil {
			return append(dst, "null"...), nil
		}
		return n.appendArray(dst, s.data, s.len)
	case encodeArray:
		return n.appendArray(dst, p, n.len)
	}
	b, err := json.Marshal(valueAt(n.typ, p).Interface())
	return append(dst, b...), err
}

func (n *encodeNode) appendObject(dst []byte, p place) ([]byte, error) {
	next := byte('{')
	var err error
	for i := range n.fields {
		f := &n.fields[i]
		q := at(p, f.offset)
		if f.omitEmpty && isEmpty(f.encode, q) {
			continue
		}
		dst = append(append(dst, next), f.prefix...)
		next = ','
		if dst, err = f.encode.append(dst, q); err != nil {
			return dst, err
		}
	}
	if next == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}'), nil
}

func (n *encodeNode) appendArray(dst []byte, p place, count int) ([]byte, error) {
	dst = append(dst, '[')
	size := n.elem.typ.Size()
	var err error
	for i := range count {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = n.elem.append(dst, at(p, uintptr(i)*size)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// isEmpty tells whether the tag option "omitempty" leaves the value out.
func isEmpty(n *encodeNode, p place) bool {
	switch v := valueAt(n.typ, p); v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

func (n *encodeNode) appendPlain(dst []byte, p place) []byte {
	if n.quoted {
		dst = append(dst, '"')
	}
	switch n.typ.Kind() {
	case reflect.Bool:
		dst = strconv.AppendBool(dst, *as[bool](p))
	case reflect.Int64:
		dst = strconv.AppendInt(dst, *as[int64](p), 10)
	case reflect.Int:
		dst = strconv.AppendInt(dst, int64(*as[int](p)), 10)
	case reflect.Int32:
		dst = strconv.AppendInt(dst, int64(*as[int32](p)), 10)
	case reflect.Int16:
		dst = strconv.AppendInt(dst, int64(*as[int16](p)), 10)
	case reflect.Int8:
		dst = strconv.AppendInt(dst, int64(*as[int8](p)), 10)
	default:
		dst = strconv.AppendUint(dst, valueAt(n.typ, p).Uint(), 10)
	}
	if n.quoted {
		dst = append(dst, '"')
	}
	return dst
}

// appendFloat writes the shortest number that reads back as the same, with an
// exponent only below 1e-6 and from 1e21 on, as JavaScript and encoding/json do.
func (n *encodeNode) appendFloat(dst []byte, p place) ([]byte, error) {
	bits := n.typ.Bits()
	f := 0.0
	if bits == 64 {
		f = *as[float64](p)
	} else {
		f = float64(*as[float32](p))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("got %v, want a number that JSON has", f)
	}
	small, large := 1e-6, 1e21
	if bits == 32 {
		small, large = float64(float32(1e-6)), float64(float32(1e21))
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < small || abs >= large) {
		format = 'e'
	}
	if n.quoted {
		dst = append(dst, '"')
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if k := len(dst); format == 'e' && dst[k-4] == 'e' && dst[k-3] == '-' && dst[k-2] == '0' {
		dst[k-2] = dst[k-1] // e-09 is written e-9
		dst = dst[:k-1]
	}
	if n.quoted {
		dst = append(dst, '"')
	}
	return dst, nil
}

func appendTime(dst []byte, t *time.Time) ([]byte, error) {
	out, err := t.AppendText(append(dst, '"'))
	if err != nil {
		return dst, err
	}
	return append(out, '"'), nil
}

func (n *encodeNode) appendString(dst []byte, s string) []byte {
	if n.quoted {
		s = string(appendQuoted(nil, s))
	}
	return appendQuoted(dst, s)
}

// unescaped is true for the bytes that stand for themselves in a string.
var unescaped = func() (set [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		set[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return set
}()

const hex = "0123456789abcdef"

// appendQuoted writes a string as encoding/json does: <, > and & are escaped, so
// that the JSON can stand in HTML, and so are U+2028 and U+2029, which end lines
// in JavaScript; each byte of invalid UTF-8 becomes \ufffd.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if unescaped[c] {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || size > 1) && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		} else {
			dst = appendEscape(append(dst, s[from:i]...), c)
		}
		i += size
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
