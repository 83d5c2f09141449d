package state

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size that pages have beyond the usual 4 KiB.
const hugePage = 2 << 20

// adviseHuge asks the system to back a large slice, before it is first written
// to, with huge pages: entries are looked up all over a table of hundreds of
// megabytes, and each look-up would else miss the processor's page table cache.
// It is only advice; what it costs if it is not followed is nothing.
func adviseHuge[T any](s []T) {
	var e T
	from := uintptr(unsafe.Pointer(unsafe.SliceData(s)))
	size := uintptr(len(s)) * unsafe.Sizeof(e)
	skip := -from % hugePage // to the first whole page
	if size < skip+hugePage {
		return
	}
	whole := (size - skip) / hugePage * hugePage
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size)
	_ = unix.Madvise(bytes[skip:skip+whole], unix.MADV_HUGEPAGE)
}
