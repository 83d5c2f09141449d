package operators

import (
	"fmt"

	"github.com/gretestream/grete/log"
)

// Repartition tunes a KeyBy. The zero value is useful.
type Repartition struct {
	Partitions int // Default: as many as the inputs of the job have.
}

// KeyBy gives each record the key f(value) and sends it, through an internal
// topic of that name, to the task that owns the key. What follows runs in tasks
// of its own. Records without a value are dropped and counted.
func KeyBy[K, V, L any](s Stream[K, V], name string, f func(V) L, options ...Repartition) Stream[L, V] {
	in := of(s)
	var o Repartition
	if len(options) > 0 {
		o = options[0]
	}
	st := in.g.add("key-by", name, in.step)
	st.wants(f != nil, "the function")
	if o.Partitions < 0 {
		in.g.mistake(st.at, "%s: got %d partitions, want 1 or more, or 0 for as many as the inputs have", st, o.Partitions)
	}
	st.durable()
	out := repartitioned[L, V](st, nil, in.value)
	st.writes(in.step, name, true, o.Partitions,
		func() (string, error) { return codecName(out.key) }, func() (string, error) { return codecName(out.value) })
	checks := st.extra
	st.extra = func() {
		checks()
		st.usesKey, st.usesValue = false, true // f looks at the value
	}
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		key, err := codecOf(out.key)
		w.fail(st, err)
		value, err := codecOf(out.value)
		w.fail(st, err)
		_, rawValue := passes(in.step)
		k := &keyer[K, V, L]{
			guard: newGuard(w, st), f: f, key: key, value: value, rawValue: rawValue == value.Name(),
			out: w.flow.outputs[st.output], nulls: w.flow.counter(st, dropNullValue),
			keyBuf: make([]byte, 0, 64), valueBuf: make([]byte, 0, 256),
		}
		k.loop = k.each
		return k.batch
	})
	return Stream[L, V]{out}
}

// repartitioned adds the step that reads what the step writes to its internal
// topic.
func repartitioned[K, V any](writer *step, key Codec[K], value Codec[V]) *node[K, V] {
	st := writer.g.add("from-key", writer.name)
	st.at = writer.at
	n := newNode(st, key, value)
	st.source = &sourceDecl{repartition: true, wire: func(w *wiring) source { return newReader(w, n) }}
	return n
}

type keyer[K, V, L any] struct {
	guard
	f                func(V) L
	key              Codec[L]
	value            Codec[V]
	rawValue         bool
	keyBuf, valueBuf []byte
	in               *Batch[K, V]
	out              *output
	nulls            *int64
}

func (k *keyer[K, V, L]) batch(b *Batch[K, V]) error {
	k.in = b
	k.run(b.Len())
	return bury(&k.guard, b)
}

func (k *keyer[K, V, L]) each() {
	b := k.in
	for i := k.at; i < len(b.Times); i++ {
		k.at = i
		if b.Flags[i]&NullValue != 0 {
			*k.nulls++
			continue
		}
		key, err := k.key.Append(k.keyBuf[:0], k.f(b.Values[i]))
		if err != nil {
			k.note(fmt.Errorf("encode the key: %w", err))
			continue
		}
		k.keyBuf = key
		var value []byte
		var headers []log.Header
		r := b.origin(i)
		if r != nil {
			headers = r.Headers
		}
		if k.rawValue && r != nil {
			value = r.Value
		} else {
			if value, err = k.value.Append(k.valueBuf[:0], b.Values[i]); err != nil {
				k.note(fmt.Errorf("encode the value: %w", err))
				continue
			}
			k.valueBuf = value
		}
		k.out.put(b.Times[i], key, value, headers)
	}
}

const dropWindowKind = "drop-window"

// DropWindow takes the window off the keys: from then on the window's bounds
// show only in the time of a result, the window's last millisecond.
func DropWindow[K, V any](s Stream[Windowed[K], V]) Stream[K, V] {
	in := of(s)
	st := in.g.add(dropWindowKind, "", in.step)
	st.usesKey, st.keepsValue = true, true
	var key Codec[K]
	out := newNode(st, key, in.value)
	in.outs = append(in.outs, func(w *wiring) push[Windowed[K], V] {
		d := &dropper[K, V]{out: out.wire(w)}
		return d.batch
	})
	return Stream[K, V]{out}
}

type dropper[K, V any] struct {
	result Batch[K, V]
	out    push[K, V]
}

func (d *dropper[K, V]) batch(b *Batch[Windowed[K], V]) error {
	r := &d.result
	r.Values, r.Times, r.Flags, r.Rows, r.src = b.Values, b.Times, b.Flags, b.Rows, b.src
	r.Keys = column(r.Keys, b.Len())
	for i := range b.Keys {
		r.Keys[i] = b.Keys[i].Key
	}
	return d.out(r)
}
