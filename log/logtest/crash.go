package logtest

import "fmt"

// Policy says what a power cut does to that which is not synced.
type Policy struct {
	// Keep is the chance that an unsynced page, a changed size, or a directory
	// operation survives.
	Keep float64
	// Tear is the chance that a page that survives is torn: new on one side of
	// a sector boundary, old on the other.
	Tear float64
	// Seed is mixed with the seed of the disk, so that one crash can be tried
	// with many outcomes.
	Seed uint64
}

var (
	// KeepNothing loses all that is not synced.
	KeepNothing = Policy{}
	// KeepAll loses nothing: everything was written just before the power went.
	KeepAll = Policy{Keep: 1}
)

// Random is a policy that keeps few, half or most and tears some, by seed. About
// every third file is kept or lost as a whole.
func Random(seed uint64) Policy {
	return Policy{
		Keep: []float64{0.1, 0.5, 0.9, 0.5}[mix(seed, 1)%4],
		Tear: []float64{0, 0.1, 0.5}[mix(seed, 2)%3],
		Seed: seed,
	}
}

func (p Policy) String() string {
	switch p {
	case KeepNothing:
		return "keep nothing"
	case KeepAll:
		return "keep all"
	}
	return fmt.Sprintf("keep %g tear %g seed %d", p.Keep, p.Tear, p.Seed)
}

// When tells on which side of a sync something happens.
type When uint8

const (
	Before When = iota // the sync has not taken effect
	After              // all is durable, but the caller has not been told
)

func (w When) String() string { return [...]string{"before", "after"}[w] }

// SyncPoint is one side of one sync of a file or directory.
type SyncPoint struct {
	N    int // of all syncs of this disk, from 1
	Name string
	When When
}

func (p SyncPoint) String() string { return fmt.Sprintf("%s sync %d of %s", p.When, p.N, p.Name) }

// OnSync sets a function that is called before and after every sync takes
// effect, on the goroutine that syncs. It may call AfterCrash: so one run of a
// workload gives a disk for every point where the power could have been cut.
func (d *Disk) OnSync(f func(SyncPoint)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onSync = f
}

// CrashAtSync cuts the power at the n-th sync from power on, see Stats, or at
// the next one if other goroutines are past that; 0 takes the order back. From
// there on every call fails with ErrCrashed; Crash gives the disk that is left.
func (d *Disk) CrashAtSync(n int, when When) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt, d.cutWhen = n, when
}

// Crash cuts the power, if it is not cut already, and returns the disk as it is
// found when the power is back. The old disk and all of its files and locks are
// dead: every call fails with ErrCrashed. Crash may be called again for another
// outcome of the same crash; the disks it returns share nothing.
func (d *Disk) Crash(p Policy) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
	return d.survivors(p)
}

// Restart switches a disk on again after CrashAtSync struck: it is Crash with a
// policy drawn from the seed of the disk.
func (d *Disk) Restart() *Disk { return d.Crash(Random(d.seed)) }

// AfterCrash returns the disk that would be left if the power were cut now. The
// disk itself goes on.
func (d *Disk) AfterCrash(p Policy) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.survivors(p)
}

// Kill ends the process, not the power: handles and locks die as in Crash, the
// OS keeps every byte, and what was not synced is still not synced. A power cut
// after that can lose it, unless whoever opened the files again has synced them.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut()
	return d.killed()
}

// cutsAt tells whether CrashAtSync meant this moment.
func (d *Disk) cutsAt(p SyncPoint) bool {
	return d.cutAt > 0 && p.N >= d.cutAt && p.When == d.cutWhen
}

func (d *Disk) cut() {
	d.dead = true
	d.onSync, d.faults, d.cutAt = nil, nil, 0
	clear(d.locks)
}

