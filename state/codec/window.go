package codec

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Window is a span of event time, [Start, End), in milliseconds since
// 1970-01-01 UTC.
type Window struct {
	Start int64 // ms, inclusive
	End   int64 // ms, exclusive; equal to Start where it is not known (see WindowKey)
}

// StartTime returns Start in UTC.
func (w Window) StartTime() time.Time { return time.UnixMilli(w.Start).UTC() }

// EndTime returns End in UTC.
func (w Window) EndTime() time.Time { return time.UnixMilli(w.End).UTC() }

// Size returns the length of the window; 0 where End is not known.
func (w Window) Size() time.Duration { return time.Duration(w.End-w.Start) * time.Millisecond }

// String is "[2015-05-17T10:05:00Z, 2015-05-17T10:06:00Z)".
func (w Window) String() string {
	const layout = "2006-01-02T15:04:05.999Z07:00"
	return "[" + w.StartTime().Format(layout) + ", " + w.EndTime().Format(layout) + ")"
}

// Windowed is a key within a window: what a windowed aggregate is kept under.
type Windowed[K any] struct {
	Key K
	Window
}

// String is "key@[start, end)".
func (w Windowed[K]) String() string { return fmt.Sprintf("%v@%v", w.Key, w.Window) }

// WindowKey writes windowed keys as Kafka Streams' TimeWindowedSerializer does:
//
//	key ‖ start (8 bytes, big-endian, ms)
//
// The end is not written. Given the size of the windows, decoding sets End to
// Start + size, as TimeWindowedDeserializer with window.size.ms does; without
// it, End equals Start. SpanKey writes both bounds.
func WindowKey[K any](key Codec[K], size ...time.Duration) Codec[Windowed[K]] {
	c := windowKey[K]{key: key, name: "window-key(" + key.Name() + ")"}
	for _, d := range size {
		c.size = d.Milliseconds()
		c.name = "window-key(" + key.Name() + "," + d.String() + ")"
	}
	return c
}

// SpanKey writes windowed keys with both bounds, so that windows of every kind
// come back whole, in the layout of Kafka Streams' SessionWindowedSerializer:
//
//	key ‖ end (8 bytes, big-endian, ms) ‖ start (8 bytes, big-endian, ms)
//
// End is exclusive here as everywhere in Grete.
func SpanKey[K any](key Codec[K]) Codec[Windowed[K]] {
	return spanKey[K]{key: key, name: "span-key(" + key.Name() + ")"}
}

// Span writes a bare window, as SpanKey does with an empty key.
var Span Codec[Window] = spanCodec{}

const (
	windowKeySuffix = 8  // bytes: start 8
	spanSize        = 16 // bytes: end 8 · start 8
)

type windowKey[K any] struct {
	key  Codec[K]
	name string
	size int64 // ms; 0: not known
}

func (c windowKey[K]) Name() string { return c.name }

func (c windowKey[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	out, err := c.key.Append(dst, v.Key)
	if err != nil {
		return dst, err
	}
	return binary.BigEndian.AppendUint64(out, uint64(v.Start)), nil
}

func (c windowKey[K]) Decode(dst *Windowed[K], src []byte, a *Arena) error {
	at := len(src) - windowKeySuffix
	if at < 0 {
		return fmt.Errorf("decode %s: got %d bytes, want at least %d: %w", c.name, len(src), windowKeySuffix, ErrMalformed)
	}
	dst.Start = int64(binary.BigEndian.Uint64(src[at:]))
	dst.End = dst.Start + c.size
	return c.key.Decode(&dst.Key, src[:at], a)
}

type spanKey[K any] struct {
	key  Codec[K]
	name string
}

func (c spanKey[K]) Name() string { return c.name }

func (c spanKey[K]) Append(dst []byte, v Windowed[K]) ([]byte, error) {
	out, err := c.key.Append(dst, v.Key)
	if err != nil {
		return dst, err
	}
	return Span.Append(out, v.Window)
}

func (c spanKey[K]) Decode(dst *Windowed[K], src []byte, a *Arena) error {
	at := len(src) - spanSize
	if at < 0 {
		return fmt.Errorf("decode %s: got %d bytes, want at least %d: %w", c.name, len(src), spanSize, ErrMalformed)
	}
	if err := Span.Decode(&dst.Window, src[at:], nil); err != nil {
		return err
	}
	return c.key.Decode(&dst.Key, src[:at], a)
}

type spanCodec struct{}

func (spanCodec) Name() string { return "span" }

func (spanCodec) Append(dst []byte, v Window) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.End))
	return binary.BigEndian.AppendUint64(dst, uint64(v.Start)), nil
}

func (spanCodec) Decode(dst *Window, src []byte, _ *Arena) error {
	if len(src) != spanSize {
		return wrongLength("span", len(src), spanSize)
	}
	dst.End = int64(binary.BigEndian.Uint64(src))
	dst.Start = int64(binary.BigEndian.Uint64(src[8:]))
	return nil
}
