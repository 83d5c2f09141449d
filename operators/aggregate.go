package operators

import (
	"slices"
	"time"

	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// WindowTable is a windowed aggregate: a value for each key and window, kept in
// a store that can be queried.
type WindowTable[K, A any] struct {
	step    *step
	w       fixed
	key     Codec[K] // nil: by type
	acc     Codec[A]
	finals  *node[Windowed[K], A]
	updates []updatesDecl[K, A]
}

type updatesDecl[K, A any] struct {
	collapse Collapse
	node     *node[Windowed[K], A]
}

// Number is what Sum adds up.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// Aggregate folds the values of each key and window: add puts a value into the
// accumulator, which begins as the zero A, and merge joins two accumulators of
// the same key. Since windows are merged from parts, the result must not depend
// on which values were added to which part. Neither function may change what an
// accumulator points to: it returns a new one.
//
// The store holds the accumulators under the name. Records without a key or a
// value are dropped and counted.
func Aggregate[K, V, A any](g Grouped[K, V], name string, add func(A, V) A, merge func(A, A) A) *WindowTable[K, A] {
	st, t := aggregate[K, V, A](g, "aggregate", name, func(a *aggregator[K, V, A]) {
		a.merge = merge
		a.add = func(acc *A, _ bool, v V) { *acc = add(*acc, v) }
		a.loop = a.each
	})
	st.wants(add != nil, "add")
	st.wants(merge != nil, "merge")
	st.usesValue = true
	return t
}

// Count counts the records of each key and window.
func Count[K, V any](g Grouped[K, V], name string) *WindowTable[K, int64] {
	_, t := aggregate[K, V, int64](g, "count", name, func(a *aggregator[K, V, int64]) {
		a.merge = func(x, y int64) int64 { return x + y }
		a.add = func(acc *int64, _ bool, _ V) { *acc++ }
		a.loop = a.each
		if !a.wantsEach() {
			a.loop = func() { countEach(a) }
		}
	})
	return t
}

// Sum adds up f(value) over the records of each key and window.
func Sum[K, V any, N Number](g Grouped[K, V], name string, f func(V) N) *WindowTable[K, N] {
	st, t := aggregate[K, V, N](g, "sum", name, func(a *aggregator[K, V, N]) {
		a.merge = func(x, y N) N { return x + y }
		a.add = func(acc *N, _ bool, v V) { *acc += f(v) }
		a.loop = a.each
	})
	st.wants(f != nil, "the function")
	st.usesValue = true
	return t
}

// Reduce joins the values of each key and window, two at a time. f must not care
// in which order they come.
func Reduce[K, V any](g Grouped[K, V], name string, f func(V, V) V) *WindowTable[K, V] {
	st, t := aggregate[K, V, V](g, "reduce", name, func(a *aggregator[K, V, V]) {
		a.merge = f
		a.add = func(acc *V, existed bool, v V) {
			if existed {
				v = f(*acc, v)
			}
			*acc = v
		}
		a.loop = a.each
	})
	st.wants(f != nil, "the function")
	st.usesValue = true
	t.acc = g.n.value
	return t
}

// aggregate adds the step and its store; setUp completes a task's copy.
func aggregate[K, V, A any](g Grouped[K, V], kind, name string, setUp func(*aggregator[K, V, A])) (*step, *WindowTable[K, A]) {
	in := g.n
	if in == nil {
		panic("the zero op.Grouped was used; windows come from op.Window (" + caller() + ")")
	}
	st := in.g.add(kind, name, in.step)
	st.durable()
	st.timed, st.keyed, st.holds = true, true, true
	t := &WindowTable[K, A]{step: st, w: g.w, key: in.key}
	st.store = &StoreDecl{Name: name, Kind: "window", Window: g.w.String(), Retain: time.Duration(g.w.retain) * time.Millisecond}
	if g.w.forever {
		st.store.Kind, st.store.Retain = "keyed", 0
	}
	merge := func() func(A, A) A { // the query merges as the task does
		var a aggregator[K, V, A]
		setUp(&a)
		return a.merge
	}
	st.extra = func() {
		st.store.KeyCodec = st.resolve(func() (string, error) { return codecName(t.key) }, "key")
		st.store.ValueCodec = st.resolve(func() (string, error) { return codecName(t.acc) }, "accumulator")
		rawKey, _ := passes(in.step)
		st.usesKey = rawKey != st.store.KeyCodec || len(t.updates) > 0
		key, keyErr := codecOf(t.key)
		acc, accErr := codecOf(t.acc)
		if keyErr == nil && accErr == nil {
			st.store.Query = windowQuery(name, g.w, key, acc, merge())
		}
	}
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		a := newAggregator[K, V, A](w, st, in, g.w, t)
		setUp(a)
		if w.flow.err == nil {
			w.operate(st, a)
		}
		return a.batch
	})
	return st, t
}

