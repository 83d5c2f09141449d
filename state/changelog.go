package state

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gretestream/grete/log"
)

// Changes are the frozen changes of one interval. They belong to the task's
// goroutine, and their Writes to the log while it commits them.
type Changes struct {
	stages []*stage // as DB.stores
	writes []log.Write
	size   int
	meta   []byte       // of Apply, while the changes are pending
	views  atomic.Int32 // that read the changes while they are pending
}

// Writes returns the changelog records of the interval, at most one entry per
// store, none for a store that did not change. They are valid until Apply.
func (c *Changes) Writes() []log.Write { return c.writes }

// Size is the number of encoded bytes in Writes.
func (c *Changes) Size() int { return c.size }

// freeze closes the batches and lists the writes.
func (c *Changes) freeze() {
	c.writes, c.size = c.writes[:0], 0
	for _, g := range c.stages {
		if len(g.list) > 0 {
			w := g.builder.Write(g.store.spec.Changelog)
			c.writes = append(c.writes, w)
			c.size += len(w.Batches)
		}
	}
}

func (c *Changes) reset() {
	for _, g := range c.stages {
		g.reset()
	}
	c.writes, c.size = c.writes[:0], 0
}

// stage holds the changes of one store in one interval, in the order they were
// made. The only copy of keys and values is in the encoded changelog records:
// what goes to the log and what goes into Pebble are the same bytes.
type stage struct {
	store   *Store
	time    log.Timestamp // of the records of this interval; 0: not yet taken
	builder log.Builder
	list    []change

	// The rest is made when it is asked for, and covers list[:n] each. Views share
	// the order of pending stages.
	mu     sync.Mutex // guards order, orderN
	order  []uint32   // by key, last change of each
	orderN int
	index  keyIndex
}

// change says where in the builder's bytes a key and a value lie.
type change struct {
	key      int // position of the key
	keyLen   uint32
	valueLen int32 // -1: deleted
}

// add stages a change. A nil value deletes.
func (g *stage) add(key, value []byte) {
	if g.time == 0 {
		g.time = log.TimestampOf(g.store.db.opts.Now())
	}
	if key == nil {
		key = []byte{} // a null key would not take part in compaction
	}
	g.builder.Append(g.time, key, value)
	c := change{keyLen: uint32(len(key)), valueLen: int32(len(value))}
	if value == nil {
		c.valueLen = -1
	}
	// A record ends with key, length of the value, value and one byte that
	// counts no headers.
	c.key = g.builder.Size() - 1 - max(int(c.valueLen), 0) - c.valuePrefix() - len(key)
	g.list = append(g.list, c)
}

// valuePrefix is the size of the length before the value: a zigzag varint.
func (c *change) valuePrefix() int {
	if c.valueLen < 0 {
		return 1
	}
	return (bits.Len64(uint64(c.valueLen)<<1|1) + 6) / 7
}

func (c *change) keyIn(raw []byte) []byte { return raw[c.key : c.key+int(c.keyLen)] }

// valueIn is nil for a deletion and else not.
func (c *change) valueIn(raw []byte) []byte {
	if c.valueLen < 0 {
		return nil
	}
	at := c.key + int(c.keyLen) + c.valuePrefix()
	return raw[at : at+int(c.valueLen) : at+int(c.valueLen)]
}

// sorted returns the list ordered by key, only the last change of each.
func (g *stage) sorted(s *sorter) []uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.orderN != len(g.list) {
		// A scan that is under way goes on with the old order, so that is not
		// overwritten.
		raw := g.builder.Raw()
		g.order = s.sort(make([]uint32, 0, len(g.list)), len(g.list),
			func(i uint32) []byte { return g.list[i].keyIn(raw) })
		g.orderN = len(g.list)
	}
	return g.order
}

// find returns the latest change of a key; ok is false if it has not changed.
func (g *stage) find(key []byte) (value []byte, ok bool) {
	if len(g.list) == 0 {
		return nil, false
	}
	raw := g.builder.Raw()
	g.index.cover(g.list, raw)
	i, ok := g.index.find(g.list, raw, key)
	if !ok {
		return nil, false
	}
	return g.list[i].valueIn(raw), true
}

func (g *stage) reset() {
	g.time = 0
	g.builder.Reset()
	g.list = g.list[:0]
	g.order, g.orderN = nil, 0
	g.index.reset()
}

// search returns the latest change of a key by way of the order. Unlike find it
// may be called by several goroutines, of a stage that no longer changes.
func (g *stage) search(s *sorter, key []byte) (value []byte, ok bool) {
	r := g.runOf(s, key, nil)
	if !r.valid() || !bytes.Equal(r.key(), key) {
		return nil, false
	}
	return r.value(), true
}

// keyIndex finds changes by key: open addressing, linear probing. It is filled
// on the first look-up after a change, so that an interval which nobody reads
// through costs nothing.
type keyIndex struct {
	slots []uint32 // index into the list plus one; 0: free
	n     int      // changes covered
}

// indexSeed makes hashes differ from process to process.
var indexSeed = maphash.MakeSeed()

func (x *keyIndex) cover(list []change, raw []byte) {
	if x.n == len(list) {
		return
	}
	if 2*len(list) > len(x.slots) {
		x.slots = make([]uint32, 1<<bits.Len(uint(4*len(list))))
		x.n = 0
	}
	for ; x.n < len(list); x.n++ {
		slot, _ := x.probe(list, raw, list[x.n].keyIn(raw))
		x.slots[slot] = uint32(x.n) + 1
	}
}

func (x *keyIndex) find(list []change, raw, key []byte) (i uint32, ok bool) {
	slot, ok := x.probe(list, raw, key)
	if !ok {
		return 0, false
	}
	return x.slots[slot] - 1, true
}

// probe returns the slot of a key, or the free one where it would be.
func (x *keyIndex) probe(list []change, raw, key []byte) (slot int, ok bool) {
	mask := len(x.slots) - 1
	for slot = int(maphash.Bytes(indexSeed, key)) & mask; x.slots[slot] != 0; slot = (slot + 1) & mask {
		if bytes.Equal(list[x.slots[slot]-1].keyIn(raw), key) {
			return slot, true
		}
	}
	return slot, false
}

func (x *keyIndex) reset() {
	if x.n > 0 {
		clear(x.slots)
	}
	x.n = 0
}

// run walks the sorted changes of one stage within bounds.
type run struct {
	raw   []byte
	list  []change
	order []uint32
}

// runOf is what a stage holds of lo <= key < hi.
func (g *stage) runOf(s *sorter, lo, hi []byte) run {
	r := run{raw: g.builder.Raw(), list: g.list, order: g.sorted(s)}
	search := func(bound []byte) int {
		i, _ := slices.BinarySearchFunc(r.order, bound, func(i uint32, b []byte) int {
			return bytes.Compare(r.list[i].keyIn(r.raw), b)
		})
		return i
	}
	end := len(r.order)
	if hi != nil {
		end = search(hi)
	}
	r.order = r.order[min(search(lo), end):end]
	return r
}

func (r *run) valid() bool   { return len(r.order) > 0 }
func (r *run) key() []byte   { return r.list[r.order[0]].keyIn(r.raw) }
func (r *run) value() []byte { return r.list[r.order[0]].valueIn(r.raw) }
func (r *run) next()         { r.order = r.order[1:] }
