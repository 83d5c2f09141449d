package codec

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/gretestream/grete/log/jsonscan"
)

// A decodeNode says how a value of one type is read; it is compiled once from
// the type. Types with a way of their own (Unmarshaler, maps, interfaces,
// json.Number, embedded pointers) are given to encoding/json, byte range by
// byte range.
type decodeNode struct {
	op    decodeOp
	typ   reflect.Type
	elem  *decodeNode // of pointers, slices and arrays
	len   int         // of arrays
	names *names      // of structs
}

type decodeOp uint8

const (
	decodeFallback decodeOp = iota // json.Unmarshal
	decodeMethod                   // UnmarshalJSON of the type itself
	decodeString
	decodeInt
	decodeUint
	decodeFloat
	decodeBool
	decodeStruct
	decodePointer
	decodeSlice
	decodeBytes // a slice of bytes: base64, or an array of numbers
	decodeArray
)

var (
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonNumberType      = reflect.TypeFor[json.Number]()
)

// compileDecoder makes the node of t. known holds the nodes that are being made,
// for types that contain themselves.
func compileDecoder(t reflect.Type, known map[reflect.Type]*decodeNode) *decodeNode {
	if n, ok := known[t]; ok {
		return n
	}
	n := &decodeNode{typ: t}
	known[t] = n
	kind := t.Kind()
	if kind != reflect.Pointer && kind != reflect.Interface {
		if reflect.PointerTo(t).Implements(unmarshalerType) {
			n.op = decodeMethod
			return n
		}
		if reflect.PointerTo(t).Implements(textUnmarshalerType) || t == jsonNumberType {
			return n
		}
	}
	switch kind {
	case reflect.String:
		n.op = decodeString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.op = decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		n.op = decodeUint
	case reflect.Float32, reflect.Float64:
		n.op = decodeFloat
	case reflect.Bool:
		n.op = decodeBool
	case reflect.Pointer:
		n.elem = compileDecoder(t.Elem(), known)
		n.op = decodePointer
	case reflect.Slice:
		n.elem = compileDecoder(t.Elem(), known)
		n.op = decodeSlice
		if t.Elem().Kind() == reflect.Uint8 {
			n.op = decodeBytes
		}
	case reflect.Array:
		n.elem = compileDecoder(t.Elem(), known)
		n.op, n.len = decodeArray, t.Len()
	case reflect.Struct:
		fields := fieldsOf(t)
		for i := range fields {
			if fields[i].pointer {
				return n
			}
			fields[i].decode = compileDecoder(fields[i].typ, known)
		}
		n.op, n.names = decodeStruct, namesOf(fields)
	}
	return n
}

// decoder is one decoding under way: a cursor is passed along and returned by
// its methods, each of which reads one thing at b[i] and returns the position
// behind it, or, after noting the error, a negative number.
type decoder struct {
	b       []byte
	a       *Arena
	depth   int
	scratch []byte // of unescaping

	// What went wrong, first and last.
	at    int
	want  string // empty: the text is not JSON
	field string
	err   error // of a type's own method, or of encoding/json
}

func (d *decoder) fail(at int, want string) int {
	d.at, d.want = at, want
	return -1
}

// run decodes all of b into the value at p.
func (d *decoder) run(n *decodeNode, p place) bool {
	i := d.value(n, p, jsonscan.Space(d.b, 0))
	if i < 0 {
		return false
	}
	if i = jsonscan.Space(d.b, i); i < len(d.b) {
		d.fail(i, "")
		return false
	}
	return true
}

// error puts what went wrong in words.
func (d *decoder) error(name string) error {
	where := ""
	if d.field != "" {
		where = fmt.Sprintf(", field %q", d.field)
	}
	if d.err != nil {
		return fmt.Errorf("decode %s at byte %d%s: %w: %w", name, d.at, where, ErrMalformed, d.err)
	}
	got := "the end"
	if d.at < len(d.b) {
		got = fmt.Sprintf("%q", d.b[d.at])
	}
	want := d.want
	if want == "" {
		want = "JSON"
	}
	return fmt.Errorf("decode %s at byte %d%s: got %s, want %s: %w", name, d.at, where, got, want, ErrMalformed)
}

// skip passes the value at i without keeping it.
func (d *decoder) skip(i int) int {
	var end int
	if i < len(d.b) && d.b[i] == '"' {
		end = jsonscan.String(d.b, i)
	} else {
		end = jsonscan.Value(d.b, i, d.depth)
	}
	if end < 0 {
		return d.fail(^end, "")
	}
	return end
}