// syncDir makes durable what was done to a directory. A rename is one step of
// the file system's own journal, so it becomes durable in both directories; and
// what happened to a file before it goes first.
func (d *Disk) syncDir(dir *node) {
	reached := make(map[*node]bool)
	take := make([]bool, len(d.pending))
	for i := len(d.pending) - 1; i >= 0; i-- {
		op := &d.pending[i]
		if op.from == dir || op.to == dir || reached[op.node] {
			take[i], reached[op.node] = true, true
		}
	}
	rest := d.pending[:0]
	for i, op := range d.pending {
		if take[i] {
			op.apply(func(dir *node) map[string]*node { return dir.durable })
		} else {
			rest = append(rest, op)
		}
	}
	clear(d.pending[len(rest):])
	d.pending = rest
}

// apply replays an operation on entries that may lack what came before it.
func (op *dirOp) apply(entries func(*node) map[string]*node) {
	if op.from != nil {
		if m := entries(op.from); m[op.fromName] == op.node {
			delete(m, op.fromName)
		}
	}
	if op.to != nil {
		entries(op.to)[op.toName] = op.node
	}
}

// survivors makes the disk that a power cut leaves. Chances are drawn from
// (seed, policy, number of the crash, file, page), never from the order of
// calls, so that what happens to one file does not hang on the others.
func (d *Disk) survivors(p Policy) *Disk {
	d.crashes++
	draw := dice{p: p, seed: mix(d.seed, p.Seed, d.crashes)}
	next := d.successor()

	// Which directory operations survive: of one file, those before a point in
	// time; those of different files in any order.
	found := map[*node]map[string]*node{}
	entries := func(dir *node) map[string]*node {
		m := found[dir]
		if m == nil {
			m = make(map[string]*node, len(dir.durable))
			for name, c := range dir.durable {
				m[name] = c
			}
			found[dir] = m
		}
		return m
	}
	ended := map[*node]bool{}
	count := map[*node]uint64{}
	for i := range d.pending {
		op := &d.pending[i]
		count[op.node]++
		if ended[op.node] || !draw.keep(op.node.ino, count[op.node], 'd') {
			ended[op.node] = true
			continue
		}
		op.apply(entries)
	}

	made := map[*node]*node{}
	var grow func(n *node) *node
	grow = func(n *node) *node {
		if c := made[n]; c != nil {
			c.links++
			return c
		}
		c := &node{ino: n.ino, mtime: n.mtime, links: 1}
		made[n] = c
		if !n.isDir() {
			n.survive(c, draw)
			next.used += c.usedBytes()
			return c
		}
		c.entries, c.durable = map[string]*node{}, map[string]*node{}
		for name, child := range entries(n) {
			g := grow(child)
			c.entries[name], c.durable[name] = g, g
		}
		return c
	}
	next.root = grow(d.root)
	return next
}

// successor is an empty disk that goes on where this one stops.
func (d *Disk) successor() *Disk {
	return &Disk{
		seed:    mix(d.seed, d.crashes),
		space:   d.space,
		ticks:   d.ticks,
		lastIno: d.lastIno,
		locks:   map[*node]string{},
	}
}

// survive fills c with what a power cut leaves of the file n, all of it clean.
func (n *node) survive(c *node, draw dice) {
	c.pages = make(map[int64]*page, len(n.pages))

	// A truncation is one step of the file system: where it did not happen, the
	// old size and, from the cut on, the old bytes are back. Where it did,
	// nothing old is left from the cut on.
	cutLost := n.minSize < n.durableSize && !draw.keep(n.ino, 0, 't')
	if cutLost {
		c.size = n.durableSize
	} else {
		c.size = n.minSize
		if n.size > n.minSize {
			switch {
			case draw.keep(n.ino, 0, 's'):
				c.size = n.size
			case draw.p.Keep > 0 && draw.roll(n.ino, 1, 's') < 0.5:
				c.size += int64(draw.roll(n.ino, 2, 's') * float64(n.size-n.minSize))
			}
		}
	}
	c.durableSize, c.minSize = c.size, c.size

	for no, p := range n.pages {
		at := no * pageBytes
		if at >= c.size {
			continue
		}
		b := p.cur
		if p.state != clean {
			old := p.old
			if !cutLost {
				old = cutPage(old, n.minSize-at)
			}
			b = old
			if !(cutLost && at+pageBytes > n.minSize) && draw.keep(n.ino, uint64(no), 'p') {
				b = draw.page(n.ino, uint64(no), p, old)
			}
		}
		if b = cutPage(b, c.size-at); b == nil {
			continue
		}
		if p.state != clean {
			b = append(make([]byte, 0, pageBytes), b...) // the living disk goes on writing to its own
		}
		c.pages[no] = &page{cur: b}
	}
}

