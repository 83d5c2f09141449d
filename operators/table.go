package operators

import (
	"github.com/gretestream/grete/state"
)

// Table is the latest value of each key of a topic, kept in a named store: what
// the records of a stream are joined with.
type Table[K comparable, V any] struct{ t *tableDecl[K, V] }

// tableDecl is the step that keeps a table.
type tableDecl[K comparable, V any] struct {
	*step
	key   Codec[K]
	value Codec[V]
}

// TableFrom reads a topic as a table: a record sets the value of its key, a null
// value removes the key. Changes apply in the order of the topic, whatever their
// times. The first time, the topic is read to its end before any stream of the
// job; after that the two go on side by side, so joins with a table depend on
// when its records came.
func TableFrom[K comparable, V any](g *Graph, t Topic[K, V], name string, in ...Input) Table[K, V] {
	source := read(g, "table-from", t, true, in)
	st := g.add("table", name, source.step)
	st.durable()
	st.usesValue, st.keyed = true, true
	st.store = &StoreDecl{Name: name, Kind: "table", Query: keyedQuery[K, V](name, t.Key, t.Value, nil)}
	st.keyCodec = func() (string, error) { return codecName(t.Key) }
	st.valueCodec = func() (string, error) { return codecName(t.Value) }
	d := &tableDecl[K, V]{step: st, key: t.Key, value: t.Value}
	source.outs = append(source.outs, func(w *wiring) push[K, V] {
		k := &tableKeeper[K, V]{
			table: d.keep(w), in: source.step, nullKeys: w.flow.counter(st, dropNullKey),
		}
		return k.batch
	})
	return Table[K, V]{d}
}

// keep returns the wiring's copy of the table, which its writer and the joins
// that look it up share.
func (d *tableDecl[K, V]) keep(w *wiring) *table[V] {
	return once(w, d.step, func() *table[V] {
		t := &table[V]{}
		if store := w.store(d.step); store != nil {
			t.cache = state.NewCache(store, nil, d.value, false)
		}
		w.operate(d.step, t)
		return t
	})
}

// store returns the task's store of a step, or notes that there is none.
func (w *wiring) store(s *step) *state.Store {
	if w.env.DB == nil {
		w.fail(s, errNoDB)
		return nil
	}
	store := w.env.DB.Store(s.store.Name)
	if store == nil {
		w.fail(s, errNoStore(s.store.Name))
	}
	return store
}

// table is the part of a table that a task keeps.
type table[V any] struct {
	passive
	cache *state.Cache[V]
}

func (t *table[V]) drain() error   { return t.cache.Drain() }
func (t *table[V]) staging() int64 { return changedBytes(t.cache) }
func (t *table[V]) used() int64    { return t.cache.Bytes() }
func (t *table[V]) evict(bytes int64) {
	t.cache.Evict(max(0, t.cache.Bytes()-bytes))
}

// tableKeeper writes the topic's records into the table.
type tableKeeper[K comparable, V any] struct {
	*table[V]
	in       *step
	nullKeys *int64
}

func (k *tableKeeper[K, V]) batch(b *Batch[K, V]) error {
	for i := range b.Times {
		if b.Flags[i]&NullKey != 0 {
			*k.nullKeys++
			continue
		}
		key := b.origin(i).Key
		var err error
		if b.Flags[i]&NullValue != 0 {
			err = k.cache.Delete(key)
		} else {
			err = k.cache.Put(key, b.Values[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}
