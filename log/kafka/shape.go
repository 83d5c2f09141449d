package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A shape is what a request looks like on the wire, as far as it takes to tell
// what it would cost to decode it. kmsg trusts the counts in a request: a tag
// count of 4 billion in a frame of 20 bytes keeps it busy for a minute, and a
// frame of small elements grows a hundredfold in memory. So each request is
// walked by its shape before it is decoded, and refused if it lies.
//
// kmsg has no schema to read at run time. Which fields a version has is found by
// trying: a field that is set and changes the encoding is there; one that makes
// it grow by more than its own size is a tag.
type shape struct {
	fields []shapeField
	size   int // of the Go value, in bytes
	tags   bool
}

type shapeField struct {
	kind  fieldKind
	width int    // of fixed, in bytes
	elem  *shape // of array and optional
}

type fieldKind uint8

const (
	fixed fieldKind = iota
	text            // length and bytes; also nullable
	blob            // the same with a longer length where nothing is compact
	array
	optional // a struct behind a byte that is negative if there is none
)

// maxDecoded bounds what the elements of one request take up in memory, in bytes.
const maxDecoded = 64 << 20

// maxTags bounds the tags of one element; clients send one or two.
const maxTags = 64

// nestedTags are tags of requests with elements of their own, which the walk
// cannot see into. Clients do not send them.
var nestedTags = map[kmsg.Key]uint32{kmsg.Fetch: 1} // ReplicaState, of replicas

var (
	errShort   = errors.New("it ends too early")
	errTooMany = errors.New("it has more elements than are served")
	errNested  = errors.New("it has a tag that only brokers send")
)

// shapeOf finds the shape of a request in a version. It panics on a request with
// fields that are unlike those of all others, so that none is served unchecked.
func shapeOf(key kmsg.Key, version int16) *shape {
	fresh := func() (kmsg.Request, reflect.Value) {
		req := kmsg.RequestForKey(int16(key))
		req.SetVersion(version)
		return req, reflect.ValueOf(req).Elem()
	}
	req, _ := fresh()
	s, err := probe(fresh, req.IsFlexible())
	if err != nil {
		panic(fmt.Errorf("shape of %s version %d: %w", key.Name(), version, err))
	}
	return s
}

// probe finds the shape of the struct that fresh returns, inside of a request
// that has one of it.
func probe(fresh func() (kmsg.Request, reflect.Value), flexible bool) (*shape, error) {
	req, v := fresh()
	s := &shape{size: int(v.Type().Size()), tags: flexible}
	base := len(req.AppendTo(nil))
	before := string(req.AppendTo(nil))
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "UnknownTags" || name == "Version" && v.Addr().Type().Implements(reflect.TypeFor[kmsg.Request]()) {
			continue
		}
		field, grows, ok := fieldOf(v.Field(i).Type())
		if _, nested := nestedTags[kmsg.Key(req.Key())]; nested && v.Field(i).Kind() == reflect.Struct {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("field %s is a %s, which is not known here", name, v.Field(i).Type())
		}
		lengthen := func(n int) string {
			req, v := fresh()
			set(v.Field(i), n)
			return string(req.AppendTo(nil))
		}
		one := lengthen(1)
		if one == before {
			continue // not in this version
		}
		if field.kind == array {
			grows = len(lengthen(2)) - len(one)
		}
		if field.kind != optional && len(one)-base != grows {
			continue // a tag: skipped by its size
		}
		if field.kind == array || field.kind == optional {
			elem := func() (kmsg.Request, reflect.Value) {
				req, v := fresh()
				set(v.Field(i), 1)
				if field.kind == optional {
					return req, v.Field(i).Elem()
				}
				return req, v.Field(i).Index(0)
			}
			var err error
			if field.elem, err = elemShape(v.Field(i).Type().Elem(), elem, flexible); err != nil {
				return nil, err
			}
		}
		s.fields = append(s.fields, field)
	}
	return s, nil
}

// elemShape is the shape of an array's elements.
func elemShape(t reflect.Type, fresh func() (kmsg.Request, reflect.Value), flexible bool) (*shape, error) {
	if t.Kind() == reflect.Struct {
		return probe(fresh, flexible)
	}
	field, _, ok := fieldOf(t)
	if !ok {
		return nil, fmt.Errorf("an array of %s, which is not known here", t)
	}
	if field.kind == array { // of an array: none has its elements' shape
		return nil, fmt.Errorf("an array of %s, which is not known here", t)
	}
	return &shape{fields: []shapeField{field}, size: int(t.Size())}, nil
}

