package operators

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"

	"github.com/gretestream/grete/state"
)

// windowQuery reads a windowed aggregate's store. What it shows for a closed
// window is what its final said: closed values are what was emitted, and slices
// are merged only for windows that are open.
func windowQuery[K, A any](store string, f fixed, key Codec[K], acc Codec[A], merge func(A, A) A) *StoreQuery {
	q := windowReader[K, A]{store: store, w: f, key: key, acc: acc, merge: merge}
	return &StoreQuery{
		Windowed: !f.forever,
		KeyType:  reflect.TypeFor[K](),
		RowType:  reflect.TypeFor[A](),
		ParseKey: func(text string) ([]byte, error) { return parseKey(key, text) },
		Scan:     q.scan,
	}
}

type windowReader[K, A any] struct {
	store string
	w     fixed
	key   Codec[K]
	acc   Codec[A]
	merge func(A, A) A
}

func (q *windowReader[K, A]) scan(v *state.View, r Range, f func(Row) error) error {
	p := progress{closed: noTime}
	b, ok, err := v.Get(q.store, q.w.progressKey())
	if err != nil {
		return err
	}
	if ok {
		if p, err = parseProgress(b); err != nil {
			return err
		}
	}
	from, to := q.bounds(r)
	if from >= to {
		return nil
	}
	if !q.w.overlaps() {
		return q.scanWindows(v, r, &p, false, from, to, f)
	}
	open := max(q.w.openAt(p.closed), noTime+1)
	if err := q.scanWindows(v, r, &p, true, from, min(to, open), f); err != nil {
		return err
	}
	return q.scanSlices(v, r, &p, max(from, open), to, f)
}

// bounds are the window starts asked for, without the windows that have expired.
func (q *windowReader[K, A]) bounds(r Range) (from, to int64) {
	if q.w.forever {
		return noTime + 1, maxTime
	}
	from, to = r.From, r.To
	if from == 0 && r.To == 0 {
		from = noTime + 1 // no range: negative starts as well
	}
	if to == 0 {
		to = maxTime
	}
	if r.HideBefore != 0 && r.HideBefore != noTime {
		from = max(from, addTime(r.HideBefore, -q.w.size)+1)
	}
	return from, to
}

// scanWindows reads values that are kept by window: all windows that do not
// overlap, and the closed ones of those that do.
func (q *windowReader[K, A]) scanWindows(v *state.View, r Range, p *progress, closed bool, from, to int64, f func(Row) error) error {
	if from >= to {
		return nil
	}
	prefix := q.w.sliceKey
	if closed {
		prefix = q.w.closedKey
	}
	lo, hi := prefix(nil, from), prefix(nil, to)
	if r.Key != nil {
		return q.seekKey(v, r.Key, lo, hi, prefix, func(start int64, value []byte) error {
			return q.row(r.Key, start, value, p, f)
		})
	}
	var ferr error
	err := v.Scan(q.store, lo, hi, func(b, value []byte) bool {
		start, key, err := q.w.parseKey(b)
		if ferr = err; err == nil {
			ferr = q.row(key, start, value, p, f)
		}
		return ferr == nil
	})
	if ferr != nil {
		return ferr
	}
	return err
}

// seekKey visits one key in each window: it looks at the first key of a window,
// reads the one it wants, and goes on with the next window.
func (q *windowReader[K, A]) seekKey(v *state.View, key, lo, hi []byte, prefix func([]byte, int64) []byte, f func(start int64, value []byte) error) error {
	for lo != nil {
		at := lo
		lo = nil
		var start int64
		var bad error
		err := v.Scan(q.store, at, hi, func(b, _ []byte) bool {
			if start, _, bad = q.w.parseKey(b); bad == nil {
				lo = prefix(nil, start+1)
			}
			return false
		})
		if err != nil || bad != nil || lo == nil {
			if err == nil {
				err = bad
			}
			return err
		}
		value, ok, err := v.Get(q.store, append(prefix(nil, start), key...))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := f(start, value); err != nil {
			return err
		}
	}
	return nil
}

