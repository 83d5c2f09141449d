package state

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble"
)

// MaxKeyBytes is the longest key a Store takes.
const MaxKeyBytes = 1<<24 - 1

// Store is one named key-value map of bytes. It is owned by the task's
// goroutine.
//
// A Store reads its own writes, frozen and staged alike; what others see (View)
// is what has been applied. The first look-up in an interval that has changes
// makes an index of them, so code that looks up and changes the same keys over
// and over uses a Cache.
type Store struct {
	db     *DB
	at     int // in DB.stores
	spec   StoreSpec
	prefix []byte // store id
	end    []byte // first Pebble key behind the store
	pos    position

	cur    *stage // being filled
	frozen *stage // nil, or what the log is committing

	keyBuf, valueBuf []byte // of Get
}

// Name is the store's name in the Spec.
func (s *Store) Name() string { return s.spec.Name }

// Put stages a change for the next Freeze. Key and value are copied; a nil value
// is an empty one.
func (s *Store) Put(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	s.cur.add(key, value)
}

// Delete stages the removal of a key for the next Freeze.
func (s *Store) Delete(key []byte) { s.cur.add(key, nil) }

// Get returns the value of a key; ok is false if there is none. The value is
// valid until the next call on the Store.
func (s *Store) Get(key []byte) (value []byte, ok bool, err error) {
	if v, ok := s.cur.find(key); ok {
		return v, v != nil, nil
	}
	if s.frozen != nil {
		if v, ok := s.frozen.find(key); ok {
			return v, v != nil, nil
		}
	}
	for i := len(s.db.pending) - 1; i >= 0; i-- {
		if v, ok := s.db.pending[i].stages[s.at].find(key); ok {
			return v, v != nil, nil
		}
	}
	s.keyBuf = append(append(s.keyBuf[:0], s.prefix...), key...)
	v, ok, err := getCopy(s.db.pebble, s.keyBuf, s.valueBuf[:0])
	if err != nil {
		return nil, false, fmt.Errorf("get from store %q: %w", s.spec.Name, s.db.readError(err))
	}
	if ok {
		s.valueBuf = v
	}
	return v, ok, nil
}

// getCopy appends the value of a Pebble key to dst.
func getCopy(r pebble.Reader, key, dst []byte) (value []byte, ok bool, err error) {
	v, closer, err := r.Get(key)
	if err == pebble.ErrNotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	dst = append(dst, v...)
	if dst == nil {
		dst = []byte{}
	}
	return dst, true, closer.Close()
}

// Scan calls f for the entries with lo <= key < hi in key order (nil hi: to the
// end) until f returns false. The slices are valid during the call of f. f may
// change the store; the scan goes on over what was there when it began.
func (s *Store) Scan(lo, hi []byte, f func(key, value []byte) bool) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	var few [4]run
	runs := few[:0]
	for _, g := range [...]*stage{s.cur, s.frozen} {
		if g != nil {
			runs = g.appendRun(runs, &s.db.sorter, lo, hi)
		}
	}
	runs = s.appendPending(runs, s.db.pending, &s.db.sorter, lo, hi)
	err := scan(s.db.pebble, s.prefix, s.end, lo, hi, runs, f)
	if err != nil {
		return fmt.Errorf("scan store %q: %w", s.spec.Name, s.db.readError(err))
	}
	return nil
}

// appendPending appends what pending intervals hold of the store, newer first.
func (s *Store) appendPending(runs []run, pending []*Changes, by *sorter, lo, hi []byte) []run {
	for i := len(pending) - 1; i >= 0; i-- {
		runs = pending[i].stages[s.at].appendRun(runs, by, lo, hi)
	}
	return runs
}

// appendRun appends what the stage holds of lo <= key < hi, if anything.
func (g *stage) appendRun(runs []run, by *sorter, lo, hi []byte) []run {
	if len(g.list) == 0 {
		return runs
	}
	if r := g.runOf(by, lo, hi); r.valid() {
		runs = append(runs, r)
	}
	return runs
}

// scan merges runs, newer ones first, with what Pebble has under a store's
// prefix. Of equal keys the newest counts.
func scan(r pebble.Reader, prefix, end, lo, hi []byte, runs []run, f func(key, value []byte) bool) (err error) {
	opts := pebble.IterOptions{LowerBound: join(prefix, lo), UpperBound: end}
	if hi != nil {
		opts.UpperBound = join(prefix, hi)
	}
	it, err := r.NewIter(&opts)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()

	for ok := it.First(); ; {
		// The smallest key; the first run that has it wins, Pebble comes last.
		newest := -1
		var key []byte
		for i := range runs {
			if runs[i].valid() && (newest < 0 || bytes.Compare(runs[i].key(), key) < 0) {
				newest, key = i, runs[i].key()
			}
		}
		if newest < 0 {
			if !ok || !f(it.Key()[len(prefix):], it.Value()) {
				return it.Error()
			}
			ok = it.Next()
			continue
		}
		if ok {
			switch c := bytes.Compare(it.Key()[len(prefix):], key); {
			case c < 0:
				if !f(it.Key()[len(prefix):], it.Value()) {
					return it.Error()
				}
				ok = it.Next()
				continue
			case c == 0:
				ok = it.Next()
			}
		}
		value := runs[newest].value()
		runs[newest].next()
		for i := newest + 1; i < len(runs); i++ {
			if runs[i].valid() && bytes.Equal(runs[i].key(), key) {
				runs[i].next()
			}
		}
		if value != nil && !f(key, value) {
			return it.Error()
		}
		if !ok && it.Error() != nil {
			return it.Error()
		}
	}
}

// join returns a new slice of a and b.
func join(a, b []byte) []byte { return append(a[:len(a):len(a)], b...) }
