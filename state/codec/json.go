package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// JSON reads and writes values of T as encoding/json does.
func JSON[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	name := t.Name()
	if name == "" {
		name = t.String()
	}
	return jsonCodec[T]{name: "json(" + name + ")"}
}

type jsonCodec[T any] struct{ name string }

func (c jsonCodec[T]) Name() string { return c.name }

func (c jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", c.name, err)
	}
	return append(dst, b...), nil
}

func (c jsonCodec[T]) Decode(dst *T, src []byte, a *Arena) error {
	var zero T
	*dst = zero
	if err := json.Unmarshal(src, dst); err != nil {
		return fmt.Errorf("decode %s: %w: %w", c.name, ErrMalformed, err)
	}
	return nil
}
