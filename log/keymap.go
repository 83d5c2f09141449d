package log

import "hash/maphash"

// keyMap remembers the last offset of each key, within a bound of memory. Keys
// are told apart by 128 bits of hash under two random seeds: a collision would
// lose a record, and at this width never happens by chance, nor by design of
// somebody who does not know the seeds.
type keyMap struct {
	slots  []keySlot // open addressing, a power of two
	used   int
	limit  int // of used
	s1, s2 maphash.Seed
}

type keySlot struct {
	h1, h2 uint64
	next   Offset // one more than the offset; 0: the slot is free
}

const keySlotBytes = 24

// newKeyMap makes a map that takes up at most about so many bytes.
func newKeyMap(bytes int64) *keyMap {
	size := 1 << 10
	for int64(size)*2*keySlotBytes <= bytes {
		size *= 2
	}
	return &keyMap{slots: make([]keySlot, 1<<10), limit: size / 4 * 3, s1: maphash.MakeSeed(), s2: maphash.MakeSeed()}
}

// put records that key was last seen at o. It reports false, and does nothing,
// if the key is new and the map is full.
func (m *keyMap) put(key []byte, o Offset) bool {
	h1, h2 := maphash.Bytes(m.s1, key), maphash.Bytes(m.s2, key)
	s := m.find(h1, h2)
	if s.next == 0 {
		if m.used >= m.limit {
			return false
		}
		if m.used >= len(m.slots)/4*3 {
			m.grow()
			s = m.find(h1, h2)
		}
		m.used++
	}
	*s = keySlot{h1, h2, max(s.next, o+1)}
	return true
}

// superseded tells whether the key comes again behind o.
func (m *keyMap) superseded(key []byte, o Offset) bool {
	return m.find(maphash.Bytes(m.s1, key), maphash.Bytes(m.s2, key)).next > o+1
}

func (m *keyMap) find(h1, h2 uint64) *keySlot {
	mask := uint64(len(m.slots) - 1)
	for i := h1 & mask; ; i = (i + 1) & mask {
		if s := &m.slots[i]; s.next == 0 || s.h1 == h1 && s.h2 == h2 {
			return s
		}
	}
}

func (m *keyMap) grow() {
	old := m.slots
	m.slots = make([]keySlot, 2*len(old))
	for _, s := range old {
		if s.next != 0 {
			*m.find(s.h1, s.h2) = s
		}
	}
}

// reset forgets everything and keeps the memory.
func (m *keyMap) reset() {
	clear(m.slots)
	m.used = 0
}
