package operators

import (
	"time"
)

// Map turns each value into another; the key and the time stay. A null value
// stays null: f is not called for it.
func Map[K, V, W any](s Stream[K, V], f func(V) W) Stream[K, W] {
	in := of(s)
	st := in.g.add("map", "", in.step)
	st.wants(f != nil, "the function")
	st.usesValue, st.keepsKey = true, true
	out := newNode[K, W](st, in.key, nil)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		m := &mapper[K, V, W]{guard: newGuard(w, st), f: f, out: out.wire(w)}
		m.loop = m.each
		return m.batch
	})
	return Stream[K, W]{out}
}

type mapper[K, V, W any] struct {
	guard
	f      func(V) W
	in     *Batch[K, V]
	result Batch[K, W]
	rest   Batch[K, W]
	out    push[K, W]
}

func (m *mapper[K, V, W]) batch(b *Batch[K, V]) error {
	m.in = b
	r := &m.result
	r.Keys, r.Times, r.Flags, r.Rows, r.src = b.Keys, b.Times, b.Flags, b.Rows, b.src
	r.Values = column(r.Values, b.Len())
	m.run(b.Len())
	good, err := settle(&m.guard, r, &m.rest)
	if err != nil {
		return err
	}
	return m.out(good)
}

func (m *mapper[K, V, W]) each() {
	values, flags, results := m.in.Values, m.in.Flags, m.result.Values
	for i := m.at; i < len(values); i++ {
		m.at = i
		if flags[i]&NullValue != 0 {
			var none W
			results[i] = none
			continue
		}
		results[i] = m.f(values[i])
	}
}

// MapRecord turns each record into another, where key or time matter as well.
// Records without a value are dropped and counted, since f has nothing to look
// at; those without a key have NullKey set, and f's result says whether it has
// one. After a changed key, equal keys may lie in different tasks: KeyBy comes
// before what counts by key. A changed time moves no clock: see EventTime.
func MapRecord[K, V, L, W any](s Stream[K, V], f func(Record[K, V]) Record[L, W]) Stream[L, W] {
	in := of(s)
	st := in.g.add("map-record", "", in.step)
	st.wants(f != nil, "the function")
	st.usesKey, st.usesValue, st.rekeys = true, true, true
	out := newNode[L, W](st, nil, nil)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		m := &recordMapper[K, V, L, W]{guard: newGuard(w, st), f: f, out: out.wire(w), nulls: w.flow.counter(st, dropNullValue)}
		m.loop = m.each
		return m.batch
	})
	return Stream[L, W]{out}
}

type recordMapper[K, V, L, W any] struct {
	guard
	f      func(Record[K, V]) Record[L, W]
	in     *Batch[K, V]
	result Batch[L, W]
	out    push[L, W]
	nulls  *int64
}

func (m *recordMapper[K, V, L, W]) batch(b *Batch[K, V]) error {
	m.in = b
	m.result.clear(b.src)
	m.run(b.Len())
	if err := bury(&m.guard, b); err != nil {
		return err
	}
	return m.out(&m.result)
}

func (m *recordMapper[K, V, L, W]) each() {
	b := m.in
	for i := m.at; i < len(b.Times); i++ {
		m.at = i
		if b.Flags[i]&NullValue != 0 {
			*m.nulls++
			continue
		}
		r := m.f(Record[K, V]{
			Key: b.Keys[i], Value: b.Values[i], Time: time.UnixMilli(b.Times[i]).UTC(), NullKey: b.Flags[i]&NullKey != 0,
		})
		var flags uint8
		if r.NullKey {
			flags = NullKey
		}
		m.result.put(r.Key, r.Value, r.Time.UnixMilli(), flags, b.Rows[i])
	}
}

// TryMap is Map with a function that may fail: the values it fails for go into
// the second stream, with the reason. If nothing reads that stream they go to
// the dead letters.
func TryMap[K, V, W any](s Stream[K, V], f func(V) (W, error)) (Stream[K, W], Stream[K, Rejected[V]]) {
	in := of(s)
	st := in.g.add("try-map", "", in.step)
	st.wants(f != nil, "the function")
	st.usesValue, st.keepsKey = true, true
	out := newNode[K, W](st, in.key, nil)
	rejected := newNode[K, Rejected[V]](st, in.key, nil)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		m := &tryMapper[K, V, W]{guard: newGuard(w, st), f: f, out: out.wire(w), count: w.flow.counter(st, dropRejected)}
		if rejected.read() {
			m.rejected = rejected.wire(w)
		}
		m.loop = m.each
		return m.batch
	})
	return Stream[K, W]{out}, Stream[K, Rejected[V]]{rejected}
}

type tryMapper[K, V, W any] struct {
	guard
	f        func(V) (W, error)
	in       *Batch[K, V]
	result   Batch[K, W]
	bads     Batch[K, Rejected[V]]
	out      push[K, W]
	rejected push[K, Rejected[V]] // nil: nobody reads it
	count    *int64
}

func (m *tryMapper[K, V, W]) batch(b *Batch[K, V]) error {
	m.in = b
	m.result.clear(b.src)
	m.bads.clear(b.src)
	m.run(b.Len())
	if err := bury(&m.guard, b); err != nil {
		return err
	}
	if m.bads.Len() > 0 {
		*m.count += int64(m.bads.Len())
		if err := m.rejected(&m.bads); err != nil {
			return err
		}
	}
	if m.result.Len() == 0 {
		return nil
	}
	return m.out(&m.result)
}

func (m *tryMapper[K, V, W]) each() {
	b := m.in
	for i := m.at; i < len(b.Times); i++ {
		m.at = i
		if b.Flags[i]&NullValue != 0 {
			var none W
			m.result.put(b.Keys[i], none, b.Times[i], b.Flags[i], b.Rows[i])
			continue
		}
		v, err := m.f(b.Values[i])
		switch {
		case err == nil:
			m.result.put(b.Keys[i], v, b.Times[i], b.Flags[i], b.Rows[i])
		case m.rejected != nil:
			m.bads.put(b.Keys[i], Rejected[V]{b.Values[i], err.Error()}, b.Times[i], b.Flags[i], b.Rows[i])
		default:
			m.note(failure{dropRejected, err})
		}
	}
}
