package logtest

import (
	"io"
	"os"
	"time"
)

const (
	pageBytes   = 4096 // what the OS writes back in one piece
	sectorBytes = 512  // what the disk writes in one piece
)

// A page is in one of three states.
//
//	clean   cur is on the disk; cur is never changed in place, so that disks
//	        made by crashes can share it
//	dirty   cur was written and not synced; old is what is on the disk
//	lost    a sync failed: reads still give cur, but the OS takes the page for
//	        clean and no later sync writes it; old is what is on the disk
//
// A nil slice is a page of zeros.
type page struct {
	cur, old []byte
	mid      []byte // a state between old and cur that may have been written back, or nil
	state    pageState
	writes   uint64 // since the page was clean
}

type pageState uint8

const (
	clean pageState = iota
	dirty
	lost
)

// node is a file or a directory. Guarded by Disk.mu.
type node struct {
	ino     uint64
	mtime   int64 // ticks of the disk
	links   int   // names, as seen now
	handles int

	// A directory: what is seen now, and what is certain to survive.
	entries map[string]*node
	durable map[string]*node

	// A file. Invariant: minSize <= size and minSize <= durableSize.
	pages       map[int64]*page
	dirtyPages  []int64 // in the order they became dirty
	size        int64
	durableSize int64 // as of the last sync
	minSize     int64 // the least it was since the last sync: from there on, nothing old is left
	released    bool  // its space was given back
}

// dirOp is one change of directories: a create, link (to), remove (from) or
// rename (both, in one step).
type dirOp struct {
	node     *node
	from     *node
	fromName string
	to       *node
	toName   string
}

func (n *node) isDir() bool { return n.entries != nil }

func (n *node) info(name string) os.FileInfo {
	return fileInfo{name: name, size: n.size, dir: n.isDir(), mtime: time.UnixMilli(1_600_000_000_000 + n.mtime)}
}

func (n *node) unsynced() bool {
	return len(n.dirtyPages) > 0 || n.size != n.durableSize || n.minSize != n.size
}

func (n *node) usedBytes() int64 {
	var used int64
	for _, p := range n.pages {
		if p.cur != nil {
			used += pageBytes
		}
	}
	return used
}

func (n *node) readAt(b []byte, at int64) (int, error) {
	if at >= n.size {
		return 0, io.EOF
	}
	want := len(b)
	if rest := n.size - at; int64(want) > rest {
		b = b[:rest]
	}
	for done := 0; done < len(b); {
		no, in := (at+int64(done))/pageBytes, int((at+int64(done))%pageBytes)
		k := min(len(b)-done, pageBytes-in)
		if p := n.pages[no]; p != nil && p.cur != nil {
			copy(b[done:done+k], p.cur[in:])
		} else {
			clear(b[done : done+k])
		}
		done += k
	}
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// writable returns the page to be changed in place; whole says that all of it
// will be overwritten.
func (n *node) writable(no int64, whole bool) *page {
	p := n.pages[no]
	if p == nil {
		p = &page{}
		n.pages[no] = p
	}
	switch p.state {
	case clean:
		p.old = p.cur
		p.cur = nil
		if p.old == nil || whole {
			p.cur = make([]byte, pageBytes)
		} else {
			p.cur = append(make([]byte, 0, pageBytes), p.old...)
		}
	case lost:
		if p.cur == nil {
			p.cur = make([]byte, pageBytes)
		}
	case dirty:
		p.writes++
		if p.cur == nil {
			p.cur = make([]byte, pageBytes)
		} else if mix(n.ino, uint64(no), p.writes)%8 == 0 {
			p.mid = append(p.mid[:0], p.cur...)
		}
		return p
	}
	p.state = dirty
	n.dirtyPages = append(n.dirtyPages, no)
	return p
}

// writeAt returns how much more space the file takes.
func (n *node) writeAt(b []byte, at int64) (grown int64) {
	for done := 0; done < len(b); {
		no, in := (at+int64(done))/pageBytes, int((at+int64(done))%pageBytes)
		k := min(len(b)-done, pageBytes-in)
		if p := n.pages[no]; p == nil || p.cur == nil {
			grown += pageBytes
		}
		p := n.writable(no, k == pageBytes)
		copy(p.cur[in:], b[done:done+k])
		done += k
	}
	if len(b) > 0 {
		n.size = max(n.size, at+int64(len(b)))
	}
	return grown
}

// truncate returns how much more space the file takes.
func (n *node) truncate(size int64) (grown int64) {
	if size >= n.size {
		n.size = size
		return 0
	}
	for no, p := range n.pages {
		at := no * pageBytes
		switch {
		case p.cur == nil || at+pageBytes <= size:
		case at < size:
			q := n.writable(no, false)
			clear(q.cur[size-at:])
		default:
			grown -= pageBytes
			if p.state == clean {
				p.old = p.cur
				n.dirtyPages = append(n.dirtyPages, no)
			} else if p.state == lost {
				n.dirtyPages = append(n.dirtyPages, no)
			}
			p.cur, p.mid, p.state = nil, nil, dirty
		}
	}
	n.size = size
	n.minSize = min(n.minSize, size)
	return grown
}

// sync makes all of the file durable, except pages lost by an earlier failure.
func (n *node) sync() {
	for _, no := range n.dirtyPages {
		p := n.pages[no]
		if p == nil || p.state != dirty {
			continue
		}
		if p.cur == nil {
			delete(n.pages, no)
			continue
		}
		p.old, p.mid, p.state, p.writes = nil, nil, clean, 0
	}
	n.dirtyPages = n.dirtyPages[:0]
	n.durableSize, n.minSize = n.size, n.size
}

// failSync is what Linux makes of a failed fsync: the pages are marked clean
// without being written.
func (n *node) failSync() {
	for _, no := range n.dirtyPages {
		if p := n.pages[no]; p != nil && p.state == dirty {
			p.state = lost
		}
	}
	n.dirtyPages = n.dirtyPages[:0]
}
