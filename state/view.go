package state

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble"
)

// View is a snapshot of a DB for queries: what had been applied when it was
// made, never half an interval. It is owned by one goroutine, any one, and must
// be closed: DB.Close waits for it, and Pebble keeps on its behalf what has
// been overwritten since.
type View struct {
	db      *DB
	snap    *pebble.Snapshot // nil: closed
	pending []*Changes       // newer than the snapshot, or in it already; oldest first
	meta    []byte
	sorter  sorter

	keyBuf, valueBuf []byte // of Get
}

// View returns a consistent snapshot of what has been applied. Any goroutine.
func (d *DB) View() (*View, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("view of %s: %w", d.spec.Dir, ErrClosed)
	}
	// While d.mu is held nothing becomes pending, and what is being written from
	// there into Pebble stays: so both together are what has been applied.
	v := &View{db: d, snap: d.pebble.NewSnapshot(), pending: d.pending}
	if n := len(v.pending); n > 0 {
		v.meta = bytes.Clone(v.pending[n-1].meta)
	} else if err := v.readMeta(); err != nil {
		_ = v.snap.Close() // only ever nil
		return nil, fmt.Errorf("view of %s: %w", d.spec.Dir, err)
	}
	for _, c := range v.pending {
		c.views.Add(1)
	}
	d.views++
	d.counters.views.Inc(1)
	return v, nil
}

func (v *View) readMeta() (err error) {
	v.meta, _, err = getCopy(v.snap, metaKey, nil)
	return err
}

// Get returns the value of a key; ok is false if there is none. The value is
// valid until the next call on the View.
func (v *View) Get(store string, key []byte) (value []byte, ok bool, err error) {
	s, err := v.store(store)
	if err != nil {
		return nil, false, err
	}
	for i := len(v.pending) - 1; i >= 0; i-- {
		if value, ok := v.pending[i].stages[s.at].search(&v.sorter, key); ok {
			return value, value != nil, nil
		}
	}
	v.keyBuf = append(append(v.keyBuf[:0], s.prefix...), key...)
	value, ok, err = getCopy(v.snap, v.keyBuf, v.valueBuf[:0])
	if err != nil {
		return nil, false, fmt.Errorf("get from store %q: %w", store, v.db.readError(err))
	}
	if ok {
		v.valueBuf = value
	}
	return value, ok, nil
}

// Scan calls f for the entries with lo <= key < hi in key order (nil hi: to the
// end) until f returns false. The slices are valid during the call of f.
func (v *View) Scan(store string, lo, hi []byte, f func(key, value []byte) bool) error {
	s, err := v.store(store)
	if err != nil {
		return err
	}
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	runs := s.appendPending(nil, v.pending, &v.sorter, lo, hi)
	if err := scan(v.snap, s.prefix, s.end, lo, hi, runs, f); err != nil {
		return fmt.Errorf("scan store %q: %w", store, v.db.readError(err))
	}
	return nil
}

// Meta is what the last Apply before the View stored: the task's encoded
// checkpoint; nil if there was none.
func (v *View) Meta() []byte { return v.meta }

// Close gives the snapshot back. A second Close does nothing.
func (v *View) Close() error {
	if v.snap == nil {
		return nil
	}
	err := v.snap.Close()
	v.snap = nil
	for _, c := range v.pending {
		c.views.Add(-1)
	}
	v.pending = nil
	v.db.counters.views.Dec(1)
	v.db.mu.Lock()
	defer v.db.mu.Unlock()
	if v.db.views--; v.db.views == 0 {
		v.db.idle.Broadcast()
	}
	return err
}

func (v *View) store(name string) (*Store, error) {
	if v.snap == nil {
		return nil, fmt.Errorf("view of %s: %w", v.db.spec.Dir, ErrClosed)
	}
	if s := v.db.Store(name); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("view of %s: %w: %q", v.db.spec.Dir, ErrUnknownStore, name)
}