// value decodes the value at i into the place p.
func (d *decoder) value(n *decodeNode, p place, i int) int {
	if i >= len(d.b) {
		return d.fail(i, "")
	}
	c := d.b[i]
	if c == 'n' && n.op > decodeMethod {
		return d.null(n, p, i)
	}
	switch n.op {
	case decodeString:
		return d.string(as[string](p), i)
	case decodeInt:
		return d.int(n, p, i)
	case decodeUint:
		return d.uint(n, p, i)
	case decodeFloat:
		return d.float(n, p, i)
	case decodeBool:
		return d.bool(as[bool](p), i)
	case decodeStruct:
		return d.object(n, p, i)
	case decodePointer:
		q := pointerAt(p)
		if q == nil {
			q = setPointer(p, n.typ.Elem())
		}
		return d.value(n.elem, q, i)
	case decodeBytes:
		if c == '"' {
			return d.base64(as[[]byte](p), i)
		}
		return d.slice(n, p, i)
	case decodeSlice:
		return d.slice(n, p, i)
	case decodeArray:
		return d.array(n, p, i)
	}
	return d.other(n, p, i)
}

// null sets what can be nil to nil and leaves the rest as it is.
func (d *decoder) null(n *decodeNode, p place, i int) int {
	end := jsonscan.Literal(d.b, i, "null")
	if end < 0 {
		return d.fail(^end, "")
	}
	switch n.op {
	case decodePointer:
		*as[place](p) = nil
	case decodeSlice, decodeBytes:
		*sliceAt(p) = sliceHeader{}
	}
	return end
}

// other hands the value to the type's own method or to encoding/json.
func (d *decoder) other(n *decodeNode, p place, i int) int {
	end := d.skip(i)
	if end < 0 {
		return end
	}
	v := reflect.NewAt(n.typ, p).Interface()
	if n.op == decodeMethod {
		d.err = v.(json.Unmarshaler).UnmarshalJSON(d.b[i:end])
	} else {
		d.err = json.Unmarshal(d.b[i:end], v)
	}
	if d.err != nil {
		return d.fail(i, "")
	}
	return end
}

// text returns what the string at i means; it may point into d.b or d.scratch.
func (d *decoder) text(i int) (text []byte, end int) {
	if d.b[i] != '"' {
		return nil, d.mismatch(i, "a string")
	}
	end = jsonscan.Plain(d.b, i+1)
	if end < len(d.b) && d.b[end] == '"' {
		return d.b[i+1 : end], end + 1
	}
	if end = jsonscan.String(d.b, i); end < 0 {
		return nil, d.fail(^end, "")
	}
	if d.a != nil {
		d.scratch = d.a.scratch
	}
	d.scratch = jsonscan.Unquote(d.scratch[:0], d.b[i+1:end-1])
	if d.a != nil {
		d.a.scratch = d.scratch
	}
	return d.scratch, end
}

// mismatch notes that a value of the wrong type stands at i, or no value.
func (d *decoder) mismatch(i int, want string) int {
	if end := d.skip(i); end < 0 {
		return end
	}
	return d.fail(i, want)
}

func (d *decoder) string(p *string, i int) int {
	text, end := d.text(i)
	if end >= 0 {
		*p = d.a.String(text)
	}
	return end
}

func (d *decoder) base64(p *[]byte, i int) int {
	text, end := d.text(i)
	if end < 0 {
		return end
	}
	decoded, err := base64.StdEncoding.AppendDecode([]byte{}, text)
	if err != nil {
		d.err = err
		return d.fail(i, "")
	}
	*p = decoded
	return end
}

func (d *decoder) bool(p *bool, i int) int {
	var end int
	switch d.b[i] {
	case 't':
		end = jsonscan.Literal(d.b, i, "true")
	case 'f':
		end = jsonscan.Literal(d.b, i, "false")
	default:
		return d.mismatch(i, "true or false")
	}
	if end < 0 {
		return d.fail(^end, "")
	}
	*p = d.b[i] == 't'
	return end
}

// integer reads a whole number as sign and magnitude; a magnitude above 2^64-1,
// a fraction or an exponent is a mismatch, as in encoding/json, never rounded.
func (d *decoder) integer(i int) (negative bool, n uint64, end int) {
	b := d.b
	at := i
	if b[i] == '-' {
		negative = true
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		digit := uint64(b[i] - '0')
		if n >= math.MaxUint64/10 && (n > math.MaxUint64/10 || digit > math.MaxUint64%10) {
			return false, 0, d.mismatch(at, "an integer in range")
		}
		n = n*10 + digit
		i++
	}
	switch {
	case i == first || b[first] == '0' && i > first+1,
		i < len(b) && (b[i] == '.' || b[i]|0x20 == 'e'):
		return false, 0, d.mismatch(at, "an integer")
	}
	return negative, n, i
}

