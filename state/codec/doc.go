// Package codec turns values into bytes and back: the keys and values of topics,
// and what state keeps. The type to start from is Codec.
//
//	c := codec.JSON[PageView]()
//	var arena codec.Arena
//	err := c.Decode(&view, record.Value, &arena)
//
// What a caller has to know:
//
//  1. A codec is for all goroutines, an Arena for one.
//  2. What Decode returns points into the Arena's blocks or nowhere, never into
//     the source: the source may be reused, the value kept for ever.
//  3. A null key or value has no bytes, so it never reaches a codec.
//  4. A codec's name stands in the stored plan of a job. Another name means
//     other bytes, and a job that changes it is refused.
//
// # Bytes
//
// Numbers are big-endian, as Kafka's serializers write them, so that Kafka's
// console tools and Kafka Streams read what a job writes:
//
//	String, Bytes   | the bytes themselves …                    |
//	Int64           | 8: two's complement                       |   LongSerializer
//	Int32           | 4: two's complement                       |   IntegerSerializer
//	Int16           | 2: two's complement                       |   ShortSerializer
//	Int8            | 1: two's complement                       |
//	Float64         | 8: IEEE 754                               |   DoubleSerializer
//	Float32         | 4: IEEE 754                               |   FloatSerializer
//	Bool            | 1: 0 or 1                                 |   BooleanSerializer
//	uint64 … uint8  | 8 … 1: unsigned (chosen by For only)      |
//
// Keys within a window, times in milliseconds since 1970 UTC:
//
//	WindowKey(key)  | key … | 8: start |                            TimeWindowedSerializer
//	SpanKey(key)    | key … | 8: end, exclusive | 8: start |        SessionWindowedSerializer
//	Span            | 8: end, exclusive | 8: start |
//
// WindowKey is for topics that others read: it is what Kafka Streams writes for
// windows of one size, and its readers are told the size. Grete's own topics use
// SpanKey, which loses nothing, whatever the kind of window. A partition is
// chosen by the bytes of the key alone where keys shall meet across windows.
//
// For example, the key "home" in the minute from 60,000 on, by WindowKey(String)
// and by SpanKey(String):
//
//	68 6f 6d 65  00 00 00 00 00 00 ea 60
//	68 6f 6d 65  00 00 00 00 00 01 d4 c0  00 00 00 00 00 00 ea 60
//
// JSON writes what encoding/json writes, byte for byte, and reads what it reads.
//
// # Order
//
// Keys in Pebble are compared byte by byte, so state writes integers with the
// sign flipped (AppendOrderedInt64) and ends a key that fields follow
// (AppendEscaped):
//
//	-1   7f ff ff ff ff ff ff ff        "a"      61 00 01
//	 0   80 00 00 00 00 00 00 00        "a\x00"  61 00 ff 00 01
//	 1   80 00 00 00 00 00 00 01        "ab"     61 62 00 01
//
// Each 00 of the key is followed by ff, and 00 01 ends it. Since 01 is below ff
// and 00 below all else, the order of the keys is kept, and no escaped key is a
// prefix of another.
//
// # The arena
//
// Decoding a string means a copy, and a copy means an allocation of 70 to 190
// ns. An Arena takes it from a block of 64 KiB instead, which is given to the
// garbage collector when it is full and never used again: no string ever changes
// or has to be given back. Whoever keeps few strings of many for long clones
// them, or each would keep its block.
package codec
