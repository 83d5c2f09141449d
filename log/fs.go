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

// alignedBytes returns an empty slice whose memory has room for n bytes and
// begins at a multiple of DirectBlock.
func alignedBytes(n int) []byte {
	b := make([]byte, n+DirectBlock)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % DirectBlock)
	return b[at : at : at+n]
}
