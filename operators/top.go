package operators

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// Ranked is one row of a Top: a key and what it is ranked by.
type Ranked[K any, N cmp.Ordered] struct {
	Key   K `json:"key"`
	Value N `json:"value"`
}

// Span is a window of time as a key of its own: what a Top is written under.
type Span = codec.Window

// SpanKey reads and writes the key of a Top: start and end.
var SpanKey = codec.Span

// candidate is a row on its way to the task that ranks the window.
type candidate[K any, N cmp.Ordered] struct {
	Start int64 `json:"s"`
	End   int64 `json:"e"`
	Key   K     `json:"k"`
	Value N     `json:"v"`
}

func (c candidate[K, N]) window() codec.Window { return codec.Window{Start: c.Start, End: c.End} }

// Top ranks the results of windows: once a window is complete it emits the n
// keys with the largest values, the largest first, equal values in the order of
// the keys' bytes. A result that replaces an earlier one for its key and window
// counts in its place; it must not be the smaller of the two.
//
// Each task ships its own n best of what it emits at once to one task, through
// the internal topic of that name, which keeps them in the store of that name.
func Top[K any, N cmp.Ordered](s Stream[Windowed[K], N], name string, n int) Stream[Span, []Ranked[K, N]] {
	in := of(s)
	best := in.g.add("best", "", in.step)
	best.usesKey, best.usesValue, best.rekeys = true, true, true
	if n < 1 {
		in.g.mistake(best.at, "top %q: got n %d, want 1 or more", name, n)
	}
	key := func() (Codec[K], error) { return codec.For[K]() }
	candidates := newNode[Windowed[K], candidate[K, N]](best, nil, codec.JSON[candidate[K, N]]())
	in.outs = append(in.outs, func(w *wiring) push[Windowed[K], N] {
		c, err := key()
		w.fail(best, err)
		p := &picker[K, N]{n: n, key: c, out: candidates.wire(w), nulls: w.flow.counter(best, dropNullValue)}
		return p.batch
	})
	shipped := of(KeyBy(Stream[Windowed[K], candidate[K, N]]{candidates}, name, candidate[K, N].window, Repartition{Partitions: 1}))

	st := in.g.add("top", name, shipped.step)
	st.usesValue, st.timed, st.keyed, st.made, st.holds = true, true, true, true, false
	st.keyCodec = func() (string, error) { return codec.Span.Name(), nil }
	st.valueCodec = func() (string, error) { return codecName[[]Ranked[K, N]](nil) }
	rows := codec.JSON[ranking[K, N]]()
	st.store = &StoreDecl{Name: name, Kind: "window", Window: fmt.Sprintf("top %d", n), Retain: topRetain, Query: topQuery[K, N](name, rows)}
	out := newNode[Span, []Ranked[K, N]](st, codec.Span, codec.JSON[[]Ranked[K, N]]())
	shipped.outs = append(shipped.outs, func(w *wiring) push[codec.Window, candidate[K, N]] {
		c, err := key()
		w.fail(st, err)
		t := &ranker[K, N]{n: n, key: c, line: w.line(st), out: out.wire(w), w: noTime, expired: noTime, late: w.flow.counter(st, dropLate), nulls: w.flow.counter(st, dropNullValue)}
		if t.store = w.store(st); t.store != nil {
			t.cache = state.NewCache(t.store, nil, rows, false)
		}
		w.operate(st, t)
		return t.batch
	})
	return Stream[Span, []Ranked[K, N]]{out}
}

// rank orders rows: larger values first, then by the keys' bytes.
func rank[K any, N cmp.Ordered](key Codec[K]) func(a, b Ranked[K, N]) int {
	return func(a, b Ranked[K, N]) int {
		if c := cmp.Compare(b.Value, a.Value); c != 0 {
			return c
		}
		x, _ := key.Append(nil, a.Key)
		y, _ := key.Append(nil, b.Key)
		return bytes.Compare(x, y)
	}
}

// picker lets only the n best of a window in a batch pass. Windows emit their
// results together, so few batches carry most of a window.
type picker[K any, N cmp.Ordered] struct {
	n      int
	key    Codec[K]
	rows   []Ranked[K, N]
	result Batch[Windowed[K], candidate[K, N]]
	out    push[Windowed[K], candidate[K, N]]
	nulls  *int64
}

