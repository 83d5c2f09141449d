package logtest

import (
	"fmt"
	"io"
	"os"
	"path"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
)

// file is an open file or directory. Its position is shared by Read and Write,
// as with files of the OS.
type file struct {
	d        *Disk
	n        *node
	name     string
	writable bool
	direct   bool // writes must be aligned
	pos      int64
	closed   bool
}

var _ vfs.File = (*file)(nil)

func (d *Disk) handle(n *node, name string, writable bool) *file {
	n.handles++
	return &file{d: d, n: n, name: name, writable: writable}
}

// check says why a call on the file cannot be done. The disk is locked.
func (f *file) check(op string) error {
	switch {
	case f.d.dead:
		return pathError(op, f.name, ErrCrashed)
	case f.closed:
		return pathError(op, f.name, os.ErrClosed)
	}
	return nil
}

func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("close"); err != nil {
		return err
	}
	f.closed = true
	f.n.handles--
	delete(f.d.locks, f.n) // so it is with fcntl
	f.d.release(f.n)
	return nil
}

func (f *file) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.RLock()
	defer f.d.mu.RUnlock()
	if err := f.check("read"); err != nil {
		return 0, err
	}
	if f.n.isDir() {
		return 0, pathError("read", f.name, errIsDirectory)
	}
	if at < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	if err := f.d.readFailure(f.name); err != nil {
		return 0, pathError("read", f.name, err)
	}
	return f.n.readAt(b, at)
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("write"); err != nil {
		return 0, err
	}
	switch {
	case f.n.isDir():
		return 0, pathError("write", f.name, errIsDirectory)
	case !f.writable:
		return 0, pathError("write", f.name, syscall.EBADF)
	case at < 0 || f.direct && !aligned(b, at):
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	d := f.d
	d.stats.Writes++
	d.ticks++
	f.n.mtime = d.ticks
	fits, err := d.writeFailure(f.name, len(b))
	if room := f.n.fits(b[:fits], at, d.space-d.used); room < fits {
		fits, err = room, syscall.ENOSPC
	}
	d.used += f.n.writeAt(b[:fits], at)
	d.stats.WrittenBytes += int64(fits)
	if err != nil {
		return fits, pathError("write", f.name, err)
	}
	return fits, nil
}

// aligned tells whether a direct write is one.
func aligned(b []byte, at int64) bool {
	return (at|int64(len(b))|int64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))))%log.DirectBlock == 0
}

// fits tells how many of the bytes can be written with so many bytes of space.
func (n *node) fits(b []byte, at, space int64) int {
	for done := 0; done < len(b); {
		no, in := (at+int64(done))/pageBytes, int((at+int64(done))%pageBytes)
		if p := n.pages[no]; p == nil || p.cur == nil {
			if space < pageBytes {
				return done
			}
			space -= pageBytes
		}
		done += min(len(b)-done, pageBytes-in)
	}
	return len(b)
}

// Preallocate takes the space without changing the size, or fails with ENOSPC.
func (f *file) Preallocate(offset, length int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.check("preallocate"); err != nil {
		return err
	}
	if length <= 0 {
		return nil
	}
	var missing []int64
	for no := offset / pageBytes; no <= (offset+length-1)/pageBytes; no++ {
		if p := f.n.pages[no]; p == nil || p.cur == nil {
			missing = append(missing, no)
		}
	}
	need := int64(len(missing)) * pageBytes
	if need > f.d.space-f.d.used {
		return pathError("preallocate", f.name, syscall.ENOSPC)
	}
	for _, no := range missing {
		f.n.writable(no, false)
	}
	f.d.used += need
	return nil
}

func (f *file) Stat() (os.FileInfo, error) {
	f.d.mu.RLock()
	defer f.d.mu.RUnlock()
	if err := f.check("stat"); err != nil {
		return nil, err
	}
	return f.n.info(path.Base(path.Clean("/" + f.name))), nil
}

// Sync makes the file's bytes and size durable, or a directory's entries. It
// does not make the file's own name durable: for that, its directory is synced.
func (f *file) Sync() error {
	d := f.d
	d.mu.Lock()
	if err := f.check("sync"); err != nil {
		d.mu.Unlock()
		return err
	}
	d.stats.Syncs++
	if f.n.isDir() {
		d.stats.DirSyncs++
	}
	at := SyncPoint{N: d.stats.Syncs, Name: f.name, When: Before}
	hook := d.onSync
	if d.cutsAt(at) {
		d.cut()
		d.mu.Unlock()
		return pathError("sync", f.name, ErrCrashed)
	}
	d.mu.Unlock()

	if hook != nil {
		hook(at)
	}

	d.mu.Lock()
	if err := f.check("sync"); err != nil {
		d.mu.Unlock()
		return err
	}
	if err := d.failure("sync", f.name); err != nil {
		if !f.n.isDir() {
			f.n.failSync()
		}
		d.mu.Unlock()
		return pathError("sync", f.name, err)
	}
	if f.n.isDir() {
		d.syncDir(f.n)
	} else {
		f.n.sync()
	}
	at.When = After
	if d.cutsAt(at) {
		d.cut()
		d.mu.Unlock()
		return pathError("sync", f.name, ErrCrashed)
	}
	d.mu.Unlock()

	if hook != nil {
		hook(at)
		if d.Crashed() {
			return pathError("sync", f.name, ErrCrashed)
		}
	}
	return nil
}

// SyncData is Sync: the size is needed to read the data back.
func (f *file) SyncData() error { return f.Sync() }

// SyncTo promises nothing, as the vfs of the OS where it cannot.
func (f *file) SyncTo(int64) (bool, error) {
	f.d.mu.RLock()
	defer f.d.mu.RUnlock()
	return false, f.check("sync")
}

func (f *file) Prefetch(int64, int64) error { return nil }

func (f *file) Fd() uintptr { return vfs.InvalidFd }

func (f *file) String() string { return fmt.Sprintf("simulated file %s", f.name) }
