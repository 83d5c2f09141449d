package log

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/vfs"
	"golang.org/x/sys/unix"
)

// OpenDirect implements DirectFS. A file system that cannot do it gives a file
// that is written to through the cache.
func (fs osFS) OpenDirect(name string) (vfs.File, error) {
	f, err := fs.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	if !setDirect(f, true) {
		return f, nil
	}
	return &directFile{f}, nil
}

// directFile writes past the page cache, until the file system asks for more
// than it gives.
type directFile struct{ vfs.File }

// WriteAt is io.WriterAt.
func (f *directFile) WriteAt(b []byte, pos int64) (int, error) {
	n, err := f.File.WriteAt(b, pos)
	if errors.Is(err, syscall.EINVAL) && setDirect(f.File, false) {
		var m int
		m, err = f.File.WriteAt(b[n:], pos+int64(n))
		n += m
	}
	return n, err
}

func setDirect(f vfs.File, on bool) bool {
	flags := 0
	if on {
		flags = syscall.O_DIRECT
	}
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_SETFL, uintptr(flags))
	return errno == 0
}

// adviseHuge asks for huge pages. It is only advice.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// offHeap returns memory that the garbage collector knows nothing of. It is
// never given back.
func offHeap(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	return b
}