// cutPage returns the page with zeros from n bytes on; the page itself where
// nothing has to change, so that it can be shared.
func cutPage(b []byte, n int64) []byte {
	switch {
	case b == nil || n >= pageBytes:
		return b
	case n <= 0:
		return nil
	}
	c := append(make([]byte, 0, pageBytes), b[:n]...)
	return c[:pageBytes]
}

// dice draws by name, not by order.
type dice struct {
	p    Policy
	seed uint64
}

func (d dice) roll(ino, k uint64, kind byte) float64 {
	return float64(mix(d.seed, ino, k, uint64(kind))>>11) / (1 << 53)
}

func (d dice) keep(ino, k uint64, kind byte) bool {
	if d.p.Keep <= 0 || d.p.Keep >= 1 {
		return d.p.Keep >= 1
	}
	// Losses come in heaps: writeback goes file by file.
	switch whole := mix(d.seed, ino, uint64(kind)) % 6; whole {
	case 0:
		return true
	case 1:
		return false
	}
	return d.roll(ino, k, kind) < d.p.Keep
}

// page picks a state of a page that survives.
func (d dice) page(ino, no uint64, p *page, old []byte) []byte {
	b := p.cur
	if p.mid != nil && d.p.Keep < 1 && d.roll(ino, no, 'm') < 0.25 {
		b = append([]byte(nil), p.mid...)
	}
	if d.roll(ino, no, 'x') >= d.p.Tear {
		return b
	}
	torn := make([]byte, pageBytes)
	const sectors = pageBytes / sectorBytes
	at := sectorBytes * (1 + int(mix(d.seed, ino, no, 'y')%(sectors-1)))
	first, second := b, old
	if mix(d.seed, ino, no, 'z')%3 == 0 {
		first, second = second, first
	}
	if first != nil {
		copy(torn[:at], first)
	}
	if second != nil {
		copy(torn[at:], second[at:])
	}
	return torn
}

// killed makes the disk that the next process finds.
func (d *Disk) killed() *Disk {
	next := d.successor()
	made := map[*node]*node{}
	var grow func(n *node) *node
	grow = func(n *node) *node {
		if n == nil || made[n] != nil {
			return made[n]
		}
		c := &node{ino: n.ino, mtime: n.mtime, links: n.links}
		made[n] = c
		if n.isDir() {
			c.entries, c.durable = map[string]*node{}, map[string]*node{}
			for name, child := range n.entries {
				c.entries[name] = grow(child)
			}
			for name, child := range n.durable {
				c.durable[name] = grow(child)
			}
			return c
		}
		c.size, c.durableSize, c.minSize = n.size, n.durableSize, n.minSize
		c.dirtyPages = append([]int64(nil), n.dirtyPages...)
		c.pages = make(map[int64]*page, len(n.pages))
		for no, p := range n.pages {
			q := *p
			if p.state != clean {
				q.cur = append([]byte(nil), p.cur...)
				q.mid = append([]byte(nil), p.mid...)
			}
			c.pages[no] = &q
		}
		if c.links > 0 {
			next.used += c.usedBytes()
		}
		return c
	}
	next.root = grow(d.root)
	for _, op := range d.pending {
		op.node, op.from, op.to = grow(op.node), grow(op.from), grow(op.to)
		next.pending = append(next.pending, op)
	}
	return next
}

// mix hashes numbers (splitmix64 of each, chained).
func mix(xs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, x := range xs {
		h ^= x
		h += 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