// Final returns each window's values once, when it closes: in the order of the
// windows' ends, then of the keys' bytes. Their time is the window's last
// millisecond.
//
// A bounded run ends with a final for every window; one that the watermark had
// not closed stays open, and gets a corrected final if more records come.
func (t *WindowTable[K, A]) Final() Stream[Windowed[K], A] {
	if t.finals == nil {
		st := t.step.g.add("final", "", t.step)
		st.made, st.lag = true, t.w.grace
		if t.w.forever {
			st.lag = t.w.size // whatever its time, it comes at the end
		}
		t.finals = newNode(st, windowedCodec(t.key), t.acc)
	}
	return Stream[Windowed[K], A]{t.finals}
}

// Updates returns a value each time it changes: a row for every record and
// window that it counts in, in the order of the records, or fewer if collapsed.
// Their time is the largest event time that the key has in the window.
func (t *WindowTable[K, A]) Updates(collapse ...Collapse) Stream[Windowed[K], A] {
	st := t.step.g.add("updates", "", t.step)
	st.made = true
	if !t.w.forever {
		st.lag = t.w.size + t.w.grace
	}
	var c Collapse
	if len(collapse) > 0 {
		c = collapse[0]
	}
	c.check(st)
	n := newNode(st, windowedCodec(t.key), t.acc)
	t.updates = append(t.updates, updatesDecl[K, A]{c, n})
	return Stream[Windowed[K], A]{n}
}

// windowedCodec is the codec of windowed keys by that of keys, if one is known.
func windowedCodec[K any](key Codec[K]) Codec[Windowed[K]] {
	if key == nil {
		return nil
	}
	return codec.SpanKey(key)
}

// cell is what a store keeps for a key in a window or slice.
//
//	flags        1  bit 0: the final of this very value was emitted,
//	                bit 1: the largest time follows, bit 2: an update is due,
//	                bit 3: there was no value (of a closed window: guardFinals)
//	time            with bit 1: zigzag varint, ms after the window's start
//	accumulator     by its codec
type cell[A any] struct {
	acc   A
	max   int64 // largest event time; kept only where updates are read
	flags uint8
}

const (
	cellFinal uint8 = 1 << iota
	cellTimed
	cellDue
	cellNone
)

// slice is the open state of a window or, where windows overlap, of a part of
// some.
type slice[A any] struct {
	start, end int64
	cells      *state.Cache[cell[A]] // nil: no window over it is open
	late       int64                 // windows over it that have closed
	careful    bool                  // a change of it may have to be noted elsewhere first: see guardFinals
}

// nowhere is around no time at all.
func nowhere[A any]() *slice[A] { return &slice[A]{start: 1, end: 0} }

// aggregator is a task's copy of a windowed aggregate.
//
// Open windows are slices: one Cache each, in the order of their starts. The
// slice of the last record is at hand, so that most records cost one comparison
// and one look-up. What the watermark does is in closing.go.
type aggregator[K, V, A any] struct {
	passive
	guard
	w       fixed
	store   *state.Store
	keys    Codec[K]
	cells   Codec[A]
	rawKey  bool
	add     func(acc *A, existed bool, v V)
	merge   func(A, A) A
	final   push[Windowed[K], A] // nil: nobody reads them
	updates []*updater[K, A]
	// Whether some updates are collapsed, and some are not.
	collapses, immediate bool

	mark   int64       // the watermark when it last passed a window's bound
	slices []*slice[A] // with open state, by start
	cur    *slice[A]   // of the last record

	in        *Batch[K, V]
	existed   bool // whether the present record's key had a value
	keyBuf    []byte
	err       error // of the store
	nullKeys  *int64
	nullValue *int64
	lates     *int64
	outside   *int64

	closing closing[K, A]
}

