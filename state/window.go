package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Keys of windowed stores: 8 bytes of window start, then the key. Windows lie
// one behind the other in the order of their starts, each one a range of keys.

// windowStartSize is the size of the start in a window key.
const windowStartSize = 8

// ErrNotWindowKey marks a key that is too short to begin with a window start.
var ErrNotWindowKey = errors.New("not a window key")

// AppendWindowStart appends the prefix of all keys of the window that starts at
// start, in ms since 1970-01-01 UTC: big-endian, the sign flipped so that
// negative starts come first.
func AppendWindowStart(dst []byte, start int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(start)^1<<63)
}

// AppendWindowKey appends the key of a window.
func AppendWindowKey(dst []byte, start int64, key []byte) []byte {
	return append(AppendWindowStart(dst, start), key...)
}

// ParseWindowKey takes a window key apart. The key aliases b.
func ParseWindowKey(b []byte) (start int64, key []byte, err error) {
	if len(b) < windowStartSize {
		return 0, nil, fmt.Errorf("%w: got %d bytes, want at least %d", ErrNotWindowKey, len(b), windowStartSize)
	}
	return int64(binary.BigEndian.Uint64(b) ^ 1<<63), b[windowStartSize:], nil
}

// WindowBounds returns the bounds of the keys of one window, for Scan. A nil hi
// means the end of the store.
func WindowBounds(start int64) (lo, hi []byte) { return windowRange(start, start) }

// WindowRange returns the bounds of the keys of all windows with
// from <= start < to, for Scan. If there can be none, lo equals hi.
func WindowRange(from, to int64) (lo, hi []byte) {
	if from >= to {
		lo = AppendWindowStart(nil, from)
		return lo, lo
	}
	return windowRange(from, to-1)
}

// windowRange is from the first key of window first up to the last of window last.
func windowRange(first, last int64) (lo, hi []byte) {
	lo = AppendWindowStart(nil, first)
	if last < math.MaxInt64 {
		hi = AppendWindowStart(nil, last+1)
	}
	return lo, hi
}

// ExpireWindows stages the deletion of all keys of windows that start before
// bound, in key order, at most max of them. cursor is where the last call
// stopped, nil to begin; next is where to go on, nil if all are gone. A cursor
// may be kept in a checkpoint, and holds for a later bound too as long as no
// window before it was written again.
func (s *Store) ExpireWindows(bound int64, max int, cursor []byte) (next []byte, deleted int, err error) {
	var last []byte
	err = s.Scan(cursor, AppendWindowStart(nil, bound), func(key, _ []byte) bool {
		if deleted == max {
			next = append([]byte{}, key...)
			return false
		}
		last = append(last[:0], key...)
		s.Delete(last)
		deleted++
		return true
	})
	return next, deleted, err
}
