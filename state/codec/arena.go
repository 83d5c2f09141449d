package codec

// DefaultArenaBlock is the block size of an Arena whose BlockBytes is not set.
const DefaultArenaBlock = 64 << 10 // bytes

// Arena cuts strings and byte slices from large blocks, so that decoding a
// record costs no allocation of its own: one per block. The zero value is ready
// for use, and a nil *Arena allocates each string by itself. It is owned by one
// goroutine.
//
// A block is never used twice: what was cut from it stays as it is for ever, and
// the garbage collector frees the block when nothing points into it any more.
// The price is that one kept string keeps its block, so whoever keeps a few of
// many for long (a table of hot keys) clones them (strings.Clone).
type Arena struct {
	// BlockBytes is the size of a block. Default: DefaultArenaBlock.
	BlockBytes int

	free    []byte // what is left of the present block; len(free) bytes can be cut
	scratch []byte // of decoders, while they unescape a string
	shape   shape  // of decoders of JSON
}

// String returns a string with the bytes of b.
func (a *Arena) String(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if a == nil {
		return string(b)
	}
	return stringOf(a.Bytes(b))
}

// Bytes returns a copy of b, never nil. Its capacity ends where it ends, so that
// appending to it moves it and touches nothing else.
func (a *Arena) Bytes(b []byte) []byte {
	n := len(b)
	if n == 0 {
		return []byte{}
	}
	if a == nil || n > len(a.free) && !a.grow(n) {
		return append(make([]byte, 0, n), b...)
	}
	p := a.free[:n:n]
	a.free = a.free[n:]
	copy(p, b)
	return p
}

// grow begins a new block with room for n bytes. It reports false if n is too
// large to be worth one: a value above a quarter of a block gets an allocation
// of its own, so that at most a quarter of a block is ever thrown away.
func (a *Arena) grow(n int) bool {
	size := a.BlockBytes
	if size <= 0 {
		size = DefaultArenaBlock
	}
	if n > size/4 {
		return false
	}
	a.free = make([]byte, size)
	return true
}