func (d *decoder) int(n *decodeNode, p place, i int) int {
	// The common case first: digits that cannot overflow, into an int64 or int.
	b := d.b
	if c := b[i] - '1'; c < 9 {
		v, j := int64(c+1), i+1
		for j < len(b) && b[j]-'0' <= 9 {
			v = v*10 + int64(b[j]-'0')
			j++
		}
		if j-i <= 18 && j < len(b) && b[j] != '.' && b[j]|0x20 != 'e' && storeInt(n.typ.Kind(), p, v) {
			return j
		}
	}
	negative, u, end := d.integer(i)
	if end < 0 {
		return end
	}
	v := int64(u)
	if negative {
		v = -v
	}
	// The sign is lost exactly when the magnitude does not fit.
	if negative != (v < 0) && u != 0 || !storeInt(n.typ.Kind(), p, v) {
		return d.fail(i, "an integer in the range of "+n.typ.String())
	}
	return end
}

func storeInt(k reflect.Kind, p place, v int64) bool {
	switch k {
	case reflect.Int64:
		*as[int64](p) = v
	case reflect.Int:
		*as[int](p) = int(v)
		return int64(int(v)) == v
	case reflect.Int32:
		*as[int32](p) = int32(v)
		return int64(int32(v)) == v
	case reflect.Int16:
		*as[int16](p) = int16(v)
		return int64(int16(v)) == v
	case reflect.Int8:
		*as[int8](p) = int8(v)
		return int64(int8(v)) == v
	}
	return true
}

func (d *decoder) uint(n *decodeNode, p place, i int) int {
	negative, u, end := d.integer(i)
	if end < 0 {
		return end
	}
	// Even -0 is refused, as strconv.ParseUint does.
	if negative || !storeUint(n.typ.Kind(), p, u) {
		return d.fail(i, "an integer in the range of "+n.typ.String())
	}
	return end
}

func storeUint(k reflect.Kind, p place, u uint64) bool {
	switch k {
	case reflect.Uint64:
		*as[uint64](p) = u
	case reflect.Uint:
		*as[uint](p) = uint(u)
		return uint64(uint(u)) == u
	case reflect.Uintptr:
		*as[uintptr](p) = uintptr(u)
		return uint64(uintptr(u)) == u
	case reflect.Uint32:
		*as[uint32](p) = uint32(u)
		return uint64(uint32(u)) == u
	case reflect.Uint16:
		*as[uint16](p) = uint16(u)
		return uint64(uint16(u)) == u
	case reflect.Uint8:
		*as[uint8](p) = uint8(u)
		return uint64(uint8(u)) == u
	}
	return true
}

func (d *decoder) float(n *decodeNode, p place, i int) int {
	if d.b[i] != '-' && d.b[i]-'0' > 9 {
		return d.mismatch(i, "a number")
	}
	end := jsonscan.Number(d.b, i)
	if end < 0 {
		return d.fail(^end, "")
	}
	bits := n.typ.Bits()
	f, err := strconv.ParseFloat(stringOf(d.b[i:end]), bits)
	if err != nil {
		return d.fail(i, "a number in the range of "+n.typ.String())
	}
	if bits == 64 {
		*as[float64](p) = f
	} else {
		*as[float32](p) = float32(f)
	}
	return end
}

// object decodes the object at i into the struct at p. A key that comes twice is
// decoded twice, the second over the first.
func (d *decoder) object(n *decodeNode, p place, i int) int {
	b := d.b
	if b[i] != '{' {
		return d.mismatch(i, "an object")
	}
	if d.depth++; d.depth > jsonscan.MaxDepth {
		return d.fail(i, "")
	}
	i = jsonscan.Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		d.depth--
		return i + 1
	}
	var expected []shapeKey
	if d.depth == 1 && d.a != nil {
		expected = d.a.expectedKeys(n.names)
	}
	for nth := 0; ; nth++ {
		k, end := -1, -1
		if nth < len(expected) {
			k, end = expected[nth].match(b, i)
		}
		if end < 0 {
			if k, end = d.key(n.names, i, nth); end < 0 {
				return end
			}
		}
		i = jsonscan.Space(b, end)
		switch {
		case k >= 0:
			i = d.member(&n.names.fields[k], p, i)
		case i < len(b) && b[i] == '"':
			if i = jsonscan.String(b, i); i < 0 {
				return d.fail(^i, "")
			}
		default:
			i = d.skip(i)
		}
		if i < 0 {
			return i
		}
		i = jsonscan.Space(b, i)
		if i >= len(b) {
			return d.fail(i, "")
		}
		switch b[i] {
		case ',':
			i = jsonscan.Space(b, i+1)
		case '}':
			d.depth--
			return i + 1
		default:
			return d.fail(i, "")
		}
	}
}

