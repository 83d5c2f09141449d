package operators

import (
	"time"
)

// Collapse thins out Updates: of several changes to one key and window only the
// last is passed on. The zero value passes on all.
type Collapse struct {
	every time.Duration
	after int
}

// Every collapses changes until d has passed on the wall clock.
func Every(d time.Duration) Collapse { return Collapse{every: d, after: -1} }

// AfterCount collapses the changes of n records of a task.
func AfterCount(n int) Collapse { return Collapse{after: n, every: -1} }

func (c Collapse) check(s *step) {
	switch {
	case c == Collapse{}:
		return
	case c.after == -1 && c.every <= 0:
		s.g.mistake(s.at, "updates: got Every(%s), want more than 0", c.every)
	case c.every == -1 && c.after < 1:
		s.g.mistake(s.at, "updates: got AfterCount(%d), want 1 or more", c.after)
	}
	if c.every > 0 {
		s.detail = "every " + short(c.every)
	}
}

// updater emits the changes of a windowed aggregate, as they come or collapsed.
//
// Collapsed changes are remembered as slices and keys, and each such cell says
// so in its flags, so that what was due when a task stopped is due when it goes
// on. All are passed on before a window closes.
type updater[K, A any] struct {
	collapse Collapse
	out      push[Windowed[K], A]
	rows     Batch[Windowed[K], A]

	due     map[dueCell]struct{}
	order   []dueCell // by their first change
	seen    int       // records since the last flush
	flushed time.Time
}

type dueCell struct {
	slice int64
	key   string
}

func newUpdater[K, A any](d updatesDecl[K, A], w *wiring) *updater[K, A] {
	return &updater[K, A]{collapse: d.collapse, out: d.node.wire(w), due: make(map[dueCell]struct{})}
}

func (u *updater[K, A]) collapses() bool { return u.collapse != Collapse{} }

// add collects a row.
func (u *updater[K, A]) add(key Windowed[K], acc A, at int64) {
	u.rows.put(key, acc, at, 0, -1)
}

// flush passes on the rows.
func (u *updater[K, A]) flush() error {
	if u.rows.Len() == 0 {
		return nil
	}
	err := u.out(&u.rows)
	u.rows.clear(nil)
	return err
}

// remember notes that a cell changed.
func (u *updater[K, A]) remember(slice int64, key []byte) {
	u.seen++
	d := dueCell{slice, ""}
	if _, have := u.due[dueCell{slice, string(key)}]; have {
		return
	}
	d.key = string(key)
	u.due[d] = struct{}{}
	u.order = append(u.order, d)
}

// dueAt tells whether the interval has passed.
func (u *updater[K, A]) dueAt(now time.Time) bool {
	if u.collapse.every <= 0 {
		return false
	}
	if u.flushed.IsZero() {
		u.flushed = now
	}
	if now.Sub(u.flushed) < u.collapse.every {
		return false
	}
	u.flushed = now
	return true
}

// flushDue passes on the present values of the cells that changed.
func (a *aggregator[K, V, A]) flushDue(u *updater[K, A]) error {
	if len(u.order) == 0 {
		return nil
	}
	type row struct {
		window int64
		key    string
	}
	done := make(map[row]bool)
	for _, d := range u.order {
		delete(u.due, d)
		s := a.openSlice(d.slice)
		if s == nil {
			continue
		}
		var key K
		if err := a.keys.Decode(&key, []byte(d.key), &a.closing.arena); err != nil {
			return err
		}
		for start := max(a.w.first(d.slice), a.w.openAt(a.mark)); start <= d.slice; start += a.w.every {
			if done[row{start, d.key}] {
				continue
			}
			done[row{start, d.key}] = true
			m, ok, err := a.merged(start, []byte(d.key))
			if err != nil {
				return err
			}
			if ok {
				u.add(windowed(key, start, start+a.w.size), m.acc, m.max)
			}
		}
		if err := a.clearDue(s, d); err != nil {
			return err
		}
		if u.rows.Len() >= batchRecords {
			if err := u.flush(); err != nil {
				return err
			}
		}
	}
	u.order, u.seen = u.order[:0], 0
	return u.flush()
}

// clearDue forgets that a cell's change is due, unless another Updates waits.
func (a *aggregator[K, V, A]) clearDue(s *slice[A], d dueCell) error {
	for _, u := range a.updates {
		if _, waits := u.due[d]; waits {
			return nil
		}
	}
	c, existed, err := s.cells.RefString(d.key)
	if err != nil {
		return err
	}
	if !existed {
		return s.cells.Delete([]byte(d.key))
	}
	c.flags &^= cellDue
	return nil
}

func (a *aggregator[K, V, A]) openSlice(start int64) *slice[A] {
	for _, s := range a.slices {
		if s.start == start {
			return s
		}
	}
	return nil
}

// restoreDue finds the changes that were due when the task stopped.
func (a *aggregator[K, V, A]) restoreDue() error {
	for _, u := range a.updates {
		if !u.collapses() {
			continue
		}
		for _, s := range a.slices {
			err := s.cells.Ascend(nil, nil, func(key []byte, c *cell[A]) error {
				if c.flags&cellDue != 0 {
					u.remember(s.start, key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
