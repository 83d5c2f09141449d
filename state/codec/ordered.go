package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The encodings below keep order: comparing two of them byte by byte gives the
// order of the values, as keys in Pebble need. See the drawings in doc.go.

const (
	signBit    = 1 << 63
	escape     = 0x00 // begins each pair below
	escapedNul = 0xff // 00 FF: a 00 of the key
	escapeEnd  = 0x01 // 00 01: the end of the key
)

// AppendOrderedInt64 appends v as 8 bytes whose order is that of the integers:
// big-endian with the sign bit flipped.
func AppendOrderedInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(v)^signBit)
}

// OrderedInt64 reads what AppendOrderedInt64 wrote and returns the bytes after it.
func OrderedInt64(src []byte) (v int64, rest []byte, err error) {
	if len(src) < 8 {
		return 0, src, fmt.Errorf("decode ordered int64: got %d bytes, want at least 8: %w", len(src), ErrMalformed)
	}
	return int64(binary.BigEndian.Uint64(src) ^ signBit), src[8:], nil
}

// AppendEscaped appends key so that fields can follow: each 00 becomes 00 FF,
// and 00 01 ends it. No escaped key is a prefix of another, and their order is
// that of the keys.
func AppendEscaped(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 {
			dst = append(dst, key...)
			return append(dst, escape, escapeEnd)
		}
		dst = append(dst, key[:i]...)
		dst = append(dst, escape, escapedNul)
		key = key[i+1:]
	}
}

// Unescape appends to dst the key at the beginning of src, as AppendEscaped
// wrote it, and returns the bytes after its end mark.
func Unescape(dst, src []byte) (key, rest []byte, err error) {
	for {
		i := bytes.IndexByte(src, escape)
		if i < 0 || i+1 == len(src) {
			return dst, src, fmt.Errorf("decode escaped key: got %d bytes without an end mark, want 00 01: %w", len(src), ErrMalformed)
		}
		dst = append(dst, src[:i]...)
		mark := src[i+1]
		src = src[i+2:]
		switch mark {
		case escapeEnd:
			return dst, src, nil
		case escapedNul:
			dst = append(dst, escape)
		default:
			return dst, src, fmt.Errorf("decode escaped key: got 00 %02x, want 00 ff or 00 01: %w", mark, ErrMalformed)
		}
	}
}
