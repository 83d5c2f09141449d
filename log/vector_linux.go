package log

import (
	"errors"
	"io"
	"runtime"

	"github.com/cockroachdb/pebble/vfs"
	"golang.org/x/sys/unix"
)

// maxVector is how many pieces Linux takes in one call (UIO_MAXIOV).
const maxVector = 1024

// writeVector writes pieces one behind the other at pos: many by one call, from
// where they lie, if f is a file of the system. It takes bytes off the front of
// pieces as they are written.
func writeVector(f vfs.File, pieces [][]byte, pos int64) error {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return writeEach(f, pieces, pos)
	}
	for len(pieces) > 0 {
		n, err := unix.Pwritev(int(fd), pieces[:min(len(pieces), maxVector)], pos)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 && len(pieces[0]) > 0 {
			return io.ErrShortWrite
		}
		pieces, pos = dropFront(pieces, n), pos+int64(n)
	}
	runtime.KeepAlive(f)
	return nil
}

// dropFront takes n bytes off the front of pieces, and the pieces that are empty
// then.
func dropFront(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}