func newAggregator[K, V, A any](w *wiring, st *step, in *node[K, V], f fixed, t *WindowTable[K, A]) *aggregator[K, V, A] {
	a := &aggregator[K, V, A]{
		guard: newGuard(w, st), w: f, rawKey: !st.usesKey, mark: noTime, cur: nowhere[A](), keyBuf: make([]byte, 0, 64),
		nullKeys: w.flow.counter(st, dropNullKey), nullValue: w.flow.counter(st, dropNullValue),
		lates: w.flow.counter(st, dropLate), outside: w.flow.counter(st, dropNoWindow),
	}
	var err error
	a.keys, err = codecOf(t.key)
	w.fail(st, err)
	a.cells, err = codecOf(t.acc)
	w.fail(st, err)
	a.store = w.store(st)
	if st.usesKey {
		rawKey, _ := passes(in.step)
		a.rawKey = rawKey == st.store.KeyCodec
	}
	if t.finals.read() {
		a.final = t.finals.wire(w)
	}
	for _, u := range t.updates {
		if u.node.read() {
			up := newUpdater(u, w)
			a.updates = append(a.updates, up)
			a.collapses, a.immediate = a.collapses || up.collapses(), a.immediate || !up.collapses()
		}
	}
	a.undo = a.rollBack
	a.closing.init(f)
	return a
}

// wantsEach tells whether every record counts beyond its value: for updates, or
// as the key's largest time.
func (a *aggregator[K, V, A]) wantsEach() bool { return len(a.updates) > 0 || a.w.forever }

func (a *aggregator[K, V, A]) batch(b *Batch[K, V]) error {
	a.in = b
	a.warm(b)
	a.run(b.Len())
	if a.err != nil {
		return a.err
	}
	if err := bury(&a.guard, b); err != nil {
		return err
	}
	for _, u := range a.updates {
		if err := u.flush(); err != nil {
			return err
		}
	}
	return nil
}

// warmCells is how many keys a slice has where its cells lie outside of the
// processor's caches.
const warmCells = 1 << 17

// warm has the cells of a batch fetched before they are used: for all records at
// once, where each alone would wait. Keys that would have to be encoded for it
// are left out.
func (a *aggregator[K, V, A]) warm(b *Batch[K, V]) {
	cells := a.cur.cells
	if cells == nil || !a.rawKey || cells.Len() < warmCells {
		return
	}
	for i := range b.Times {
		if r := b.origin(i); r != nil && b.Flags[i] == 0 {
			cells.Warm(r.Key)
		}
	}
}

// each folds the records of the batch.
func (a *aggregator[K, V, A]) each() {
	b := a.in
	for i := a.at; i < len(b.Times); i++ {
		a.at = i
		c := a.cellOf(b, i)
		if c == nil {
			if a.err != nil {
				return
			}
			continue
		}
		a.add(&c.acc, a.existed, b.Values[i])
		c.flags = 0
		if a.wantsEach() {
			c.max = max(c.max, b.Times[i])
			a.changed(b, i, c)
		}
	}
}

// countEach is each for Count: no user function, no value.
func countEach[K, V any](a *aggregator[K, V, int64]) {
	b := a.in
	for i := a.at; i < len(b.Times); i++ {
		a.at = i
		c := a.cellOf(b, i)
		if c == nil {
			if a.err != nil {
				return
			}
			continue
		}
		c.acc++
		c.flags = 0
	}
}

// cellOf returns the cell that record i counts in; nil if it counts in none or
// the store failed.
func (a *aggregator[K, V, A]) cellOf(b *Batch[K, V], i int) *cell[A] {
	if b.Flags[i] != 0 {
		if b.Flags[i]&NullKey != 0 {
			*a.nullKeys++
		} else {
			*a.nullValue++
		}
		return nil
	}
	t := b.Times[i]
	s := a.cur
	if t < s.start || t >= s.end {
		s = a.sliceOf(t)
	}
	if s.late != 0 || s.cells == nil {
		*a.lates += s.late
		if s.cells == nil {
			if s.late == 0 {
				*a.outside++
			}
			return nil
		}
	}
	key := a.keyOf(b, i)
	if key == nil {
		return nil
	}
	if s.careful {
		if a.err = a.guardFinals(s, key); a.err != nil {
			return nil
		}
	}
	c, existed, err := s.cells.Ref(key)
	if err != nil {
		a.err = err
		return nil
	}
	if a.existed = existed; !existed {
		c.max = noTime
	}
	return c
}

// keyOf returns the encoded key of record i, or notes that it has none.
func (a *aggregator[K, V, A]) keyOf(b *Batch[K, V], i int) []byte {
	if a.rawKey {
		if r := b.origin(i); r != nil {
			return r.Key
		}
	}
	key, err := a.keys.Append(a.keyBuf[:0], b.Keys[i])
	if err != nil {
		a.note(err)
		return nil
	}
	a.keyBuf = key
	return key
}

