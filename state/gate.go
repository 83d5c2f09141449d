package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
)

// gate stands between one Pebble instance and the disk. When it is shut, the
// instance can change nothing any more: so that one whose files are damaged can
// be left behind, with goroutines that never end, while the next one works in
// the same directory.
type gate struct {
	log.FS
	shut atomic.Bool
	lock atomic.Pointer[heldLock]
}

type heldLock struct{ io.Closer }

// close shuts the gate and gives back the directory lock.
func (g *gate) close() error {
	g.shut.Store(true)
	if l := g.lock.Swap(nil); l != nil {
		return l.Close()
	}
	return nil
}

// endIfShut ends the calling goroutine if the gate is shut. Pebble tries failed
// work again at once and for ever; an instance that was left behind would keep
// a processor busy with it.
func (g *gate) endIfShut() {
	if g.shut.Load() {
		runtime.Goexit()
	}
}

func (g *gate) check(what, name string) error {
	if g.shut.Load() {
		return fmt.Errorf("%s %s: %w", what, name, ErrFailed)
	}
	return nil
}

// open wraps a file that may be written.
func (g *gate) open(what, name string, f func() (vfs.File, error)) (vfs.File, error) {
	if err := g.check(what, name); err != nil {
		return nil, err
	}
	file, err := f()
	if err != nil {
		return nil, err
	}
	return &gateFile{file, g, name}, nil
}

func (g *gate) do(what, name string, f func() error) error {
	if err := g.check(what, name); err != nil {
		return err
	}
	return f()
}

func (g *gate) Create(name string) (vfs.File, error) {
	return g.open("create", name, func() (vfs.File, error) { return g.FS.Create(name) })
}

func (g *gate) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.open("open", name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, opts...) })
}

func (g *gate) ReuseForWrite(oldname, newname string) (vfs.File, error) {
	return g.open("reuse", oldname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname) })
}

func (g *gate) Link(oldname, newname string) error {
	return g.do("link", oldname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *gate) Remove(name string) error {
	return g.do("remove", name, func() error { return g.FS.Remove(name) })
}

func (g *gate) RemoveAll(name string) error {
	return g.do("remove", name, func() error { return g.FS.RemoveAll(name) })
}

func (g *gate) Rename(oldname, newname string) error {
	return g.do("rename", oldname, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.do("make directory", dir, func() error { return g.FS.MkdirAll(dir, perm) })
}

func (g *gate) Lock(name string) (io.Closer, error) {
	c, err := g.FS.Lock(name)
	if err != nil && (errors.Is(err, syscall.EAGAIN) || err.Error() == "lock held by current process") { // the latter is Pebble's
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err != nil {
		return nil, err
	}
	l := &heldLock{c}
	g.lock.Store(l)
	return gateLock{g, l}, nil
}

// gateLock is a lock that is given back once, by Pebble or by the gate.
type gateLock struct {
	g *gate
	l *heldLock
}

func (l gateLock) Close() error {
	if l.g.lock.CompareAndSwap(l.l, nil) {
		return l.l.Close()
	}
	return nil
}

type gateFile struct {
	vfs.File
	g    *gate
	name string
}

func (f *gateFile) Write(b []byte) (n int, err error) {
	if err := f.g.check("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *gateFile) WriteAt(b []byte, off int64) (n int, err error) {
	if err := f.g.check("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *gateFile) Preallocate(off, n int64) error {
	return f.g.do("preallocate", f.name, func() error { return f.File.Preallocate(off, n) })
}
