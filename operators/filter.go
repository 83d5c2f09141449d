package operators

// Filter keeps the records whose value f holds for. Null values pass: f is not
// called for them.
func Filter[K, V any](s Stream[K, V], f func(V) bool) Stream[K, V] {
	in := of(s)
	yes, no := split(in, "filter", f)
	in.outs = append(in.outs, newSplitter(f, yes, no))
	return Stream[K, V]{yes}
}

// Split sends the records whose value f holds for into the first stream and the
// others into the second. Null values go into the first: f is not called for them.
func Split[K, V any](s Stream[K, V], f func(V) bool) (yes, no Stream[K, V]) {
	in := of(s)
	y, n := split(in, "split", f)
	in.outs = append(in.outs, newSplitter(f, y, n))
	return Stream[K, V]{y}, Stream[K, V]{n}
}

func split[K, V any](in *node[K, V], kind string, f func(V) bool) (yes, no *node[K, V]) {
	st := in.g.add(kind, "", in.step)
	st.wants(f != nil, "the function")
	st.usesValue, st.keepsKey, st.keepsValue = true, true, true
	return newNode(st, in.key, in.value), newNode(st, in.key, in.value)
}

// splitter copies each record into one of two batches.
type splitter[K, V any] struct {
	guard
	f         func(V) bool
	in        *Batch[K, V]
	left      Batch[K, V]
	right     Batch[K, V]
	yes, no   push[K, V]
	wantsLeft bool // somebody reads the second stream
}

func newSplitter[K, V any](f func(V) bool, yes, no *node[K, V]) func(*wiring) push[K, V] {
	return func(w *wiring) push[K, V] {
		s := &splitter[K, V]{guard: newGuard(w, yes.step), f: f, yes: yes.wire(w), no: no.wire(w), wantsLeft: no.read()}
		s.loop = s.each
		return s.batch
	}
}

func (s *splitter[K, V]) batch(b *Batch[K, V]) error {
	s.in = b
	s.right.clear(b.src)
	s.left.clear(b.src)
	s.run(b.Len())
	if err := bury(&s.guard, b); err != nil {
		return err
	}
	if s.right.Len() > 0 {
		if err := s.yes(&s.right); err != nil {
			return err
		}
	}
	if s.left.Len() > 0 {
		return s.no(&s.left)
	}
	return nil
}

func (s *splitter[K, V]) each() {
	b := s.in
	for i := s.at; i < len(b.Times); i++ {
		s.at = i
		switch {
		case b.Flags[i]&NullValue != 0 || s.f(b.Values[i]):
			s.right.add(b, i)
		case s.wantsLeft:
			s.left.add(b, i)
		}
	}
}

// FlatMap turns each value into any number of values: f calls emit for each.
// Key and time are the record's. A null value passes as it is.
func FlatMap[K, V, W any](s Stream[K, V], f func(v V, emit func(W))) Stream[K, W] {
	in := of(s)
	st := in.g.add("flat-map", "", in.step)
	st.wants(f != nil, "the function")
	st.usesValue, st.keepsKey = true, true
	out := newNode[K, W](st, in.key, nil)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		m := &flatMapper[K, V, W]{guard: newGuard(w, st), f: f, out: out.wire(w)}
		m.loop, m.emit = m.each, m.add
		return m.batch
	})
	return Stream[K, W]{out}
}

type flatMapper[K, V, W any] struct {
	guard
	f      func(V, func(W))
	emit   func(W)
	in     *Batch[K, V]
	result Batch[K, W]
	from   int // where the results of the present record begin
	out    push[K, W]
}

func (m *flatMapper[K, V, W]) batch(b *Batch[K, V]) error {
	m.in = b
	m.result.clear(b.src)
	m.run(b.Len())
	if err := bury(&m.guard, b); err != nil {
		return err
	}
	if m.result.Len() == 0 {
		return nil
	}
	return m.out(&m.result)
}

func (m *flatMapper[K, V, W]) each() {
	b := m.in
	if len(m.bad) > 0 && int(m.bad[len(m.bad)-1]) == m.at-1 {
		// What the failed record emitted before it failed does not count.
		r := &m.result
		r.Keys, r.Values, r.Times, r.Flags, r.Rows = r.Keys[:m.from], r.Values[:m.from], r.Times[:m.from], r.Flags[:m.from], r.Rows[:m.from]
	}
	for i := m.at; i < len(b.Times); i++ {
		m.at, m.from = i, m.result.Len()
		if b.Flags[i]&NullValue != 0 {
			var none W
			m.add(none)
			continue
		}
		m.f(b.Values[i], m.emit)
	}
}

func (m *flatMapper[K, V, W]) add(v W) {
	b, i := m.in, m.at
	m.result.put(b.Keys[i], v, b.Times[i], b.Flags[i], b.Rows[i])
}

// Merge brings the records of several streams together, each stream in its
// order. Inputs that meet before a step that counts by key need equal
// partitions.
func Merge[K, V any](first Stream[K, V], others ...Stream[K, V]) Stream[K, V] {
	in := of(first)
	st := in.g.add("merge", "", in.step)
	st.keepsKey, st.keepsValue = true, true
	out := newNode(st, in.key, in.value)
	in.outs = append(in.outs, out.shared)
	for _, s := range others {
		o := of(s)
		if o.g != in.g {
			in.g.mistake(st.at, "merge: a stream belongs to another graph (declared at %s)", o.at)
			continue
		}
		st.from = append(st.from, o.step)
		o.outs = append(o.outs, out.shared)
	}
	return Stream[K, V]{out}
}

// shared wires a node that several steps feed: once for all of them.
func (n *node[K, V]) shared(w *wiring) push[K, V] {
	return once(w, n.step, func() push[K, V] { return n.wire(w) })
}