// row hands on one stored value.
func (q *windowReader[K, A]) row(key []byte, start int64, value []byte, p *progress, f func(Row) error) error {
	var c cell[A]
	if err := (cellCodec[A]{acc: q.acc, start: start}).Decode(&c, value, nil); err != nil {
		return fmt.Errorf("store %q: key %s: %w", q.store, base64.StdEncoding.EncodeToString(key), err)
	}
	if c.flags&cellNone != 0 {
		return nil
	}
	closed := p.closed != noTime && q.w.closes(start) <= p.closed ||
		p.mid && p.window == start && string(key) <= string(p.key)
	return q.emit(key, start, c.acc, closed, f)
}

func (q *windowReader[K, A]) emit(key []byte, start int64, acc A, closed bool, f func(Row) error) error {
	row := Row{Start: start, End: start + q.w.size, Closed: closed, RawKey: key, Value: acc}
	if q.w.forever {
		row.Start, row.End = 0, 0
	}
	var k K
	if err := q.key.Decode(&k, key, nil); err != nil {
		return fmt.Errorf("store %q: %w", q.store, err)
	}
	row.Key = k
	return f(row)
}

// scanSlices merges the slices of open windows, window by window. A value that
// was written as closed already (the commit was full before the window was done,
// or a bounded run emitted it) counts as it is.
func (q *windowReader[K, A]) scanSlices(v *state.View, r Range, p *progress, from, to int64, f func(Row) error) error {
	if from >= to {
		return nil
	}
	var open []*slice[A]
	cells := make(map[int64]map[string]A) // by slice
	lo, hi := q.w.sliceKey(nil, from), q.w.sliceKey(nil, addTime(to, q.w.size))
	add := func(start int64, key, value []byte) error {
		var c cell[A]
		if err := (cellCodec[A]{acc: q.acc, start: start}).Decode(&c, value, nil); err != nil {
			return fmt.Errorf("store %q: %w", q.store, err)
		}
		if cells[start] == nil {
			_, end, _ := q.w.slice(start)
			open = append(open, &slice[A]{start: start, end: end})
			cells[start] = make(map[string]A)
		}
		cells[start][string(key)] = c.acc
		return nil
	}
	var err error
	if r.Key != nil {
		err = q.seekKey(v, r.Key, lo, hi, q.w.sliceKey, func(start int64, value []byte) error { return add(start, r.Key, value) })
	} else {
		var ferr error
		err = v.Scan(q.store, lo, hi, func(b, value []byte) bool {
			start, key, err := q.w.parseKey(b)
			if ferr = err; err == nil {
				ferr = add(start, key, value)
			}
			return ferr == nil
		})
		if ferr != nil {
			err = ferr
		}
	}
	if err != nil || len(open) == 0 {
		return err
	}
	first, last := max(q.w.first(open[0].start), q.w.first(from)), q.w.last(open[len(open)-1].start)
	for start := first; start <= last && start < to; start += q.w.every {
		if start < from {
			continue
		}
		if err := q.mergeOne(v, start, open, cells, f); err != nil {
			return err
		}
	}
	return nil
}

// mergeOne hands on the rows of one open window.
func (q *windowReader[K, A]) mergeOne(v *state.View, start int64, open []*slice[A], cells map[int64]map[string]A, f func(Row) error) error {
	merged := make(map[string]A)
	for _, s := range open {
		if s.start < start || s.end > start+q.w.size {
			continue
		}
		for key, acc := range cells[s.start] {
			if have, ok := merged[key]; ok {
				acc = q.merge(have, acc)
			}
			merged[key] = acc
		}
	}
	for _, key := range sortedKeys(merged) {
		acc, closed := merged[key], false
		value, ok, err := v.Get(q.store, append(q.w.closedKey(nil, start), key...))
		if err != nil {
			return err
		}
		if ok {
			var c cell[A]
			if err := (cellCodec[A]{acc: q.acc, start: start}).Decode(&c, value, nil); err != nil {
				return fmt.Errorf("store %q: %w", q.store, err)
			}
			if c.flags&cellNone != 0 {
				continue
			}
			acc = c.acc
		}
		if err := q.emit([]byte(key), start, acc, closed, f); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
