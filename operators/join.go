package operators

import (
	"fmt"
)

// Join gives f each record's value with the value that the table holds for its
// key at that moment. Records whose key is not in the table are left out and
// counted, as are those without key or value.
func Join[K comparable, V, T, W any](s Stream[K, V], t Table[K, T], f func(V, T) W) Stream[K, W] {
	return join(s, t, "join", f != nil, false, func(v V, row T, _ bool) W { return f(v, row) })
}

// LeftJoin is Join that keeps every record: f is told whether the table has the
// key, so that a missing row is not a zero row.
func LeftJoin[K comparable, V, T, W any](s Stream[K, V], t Table[K, T], f func(v V, row T, found bool) W) Stream[K, W] {
	return join(s, t, "left-join", f != nil, true, f)
}

func join[K comparable, V, T, W any](s Stream[K, V], t Table[K, T], kind string, given, left bool, f func(V, T, bool) W) Stream[K, W] {
	in := of(s)
	st := in.g.add(kind, "", in.step)
	st.wants(given, "the function")
	if t.t == nil {
		in.g.mistake(st.at, "%s: the table is the zero op.Table; tables come from op.TableFrom", st)
		return Stream[K, W]{newNode[K, W](st, in.key, nil)}
	}
	st.detail = "with table " + t.t.name
	st.tables = []*step{t.t.step}
	st.usesKey, st.usesValue, st.keepsKey, st.keyed = true, true, true, true
	st.extra = func() {
		// A key's bytes decide its partition and its place in the table.
		mine, wants := st.resolve(func() (string, error) { return codecName(in.key) }, "key"), st.resolve(t.t.keyCodec, "key")
		if mine != wants {
			in.g.mistake(st.at, "%s: got keys written by codec %s, want %s as in the table %q (%s); KeyBy and op.Encoded make them equal", st, mine, wants, t.t.name, t.t.at)
		}
		raw, _ := passes(in.step)
		st.usesKey = raw != wants
	}
	out := newNode[K, W](st, in.key, nil)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		j := &joiner[K, V, T, W]{
			guard: newGuard(w, st), table: t.t.keep(w), f: f, key: t.t.key, rawKey: !st.usesKey, left: left, out: out.wire(w),
			nullKeys: w.flow.counter(st, dropNullKey), nullValues: w.flow.counter(st, dropNullValue), misses: w.flow.counter(st, dropNoMatch),
			keyBuf: make([]byte, 0, 64),
		}
		j.loop = j.each
		return j.batch
	})
	return Stream[K, W]{out}
}

// joiner looks each record's key up in a table of its task.
type joiner[K comparable, V, T, W any] struct {
	guard
	table  *table[T]
	f      func(V, T, bool) W
	key    Codec[K]
	rawKey bool // the source's bytes are the key as the table has it
	left   bool
	keyBuf []byte
	in     *Batch[K, V]
	result Batch[K, W]
	out    push[K, W]
	failed error // of the store

	nullKeys, nullValues, misses *int64
}

func (j *joiner[K, V, T, W]) batch(b *Batch[K, V]) error {
	j.in = b
	j.result.clear(b.src)
	j.run(b.Len())
	if j.failed != nil {
		return j.failed
	}
	if err := bury(&j.guard, b); err != nil {
		return err
	}
	if j.result.Len() == 0 {
		return nil
	}
	return j.out(&j.result)
}

func (j *joiner[K, V, T, W]) each() {
	b := j.in
	for i := j.at; i < len(b.Times) && j.failed == nil; i++ {
		j.at = i
		switch {
		case b.Flags[i]&NullKey != 0:
			*j.nullKeys++
			continue
		case b.Flags[i]&NullValue != 0:
			*j.nullValues++
			continue
		}
		key, err := j.keyOf(i)
		if err != nil {
			j.note(fmt.Errorf("encode the key: %w", err))
			continue
		}
		row, found, err := j.table.cache.Get(key)
		if err != nil {
			j.failed = err
			return
		}
		if !found {
			if !j.left {
				*j.misses++
				continue
			}
			row = new(T)
		}
		j.result.put(b.Keys[i], j.f(b.Values[i], *row, found), b.Times[i], b.Flags[i], b.Rows[i])
	}
}

func (j *joiner[K, V, T, W]) keyOf(i int) ([]byte, error) {
	if r := j.in.origin(i); j.rawKey && r != nil {
		return r.Key, nil
	}
	key, err := j.key.Append(j.keyBuf[:0], j.in.Keys[i])
	if err == nil {
		j.keyBuf = key
	}
	return key, err
}