// rollBack takes back what the present record did before its function failed: a
// key that it was the first to bring.
func (a *aggregator[K, V, A]) rollBack() {
	if a.existed || a.cur.cells == nil {
		return
	}
	if key := a.keyOf(a.in, a.at); key != nil {
		a.err = a.cur.cells.Delete(key)
	}
}

// sliceOf finds or opens the slice around a time, and makes it the present one.
func (a *aggregator[K, V, A]) sliceOf(t int64) *slice[A] {
	start, end, ok := a.w.slice(t)
	if !ok {
		a.cur = &slice[A]{start: start, end: end}
		return a.cur
	}
	if a.w.closes(a.w.last(start)) <= a.mark { // though it may still wait to be emitted
		a.cur = &slice[A]{start: start, end: end, late: a.lateAt(start)}
		return a.cur
	}
	at := len(a.slices)
	for at > 0 && a.slices[at-1].start > start {
		at--
	}
	if at > 0 && a.slices[at-1].start == start {
		a.cur = a.slices[at-1]
		return a.cur
	}
	// The store has nothing under it: restore opened all slices that it has.
	s := &slice[A]{start: start, end: end, late: a.lateAt(start), cells: a.newCells(start, true)}
	s.careful = a.closing.careful(s, a.w, a.mark)
	a.slices = slices.Insert(a.slices, at, s)
	a.cur = s
	return s
}

// lateAt is how many of the windows over a slice have closed.
func (a *aggregator[K, V, A]) lateAt(start int64) int64 {
	first, open := a.w.first(start), a.w.openAt(a.mark)
	if open <= first {
		return 0
	}
	return (min(open, a.w.last(start)+a.w.every) - first) / a.w.every
}

// newCells opens the state of a slice.
func (a *aggregator[K, V, A]) newCells(start int64, fresh bool) *state.Cache[cell[A]] {
	return state.NewCache(a.store, a.w.sliceKey(nil, start), cellCodec[A]{a.cells, start, a.wantsEach()}, fresh)
}

// changed tells the updates that record i changed its cell.
func (a *aggregator[K, V, A]) changed(b *Batch[K, V], i int, c *cell[A]) {
	t, cur := b.Times[i], a.cur
	acc, latest := c.acc, c.max
	for _, u := range a.updates {
		switch {
		case u.collapses():
			c.flags |= cellDue
		case !a.w.overlaps():
			u.add(windowed(b.Keys[i], cur.start, cur.end), acc, latest)
		}
	}
	if !a.w.overlaps() && !a.collapses {
		return
	}
	key := a.keyOf(b, i)
	var rows []cell[A] // of the open windows around the record, for those who want each
	first := max(a.w.first(t), a.w.openAt(a.mark))
	if a.w.overlaps() && a.immediate {
		for start := first; start <= t; start += a.w.every {
			m, _, err := a.merged(start, key)
			if err != nil {
				a.err = err
				return
			}
			rows = append(rows, m)
		}
	}
	for _, u := range a.updates {
		if u.collapses() {
			u.remember(cur.start, key)
			continue
		}
		for k, m := range rows {
			start := first + int64(k)*a.w.every
			u.add(windowed(b.Keys[i], start, start+a.w.size), m.acc, m.max)
		}
	}
	for _, u := range a.updates {
		if n := u.collapse.after; n > 0 && u.seen >= n && a.err == nil {
			a.err = a.flushDue(u)
		}
	}
}

// merged returns the value of a key in a window of several slices.
func (a *aggregator[K, V, A]) merged(start int64, key []byte) (m cell[A], ok bool, err error) {
	m.max = noTime
	for _, s := range a.slices {
		if s.start < start || s.end > start+a.w.size {
			continue
		}
		c, have, err := s.cells.Get(key)
		if err != nil {
			return m, false, err
		}
		if !have {
			continue
		}
		if ok {
			m.acc = a.merge(m.acc, c.acc)
		} else {
			m.acc = c.acc
		}
		ok = true
		m.max = max(m.max, c.max)
	}
	return m, ok, nil
}

func (a *aggregator[K, V, A]) staging() int64 {
	n := int64(0)
	for _, s := range a.slices {
		n += changedBytes(s.cells)
	}
	return n
}

func (a *aggregator[K, V, A]) used() int64 {
	n := int64(0)
	for _, s := range a.slices {
		n += s.cells.Bytes()
	}
	return n
}

// evict lets go of about so many bytes, the same share of every window.
func (a *aggregator[K, V, A]) evict(bytes int64) {
	total := a.used()
	for _, s := range a.slices {
		have := s.cells.Bytes()
		s.cells.Evict(have - int64(float64(bytes)*float64(have)/float64(total)))
	}
}
