package log

import "math/bits"

// Records use the zigzag variable-length integers of Protocol Buffers: seven
// bits a byte, lowest first, the high bit set on all bytes but the last. The
// code is our own because a record holds at least five of them, most of one
// byte: the one-byte case is inlined here and a call in encoding/binary.

const maxVarintBytes = 10 // of 64 bits

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// varintSize is the number of bytes that putUvarint writes for u.
func varintSize(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

// putUvarint writes u at b[i:] and returns the index after it.
func putUvarint(b []byte, i int, u uint64) int {
	for u >= 0x80 {
		b[i] = byte(u) | 0x80
		u >>= 7
		i++
	}
	b[i] = byte(u)
	return i + 1
}

// Integers below 1<<14 take one byte or two. shortBit says which without a
// branch: 0 or 1. packShort gives both bytes, the first lowest.
func shortBit(u uint64) uint64 { return (u + 1<<14 - 1<<7) >> 14 }

func packShort(u uint64) uint64 { return u&0x7f | u<<1&0x7f00 | shortBit(u)<<7 }

// uvarintShort reads an integer of one byte or two at b[i:], where there are two
// bytes, and returns the index after it. Of a longer one it makes 1<<14 or more.
func uvarintShort(b []byte, i int) (uint64, int) {
	u := uint64(b[i])
	if u < 1<<7 {
		return u, i + 1
	}
	return u&0x7f | uint64(b[i+1])<<7, i + 2
}

// uvarint reads an integer at b[i:] and returns the index after it, or -1 if it
// is cut off or too long. Lengths and deltas of records take one or two bytes.
func uvarint(b []byte, i int) (uint64, int) {
	if uint(i) < uint(len(b)) {
		c := b[i]
		if c < 0x80 {
			return uint64(c), i + 1
		}
		if i+1 < len(b) && b[i+1] < 0x80 {
			return uint64(c&0x7f) | uint64(b[i+1])<<7, i + 2
		}
	}
	return uvarintLong(b, i)
}

func uvarintLong(b []byte, i int) (u uint64, next int) {
	for n := 0; n < maxVarintBytes && uint(i) < uint(len(b)); n++ {
		c := b[i]
		i++
		u |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			return u, i
		}
	}
	return 0, -1
}
