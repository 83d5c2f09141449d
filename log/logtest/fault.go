package logtest

import (
	"fmt"
	"path"
	"slices"
	"syscall"
)

// Fault is a failure that waits for its call. Faults are gone after a crash.
type Fault struct {
	d     *Disk
	op    string // sync, write, read, create, open, link, remove, rename or truncate
	match string
	nth   int // calls to go until it strikes
	times int // how often it strikes from then on; -1: for ever
	err   error
	short int // write: bytes that are written all the same; -1: all but one
	fired int
}

// Fired tells how often the fault has struck.
func (f *Fault) Fired() int {
	f.d.mu.RLock()
	defer f.d.mu.RUnlock()
	return f.fired
}

// Times lets the fault strike n times in a row, from its nth call on; -1 means
// for ever. The default is once.
func (f *Fault) Times(n int) *Fault {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.times = n
	return f
}

// With sets the error; the default is EIO.
func (f *Fault) With(err error) *Fault {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.err = err
	return f
}

// Clear takes the fault away for good.
func (f *Fault) Clear() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.faults = slices.DeleteFunc(f.d.faults, func(o *Fault) bool { return o == f })
}

// FailSync lets the nth sync (from 1) of the files or directories that match
// fail with EIO. Match is a pattern of path.Match, held against the base name
// and the whole path; "*" is every file.
//
// As on Linux, the pages that were to be written are lost without a trace: they
// read back well until the power is cut, and no later sync saves them.
func (d *Disk) FailSync(match string, nth int) *Fault { return d.Fail("sync", match, nth) }

// FailWrite lets the nth write (from 1) of the files that match fail with EIO
// after short of its bytes; -1: after all but one.
func (d *Disk) FailWrite(match string, nth, short int) *Fault {
	f := d.Fail("write", match, nth)
	d.mu.Lock()
	defer d.mu.Unlock()
	f.short = short
	return f
}

// Fail lets the nth (from 1) call of a kind fail with EIO without doing
// anything. The kinds are sync, write, read, create, open, link, remove, rename
// (by its new name) and truncate. A read fault strikes from the first read on,
// until it is cleared.
func (d *Disk) Fail(kind, match string, nth int) *Fault {
	if _, err := path.Match(match, ""); err != nil {
		panic(fmt.Sprintf("logtest: bad pattern %q: %v", match, err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &Fault{d: d, op: kind, match: match, nth: nth, times: 1, err: syscall.EIO}
	d.faults = append(d.faults, f)
	return f
}

// SetSpace sets the capacity of the disk in bytes. A write that needs a page
// beyond it is cut short and fails with ENOSPC. What is stored already stays.
func (d *Disk) SetSpace(capacity int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = capacity
}

// Used returns the bytes of all pages in use, to set a capacity by.
func (d *Disk) Used() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.used
}

// FlipBit turns over one bit of a file as it lies on the disk: bit pos%8 of
// byte pos/8. It panics if the file is not that long.
func (d *Disk) FlipBit(name string, pos int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup("flip", name)
	if err != nil || n.isDir() || pos < 0 || pos/8 >= n.size {
		panic(fmt.Sprintf("logtest: no bit %d in %s", pos, name))
	}
	no, in := pos/8/pageBytes, pos/8%pageBytes
	p := n.pages[no]
	if p == nil {
		p = &page{}
		n.pages[no] = p
	}
	flip := func(b []byte) []byte {
		c := append(make([]byte, 0, pageBytes), b...)
		c = c[:pageBytes]
		c[in] ^= 1 << (pos % 8)
		return c
	}
	if p.cur == nil {
		d.used += pageBytes
	}
	p.cur = flip(p.cur)
	if p.state != clean {
		p.old = flip(p.old)
	}
}

// failure tells whether a call fails. The disk is locked.
func (d *Disk) failure(op, name string) error {
	if f := d.strike(op, name); f != nil {
		return f.err
	}
	return nil
}

func (d *Disk) writeFailure(name string, n int) (fits int, err error) {
	f := d.strike("write", name)
	if f == nil {
		return n, nil
	}
	short := f.short
	if short < 0 {
		short = n - 1
	}
	return max(0, min(short, n-1)), f.err
}

// readFailure is called under the read lock, so it only looks; read faults
// strike every call from the first on.
func (d *Disk) readFailure(name string) error {
	for _, f := range d.faults {
		if f.op == "read" && f.times != 0 && f.matches(name) {
			return f.err
		}
	}
	return nil
}

func (d *Disk) strike(op, name string) *Fault {
	var hit *Fault
	for _, f := range d.faults {
		if f.op != op || f.times == 0 || !f.matches(name) {
			continue
		}
		if f.nth > 1 {
			f.nth--
			continue
		}
		if hit == nil {
			hit = f
		}
	}
	if hit != nil {
		hit.fired++
		if hit.times > 0 {
			hit.times--
		}
	}
	return hit
}

func (f *Fault) matches(name string) bool {
	name = path.Clean("/" + name)
	for _, s := range []string{path.Base(name), name, name[1:]} {
		if ok, err := path.Match(f.match, s); ok && err == nil {
			return true
		}
	}
	return f.match == "*"
}
