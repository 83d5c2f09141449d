package operators

import (
	"slices"
	"time"

	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// closeBytes is when closing windows waits for the next commit: what has been
// collected for this one, outputs and closed values together. A commit is at
// most 16 MiB, and records come on top of this. Tests make it small.
var closeBytes = 8 << 20

// closeStep is how many finals go on at a time.
var closeStep = batchRecords

// expireKeys is how many keys may expire in one commit.
const expireKeys = 10_000

// closing is what an aggregator knows of windows that close, and how far it is.
//
// A window closes in three steps: its keys are gone through in order and their
// finals emitted; windows that overlap write each value once more, as the closed
// one; the slices that no open window needs go away. Any number of keys may be
// involved, so it stops where a commit is full and goes on after it: progress is
// in the store, in the same commit as the finals that it speaks of.
//
// What comes in between does not get into a window that is waiting: it is late
// for it. Where windows overlap, the slice may belong to an open window too, and
// the late record is folded into it; before that, the value that the waiting
// window is going to have is put aside as its closed one. See guardFinals.
type closing[K, A any] struct {
	progress
	moved     bool // progress is to be stored
	pending   bool // windows are due that did not fit in this commit
	finishing bool // likewise, of a bounded run
	expiring  bool // likewise, of keys to expire
	expired   int  // keys in this commit
	restored  int64
	finished  finishCursor
	merging   *merging[A]                     // the overlapping window being closed
	values    map[int64]*state.Cache[cell[A]] // closed values of windows that are being closed
	spaces    [2]expiry                       // slices (or windows), closed windows
	result    Batch[Windowed[K], A]
	arena     codec.Arena
	decoded   K // what emit decodes into: a variable of its own would be an allocation for each final
}

type finishCursor struct {
	start int64
	key   []byte
}

// expiry is where the keys of a space begin.
type expiry struct{ from []byte }

func (c *closing[K, A]) init(f fixed) {
	c.progress.closed, c.restored = noTime, noTime
	c.values = make(map[int64]*state.Cache[cell[A]])
	c.spaces[0].from, c.spaces[1].from = f.firstKey(false), f.firstKey(true)
	c.finished.start = noTime
}

// advance closes what is due at watermark w.
func (a *aggregator[K, V, A]) advance(w int64) error {
	for _, u := range a.updates {
		if err := a.flushDue(u); err != nil {
			return err
		}
	}
	a.mark = w
	a.cur = nowhere[A]()
	for _, s := range a.slices {
		s.late = a.lateAt(s.start)
	}
	return a.work()
}

func (a *aggregator[K, V, A]) next() int64 {
	if a.mark == noTime {
		return noTime
	}
	return a.w.closes(a.w.openAt(a.mark))
}

// finish emits a final for every open window. Each value remembers that it was
// emitted, and forgets it when it changes; the windows stay open.
func (a *aggregator[K, V, A]) finish() error {
	for _, u := range a.updates {
		if err := a.flushDue(u); err != nil {
			return err
		}
	}
	if a.final == nil {
		return nil
	}
	a.closing.finishing = true
	return a.work()
}

func (a *aggregator[K, V, A]) busy() bool {
	c := &a.closing
	return c.pending || c.finishing || c.expiring
}

func (a *aggregator[K, V, A]) resume() error { return a.work() }

// earliest is the end of the window that waits, less a millisecond: the time of
// its finals.
func (a *aggregator[K, V, A]) earliest() int64 {
	if !a.closing.pending || len(a.slices) == 0 {
		return maxTime
	}
	return a.nextWindow() + a.w.size - 1
}

// work closes and expires what is due, as far as this commit has room.
func (a *aggregator[K, V, A]) work() error {
	c := &a.closing
	c.pending = true
	done, err := a.closeDue()
	if err != nil {
		return err
	}
	c.pending = !done
	if done && c.finishing {
		if done, err = a.finishAll(); err != nil {
			return err
		}
		c.finishing = !done
	}
	for _, s := range a.slices {
		s.careful = c.careful(s, a.w, a.mark)
	}
	a.cur = nowhere[A]()
	return a.expire()
}

// full tells that this commit takes no more closing.
func (f *Flow) full() bool { return f.closed+f.OutputBytes() > closeBytes }

// nextWindow is the first window with open slices that has not been closed.
func (a *aggregator[K, V, A]) nextWindow() int64 {
	return max(a.w.openAt(a.closing.progress.closed), a.w.first(a.slices[0].start))
}

// closeDue closes the windows that are due, in order. done is false if the
// commit is full.
func (a *aggregator[K, V, A]) closeDue() (done bool, err error) {
	p := &a.closing.progress
	for len(a.slices) > 0 {
		start := a.nextWindow()
		if a.w.closes(start) > a.mark {
			break
		}
		if a.w.overlaps() {
			done, err = a.closeMerged(start, false)
		} else {
			done, err = a.closeSlice(a.slices[0], false)
		}
		if !done || err != nil {
			// Windows before this one had nothing; a record that comes now is
			// late for them.
			p.closed = max(p.closed, a.w.closes(start)-1)
			return false, err
		}
		p.mid, p.key = false, nil
		p.closed = max(p.closed, a.w.closes(start))
		a.closing.moved = true
		if err := a.retire(); err != nil {
			return false, err
		}
	}
	if a.mark > p.closed {
		p.closed = a.mark
		a.closing.moved = true
	}
	return true, nil
}

// retire lets go of the slices that no open window needs.
func (a *aggregator[K, V, A]) retire() error {
	open := a.w.openAt(a.closing.progress.closed)
	n := 0
	for n < len(a.slices) && a.slices[n].start < open {
		s := a.slices[n]
		if err := s.cells.Drain(); err != nil {
			return err
		}
		s.cells.Drop()
		n++
	}
	a.slices = slices.Delete(a.slices, 0, n)
	return nil
}

// closeSlice emits the finals of a window that is one slice. Its values are
// closed as they are: only those that a bounded run emits are written again,
// marked, since the window stays open.
func (a *aggregator[K, V, A]) closeSlice(s *slice[A], finish bool) (done bool, err error) {
	if a.final == nil {
		return true, nil
	}
	c := &a.closing
	var from []byte
	switch {
	case finish && c.finished.start == s.start:
		from = c.finished.key
	case !finish && c.mid && c.window == s.start:
		from = c.key
	}
	if from != nil {
		from = append(slices.Clone(from), 0) // the key behind it
	}
	c.result.clear(nil)
	full := false
	err = s.cells.Ascend(from, nil, func(key []byte, v *cell[A]) error {
		if v.flags&cellFinal != 0 {
			return nil
		}
		if err := a.emit(key, s.start, v); err != nil {
			return err
		}
		if finish {
			marked := *v
			marked.flags |= cellFinal
			a.flow.closed += len(key) + cellBytes
			if err := s.cells.Put(key, marked); err != nil {
				return err
			}
		}
		if c.result.Len() < closeStep {
			return nil
		}
		if err := a.flushFinals(); err != nil {
			return err
		}
		if full = a.flow.full(); !full {
			return nil
		}
		if finish {
			c.finished = finishCursor{s.start, slices.Clone(key)}
		} else {
			c.mid, c.window, c.key, c.moved = true, s.start, slices.Clone(key), true
		}
		return state.ErrStop
	})
	if err != nil {
		return false, err
	}
	return !full, a.flushFinals()
}

// cellBytes is about what a key takes in a changelog beside its own bytes.
const cellBytes = 40

// emit collects a final.
func (a *aggregator[K, V, A]) emit(key []byte, start int64, c *cell[A]) error {
	var zero K
	k := &a.closing.decoded
	*k = zero
	if err := a.keys.Decode(k, key, &a.closing.arena); err != nil {
		return err
	}
	end := start + a.w.size
	at := end - 1
	if a.w.forever {
		at = c.max
	}
	a.closing.result.put(windowed(*k, start, end), c.acc, at, 0, -1)
	return nil
}

func (a *aggregator[K, V, A]) flushFinals() error {
	r := &a.closing.result
	if r.Len() == 0 {
		return nil
	}
	if err := a.final(r); err != nil {
		return err
	}
	r.clear(nil)
	return nil
}

// finishAll emits the finals of all open windows that have not been emitted.
func (a *aggregator[K, V, A]) finishAll() (done bool, err error) {
	c := &a.closing
	if !a.w.overlaps() {
		for _, s := range a.slices {
			if s.start < c.finished.start {
				continue
			}
			if done, err = a.closeSlice(s, true); !done || err != nil {
				return false, err
			}
		}
		c.finished = finishCursor{start: noTime}
		return true, nil
	}
	if len(a.slices) == 0 {
		return true, nil
	}
	last := a.w.last(a.slices[len(a.slices)-1].start)
	for start := max(a.nextWindow(), c.finished.start); start <= last; start += a.w.every {
		if !slices.ContainsFunc(a.slices, func(s *slice[A]) bool { return s.start >= start && s.end <= start+a.w.size }) {
			continue
		}
		c.finished.start = start
		if !slices.Contains(c.provisional, start) {
			a.closedCells(start) // while it is known to be fresh
			c.provisional = append(c.provisional, start)
			c.moved = true
		}
		if done, err = a.closeMerged(start, true); !done || err != nil {
			return false, err
		}
	}
	c.finished = finishCursor{start: noTime}
	return true, nil
}

// merging is the values of an overlapping window, in the order of keys.
type merging[A any] struct {
	start int64
	keys  []string
	cells map[string]*cell[A]
	at    int      // the next key
	none  []string // keys that came too late for the window
}

// merge joins the slices of a window.
func (a *aggregator[K, V, A]) mergeWindow(start int64) (*merging[A], error) {
	m := &merging[A]{start: start, cells: make(map[string]*cell[A])}
	for _, s := range a.slices {
		if s.start < start || s.end > start+a.w.size {
			continue
		}
		err := s.cells.Ascend(nil, nil, func(key []byte, v *cell[A]) error {
			if have := m.cells[string(key)]; have != nil {
				have.acc = a.merge(have.acc, v.acc)
				have.max = max(have.max, v.max)
				return nil
			}
			k := string(key)
			m.keys = append(m.keys, k)
			m.cells[k] = &cell[A]{acc: v.acc, max: v.max}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(m.keys)
	return m, nil
}

// closeMerged emits the finals of a window of several slices and writes each as
// the closed value.
func (a *aggregator[K, V, A]) closeMerged(start int64, finish bool) (done bool, err error) {
	c := &a.closing
	if c.merging == nil || c.merging.start != start {
		if c.merging, err = a.mergeWindow(start); err != nil {
			return false, err
		}
	}
	m := c.merging
	cells := a.closedCells(start)
	c.result.clear(nil)
	for m.at < len(m.keys) {
		k := m.keys[m.at]
		m.at++
		v := *m.cells[k]
		have, ok, err := cells.GetString(k)
		if err != nil {
			return false, err
		}
		if ok && have.flags&cellNone != 0 {
			m.none = append(m.none, k)
			continue
		}
		if ok && have.flags&cellFinal != 0 {
			continue // emitted: by a bounded run, or before a crash
		}
		if ok {
			v = *have // put aside before a late record got into its slice
		}
		if a.final != nil {
			if err := a.emit([]byte(k), start, &v); err != nil {
				return false, err
			}
		}
		v.flags = cellFinal
		if err := cells.Put([]byte(k), v); err != nil {
			return false, err
		}
		a.flow.closed += len(k) + cellBytes
		if m.at%closeStep != 0 {
			continue
		}
		if err := a.flushFinals(); err != nil {
			return false, err
		}
		if a.flow.full() {
			if !finish {
				c.mid, c.window, c.key, c.moved = true, start, []byte(k), true
			}
			return false, nil
		}
	}
	if err := a.flushFinals(); err != nil {
		return false, err
	}
	// Not before: after a restart in the middle the window is merged again, and
	// these must still be known not to be in it.
	for _, k := range m.none {
		if err := cells.Delete([]byte(k)); err != nil {
			return false, err
		}
	}
	c.merging = nil
	if err := cells.Drain(); err != nil {
		return false, err
	}
	cells.Drop()
	delete(c.values, start)
	if i := slices.Index(c.provisional, start); i >= 0 && !finish {
		c.provisional = slices.Delete(c.provisional, i, i+1)
		c.moved = true
	}
	return true, nil
}

// closedCells opens the closed values of a window.
func (a *aggregator[K, V, A]) closedCells(start int64) *state.Cache[cell[A]] {
	c := &a.closing
	if cells := c.values[start]; cells != nil {
		return cells
	}
	fresh := !slices.Contains(c.provisional, start) && (c.restored == noTime || a.w.closes(start) > c.restored)
	cells := state.NewCache(a.store, a.w.closedKey(nil, start), cellCodec[A]{a.cells, start, a.wantsEach()}, fresh)
	c.values[start] = cells
	return cells
}

// careful tells whether changing a slice touches finals that were emitted or put
// aside for windows that overlap.
func (c *closing[K, A]) careful(s *slice[A], f fixed, mark int64) bool {
	if !f.overlaps() {
		return false
	}
	if c.pending && f.closes(f.first(s.start)) <= mark {
		return true
	}
	return slices.ContainsFunc(c.provisional, func(start int64) bool { return start <= s.start && s.end <= start+f.size })
}

// guardFinals is called before a key of a careful slice changes. A window that
// is due and waiting keeps the value that it has; one whose final a bounded run
// emitted forgets it, and will emit a corrected one.
func (a *aggregator[K, V, A]) guardFinals(s *slice[A], key []byte) error {
	c := &a.closing
	for start := max(a.w.first(s.start), a.w.openAt(c.progress.closed)); start <= s.start; start += a.w.every {
		due := a.w.closes(start) <= a.mark
		if !due && !slices.Contains(c.provisional, start) {
			continue
		}
		if c.merging != nil && c.merging.start == start && !due {
			c.merging = nil // a bounded run reads the window again
		}
		cells := a.closedCells(start)
		_, have, err := cells.Get(key)
		if err != nil {
			return err
		}
		switch {
		case !due && have:
			err = cells.Delete(key)
		case due && !have:
			m, ok, merr := a.merged(start, key)
			if err = merr; err == nil {
				if !ok {
					m.flags = cellNone
				}
				err = cells.Put(key, m)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expire deletes the keys of windows that nobody may ask for any more, and of
// slices that have been merged for the last time.
func (a *aggregator[K, V, A]) expire() error {
	c := &a.closing
	c.expiring = false
	if a.mark == noTime {
		return nil
	}
	closed := a.w.openAt(c.progress.closed)
	old := min(addTime(a.mark, -a.w.retain-a.w.size)+1, closed) // windows that end at or before W - Retain
	if !a.w.overlaps() {
		return a.expireSpace(&c.spaces[0], a.w.sliceKey(nil, old))
	}
	if err := a.expireSpace(&c.spaces[0], a.w.sliceKey(nil, closed)); err != nil {
		return err
	}
	return a.expireSpace(&c.spaces[1], a.w.closedKey(nil, old))
}

func (a *aggregator[K, V, A]) expireSpace(e *expiry, to []byte) error {
	c := &a.closing
	if string(e.from) >= string(to) {
		return nil
	}
	next := to
	err := a.store.Scan(e.from, to, func(key, _ []byte) bool {
		if c.expired >= expireKeys {
			c.expiring = true
			next = slices.Clone(key)
			return false
		}
		c.expired++
		a.store.Delete(slices.Clone(key))
		return true
	})
	e.from = next
	return err
}

// drain stages what has changed.
func (a *aggregator[K, V, A]) drain() error {
	c := &a.closing
	c.expired = 0
	for _, s := range a.slices {
		if err := s.cells.Drain(); err != nil {
			return err
		}
	}
	for start, cells := range c.values {
		if err := cells.Drain(); err != nil {
			return err
		}
		if !a.busy() {
			cells.Drop()
			delete(c.values, start)
		}
	}
	if c.moved {
		c.moved = false
		a.store.Put(a.w.progressKey(), c.progress.append(nil))
	}
	return nil
}

// restore reads back how far closing had come, and which slices are open.
func (a *aggregator[K, V, A]) restore(w int64) error {
	a.mark = w
	c := &a.closing
	c.restored = w
	b, ok, err := a.store.Get(a.w.progressKey())
	if err != nil {
		return err
	}
	if ok {
		if c.progress, err = parseProgress(b); err != nil {
			return err
		}
	}
	from := a.w.firstKey(false)
	if open := a.w.openAt(c.progress.closed); open != noTime {
		from = a.w.sliceKey(nil, open)
	}
	var end []byte
	if a.w.overlaps() {
		end = a.w.firstKey(true)
	}
	for from != nil {
		at := from
		from = nil
		var bad error
		err := a.store.Scan(at, end, func(key, _ []byte) bool {
			start, _, err := a.w.parseKey(key)
			if bad = err; err == nil {
				a.reopen(start)
				from = a.w.sliceKey(nil, start+1)
			}
			return false
		})
		if err != nil {
			return err
		}
		if bad != nil {
			return bad
		}
	}
	return a.restoreDue()
}

// reopen adds a slice that the store has.
func (a *aggregator[K, V, A]) reopen(start int64) {
	_, end, _ := a.w.slice(start)
	a.slices = append(a.slices, &slice[A]{start: start, end: end, late: a.lateAt(start), cells: a.newCells(start, false)})
}

func (a *aggregator[K, V, A]) tick(now time.Time) error {
	for _, u := range a.updates {
		if u.dueAt(now) {
			if err := a.flushDue(u); err != nil {
				return err
			}
		}
	}
	return nil
}
