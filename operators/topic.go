package operators

import (
	"time"

	"github.com/gretestream/grete/state/codec"
)

// Topic is a named sequence of records in the log, with the codecs of its keys
// and values. Declare one per topic, as a package variable.
type Topic[K, V any] struct {
	Name  string
	Key   Codec[K]
	Value Codec[V]
}

// NewTopic describes a topic.
func NewTopic[K, V any](name string, key Codec[K], value Codec[V]) Topic[K, V] {
	return Topic[K, V]{Name: name, Key: key, Value: value}
}

// Codec turns values of T into bytes and back: see package state/codec.
type Codec[T any] = codec.Codec[T]

// Windowed is a key within a window of time: what windowed aggregates are kept
// and written under.
type Windowed[K any] = codec.Windowed[K]

// Codecs of plain types, as Kafka's own serializers write them.
var (
	String  = codec.String  // the bytes as they are
	Bytes   = codec.Bytes   // the bytes as they are
	Int64   = codec.Int64   // 8 bytes, big-endian
	Float64 = codec.Float64 // 8 bytes, big-endian IEEE 754
)

// JSON reads and writes structs as JSON. Reading takes the fields that T
// declares and skips the others.
func JSON[T any]() Codec[T] { return codec.JSON[T]() }

// WindowKey writes windowed keys as Kafka Streams does: key, then window start.
// Give the windows' size where the topic is read back and the end is wanted.
func WindowKey[K any](key Codec[K], size ...time.Duration) Codec[Windowed[K]] {
	return codec.WindowKey(key, size...)
}
