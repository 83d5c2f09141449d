package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/gretestream/grete/state/codec"
)

// Cache is a typed, write-back view of the part of a Store whose keys begin with
// a prefix: a table (empty prefix), or one open window. It is keyed by encoded
// keys, without the prefix. It is owned by the task's goroutine, like its Store.
//
// Values are kept decoded, so that a change of a present key costs a look-up and
// nothing else: no allocation, no encoding. Drain encodes what has changed since
// the last Drain and stages it, one change a key. Between a change and the Drain
// the Store does not know of it, so changes of these keys go through the Cache
// alone.
//
// # How it is built
//
// A hash table with open addressing over entries that never move:
//
//	slots    4 bytes each: tag (upper bits) and entry number plus one (lower bits)
//	chunks   entries, 4096 to a chunk: length and flags 4 · key 20 · value
//	longKeys bytes of the keys that do not fit into 20
//
// A look-up reads one slot and, the tag being right, one entry: two cache
// misses in a table of any size. Growth makes new slots and copies no entry; the
// garbage collector sees one pointer per chunk (and those in V). An entry with
// an int64 takes 32 bytes and its slot 5 to 11.
type Cache[V any] struct {
	store    *Store
	prefix   []byte
	codec    codec.Codec[V]
	seed     maphash.Seed
	complete bool // holds all there is under the prefix, so that a miss need not read the Store

	slots    []uint32 // 0: free
	slotMask uint32   // len(slots)-1: low bits of a hash, and of a slot: the entry number
	used     int      // slots in use

	chunks [][]entry[V] // all full-sized but the last, which may still grow
	count  uint32       // entries handed out, free ones included
	free   []uint32     // entries to be used again

	longKeys  [][]byte // chunks of long keys
	longFree  int      // bytes left in the last of them
	longBytes int64    // in all of them
	longDead  int64    // of keys that are gone

	dirty []uint32 // entries changed since the last Drain, in the order of the first change
	gone  int      // entries that are deleted but not yet drained

	keyBuf, valueBuf []byte
	loaded           V                     // what load decodes into: a variable of its own would be an allocation for each key
	ahead            [prefetchAhead]uint32 // of Warm: slots that are on their way
	aheadLen         int
	touched          uint32 // keeps alive reads that are made for the processor's cache only
}

// entry is one key with its value. Keys longer than inlineKey have their first
// shortKey bytes here and then, in four bytes, where all of them lie in longKeys.
type entry[V any] struct {
	meta  uint32 // length of the key, flags above it
	key   [inlineKey]byte
	value V
}

const (
	inlineKey = 20
	shortKey  = inlineKey - 4

	keyLenMask = 1<<24 - 1 // of entry.meta
	flagDirty  = 1 << 24   // in the dirty list
	flagGone   = 1 << 25   // deleted since the last Drain
	flagHot    = 1 << 26   // asked for since the last Evict
	flagFree   = 1 << 27   // not in the table

	chunkBits = 12
	chunkLen  = 1 << chunkBits // entries
	chunkMask = chunkLen - 1
	// slabChunks are allocated in one piece by a cache that has as many already.
	slabChunks = 32

	// prefetchAhead is how many reads of memory are under way at once, at most.
	prefetchAhead = 16
	drainAhead    = 32

	longUnit     = 8       // bytes: long keys are aligned to this
	longPosBits  = 17      // position within a chunk, in longUnits
	longChunk    = 1 << 20 // bytes = longUnit << longPosBits
	longChunkMin = 4 << 10 // of the first chunk

	minSlots = 16
)

// NewCache returns an empty cache over the keys of s that begin with prefix.
// fresh says that the Store holds nothing under it, so that a miss costs no read.
func NewCache[V any](s *Store, prefix []byte, c codec.Codec[V], fresh bool) *Cache[V] {
	return &Cache[V]{store: s, prefix: bytes.Clone(prefix), codec: c, seed: maphash.MakeSeed(), complete: fresh}
}

