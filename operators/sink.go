package operators

import (
	"fmt"

	"github.com/gretestream/grete/log"
)

// Output tunes how a topic is written. The zero value is useful.
type Output struct {
	Partitions int // of a topic that does not exist yet. Default: as many as the job's inputs have.
}

// To writes a stream to a topic, each record to the partition of its key; null
// keys go round. A record's time in the log is its event time.
func To[K, V any](s Stream[K, V], t Topic[K, V], options ...Output) {
	in := of(s)
	st := in.g.add("to", t.Name, in.step)
	if !validTopic(t.Name) {
		in.g.mistake(st.at, "to: got topic %q, want 1 to 249 letters, digits, dots, dashes and underscores", t.Name)
	}
	st.wants(t.Key != nil, "the topic's key codec")
	st.wants(t.Value != nil, "the topic's value codec")
	var o Output
	if len(options) > 0 {
		o = options[0]
	}
	if o.Partitions < 0 {
		in.g.mistake(st.at, "%s: got %d partitions, want 1 or more, or 0 for as many as the inputs have", st, o.Partitions)
	}
	st.writes(in.step, t.Name, false, o.Partitions,
		func() (string, error) { return codecName(t.Key) }, func() (string, error) { return codecName(t.Value) })
	in.outs = append(in.outs, func(w *wiring) push[K, V] { return newWriter(w, st, in, t.Key, t.Value).batch })
}

// writes declares that the step writes what in hands it to a topic. The codecs'
// names are asked for when the graph is complete.
func (s *step) writes(in *step, topic string, repartition bool, partitions int, key, value func() (string, error)) {
	g := s.g
	id := topic
	if repartition {
		id += " (repartition)"
	}
	first, again := g.sinks[id]
	if !again {
		first = &sinkDecl{topic: topic, repartition: repartition, partitions: partitions, step: s, key: key, value: value}
		if g.sinks == nil {
			g.sinks = make(map[string]*sinkDecl)
		}
		g.sinks[id] = first
	}
	s.sink = first
	s.extra = func() {
		if _, reads := g.topics[topic]; reads && !repartition {
			g.mistake(s.at, "%s: the job also reads the topic; its own results would come back to it", s)
		}
		k, v := s.resolve(key, "key"), s.resolve(value, "value")
		if again {
			wantKey, wantValue := s.resolve(first.key, "key"), s.resolve(first.value, "value")
			if k != wantKey || v != wantValue {
				g.mistake(s.at, "%s: got codecs %s and %s, want %s and %s as where the topic is written first, at %s", s, k, v, wantKey, wantValue, first.step.at)
			}
		}
		rawKey, rawValue := passes(in)
		s.usesKey, s.usesValue = rawKey != k, rawValue != v
	}
}

// passes returns the codecs that the source's bytes are in, as far as they
// stand unchanged for the columns of the step's output. It is trace's answer,
// known earlier: sinks tell by it whether they need decoded columns.
func passes(s *step) (rawKey, rawValue string) {
	if s.source != nil {
		return s.resolve(s.keyCodec, "key"), s.resolve(s.valueCodec, "value")
	}
	for i, f := range s.from {
		k, v := passes(f)
		if i == 0 {
			rawKey, rawValue = k, v
		}
		if rawKey != k {
			rawKey = ""
		}
		if rawValue != v {
			rawValue = ""
		}
	}
	if !s.keepsKey {
		rawKey = ""
	}
	if !s.keepsValue {
		rawValue = ""
	}
	return rawKey, rawValue
}

// writer encodes a stream into an output's builders. What has not changed since
// the source is copied as the bytes that it was.
type writer[K, V any] struct {
	guard
	out              *output
	key              Codec[K]
	value            Codec[V]
	rawKey, rawValue bool
	keyBuf, valueBuf []byte
	in               *Batch[K, V]
}

func newWriter[K, V any](w *wiring, st *step, in *node[K, V], key Codec[K], value Codec[V]) *writer[K, V] {
	s := &writer[K, V]{guard: newGuard(w, st), out: w.flow.outputs[st.output], key: key, value: value}
	s.rawKey, s.rawValue = !st.usesKey, !st.usesValue
	s.keyBuf, s.valueBuf = make([]byte, 0, 64), make([]byte, 0, 256)
	s.loop = s.write
	return s
}

func (s *writer[K, V]) batch(b *Batch[K, V]) error {
	s.in = b
	s.out.newBatch()
	s.run(b.Len())
	return bury(&s.guard, b)
}

func (s *writer[K, V]) write() {
	b := s.in
	for i := s.at; i < len(b.Times); i++ {
		s.at = i
		var key, value []byte
		var headers []log.Header
		flags := b.Flags[i]
		r := b.origin(i)
		if r != nil {
			headers = r.Headers
		}
		if flags&NullKey == 0 {
			if s.rawKey && r != nil {
				key = r.Key
			} else {
				var err error
				if key, err = s.key.Append(s.keyBuf[:0], b.Keys[i]); err != nil {
					s.note(fmt.Errorf("encode the key: %w", err))
					continue
				}
				s.keyBuf = key
			}
		}
		if flags&NullValue == 0 {
			if s.rawValue && r != nil {
				value = r.Value
			} else {
				var err error
				if value, err = s.value.Append(s.valueBuf[:0], b.Values[i]); err != nil {
					s.note(fmt.Errorf("encode the value: %w", err))
					continue
				}
				s.valueBuf = value
			}
		}
		s.out.put(b.Times[i], key, value, headers)
	}
}