// fieldOf is how a field of a Go type is encoded, and by how much the encoding
// grows when set is applied to it.
func fieldOf(t reflect.Type) (f shapeField, grows int, ok bool) {
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32,
		reflect.Int64, reflect.Uint64, reflect.Float64:
		return shapeField{kind: fixed, width: int(t.Size())}, 0, true
	case reflect.String:
		return shapeField{kind: text}, 1, true
	case reflect.Array: // a UUID
		return shapeField{kind: fixed, width: t.Len()}, 0, t.Elem().Kind() == reflect.Uint8
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return shapeField{kind: optional}, 0, true
		}
		return shapeField{kind: text}, 1, t.Elem().Kind() == reflect.String
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return shapeField{kind: blob}, 1, true
		}
		return shapeField{kind: array}, 0, true
	}
	return shapeField{}, 0, false
}

// set makes a field differ from its default: an array gets n elements.
func set(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Array:
		v.Index(0).SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() == reflect.String {
			v.Elem().SetString("x")
		} else if d, ok := v.Interface().(interface{ Default() }); ok {
			d.Default()
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if d, ok := v.Index(i).Addr().Interface().(interface{ Default() }); ok {
				d.Default()
			}
		}
	}
}

// walk goes over a request without decoding it. It holds the bytes that are left
// and what decoding would cost.
type walk struct {
	b        []byte
	flexible bool
	nested   uint32 // a tag of the request itself that is refused; 0: none
	decoded  int    // bytes
	err      error
}

// check tells whether a body is of a shape and can be decoded at a bounded cost.
// Bytes after its end are no mistake, as for Kafka: librdkafka up to 2.16 asks for all
// topics in Metadata 13 with three bytes too many. It returns how many there are.
func (s *shape) check(key kmsg.Key, flexible bool, body []byte) (extra int, decoded int64, err error) {
	w := walk{b: body, flexible: flexible, nested: nestedTags[key]}
	w.value(s, true)
	return len(w.b), int64(w.decoded), w.err
}

func (w *walk) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.b = nil
}

func (w *walk) skip(n int) {
	if n < 0 || n > len(w.b) {
		w.fail(errShort)
		return
	}
	w.b = w.b[n:]
}

func (w *walk) uvarint() int {
	n, rest, ok := uvarint(w.b)
	if !ok {
		w.fail(errShort)
		return 0
	}
	w.b = rest
	return int(n)
}

// length reads the length of a text, blob or array; -1 is null.
func (w *walk) length(width int) int {
	if w.flexible {
		return w.uvarint() - 1
	}
	if len(w.b) < width {
		w.fail(errShort)
		return 0
	}
	b := w.b[:width]
	w.b = w.b[width:]
	if width == 2 {
		return int(int16(binary.BigEndian.Uint16(b)))
	}
	return int(int32(binary.BigEndian.Uint32(b)))
}

// value walks over one struct.
func (w *walk) value(s *shape, top bool) {
	for i := range s.fields {
		switch f := &s.fields[i]; f.kind {
		case fixed:
			w.skip(f.width)
		case text:
			w.skip(max(w.length(2), 0))
		case blob:
			w.skip(max(w.length(4), 0))
		case array:
			w.array(f.elem)
		case optional:
			there := len(w.b) > 0 && int8(w.b[0]) >= 0
			if w.skip(1); there {
				w.value(f.elem, false)
			}
		}
		if w.err != nil {
			return
		}
	}
	if s.tags {
		w.tags(top)
	}
}

func (w *walk) array(elem *shape) {
	n := w.length(4)
	if n > len(w.b) { // an element has at least a byte
		w.fail(errShort)
		return
	}
	if w.decoded += max(n, 0) * elem.size; w.decoded > maxDecoded {
		w.fail(errTooMany)
		return
	}
	for ; n > 0 && w.err == nil; n-- {
		w.value(elem, false)
	}
}

func (w *walk) tags(top bool) {
	n := w.uvarint()
	if n > maxTags {
		w.fail(errTooMany)
		return
	}
	for ; n > 0 && w.err == nil; n-- {
		if tag := w.uvarint(); top && w.nested > 0 && uint32(tag) == w.nested {
			w.fail(errNested)
			return
		}
		w.skip(w.uvarint())
	}
}