// Ref returns the value of a key to be changed in place; a key that was not
// there gets a zero value. The pointer stays valid until the next call on the
// Cache.
func (c *Cache[V]) Ref(key []byte) (v *V, existed bool, err error) {
	if e, n := c.find(key); e != nil {
		const asked = flagDirty | flagHot
		if e.meta&(asked|flagGone) == asked {
			return &e.value, true, nil
		}
		existed = e.meta&flagGone == 0
		c.touch(e, n)
		return &e.value, existed, nil
	}
	e, n, existed, err := c.load(key, true)
	if err != nil {
		return nil, false, err
	}
	c.touch(e, n)
	return &e.value, existed, nil
}

// RefString is Ref for a key that is at hand as a string.
func (c *Cache[V]) RefString(key string) (v *V, existed bool, err error) {
	// Safe: Ref copies the bytes and writes to none.
	return c.Ref(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// Get returns the value of a key for reading; ok is false if there is none. The
// pointer stays valid until the next call on the Cache.
func (c *Cache[V]) Get(key []byte) (v *V, ok bool, err error) {
	e, _ := c.find(key)
	if e == nil {
		e, _, ok, err = c.load(key, false)
		if !ok || err != nil {
			return nil, false, err
		}
	}
	if e.meta&flagGone != 0 {
		return nil, false, nil
	}
	e.meta |= flagHot
	return &e.value, true, nil
}

// GetString is Get for a key that is at hand as a string.
func (c *Cache[V]) GetString(key string) (v *V, ok bool, err error) {
	return c.Get(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// Put sets the value of a key, whatever it was.
func (c *Cache[V]) Put(key []byte, v V) error {
	e, n, err := c.claim(key)
	if err != nil {
		return err
	}
	c.touch(e, n)
	e.value = v
	return nil
}

// Delete removes a key, whether it is there or not.
func (c *Cache[V]) Delete(key []byte) error {
	e, n, err := c.claim(key)
	if err != nil {
		return err
	}
	c.touch(e, n)
	e.meta |= flagGone
	c.gone++
	var zero V
	e.value = zero
	return nil
}

// Drain stages every entry changed since the last Drain into the Store, one
// change a key.
func (c *Cache[V]) Drain() error {
	for k, n := range c.dirty {
		if k%drainAhead == 0 {
			// Entries lie all over memory. Reading a few in a row lets the processor
			// wait for all of them at once (96 against 190 ns a key); prefetch is no
			// better here (170), since it waits for the address to be translated.
			for _, n := range c.dirty[k:min(k+drainAhead, len(c.dirty))] {
				c.touched += c.entry(n).meta
			}
		}
		e := c.entry(n)
		c.keyBuf = append(append(c.keyBuf[:0], c.prefix...), c.keyOf(e)...)
		if e.meta&flagGone != 0 {
			c.store.Delete(c.keyBuf)
			c.remove(e, n)
			c.gone--
			continue
		}
		b, err := c.codec.Append(c.valueBuf[:0], e.value)
		if err != nil {
			c.dirty = c.dirty[:copy(c.dirty, c.dirty[k:])]
			return fmt.Errorf("encode value of key %x in store %q: %w", c.keyOf(e), c.store.spec.Name, err)
		}
		c.valueBuf = b
		c.store.Put(c.keyBuf, b)
		e.meta &^= flagDirty
	}
	c.dirty = c.dirty[:0]
	if c.longDead > longChunk && c.longDead > c.longBytes/2 {
		c.rebuild(func(*entry[V]) bool { return true })
	}
	return nil
}

// Dirty is the number of keys that Drain would stage.
func (c *Cache[V]) Dirty() int { return len(c.dirty) }

// Len is the number of keys in memory.
func (c *Cache[V]) Len() int { return c.used - c.gone }

// Bytes is the memory in use, without what values point to.
func (c *Cache[V]) Bytes() int64 {
	var e entry[V]
	n := 0
	for _, chunk := range c.chunks {
		n += cap(chunk)
	}
	return int64(n)*int64(unsafe.Sizeof(e)) + 4*int64(cap(c.slots)+cap(c.dirty)+cap(c.free)) + c.longBytes
}

// Fresh tells whether the Cache holds all there is under its prefix.
func (c *Cache[V]) Fresh() bool { return c.complete }

// Load reads what the Store has under the prefix into memory, in order, twenty
// times as fast as one miss after the other: for a Cache that is not fresh, after
// a restart. It stops when the Cache uses more than max bytes. If all has found
// room, a miss costs no read from then on, as if the Cache had been fresh.
func (c *Cache[V]) Load(max int64) error {
	if c.complete {
		return nil
	}
	var zero V
	var failed error
	full := false
	n := 0
	err := c.store.Scan(c.prefix, prefixEnd(c.prefix), func(key, b []byte) bool {
		if n++; n%1024 == 0 && c.Bytes() > max {
			full = true
			return false
		}
		key = key[len(c.prefix):]
		if e, _ := c.find(key); e != nil {
			return true // as it is in the Store, or changed since
		}
		c.loaded = zero
		if failed = c.decode(&c.loaded, key, b); failed != nil {
			return false
		}
		e, _, err := c.insert(key)
		if failed = err; err != nil {
			return false
		}
		e.value, c.loaded = c.loaded, zero
		return true
	})
	if failed != nil {
		return failed
	}
	if err == nil && !full {
		c.complete = true
	}
	return err
}

// Evict drops entries until the Cache uses at most keep bytes: first those that
// were not asked for since the last Evict, then others. Changed entries stay
// until they are drained. It returns how many were dropped.
func (c *Cache[V]) Evict(keep int64) (dropped int) {
	size := c.Bytes()
	if size <= keep || c.used == 0 {
		return 0
	}
	room := int(float64(keep) / float64(size) * float64(c.used)) // entries
	hot := 0
	for n := range c.count {
		if e := c.entry(n); e.meta&flagFree == 0 && e.meta&(flagHot|flagDirty) != 0 {
			hot++
		}
	}
	cold := max(0, room-hot)
	hot = min(hot, room)
	before := c.used
	c.rebuild(func(e *entry[V]) bool {
		left := &cold
		if e.meta&(flagHot|flagDirty) != 0 {
			left = &hot
		}
		*left--
		if *left < 0 && e.meta&flagDirty == 0 {
			return false
		}
		e.meta &^= flagHot
		return true
	})
	dropped = before - c.used
	if dropped > 0 {
		c.complete = false
	}
	return dropped
}

// Drop forgets all entries and gives the memory back. Changes must have been
// drained, else it panics: they would be lost.
func (c *Cache[V]) Drop() {
	if len(c.dirty) > 0 {
		panic(fmt.Sprintf("state: drop of a cache of store %q with %d changes that were not drained", c.store.spec.Name, len(c.dirty)))
	}
	*c = Cache[V]{store: c.store, prefix: c.prefix, codec: c.codec, seed: c.seed}
}

// Ascend calls f for the entries with lo <= key < hi (nil hi: to the end) in key
// order, in memory or not, until f returns an error, which it passes on unless
// it is ErrStop. Key and value are valid during the call of f and only to be
// read; f may call Put and Delete, also of that key, which Ascend does not see.
func (c *Cache[V]) Ascend(lo, hi []byte, f func(key []byte, v *V) error) error {
	err := c.ascend(lo, hi, f)
	if err == ErrStop {
		return nil
	}
	return err
}

// sortMax is up to how many entries Ascend sorts those in memory instead of
// reading the Store, which is in order already.
const sortMax = 1 << 16

func (c *Cache[V]) ascend(lo, hi []byte, f func(key []byte, v *V) error) error {
	if c.complete && c.used <= sortMax {
		for _, n := range c.sorted(lo, hi, 0) {
			if e := c.entry(n); e.meta&flagGone == 0 {
				if err := f(c.keyOf(e), &e.value); err != nil {
					return err
				}
			}
		}
		return nil
	}

	// What is not dirty is in the Store as it is in memory.
	changed := c.sorted(lo, hi, flagDirty)
	from := join(c.prefix, lo)
	to := prefixEnd(c.prefix)
	if hi != nil {
		to = join(c.prefix, hi)
	}
	var ferr error
	var value, zero V
	// emit calls f for the changed entries below key, all of them if it is nil,
	// and reports whether key itself is among them.
	emit := func(key []byte) (replaced bool) {
		for len(changed) > 0 {
			e := c.entry(changed[0])
			order := -1
			if key != nil {
				order = bytes.Compare(c.keyOf(e), key)
			}
			if order > 0 {
				return false
			}
			changed = changed[1:]
			if e.meta&flagGone == 0 {
				if ferr = f(c.keyOf(e), &e.value); ferr != nil {
					return true
				}
			}
			if order == 0 {
				return true
			}
		}
		return false
	}
	err := c.store.Scan(from, to, func(key, b []byte) bool {
		key = key[len(c.prefix):]
		if emit(key) {
			return ferr == nil
		}
		value = zero
		if ferr = c.decode(&value, key, b); ferr == nil {
			ferr = f(key, &value)
		}
		return ferr == nil
	})
	if err == nil && ferr == nil {
		emit(nil)
	}
	if ferr != nil {
		return ferr
	}
	return err
}

// sorted returns the entries within bounds that have all of the flags, in key
// order.
func (c *Cache[V]) sorted(lo, hi []byte, flags uint32) []uint32 {
	var list []uint32
	add := func(n uint32) {
		e := c.entry(n)
		if e.meta&flagFree != 0 {
			return
		}
		key := c.keyOf(e)
		if bytes.Compare(key, lo) >= 0 && (hi == nil || bytes.Compare(key, hi) < 0) {
			list = append(list, n)
		}
	}
	if flags&flagDirty != 0 {
		for _, n := range c.dirty {
			add(n)
		}
	} else {
		for n := range c.count {
			add(n)
		}
	}
	order := c.store.db.sorter.sort(nil, len(list), func(i uint32) []byte { return c.keyOf(c.entry(list[i])) })
	for k, i := range order {
		order[k] = list[i]
	}
	return order
}

// entry returns entry number n.
func (c *Cache[V]) entry(n uint32) *entry[V] { return &c.chunks[n>>chunkBits][n&chunkMask] }

// keyOf returns the key of an entry; it stays valid as long as the entry.
func (c *Cache[V]) keyOf(e *entry[V]) []byte {
	n := e.meta & keyLenMask
	if n <= inlineKey {
		return e.key[:n:n]
	}
	return c.longKey(e, n)
}

func (c *Cache[V]) longKey(e *entry[V], n uint32) []byte {
	at := binary.LittleEndian.Uint32(e.key[shortKey:])
	chunk := c.longKeys[at>>longPosBits]
	pos := (at & (1<<longPosBits - 1)) * longUnit
	return chunk[pos : pos+n : pos+n]
}

// is tells whether the entry's key is key.
func (c *Cache[V]) is(e *entry[V], key []byte) bool {
	n := e.meta & keyLenMask
	if int(n) != len(key) {
		return false
	}
	if n <= inlineKey {
		return string(e.key[:n]) == string(key)
	}
	return string(e.key[:shortKey]) == string(key[:shortKey]) && string(c.longKey(e, n)) == string(key)
}

// find returns the entry of a key, deleted or not, and its number; nil if it is
// not in memory.
func (c *Cache[V]) find(key []byte) (*entry[V], uint32) {
	if len(c.slots) == 0 {
		return nil, 0
	}
	h := maphash.Bytes(c.seed, key)
	mask := c.slotMask
	tag := uint32(h>>32) &^ mask
	for at := uint32(h) & mask; ; at = (at + 1) & mask {
		slot := c.slots[at]
		if slot == 0 {
			return nil, 0
		}
		if slot&^mask == tag {
			n := slot&mask - 1
			if e := c.entry(n); c.is(e, key) {
				return e, n
			}
		}
	}
}

// warmMin is from how many slots on a Cache is larger than what the processor
// keeps close: then Warm is worth its hashing.
const warmMin = 1 << 17

// Warm prepares for a call with this key, which it does not keep. It changes
// nothing that can be seen. Called for all keys of a batch before the first of
// them is used, it takes a third off the time that the calls take on a large
// Cache: the processor waits for many entries at once instead of one after the
// other. On a small one it returns at once.
func (c *Cache[V]) Warm(key []byte) {
	if len(c.slots) >= warmMin {
		c.warm(key)
	}
}

// warm fetches the slots of some keys, and only then their entries, since an
// entry is not known before its slot has arrived.
func (c *Cache[V]) warm(key []byte) {
	h := uint32(maphash.Bytes(c.seed, key)) & c.slotMask
	prefetch(unsafe.Pointer(&c.slots[h]))
	c.ahead[c.aheadLen] = h
	if c.aheadLen++; c.aheadLen < len(c.ahead) {
		return
	}
	c.aheadLen = 0
	for _, h := range c.ahead {
		if n := c.slots[h&c.slotMask] & c.slotMask; n != 0 {
			prefetch(unsafe.Pointer(c.entry(n - 1)))
		}
	}
}

// touch marks an entry as changed and alive.
func (c *Cache[V]) touch(e *entry[V], n uint32) {
	if e.meta&flagDirty == 0 {
		c.dirty = append(c.dirty, n)
	}
	if e.meta&flagGone != 0 {
		c.gone--
	}
	e.meta = e.meta&^flagGone | flagDirty | flagHot
}

// claim returns the entry of a key, a new one with a zero value if it is not in
// memory.
func (c *Cache[V]) claim(key []byte) (*entry[V], uint32, error) {
	if e, n := c.find(key); e != nil {
		return e, n, nil
	}
	return c.insert(key)
}

// load brings a key that is not in memory there. If the Store has none, it makes
// an entry only if it is told to.
func (c *Cache[V]) load(key []byte, create bool) (e *entry[V], n uint32, existed bool, err error) {
	var b []byte
	if !c.complete {
		c.keyBuf = append(append(c.keyBuf[:0], c.prefix...), key...)
		if b, existed, err = c.store.Get(c.keyBuf); err != nil {
			return nil, 0, false, err
		}
	}
	if !existed && !create {
		return nil, 0, false, nil
	}
	var zero V
	if existed {
		c.loaded = zero
		if err := c.decode(&c.loaded, key, b); err != nil {
			return nil, 0, false, err
		}
	}
	if e, n, err = c.insert(key); err != nil {
		return nil, 0, false, err
	}
	if existed {
		e.value, c.loaded = c.loaded, zero
	}
	return e, n, existed, nil
}

func (c *Cache[V]) decode(v *V, key, b []byte) error {
	if err := c.codec.Decode(v, b, nil); err != nil {
		return fmt.Errorf("decode value of key %x in store %q: %w", key, c.store.spec.Name, err)
	}
	return nil
}

// insert adds an entry with a zero value for a key that is not in the table.
func (c *Cache[V]) insert(key []byte) (*entry[V], uint32, error) {
	if len(key)+len(c.prefix) > MaxKeyBytes {
		return nil, 0, fmt.Errorf("key of %d bytes in store %q, want at most %d: %w", len(key)+len(c.prefix), c.store.spec.Name, MaxKeyBytes, ErrTooLarge)
	}
	if 4*(c.used+1) > 3*len(c.slots) {
		c.resize(max(minSlots, 2*len(c.slots)))
	}
	n := c.allot()
	e := c.entry(n)
	e.meta = uint32(len(key))
	if len(key) <= inlineKey {
		copy(e.key[:], key)
	} else {
		copy(e.key[:shortKey], key)
		binary.LittleEndian.PutUint32(e.key[shortKey:], c.keepLong(key))
	}
	c.link(e, n)
	return e, n, nil
}

// allot returns the number of an unused entry with a zero value.
func (c *Cache[V]) allot() uint32 {
	if k := len(c.free); k > 0 {
		n := c.free[k-1]
		c.free = c.free[:k-1]
		return n
	}
	n := c.count
	last := int(n >> chunkBits)
	switch {
	case last == 0 && len(c.chunks) == 0:
		c.chunks = append(c.chunks, make([]entry[V], 8)) // most windows of most jobs are small
	case last == len(c.chunks) && last < slabChunks:
		c.chunks = append(c.chunks, make([]entry[V], chunkLen))
	case last == len(c.chunks):
		slab := make([]entry[V], slabChunks*chunkLen)
		adviseHuge(slab)
		for ; len(slab) > 0; slab = slab[chunkLen:] {
			c.chunks = append(c.chunks, slab[:chunkLen:chunkLen])
		}
	case int(n&chunkMask) == len(c.chunks[last]):
		grown := make([]entry[V], 2*len(c.chunks[last]))
		copy(grown, c.chunks[last])
		c.chunks[last] = grown
	}
	c.count++
	return n
}

// keepLong copies a long key and returns where it lies.
func (c *Cache[V]) keepLong(key []byte) uint32 {
	need := (len(key) + longUnit - 1) / longUnit * longUnit
	if need > c.longFree {
		size := max(need, min(longChunk, longChunkMin<<min(len(c.longKeys), 8)))
		c.longKeys = append(c.longKeys, make([]byte, size))
		c.longFree = size
		c.longBytes += int64(size)
	}
	last := len(c.longKeys) - 1
	at := len(c.longKeys[last]) - c.longFree
	copy(c.longKeys[last][at:], key)
	c.longFree -= need
	return uint32(last)<<longPosBits | uint32(at/longUnit)
}

// link puts an entry into the first free slot for its key.
func (c *Cache[V]) link(e *entry[V], n uint32) {
	h := maphash.Bytes(c.seed, c.keyOf(e))
	mask := c.slotMask
	at := uint32(h) & mask
	for c.slots[at] != 0 {
		at = (at + 1) & mask
	}
	c.slots[at] = uint32(h>>32)&^mask | (n + 1)
	c.used++
}

// resize makes a table of size slots, a power of two. Tags depend on the size,
// so all keys are hashed again, in the order in which they lie in memory.
func (c *Cache[V]) resize(size int) {
	if bits.Len(uint(size)) > 32 {
		panic(fmt.Sprintf("state: cache of store %q has %d entries", c.store.spec.Name, c.used))
	}
	c.slots = make([]uint32, size)
	adviseHuge(c.slots)
	c.slotMask = uint32(size - 1)
	c.used = 0
	for n := range c.count {
		if e := c.entry(n); e.meta&flagFree == 0 {
			c.link(e, n)
		}
	}
}

// remove takes an entry out of the table and closes the gap: an entry further on
// moves into it if its own slot lies at or before the gap.
func (c *Cache[V]) remove(e *entry[V], n uint32) {
	mask := c.slotMask
	at := uint32(maphash.Bytes(c.seed, c.keyOf(e))) & mask
	for c.slots[at]&mask != n+1 {
		at = (at + 1) & mask
	}
	gap := at
	for {
		at = (at + 1) & mask
		slot := c.slots[at]
		if slot == 0 {
			break
		}
		home := uint32(maphash.Bytes(c.seed, c.keyOf(c.entry(slot&mask-1)))) & mask
		if (at-home)&mask >= (at-gap)&mask {
			c.slots[gap] = slot
			gap = at
		}
	}
	c.slots[gap] = 0
	c.used--

	if k := e.meta & keyLenMask; k > inlineKey {
		c.longDead += int64(k)
	}
	*e = entry[V]{meta: flagFree}
	c.free = append(c.free, n)
}

// rebuild makes a new table of the entries to keep; changed ones must be kept.
// Old chunks are let go as they are copied.
func (c *Cache[V]) rebuild(keep func(*entry[V]) bool) {
	old := *c
	*c = Cache[V]{store: old.store, prefix: old.prefix, codec: old.codec, seed: old.seed, complete: old.complete,
		gone: old.gone, keyBuf: old.keyBuf, valueBuf: old.valueBuf}
	moved := make(map[uint32]uint32, len(old.dirty)) // numbers of changed entries
	for k, chunk := range old.chunks {
		for i := range chunk {
			n := uint32(k)<<chunkBits | uint32(i)
			if n >= old.count {
				break
			}
			e := &chunk[i]
			if e.meta&flagFree != 0 || !keep(e) {
				continue
			}
			to, at, err := c.insert(old.keyOf(e))
			if err != nil {
				panic(err) // the key was let in before
			}
			to.meta, to.value = e.meta, e.value
			if e.meta&flagDirty != 0 {
				moved[n] = at
			}
		}
		old.chunks[k] = nil
	}
	for _, n := range old.dirty {
		c.dirty = append(c.dirty, moved[n])
	}
	c.dirty = slices.Clip(c.dirty)
}
