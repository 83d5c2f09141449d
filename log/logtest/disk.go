package logtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
)

// ErrCrashed is what every call on a disk, and on every file of it, returns
// once its power was cut.
var ErrCrashed = errors.New("power was cut")

// errNotDirectory and errIsDirectory are how the OS names them.
const (
	errNotDirectory = syscall.ENOTDIR
	errIsDirectory  = syscall.EISDIR
	errNotEmpty     = syscall.ENOTEMPTY
)

// Disk is a simulated disk: a file system in memory that knows of every page
// and every directory entry whether it is synced, and can lose what is not.
// It implements log.FS, so the log and Pebble run on it unchanged.
//
// All methods may be called from any goroutine. One Disk lives from power on to
// power off; Crash gives the next one. The old one stays dead for ever, so a
// goroutine left over from before the crash can do no harm to what comes after.
type Disk struct {
	seed uint64

	mu      sync.RWMutex // guards the fields below and all nodes; hooks run without it
	dead    bool
	root    *node
	lastIno uint64
	pending []dirOp          // directory operations not synced, in the order they were made
	locks   map[*node]string // files held by Lock, with the name they were locked by
	space   int64            // capacity in bytes
	used    int64            // bytes of all pages in use
	ticks   int64            // counts changes: the clock of ModTime
	crashes uint64           // how many power cuts this disk has been asked about
	faults  []*Fault
	stats   Stats
	onSync  func(SyncPoint)
	cutAt   int // the sync to cut the power at; 0: none
	cutWhen When
}

var _ log.DirectFS = (*Disk)(nil)

// Stats counts what was done to a disk since it was switched on.
type Stats struct {
	Syncs        int   // files and directories
	DirSyncs     int   // of those, directories
	Writes       int   // calls
	WrittenBytes int64 // bytes
}

// NewDisk returns an empty disk. The seed decides which of the unsynced bytes
// and directory entries survive a crash. Its capacity is 1 TiB, see SetSpace.
func NewDisk(seed uint64) *Disk {
	d := &Disk{seed: seed, space: 1 << 40, locks: map[*node]string{}}
	d.root = d.newNode(true)
	return d
}

func (d *Disk) newNode(dir bool) *node {
	d.lastIno++
	n := &node{ino: d.lastIno}
	if dir {
		n.entries, n.durable = map[string]*node{}, map[string]*node{}
	} else {
		n.pages = map[int64]*page{}
	}
	return n
}

// Stats returns the counters.
func (d *Disk) Stats() Stats {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.stats
}

// Crashed tells whether the power was cut.
func (d *Disk) Crashed() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.dead
}

// Size returns the size of a file in bytes, as Stat does, or -1 if there is none.
func (d *Disk) Size(name string) int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, err := d.lookup("stat", name)
	if err != nil || n.isDir() {
		return -1
	}
	return n.size
}

// Files returns the paths of all files below a directory, sorted.
func (d *Disk) Files(dir string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, err := d.lookup("list", dir)
	if err != nil {
		return nil
	}
	var out []string
	var walk func(n *node, at string)
	walk = func(n *node, at string) {
		for name, c := range n.entries {
			if c.isDir() {
				walk(c, path.Join(at, name))
			} else {
				out = append(out, path.Join(at, name))
			}
		}
	}
	walk(n, dir)
	sort.Strings(out)
	return out
}

// ReadFile returns the bytes of a file.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, err := d.lookup("read", name)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		return nil, pathError("read", name, errIsDirectory)
	}
	b := make([]byte, n.size)
	if n.size > 0 {
		_, err = n.readAt(b, 0)
	}
	return b, err
}

// String lists all files with their sizes, one a line; what is not synced is
// marked with a star.
func (d *Disk) String() string {
	var b strings.Builder
	for _, name := range d.Files("/") {
		d.mu.RLock()
		n, err := d.lookup("stat", name)
		if err == nil {
			mark := ""
			if n.unsynced() {
				mark = " *"
			}
			fmt.Fprintf(&b, "%10d %s%s\n", n.size, name, mark)
		}
		d.mu.RUnlock()
	}
	return b.String()
}

// Names inside the tree. A name is relative to the root, with or without a
// leading slash.

func split(name string) []string {
	name = path.Clean("/" + name)
	if name == "/" {
		return nil
	}
	return strings.Split(name[1:], "/")
}

func pathError(op, name string, err error) error {
	return &os.PathError{Op: op, Path: name, Err: err}
}

// lookup finds an existing file or directory.
func (d *Disk) lookup(op, name string) (*node, error) {
	if d.dead {
		return nil, pathError(op, name, ErrCrashed)
	}
	n := d.root
	for _, part := range split(name) {
		if !n.isDir() {
			return nil, pathError(op, name, errNotDirectory)
		}
		if n = n.entries[part]; n == nil {
			return nil, pathError(op, name, syscall.ENOENT)
		}
	}
	return n, nil
}

