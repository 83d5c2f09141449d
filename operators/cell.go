package operators

import (
	"encoding/binary"
	"fmt"

	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// Keys of a windowed aggregate's store. Windows that do not overlap are kept as
// they are, in one space:
//
//	start 8 · key                   a window's value, open or closed
//	80 00 … (the least start)       progress: see below
//
// where start is big-endian with the sign flipped, so that windows lie one
// behind the other. Windows that overlap are kept as slices, and each is
// written once more when it closes:
//
//	00 · slice start 8 · key        a slice's value
//	01 · window start 8 · key       a closed window's value
//	02                              progress
//
// Progress is how far closing has come, so that a query, which has no clock,
// knows what is closed, and a restart knows what was emitted:
//
//	version      1  1
//	closed       8  all windows that close at or below this watermark have been
//	                emitted; big-endian, ms
//	window       8  the start of the window that was being closed
//	mid          1  1: it was, and the keys up to the following were emitted
//	provisional     uvarint count, 8 each: starts of open windows of which a
//	                bounded run has emitted finals (where windows overlap)
//	key             the rest
const (
	spaceSlices = 0
	spaceClosed = 1
	spaceOwn    = 2

	progressVersion = 1
)

// sliceKey appends the prefix of a slice's keys.
func (f fixed) sliceKey(dst []byte, start int64) []byte {
	if f.overlaps() {
		dst = append(dst, spaceSlices)
	}
	return state.AppendWindowStart(dst, start)
}

// closedKey appends the prefix of a closed window's keys.
func (f fixed) closedKey(dst []byte, start int64) []byte {
	if f.overlaps() {
		dst = append(dst, spaceClosed)
	}
	return state.AppendWindowStart(dst, start)
}

func (f fixed) progressKey() []byte {
	if f.overlaps() {
		return []byte{spaceOwn}
	}
	return state.AppendWindowStart(nil, noTime)
}

// firstKey is a bound below all keys of slices, or of closed windows, and above
// the progress.
func (f fixed) firstKey(closed bool) []byte {
	switch {
	case !f.overlaps():
		return state.AppendWindowStart(nil, noTime+1)
	case closed:
		return []byte{spaceClosed}
	}
	return []byte{spaceSlices}
}

// parseKey takes a key of slices or closed windows apart.
func (f fixed) parseKey(b []byte) (start int64, key []byte, err error) {
	if f.overlaps() && len(b) > 0 {
		b = b[1:]
	}
	return state.ParseWindowKey(b)
}

type progress struct {
	closed      int64
	window      int64
	mid         bool
	key         []byte
	provisional []int64
}

func (p *progress) append(b []byte) []byte {
	b = append(b, progressVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.closed))
	b = binary.BigEndian.AppendUint64(b, uint64(p.window))
	mid := byte(0)
	if p.mid {
		mid = 1
	}
	b = append(b, mid)
	b = binary.AppendUvarint(b, uint64(len(p.provisional)))
	for _, start := range p.provisional {
		b = binary.BigEndian.AppendUint64(b, uint64(start))
	}
	return append(b, p.key...)
}

func parseProgress(b []byte) (p progress, err error) {
	bad := func() (progress, error) {
		return progress{closed: noTime}, fmt.Errorf("progress of closing: got % x: %w", b, codec.ErrMalformed)
	}
	if len(b) < 19 || b[0] != progressVersion {
		return bad()
	}
	p.closed = int64(binary.BigEndian.Uint64(b[1:]))
	p.window = int64(binary.BigEndian.Uint64(b[9:]))
	p.mid = b[17] == 1
	n, size := binary.Uvarint(b[18:])
	rest := b[18+max(size, 0):]
	if size <= 0 || n > uint64(len(rest)/8) {
		return bad()
	}
	for ; n > 0; n-- {
		p.provisional = append(p.provisional, int64(binary.BigEndian.Uint64(rest)))
		rest = rest[8:]
	}
	p.key = append([]byte(nil), rest...)
	return p, nil
}

// cellCodec writes cells of one window or slice.
type cellCodec[A any] struct {
	acc   Codec[A]
	start int64
	timed bool // the largest time is kept
}

func (c cellCodec[A]) Name() string { return "cell(" + c.acc.Name() + ")" }

func (c cellCodec[A]) Append(dst []byte, v cell[A]) ([]byte, error) {
	flags := v.flags &^ cellTimed
	if c.timed && v.max != noTime {
		dst = append(dst, flags|cellTimed)
		dst = binary.AppendVarint(dst, v.max-c.start)
	} else {
		dst = append(dst, flags)
	}
	return c.acc.Append(dst, v.acc)
}

func (c cellCodec[A]) Decode(v *cell[A], src []byte, arena *codec.Arena) error {
	if len(src) == 0 {
		return fmt.Errorf("decode cell: got no bytes: %w", codec.ErrMalformed)
	}
	v.flags, v.max = src[0]&^cellTimed, noTime
	src, flags := src[1:], src[0]
	if flags&cellTimed != 0 {
		d, n := binary.Varint(src)
		if n <= 0 {
			return fmt.Errorf("decode cell: bad time: %w", codec.ErrMalformed)
		}
		v.max = c.start + d
		src = src[n:]
	}
	return c.acc.Decode(&v.acc, src, arena)
}
