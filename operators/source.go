package operators

import (
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state/codec"
)

// defaultFutureBound is how far ahead of the clock a record may be.
const defaultFutureBound = time.Hour

// From reads a topic. A topic is read once, however many times From names it.
func From[K, V any](g *Graph, t Topic[K, V], in ...Input) Stream[K, V] {
	return Stream[K, V]{read(g, "from", t, false, in)}
}

// read adds a topic to the graph's inputs.
func read[K, V any](g *Graph, kind string, t Topic[K, V], table bool, in []Input) *node[K, V] {
	var options Input
	if len(in) > 0 {
		options = in[0]
	}
	if have, ok := g.topics[t.Name]; ok {
		n, same := have.(*node[K, V])
		if same && n.source.table == table && n.source.options == options {
			return n
		}
		st := g.add(kind, t.Name)
		g.mistake(st.at, "%s: the topic is read before, in another way; read it once and use the stream twice", st)
		return newNode(st, t.Key, t.Value)
	}
	st := g.add(kind, t.Name)
	if !validTopic(t.Name) {
		g.mistake(st.at, "%s: got topic %q, want 1 to 249 letters, digits, dots, dashes and underscores", kind, t.Name)
	}
	st.wants(t.Key != nil, "the topic's key codec")
	st.wants(t.Value != nil, "the topic's value codec")
	options.validate(st)
	n := newNode(st, t.Key, t.Value)
	st.source = &sourceDecl{table: table, options: options, wire: func(w *wiring) source { return newReader(w, n) }}
	if g.topics == nil {
		g.topics = make(map[string]any)
	}
	g.topics[t.Name] = n
	return n
}

func (in Input) validate(s *step) {
	if in.OutOfOrder < 0 {
		s.g.mistake(s.at, "%s: got OutOfOrder %s, want 0 or more", s, in.OutOfOrder)
	}
	if in.FutureBound < 0 && in.FutureBound != Off {
		s.g.mistake(s.at, "%s: got FutureBound %s, want more than 0, 0 for the default, or op.Off", s, in.FutureBound)
	}
	if in.MaxWait < 0 {
		s.g.mistake(s.at, "%s: got MaxWait %s, want 0 or more", s, in.MaxWait)
	}
	if in.Idle.Kind > IdleHold && in.Idle.After <= 0 {
		s.g.mistake(s.at, "%s: got an idle time of %s, want more than 0", s, in.Idle.After)
	}
}

// futureBound is the bound in ms; maxTime: none.
func (in Input) futureBound() int64 {
	switch {
	case in.FutureBound == Off:
		return maxTime
	case in.FutureBound == 0:
		return defaultFutureBound.Milliseconds()
	}
	return in.FutureBound.Milliseconds()
}

// source is a wired input.
type source interface {
	process(records []log.Record) error
}

// reader decodes records into batches: only the columns that a step behind it
// reads, so that a record that is only copied is never decoded.
type reader[K, V any] struct {
	flow     *Flow
	step     *step
	clock    *clock // nil if no step hears it, or its upstream tasks drive it
	key      Codec[K]
	value    Codec[V]
	maxBatch int
	bound    int64 // ms that a record may be ahead of the clock; maxTime: any
	horizon  int64 // the largest log timestamp that is believed now
	arena    codec.Arena
	src      rows
	batch    Batch[K, V] // the columns, of full length
	now      Batch[K, V] // the batch being filled
	rest     Batch[K, V] // without the records that were refused
	part     Batch[K, V] // between two cuts of the clock
	bad      []int32
	out      push[K, V]
}

func newReader[K, V any](w *wiring, n *node[K, V]) source {
	d := n.source
	r := &reader[K, V]{
		flow: w.flow, step: n.step, maxBatch: batchRecords, bound: d.options.futureBound(),
		src: rows{input: d.input, topic: n.name, onError: d.options.OnError},
	}
	if d.repartition {
		r.bound = maxTime // was checked where the record came in
	} else {
		r.clock = w.clockOf(n.step, d.input)
	}
	if w.stage.single[d.input] {
		r.maxBatch = 1
	}
	if n.needKey {
		key, err := codecOf(n.key)
		w.fail(n.step, err)
		r.key = key
	}
	if n.needValue {
		value, err := codecOf(n.value)
		w.fail(n.step, err)
		r.value = value
	}
	b := &r.batch
	b.Keys, b.Values = make([]K, batchRecords), make([]V, batchRecords)
	b.Times, b.Flags, b.Rows = make([]int64, batchRecords), make([]uint8, batchRecords), make([]int32, batchRecords)
	for i := range b.Rows {
		b.Rows[i] = int32(i)
	}
	r.out = n.wire(w)
	return r
}

func (r *reader[K, V]) process(records []log.Record) error {
	r.horizon = maxTime
	if r.bound != maxTime {
		r.horizon = addTime(r.flow.env.Now().UnixMilli(), r.bound)
	}
	for len(records) > 0 {
		n := min(len(records), r.maxBatch)
		r.src.records = records[:n]
		if err := r.take(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// take runs one batch through the graph.
func (r *reader[K, V]) take(records []log.Record) error {
	r.now.cut(&r.batch, 0, len(records))
	r.now.src = &r.src
	r.bad = r.bad[:0]
	b := &r.now
	for i := range records {
		rec := &records[i]
		t := int64(rec.Timestamp)
		if t > r.horizon {
			now := addTime(r.horizon, -r.bound)
			if err := r.refuse(i, rec, futureError(t, now, time.Duration(r.bound)*time.Millisecond)); err != nil {
				return err
			}
			continue
		}
		b.Times[i] = t
		var flags uint8
		if rec.Key == nil {
			flags = NullKey
		}
		if rec.Value == nil {
			flags |= NullValue
		}
		b.Flags[i] = flags
		if r.key == nil && r.value == nil {
			continue
		}
		if err := r.decode(i, rec, flags); err != nil {
			if err := r.refuse(i, rec, failure{dropUndecodable, err}); err != nil {
				return err
			}
		}
	}
	if len(r.bad) > 0 {
		r.rest.without(b, r.bad)
		b = &r.rest
	}
	return drive(r.clock, b, &r.part, 0, r.out)
}

// decode fills the columns that are read with what the record holds.
func (r *reader[K, V]) decode(i int, rec *log.Record, flags uint8) error {
	b := &r.now
	if r.key != nil {
		if flags&NullKey != 0 {
			var none K
			b.Keys[i] = none
		} else if err := r.key.Decode(&b.Keys[i], rec.Key, &r.arena); err != nil {
			return fmt.Errorf("decode the key: %w", err)
		}
	}
	if r.value != nil {
		if flags&NullValue != 0 {
			var none V
			b.Values[i] = none
		} else if err := r.value.Decode(&b.Values[i], rec.Value, &r.arena); err != nil {
			return fmt.Errorf("decode the value: %w", err)
		}
	}
	return nil
}

func (r *reader[K, V]) refuse(i int, rec *log.Record, err error) error {
	r.bad = append(r.bad, int32(i))
	return r.flow.deadRecord(r.step, &r.src, rec, err)
}