func (p *picker[K, N]) batch(b *Batch[Windowed[K], N]) error {
	p.result.clear(nil)
	for from := 0; from < b.Len(); {
		w, to := b.Keys[from].Window, from
		p.rows = p.rows[:0]
		for ; to < b.Len() && b.Keys[to].Window == w; to++ {
			if b.Flags[to]&NullValue != 0 {
				*p.nulls++
				continue
			}
			p.rows = append(p.rows, Ranked[K, N]{b.Keys[to].Key, b.Values[to]})
		}
		slices.SortFunc(p.rows, rank[K, N](p.key))
		for _, r := range p.rows[:min(p.n, len(p.rows))] {
			p.result.put(Windowed[K]{Key: r.Key, Window: w}, candidate[K, N]{w.Start, w.End, r.Key, r.Value}, w.End-1, 0, -1)
		}
		from = to
	}
	if p.result.Len() == 0 {
		return nil
	}
	return p.out(&p.result)
}

// ranking is what the store keeps of a window.
type ranking[K any, N cmp.Ordered] struct {
	Rows    []Ranked[K, N] `json:"rows"`
	Emitted bool           `json:"emitted,omitempty"` // as Rows is now
}

// ranker keeps the n best of each window and emits them once. The store's keys
// are window start and end, 8 bytes each, ordered.
type ranker[K any, N cmp.Ordered] struct {
	passive
	n       int
	key     Codec[K]
	line    *timeline
	store   *state.Store
	cache   *state.Cache[ranking[K, N]]
	open    []codec.Window // that have something to emit, by end, then start
	loaded  bool
	w       int64
	expired int64 // windows that start before are gone from the store
	result  Batch[Span, []Ranked[K, N]]
	out     push[Span, []Ranked[K, N]]
	buf     []byte

	late, nulls *int64
}

func topKey(dst []byte, w codec.Window) []byte {
	return codec.AppendOrderedInt64(codec.AppendOrderedInt64(dst, w.Start), w.End)
}

func parseTopKey(b []byte) (w codec.Window, err error) {
	rest := b
	if w.Start, rest, err = codec.OrderedInt64(rest); err == nil {
		w.End, _, err = codec.OrderedInt64(rest)
	}
	return w, err
}

func (t *ranker[K, N]) batch(b *Batch[codec.Window, candidate[K, N]]) error {
	if err := t.load(); err != nil {
		return err
	}
	for i := range b.Times {
		if b.Flags[i]&NullValue != 0 {
			*t.nulls++
			continue
		}
		c := &b.Values[i]
		if c.End <= t.w {
			*t.late++
			continue
		}
		t.buf = topKey(t.buf[:0], c.window())
		r, _, err := t.cache.Ref(t.buf)
		if err != nil {
			return err
		}
		if t.take(r, Ranked[K, N]{c.Key, c.Value}) {
			r.Emitted = false
			t.opens(c.window())
		}
	}
	if t.line != nil {
		t.line.lower(t.next())
	}
	return nil
}

// take puts a row among a window's, and tells whether that changed them.
func (t *ranker[K, N]) take(r *ranking[K, N], row Ranked[K, N]) bool {
	mine, _ := t.key.Append(nil, row.Key)
	for i := range r.Rows {
		have, _ := t.key.Append(nil, r.Rows[i].Key)
		if !bytes.Equal(have, mine) {
			continue
		}
		if r.Rows[i].Value == row.Value {
			return false
		}
		r.Rows = slices.Delete(r.Rows, i, i+1)
		break
	}
	i, _ := slices.BinarySearchFunc(r.Rows, row, rank[K, N](t.key))
	if i >= t.n {
		return false
	}
	r.Rows = slices.Insert(r.Rows, i, row)
	r.Rows = r.Rows[:min(len(r.Rows), t.n)]
	return true
}

func compareEnd(a, b codec.Window) int {
	return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.Start, b.Start))
}

func (t *ranker[K, N]) opens(w codec.Window) {
	if i, have := slices.BinarySearchFunc(t.open, w, compareEnd); !have {
		t.open = slices.Insert(t.open, i, w)
	}
}

// load finds the windows that were open at the last commit.
func (t *ranker[K, N]) load() error {
	if t.loaded {
		return nil
	}
	t.loaded = true
	return t.cache.Ascend(nil, nil, func(key []byte, r *ranking[K, N]) error {
		if r.Emitted {
			return nil
		}
		w, err := parseTopKey(key)
		if err == nil {
			t.opens(w)
		}
		return err
	})
}

