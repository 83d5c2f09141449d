package log

import (
	"unsafe"

	"github.com/cockroachdb/pebble/vfs"
)

// FS is the one door to the disk, for the log and, through the embedded
// vfs.FS, for Pebble: so a whole node can lose its power in a test.
type FS interface {
	vfs.FS
	// Truncate cuts the named file to size bytes. It must not be open for
	// writing. Like a write, it is durable only after a Sync of the file.
	Truncate(name string, size int64) error
}

// DirectFS is an FS that can write past the cache of the operating system, where
// the journal has no business: nobody reads it.
type DirectFS interface {
	FS
	// OpenDirect is OpenReadWrite for writes whose position, length and memory are
	// multiples of DirectBlock. They still want a sync to be durable.
	OpenDirect(name string) (vfs.File, error)
}

// DirectBlock is what direct writes are aligned to, in bytes: a page of memory
// and a block of nearly every disk and file system.
const DirectBlock = 4 << 10

// hugePage is the size that pages of memory have beyond the usual 4 KiB.
const hugePage = 2 << 20

// alignedBytes returns an empty slice whose memory has room for n bytes and
// begins at a multiple of DirectBlock. A large one is of huge pages if the system
// has them: it looks up each page of a direct write.
func alignedBytes(n int) []byte {
	align := DirectBlock
	if n >= hugePage {
		align = hugePage
	}
	return alignIn(make([]byte, n+align), n, align)[:0]
}

// alignIn returns n bytes of b that begin at a multiple of align, the size of
// a huge page or less; b has align bytes more than n.
func alignIn(b []byte, n, align int) []byte {
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(align))
	b = b[at : at+n : at+n]
	if align == hugePage {
		adviseHuge(b)
	}
	return b
}