// key reads the key at i, the nth of its object, and its colon. It returns the
// number of its field, -1 if none, and the position behind the colon.
func (d *decoder) key(n *names, i, nth int) (field, end int) {
	b := d.b
	if i >= len(b) || b[i] != '"' {
		return -1, d.fail(i, "")
	}
	end = jsonscan.Plain(b, i+1)
	if end < len(b) && b[end] == '"' {
		field = n.plain(b[i+1 : end])
		end++
	} else {
		var key []byte
		if key, end = d.text(i); end < 0 {
			return -1, end
		}
		field = n.any(key)
	}
	if end = jsonscan.Colon(b, end); end < 0 {
		return -1, d.fail(^end, "")
	}
	if d.depth == 1 && d.a != nil {
		d.a.shape.learn(b[i+1:end], nth, field)
	}
	return field, end
}

func (d *decoder) member(f *field, p place, i int) int {
	p = at(p, f.offset)
	var end int
	if f.quoted {
		end = d.quoted(f, p, i)
	} else {
		end = d.value(f.decode, p, i)
	}
	if end < 0 && d.field == "" {
		d.field = f.name
	}
	return end
}

// quoted decodes a value of a field with the tag option "string", which stands
// in quotes. Whole numbers are common and read here; the rest of what
// encoding/json takes is left to it, through a struct of that one field.
func (d *decoder) quoted(f *field, p place, i int) int {
	const maxDigits = 18 // no overflow to think of
	b := d.b
	if f.decode.op == decodeInt && i < len(b) && b[i] == '"' {
		j := i + 1
		negative := j < len(b) && b[j] == '-'
		if negative {
			j++
		}
		first, v := j, int64(0)
		for j < len(b) && b[j]-'0' <= 9 && j-first < maxDigits {
			v = v*10 + int64(b[j]-'0')
			j++
		}
		if j > first && j < len(b) && b[j] == '"' {
			if negative {
				v = -v
			}
			if !storeInt(f.typ.Kind(), p, v) {
				return d.fail(i, "an integer in the range of "+f.typ.String())
			}
			return j + 1
		}
	}
	end := d.skip(i)
	if end < 0 {
		return end
	}
	one := reflect.StructOf([]reflect.StructField{{Name: "F", Type: f.typ, Tag: `json:"f,string"`}})
	v := reflect.New(one)
	v.Elem().Field(0).Set(valueAt(f.typ, p))
	text := append(append([]byte(`{"f":`), b[i:end]...), '}')
	if d.err = json.Unmarshal(text, v.Interface()); d.err != nil {
		return d.fail(i, "")
	}
	valueAt(f.typ, p).Set(v.Elem().Field(0))
	return end
}

// slice decodes the array at i into the slice at p. Elements that the slice
// holds already are decoded over, as encoding/json does; of a key that comes
// once there are none.
func (d *decoder) slice(n *decodeNode, p place, i int) int {
	s := sliceAt(p)
	size := n.elem.typ.Size()
	count := 0
	end := d.elements(i, func(i int) int {
		if count >= s.cap {
			valueAt(n.typ, p).Grow(max(1, 4-count))
		}
		if count >= s.len {
			s.len = count + 1
		}
		count++
		return d.value(n.elem, at(s.data, uintptr(count-1)*size), i)
	})
	if end < 0 {
		return end
	}
	s.len = count
	if count == 0 {
		*as[[]struct{}](p) = []struct{}{} // empty, not nil
	}
	return end
}

// array decodes the array at i into the array at p: what is too much is checked
// and left out, what is missing becomes zero.
func (d *decoder) array(n *decodeNode, p place, i int) int {
	size := n.elem.typ.Size()
	count := 0
	end := d.elements(i, func(i int) int {
		if count == n.len {
			return d.skip(i)
		}
		count++
		return d.value(n.elem, at(p, uintptr(count-1)*size), i)
	})
	for ; end >= 0 && count < n.len; count++ {
		valueAt(n.elem.typ, at(p, uintptr(count)*size)).SetZero()
	}
	return end
}

// elements walks the array at i and calls each at the start of every element.
func (d *decoder) elements(i int, each func(i int) int) int {
	b := d.b
	if b[i] != '[' {
		return d.mismatch(i, "an array")
	}
	if d.depth++; d.depth > jsonscan.MaxDepth {
		return d.fail(i, "")
	}
	i = jsonscan.Space(b, i+1)
	if i < len(b) && b[i] == ']' {
		d.depth--
		return i + 1
	}
	for {
		if i = each(i); i < 0 {
			return i
		}
		i = jsonscan.Space(b, i)
		if i >= len(b) {
			return d.fail(i, "")
		}
		switch b[i] {
		case ',':
			i = jsonscan.Space(b, i+1)
		case ']':
			d.depth--
			return i + 1
		default:
			return d.fail(i, "")
		}
	}
}
