package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// JSON reads and writes values of T as encoding/json does: what Unmarshal
// accepts it accepts, with the same result, what Unmarshal refuses it refuses,
// and what Marshal writes it writes. Tests and fuzzing hold it to that.
//
// T is compiled once, by reflection, into a scanner that walks a record's bytes
// once, skips (and checks) the fields that T does not declare, and writes the
// others straight into the struct, strings into the Arena. Types that encoding/
// json treats specially (Marshaler and Unmarshaler, TextMarshaler, maps,
// interfaces) cost what they cost there; strings, numbers, bools and structs of
// them cost no allocation.
//
// Decode sets all of *dst, fields that the record lacks to zero.
func JSON[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	name := t.Name()
	if name == "" {
		name = t.String()
	}
	return &jsonCodec[T]{
		name: "json(" + name + ")",
		dec:  compileDecoder(t, map[reflect.Type]*decodeNode{}),
		enc:  compileEncoder(t, false, nil),
	}
}

type jsonCodec[T any] struct {
	name string
	dec  *decodeNode
	enc  *encodeNode // nil: only encoding/json knows how
}

func (c *jsonCodec[T]) Name() string { return c.name }

func (c *jsonCodec[T]) Append(dst []byte, v T) (out []byte, err error) {
	if c.enc != nil {
		out, err = c.enc.append(dst, placeOfLocal(&v))
	} else {
		out, err = json.Marshal(v)
		out = append(dst, out...)
	}
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", c.name, err)
	}
	return out, nil
}

func (c *jsonCodec[T]) Decode(dst *T, src []byte, a *Arena) error {
	var zero T
	*dst = zero
	d := decoder{b: src, a: a}
	if !d.run(c.dec, placeOf(dst)) {
		return d.error(c.name)
	}
	return nil
}