// lookupParent finds the directory that holds, or would hold, the name.
func (d *Disk) lookupParent(op, name string) (dir *node, base string, err error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", pathError(op, name, syscall.EINVAL)
	}
	dir, err = d.lookup(op, strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return nil, "", pathError(op, name, errors.Unwrap(err))
	}
	if !dir.isDir() {
		return nil, "", pathError(op, name, errNotDirectory)
	}
	return dir, parts[len(parts)-1], nil
}

// do makes a directory operation visible and remembers it as not synced.
func (d *Disk) do(op dirOp) {
	d.ticks++
	op.node.mtime = d.ticks
	if op.from != nil {
		delete(op.from.entries, op.fromName)
		op.node.links--
	}
	if op.to != nil {
		if was := op.to.entries[op.toName]; was != nil {
			was.links--
			d.release(was)
		}
		op.to.entries[op.toName] = op.node
		op.node.links++
	}
	d.pending = append(d.pending, op)
	d.release(op.node)
}

// release gives back the space of a file that has neither name nor handle.
func (d *Disk) release(n *node) {
	if n.links > 0 || n.handles > 0 || n.isDir() || n.released {
		return
	}
	n.released = true
	d.used -= n.usedBytes()
}

// Create makes a new empty file, in place of one that has the name already.
func (d *Disk) Create(name string) (vfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.lookupParent("create", name)
	if err != nil {
		return nil, err
	}
	if err := d.failure("create", name); err != nil {
		return nil, pathError("create", name, err)
	}
	if was := dir.entries[base]; was != nil {
		if was.isDir() {
			return nil, pathError("create", name, errIsDirectory)
		}
		// As the vfs of the OS does it: remove, then create. A crash between
		// the two leaves neither.
		d.do(dirOp{node: was, from: dir, fromName: base})
	}
	n := d.newNode(false)
	d.do(dirOp{node: n, to: dir, toName: base})
	return d.handle(n, name, true), nil
}

// Open opens a file for reading, or a directory.
func (d *Disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	d.mu.Lock()
	n, err := d.lookup("open", name)
	if err == nil {
		if ferr := d.failure("open", name); ferr != nil {
			err = pathError("open", name, ferr)
		}
	}
	if err != nil {
		d.mu.Unlock()
		return nil, err
	}
	f := d.handle(n, name, false)
	d.mu.Unlock()
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// OpenDirect implements log.DirectFS: writes that are not aligned fail.
func (d *Disk) OpenDirect(name string) (vfs.File, error) {
	f, err := d.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	f.(*file).direct = true
	return f, nil
}

// OpenReadWrite opens a file for reading and writing and makes it if need be.
func (d *Disk) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	d.mu.Lock()
	dir, base, err := d.lookupParent("open", name)
	if err == nil {
		if ferr := d.failure("open", name); ferr != nil {
			err = pathError("open", name, ferr)
		}
	}
	if err != nil {
		d.mu.Unlock()
		return nil, err
	}
	n := dir.entries[base]
	switch {
	case n == nil:
		n = d.newNode(false)
		d.do(dirOp{node: n, to: dir, toName: base})
	case n.isDir():
		d.mu.Unlock()
		return nil, pathError("open", name, errIsDirectory)
	}
	f := d.handle(n, name, true)
	d.mu.Unlock()
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// OpenDir opens a directory, to sync it.
func (d *Disk) OpenDir(name string) (vfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, pathError("open", name, errNotDirectory)
	}
	return d.handle(n, name, false), nil
}

// Link gives a file a second name.
func (d *Disk) Link(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("link", oldname)
	if err != nil {
		return err
	}
	if n.isDir() {
		return pathError("link", oldname, syscall.EPERM)
	}
	dir, base, err := d.lookupParent("link", newname)
	if err != nil {
		return err
	}
	if dir.entries[base] != nil {
		return pathError("link", newname, syscall.EEXIST)
	}
	if err := d.failure("link", newname); err != nil {
		return pathError("link", newname, err)
	}
	d.do(dirOp{node: n, to: dir, toName: base})
	return nil
}

// Remove removes a file or an empty directory. Open handles of a file go on
// working, as on Unix.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.lookupParent("remove", name)
	if err != nil {
		return err
	}
	n := dir.entries[base]
	if n == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	if len(n.entries) > 0 {
		return pathError("remove", name, errNotEmpty)
	}
	if err := d.failure("remove", name); err != nil {
		return pathError("remove", name, err)
	}
	d.do(dirOp{node: n, from: dir, fromName: base})
	return nil
}

// RemoveAll removes a file or a directory with all below it, one by one: a
// crash can leave any part of it.
func (d *Disk) RemoveAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.lookupParent("removeall", name)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := d.failure("remove", name); err != nil {
		return pathError("removeall", name, err)
	}
	var remove func(dir *node, base string)
	remove = func(dir *node, base string) {
		n := dir.entries[base]
		if n == nil {
			return
		}
		for _, c := range sortedNames(n.entries) {
			remove(n, c)
		}
		d.do(dirOp{node: n, from: dir, fromName: base})
	}
	remove(dir, base)
	return nil
}

