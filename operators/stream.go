package operators

import (
	"time"

	"github.com/gretestream/grete/state/codec"
)

// Stream is a handle on the records that leave a step. It is copyable and holds
// no data.
type Stream[K, V any] struct{ n *node[K, V] }

// Record is one record, for functions that look at more than the value.
type Record[K, V any] struct {
	Key     K
	Value   V
	Time    time.Time // event time, UTC
	NullKey bool      // the record has no key; Key is the zero value
}

// Rejected is a value that a TryMap could not handle, and why.
type Rejected[V any] struct {
	Value  V
	Reason string
}

// push hands a batch to a step.
type push[K, V any] func(*Batch[K, V]) error

// node is the typed half of a step: one of its outputs, and who takes it.
type node[K, V any] struct {
	*step
	key   Codec[K] // nil: chosen by type when it is needed
	value Codec[V]
	outs  []func(*wiring) push[K, V] // make a consumer's copy for one task
}

// newNode makes an output of the step. Its codecs are those given, or nil.
func newNode[K, V any](s *step, key Codec[K], value Codec[V]) *node[K, V] {
	n := &node[K, V]{step: s, key: key, value: value}
	if s.keyCodec == nil {
		s.keyCodec = func() (string, error) { return codecName(n.key) }
		s.valueCodec = func() (string, error) { return codecName(n.value) }
	}
	return n
}

func codecName[T any](c Codec[T]) (string, error) {
	c, err := codecOf(c)
	if err != nil {
		return "", err
	}
	return c.Name(), nil
}

// codecOf returns c, or the codec of T's kind if it is nil.
func codecOf[T any](c Codec[T]) (Codec[T], error) {
	if c != nil {
		return c, nil
	}
	return codec.For[T]()
}

// of returns the node behind a stream.
func of[K, V any](s Stream[K, V]) *node[K, V] {
	if s.n == nil {
		panic("the zero op.Stream was used; streams come from op.From and the steps after it (" + caller() + ")")
	}
	return s.n
}

// wire makes a task's copy of all that takes the node's batches.
func (n *node[K, V]) wire(w *wiring) push[K, V] {
	outs := make([]push[K, V], len(n.outs))
	for i, wire := range n.outs {
		outs[i] = wire(w)
	}
	switch len(outs) {
	case 0:
		return func(*Batch[K, V]) error { return nil }
	case 1:
		return outs[0]
	}
	return func(b *Batch[K, V]) error {
		for _, out := range outs {
			if err := out(b); err != nil {
				return err
			}
		}
		return nil
	}
}

// read tells whether anybody takes the node's batches.
func (n *node[K, V]) read() bool { return n != nil && len(n.outs) > 0 }

// Encoded sets the codecs that the stream's keys and values are stored and
// shipped with where no topic names them; nil keeps what is there. Right after a
// KeyBy it sets what the KeyBy writes.
func Encoded[K, V any](s Stream[K, V], key Codec[K], value Codec[V]) Stream[K, V] {
	in := of(s)
	if in.source != nil && in.source.repartition {
		if key != nil {
			in.key = key
		}
		if value != nil {
			in.value = value
		}
		return s
	}
	st := in.g.add("encoded", "", in.step)
	st.keepsKey, st.keepsValue = true, true
	if key == nil {
		key = in.key
	}
	if value == nil {
		value = in.value
	}
	out := newNode(st, key, value)
	in.outs = append(in.outs, out.wire)
	return Stream[K, V]{out}
}