func (t *ranker[K, N]) advance(w int64) error {
	if err := t.load(); err != nil {
		return err
	}
	t.w = w
	n := 0
	for n < len(t.open) && t.open[n].End <= w {
		n++
	}
	if err := t.emit(t.open[:n]); err != nil {
		return err
	}
	t.open = slices.Delete(t.open, 0, n)
	return nil
}

// emit hands on what is new of the windows.
func (t *ranker[K, N]) emit(windows []codec.Window) error {
	t.result.clear(nil)
	for _, w := range windows {
		t.buf = topKey(t.buf[:0], w)
		r, ok, err := t.cache.Ref(t.buf)
		if err != nil {
			return err
		}
		if ok && !r.Emitted {
			r.Emitted = true
			t.result.put(w, slices.Clone(r.Rows), w.End-1, 0, -1)
		}
	}
	if t.result.Len() == 0 {
		return nil
	}
	return t.out(&t.result)
}

func (t *ranker[K, N]) next() int64 {
	if len(t.open) > 0 {
		return max(t.open[0].End, addTime(t.w, 1))
	}
	return maxTime
}

// finish emits every window as it stands; a later candidate emits it again.
func (t *ranker[K, N]) finish() error {
	if err := t.load(); err != nil {
		return err
	}
	return t.emit(t.open)
}

func (t *ranker[K, N]) drain() error {
	if err := t.expire(); err != nil {
		return err
	}
	return t.cache.Drain()
}

// expire removes windows that are older than topRetain. It looks when the
// watermark has come on by expireEvery, or goes on where a commit was full.
func (t *ranker[K, N]) expire() error {
	bound := addTime(t.w, -topRetain.Milliseconds())
	if t.w == noTime || bound < addTime(t.expired, expireEvery.Milliseconds()) {
		return nil
	}
	n := 0
	var failed error
	err := t.store.Scan(nil, codec.AppendOrderedInt64(nil, bound), func(key, _ []byte) bool {
		failed = t.cache.Delete(key)
		n++
		return failed == nil && n < expirePerCommit
	})
	if n < expirePerCommit {
		t.expired = bound
	}
	if failed != nil {
		return failed
	}
	return err
}

const (
	topRetain       = 7 * 24 * time.Hour // how long a Top's windows can be queried
	expireEvery     = time.Minute        // of event time
	expirePerCommit = 10_000             // entries
)

func (t *ranker[K, N]) staging() int64 { return changedBytes(t.cache) }
func (t *ranker[K, N]) used() int64    { return t.cache.Bytes() }
func (t *ranker[K, N]) evict(n int64)  { t.cache.Evict(max(0, t.cache.Bytes()-n)) }

// topQuery reads a Top's store: a row a window, with all of its ranks.
func topQuery[K any, N cmp.Ordered](store string, value Codec[ranking[K, N]]) *StoreQuery {
	return &StoreQuery{
		Windowed: true, KeyType: reflect.TypeFor[string](), RowType: reflect.TypeFor[[]Ranked[K, N]](),
		ParseKey: func(text string) ([]byte, error) {
			if text != "" {
				return nil, fmt.Errorf("key %q: the store %q has one row a window and no keys; ask without a key", text, store)
			}
			return nil, nil
		},
		Scan: func(v *state.View, r Range, f func(Row) error) error {
			lo := codec.AppendOrderedInt64(nil, r.From)
			var hi []byte
			if r.To != 0 {
				hi = codec.AppendOrderedInt64(nil, r.To)
			}
			return scanRows(v, store, lo, hi, func(k, b []byte) (Row, error) {
				w, err := parseTopKey(k)
				if err != nil {
					return Row{}, fmt.Errorf("read store %q: window %x: %w", store, k, err)
				}
				var top ranking[K, N]
				if err := value.Decode(&top, b, nil); err != nil {
					return Row{}, fmt.Errorf("read store %q: decode the ranks of %v: %w", store, w, err)
				}
				return Row{Start: w.Start, End: w.End, Closed: top.Emitted, RawKey: []byte{}, Key: "", Value: top.Rows}, nil
			}, func(row Row) error {
				if row.End <= r.HideBefore {
					return nil
				}
				return f(row)
			})
		},
	}
}