// Rename moves a file or directory in one step, over a file of that name.
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rename(oldname, newname)
}

func (d *Disk) rename(oldname, newname string) error {
	from, fromBase, err := d.lookupParent("rename", oldname)
	if err != nil {
		return err
	}
	n := from.entries[fromBase]
	if n == nil {
		return pathError("rename", oldname, syscall.ENOENT)
	}
	to, toBase, err := d.lookupParent("rename", newname)
	if err != nil {
		return err
	}
	if n.isDir() && strings.HasPrefix(path.Clean("/"+newname)+"/", path.Clean("/"+oldname)+"/") {
		return pathError("rename", newname, syscall.EINVAL)
	}
	if was := to.entries[toBase]; was == n {
		return nil
	} else if was != nil && (was.isDir() || n.isDir()) {
		if !was.isDir() || !n.isDir() || len(was.entries) > 0 {
			return pathError("rename", newname, syscall.EEXIST)
		}
	}
	if err := d.failure("rename", newname); err != nil {
		return pathError("rename", newname, err)
	}
	d.do(dirOp{node: n, from: from, fromName: fromBase, to: to, toName: toBase})
	return nil
}

// ReuseForWrite renames a file and opens it for writing, its old bytes in place.
func (d *Disk) ReuseForWrite(oldname, newname string) (vfs.File, error) {
	if err := d.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return d.OpenReadWrite(newname)
}

// MkdirAll makes a directory and all above it that are missing.
func (d *Disk) MkdirAll(name string, _ os.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return pathError("mkdir", name, ErrCrashed)
	}
	n := d.root
	for _, part := range split(name) {
		if !n.isDir() {
			return pathError("mkdir", name, errNotDirectory)
		}
		c := n.entries[part]
		if c == nil {
			if err := d.failure("create", name); err != nil {
				return pathError("mkdir", name, err)
			}
			c = d.newNode(true)
			d.do(dirOp{node: c, to: n, toName: part})
		}
		n = c
	}
	if !n.isDir() {
		return pathError("mkdir", name, errNotDirectory)
	}
	return nil
}

// Lock makes the file if need be, empties it, and holds it until the Closer is
// closed or the power is cut. As with the locks of the OS, closing any other
// handle of the file gives the lock up.
func (d *Disk) Lock(name string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.lookupParent("lock", name)
	if err != nil {
		return nil, err
	}
	n := dir.entries[base]
	if n == nil {
		n = d.newNode(false)
		d.do(dirOp{node: n, to: dir, toName: base})
	}
	if n.isDir() {
		return nil, pathError("lock", name, errIsDirectory)
	}
	if _, held := d.locks[n]; held {
		return nil, pathError("lock", name, syscall.EAGAIN)
	}
	if n.size > 0 {
		d.used += n.truncate(0)
	}
	d.locks[n] = name
	return &held{d: d, n: n}, nil
}

// held is a lock; closing it twice is harmless.
type held struct {
	d *Disk
	n *node
}

func (h *held) Close() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.dead {
		return ErrCrashed
	}
	delete(h.d.locks, h.n)
	return nil
}

// List returns the names in a directory, sorted.
func (d *Disk) List(name string) ([]string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, err := d.lookup("list", name)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, pathError("list", name, errNotDirectory)
	}
	return sortedNames(n.entries), nil
}

func sortedNames(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Stat describes a file or directory.
func (d *Disk) Stat(name string) (os.FileInfo, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n, err := d.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return n.info(path.Base(path.Clean("/" + name))), nil
}

// Truncate cuts or extends a file to size bytes; what is added is zero.
func (d *Disk) Truncate(name string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("truncate", name)
	if err != nil {
		return err
	}
	if n.isDir() {
		return pathError("truncate", name, errIsDirectory)
	}
	if size < 0 {
		return pathError("truncate", name, syscall.EINVAL)
	}
	if err := d.failure("truncate", name); err != nil {
		return pathError("truncate", name, err)
	}
	d.ticks++
	n.mtime = d.ticks
	d.used += n.truncate(size)
	return nil
}

// PathBase is path.Base.
func (d *Disk) PathBase(name string) string { return path.Base(name) }

// PathJoin is path.Join.
func (d *Disk) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir is path.Dir.
func (d *Disk) PathDir(name string) string { return path.Dir(name) }

// GetDiskUsage tells the capacity set by SetSpace and what is left of it.
func (d *Disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.dead {
		return vfs.DiskUsage{}, ErrCrashed
	}
	return vfs.DiskUsage{
		AvailBytes: uint64(max(0, d.space-d.used)),
		TotalBytes: uint64(max(0, d.space)),
		UsedBytes:  uint64(max(0, d.used)),
	}, nil
}

// fileInfo is a snapshot.
type fileInfo struct {
	name  string
	size  int64
	dir   bool
	mtime time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return i.mtime }
func (i fileInfo) IsDir() bool        { return i.dir }
func (i fileInfo) Sys() any           { return nil }
func (i fileInfo) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o644
}
