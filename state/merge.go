package state

import "unsafe"

// merge is the changes of one store in some intervals, in key order. Of several
// changes of a key only the last is left.
type merge struct {
	stages []*stage
	raws   [][]byte
	starts []uint32 // of each stage, in the numbers that order holds
	n      uint32
	order  []uint32
}

// add adds a stage that is newer than those before it.
func (m *merge) add(g *stage) {
	if len(g.list) == 0 {
		return
	}
	m.stages = append(m.stages, g)
	m.raws = append(m.raws, g.builder.Raw())
	m.starts = append(m.starts, m.n)
	m.n += uint32(len(g.list))
}

func (m *merge) sort(s *sorter) {
	if len(m.stages) == 1 {
		m.order = m.stages[0].sorted(s)
		return
	}
	m.order = s.sort(nil, int(m.n), func(i uint32) []byte {
		c, raw := m.at(i)
		return c.keyIn(raw)
	})
}

// at returns change number i and the bytes that it lies in.
func (m *merge) at(i uint32) (*change, []byte) {
	k := len(m.starts) - 1
	for m.starts[k] > i {
		k--
	}
	return &m.stages[k].list[i-m.starts[k]], m.raws[k]
}

// writeTo writes the changes in key order.
func (m *merge) writeTo(w changeWriter, s *Store) error {
	key := s.keyBuf
	for k, i := range m.order {
		// In key order the changes lie all over memory.
		if ahead := k + 2*prefetchAhead; ahead < len(m.order) {
			c, _ := m.at(m.order[ahead])
			prefetch(unsafe.Pointer(c))
			c, raw := m.at(m.order[k+prefetchAhead])
			prefetch(unsafe.Pointer(&raw[c.key]))
		}
		c, raw := m.at(i)
		key = append(append(key[:0], s.prefix...), c.keyIn(raw)...)
		var err error
		if c.valueLen < 0 {
			err = w.Delete(key)
		} else {
			err = w.Set(key, c.valueIn(raw))
		}
		if err != nil {
			return err
		}
	}
	s.keyBuf = key
	return nil
}
