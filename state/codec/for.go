package codec

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// For chooses the codec of a type that no topic names, by its reflect kind, once:
// strings, byte slices and numbers as Kafka's serializers write them (int and
// uint as 8 bytes), Windowed and Window with both bounds, everything else as
// JSON. A named type, such as type Page string, is written as its kind is. It
// returns an error for types that cannot be written: functions, channels,
// interfaces, complex numbers.
func For[T any]() (Codec[T], error) {
	t := reflect.TypeFor[T]()
	if w, ok := any((*T)(nil)).(selfCodec[T]); ok {
		return w.codecFor()
	}
	switch t.Kind() {
	case reflect.String:
		return retyped[T, string]{String}, nil
	case reflect.Int64, reflect.Int:
		return retyped[T, int64]{Int64}, nil
	case reflect.Int32:
		return retyped[T, int32]{Int32}, nil
	case reflect.Int16:
		return retyped[T, int16]{Int16}, nil
	case reflect.Int8:
		return retyped[T, int8]{Int8}, nil
	case reflect.Uint64, reflect.Uint, reflect.Uintptr:
		return retyped[T, uint64]{unsigned[uint64]{"uint64", 8}}, nil
	case reflect.Uint32:
		return retyped[T, uint32]{unsigned[uint32]{"uint32", 4}}, nil
	case reflect.Uint16:
		return retyped[T, uint16]{unsigned[uint16]{"uint16", 2}}, nil
	case reflect.Uint8:
		return retyped[T, uint8]{unsigned[uint8]{"uint8", 1}}, nil
	case reflect.Float64:
		return retyped[T, float64]{Float64}, nil
	case reflect.Float32:
		return retyped[T, float32]{Float32}, nil
	case reflect.Bool:
		return retyped[T, bool]{Bool}, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return retyped[T, []byte]{Bytes}, nil
		}
	case reflect.Func, reflect.Chan, reflect.Interface, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return nil, fmt.Errorf("no codec for %v: a %v has no bytes of its own; want a string, number, []byte, struct, slice or map", t, t.Kind())
	}
	return JSON[T](), nil
}

// selfCodec is implemented by the pointers of types that choose their own codec
// in For: the generic Windowed cannot be told by a reflect kind.
type selfCodec[T any] interface{ codecFor() (Codec[T], error) }

func (*Windowed[K]) codecFor() (Codec[Windowed[K]], error) {
	key, err := For[K]()
	if err != nil {
		return nil, err
	}
	return SpanKey(key), nil
}

func (*Window) codecFor() (Codec[Window], error) { return Span, nil }

// unsigned writes size bytes, big-endian. Kafka has no unsigned serializers; its
// signed ones of the same size read the values below half of the range.
type unsigned[U uint8 | uint16 | uint32 | uint64] struct {
	name string
	size int // bytes
}

func (c unsigned[U]) Name() string { return c.name }

func (c unsigned[U]) Append(dst []byte, v U) ([]byte, error) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(v))
	return append(dst, b[8-c.size:]...), nil
}

func (c unsigned[U]) Decode(dst *U, src []byte, _ *Arena) error {
	if len(src) != c.size {
		return wrongLength(c.name, len(src), c.size)
	}
	var v uint64
	for _, b := range src {
		v = v<<8 | uint64(b)
	}
	*dst = U(v)
	return nil
}
