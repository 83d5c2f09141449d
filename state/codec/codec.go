package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Codec turns values of T into bytes and back. It is safe for concurrent use.
//
// Codecs never see a null key or value: what a record holds is decided by the
// record, and a codec is asked for the bytes that are there.
type Codec[T any] interface {
	// Name is what the codec writes, in words that stand in stored plans:
	// "string", "int64", "json(PageView)", "window-key(string)". Two codecs of
	// one name read each other's bytes.
	Name() string
	// Append adds the encoding of v to dst and returns the extended slice. On
	// an error it returns dst as it was.
	Append(dst []byte, v T) ([]byte, error)
	// Decode sets *dst to the value that all of src encodes. What *dst holds
	// may point into blocks of a, never into src, so src may be reused at once
	// and the value kept for ever. A nil Arena allocates. After an error *dst
	// is unspecified.
	Decode(dst *T, src []byte, a *Arena) error
}

// ErrMalformed marks bytes that no value encodes to. Decode wraps it with what
// was wanted and what was found.
var ErrMalformed = errors.New("malformed")

// Codecs of the plain types, byte for byte those of Kafka's own serializers, so
// that the console tools of Kafka read what a job writes.
var (
	String  Codec[string]  = stringCodec{}  // the bytes as they are (StringSerializer, UTF-8 or not)
	Bytes   Codec[[]byte]  = bytesCodec{}   // the bytes as they are (ByteArraySerializer)
	Int64   Codec[int64]   = int64Codec{}   // 8 bytes, big-endian two's complement (LongSerializer)
	Int32   Codec[int32]   = int32Codec{}   // 4 bytes, big-endian two's complement (IntegerSerializer)
	Int16   Codec[int16]   = int16Codec{}   // 2 bytes, big-endian two's complement (ShortSerializer)
	Int8    Codec[int8]    = int8Codec{}    // 1 byte, two's complement
	Float64 Codec[float64] = float64Codec{} // 8 bytes, big-endian IEEE 754 (DoubleSerializer)
	Float32 Codec[float32] = float32Codec{} // 4 bytes, big-endian IEEE 754 (FloatSerializer)
	Bool    Codec[bool]    = boolCodec{}    // 1 byte, 0 or 1 (BooleanSerializer)
)

type (
	stringCodec  struct{}
	bytesCodec   struct{}
	int64Codec   struct{}
	int32Codec   struct{}
	int16Codec   struct{}
	int8Codec    struct{}
	float64Codec struct{}
	float32Codec struct{}
	boolCodec    struct{}
)

func (stringCodec) Name() string { return "string" }

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

func (stringCodec) Decode(dst *string, src []byte, a *Arena) error {
	*dst = a.String(src)
	return nil
}

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(dst *[]byte, src []byte, a *Arena) error {
	*dst = a.Bytes(src)
	return nil
}

func (int64Codec) Name() string { return "int64" }

func (int64Codec) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Codec) Decode(dst *int64, src []byte, _ *Arena) error {
	if len(src) != 8 {
		return wrongLength("int64", len(src), 8)
	}
	*dst = int64(binary.BigEndian.Uint64(src))
	return nil
}

func (int32Codec) Name() string { return "int32" }

func (int32Codec) Append(dst []byte, v int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func (int32Codec) Decode(dst *int32, src []byte, _ *Arena) error {
	if len(src) != 4 {
		return wrongLength("int32", len(src), 4)
	}
	*dst = int32(binary.BigEndian.Uint32(src))
	return nil
}

func (int16Codec) Name() string { return "int16" }

func (int16Codec) Append(dst []byte, v int16) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
}

func (int16Codec) Decode(dst *int16, src []byte, _ *Arena) error {
	if len(src) != 2 {
		return wrongLength("int16", len(src), 2)
	}
	*dst = int16(binary.BigEndian.Uint16(src))
	return nil
}

func (int8Codec) Name() string { return "int8" }

func (int8Codec) Append(dst []byte, v int8) ([]byte, error) { return append(dst, byte(v)), nil }

func (int8Codec) Decode(dst *int8, src []byte, _ *Arena) error {
	if len(src) != 1 {
		return wrongLength("int8", len(src), 1)
	}
	*dst = int8(src[0])
	return nil
}

func (float64Codec) Name() string { return "float64" }

func (float64Codec) Append(dst []byte, v float64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

func (float64Codec) Decode(dst *float64, src []byte, _ *Arena) error {
	if len(src) != 8 {
		return wrongLength("float64", len(src), 8)
	}
	*dst = math.Float64frombits(binary.BigEndian.Uint64(src))
	return nil
}

func (float32Codec) Name() string { return "float32" }

func (float32Codec) Append(dst []byte, v float32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v)), nil
}

func (float32Codec) Decode(dst *float32, src []byte, _ *Arena) error {
	if len(src) != 4 {
		return wrongLength("float32", len(src), 4)
	}
	*dst = math.Float32frombits(binary.BigEndian.Uint32(src))
	return nil
}

func (boolCodec) Name() string { return "bool" }

func (boolCodec) Append(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func (boolCodec) Decode(dst *bool, src []byte, _ *Arena) error {
	if len(src) != 1 {
		return wrongLength("bool", len(src), 1)
	}
	if src[0] > 1 {
		return fmt.Errorf("decode bool: got byte %#02x, want 0 or 1: %w", src[0], ErrMalformed)
	}
	*dst = src[0] == 1
	return nil
}

func wrongLength(what string, got, want int) error {
	return fmt.Errorf("decode %s: got %d bytes, want %d: %w", what, got, want, ErrMalformed)
}
