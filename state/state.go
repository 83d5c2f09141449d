package state

import (
	"context"

	"github.com/gretestream/grete/log"
)

// Spec says which stores a task has and what they mirror.
type Spec struct {
	Dir        string // the task's Pebble directory
	Generation int64  // of the job; a database of another generation is wiped
	Stores     []StoreSpec
}

// StoreSpec is one named store.
type StoreSpec struct {
	Name      string
	ID        uint32             // allotted at first deploy, never reused: the key prefix in Pebble
	Changelog log.TopicPartition // the compacted topic partition that mirrors the store
}

// DB holds the stores of one task in one Pebble database. It is owned by the
// task's goroutine; only View may be called from others.
//
// The life of an interval: stores are written (Put, Delete, or a Cache that is
// drained), Freeze cuts the interval off, the task commits its Writes to the
// log together with its outputs and checkpoint, and Apply moves them into
// Pebble once they are durable. The next interval runs meanwhile. Reads of
// Store see what has been applied; a Cache keeps what has not, so it reads its
// own writes.
type DB struct{}

// Open opens the database, wipes it if it belongs to another log, generation or
// changelog, and reads the changelogs from its own position to their ends.
func Open(ctx context.Context, l log.Log, spec Spec, opts Options) (*DB, error) {
	panic("state: being written")
}

// Options tune a DB.
type Options struct{}

// Store returns the named store, or nil.
func (d *DB) Store(name string) *Store { return nil }

// Freeze ends the interval: it returns what Put and Delete have staged since the
// last Freeze. At most one frozen interval may be unapplied at a time.
func (d *DB) Freeze() *Changes { return nil }

// Apply makes a durable interval visible: it writes the changes into Pebble in
// one batch with their positions. offsets are what log.Commit returned for
// c.Writes, in order. meta, the task's encoded checkpoint, is stored in the same
// batch so that a View can say up to where it is true.
func (d *DB) Apply(c *Changes, offsets []log.Offset, meta []byte) error { return nil }

// Applied counts the intervals applied; Frozen those frozen.
func (d *DB) Applied() uint64 { return 0 }

// View returns a consistent snapshot of what has been applied. Any goroutine.
func (d *DB) View() (*View, error) { return nil, nil }

// Close flushes Pebble and closes it.
func (d *DB) Close() error { return nil }

// Changes are the frozen changes of one interval.
type Changes struct{}

// Writes returns the changelog records of the interval, at most one entry per
// store. They are valid until Apply.
func (c *Changes) Writes() []log.Write { return nil }

// Size is the number of encoded bytes in Writes.
func (c *Changes) Size() int { return 0 }

// Store is one named key-value map of bytes.
type Store struct{}

// Put and Delete stage a change for the next Freeze. Key and value are copied.
func (s *Store) Put(key, value []byte) {}
func (s *Store) Delete(key []byte)     {}

// Get returns the applied value; ok is false if there is none. The value is
// valid until the next call on the DB.
func (s *Store) Get(key []byte) (value []byte, ok bool, err error) { return nil, false, nil }

// Scan calls f for the applied entries with lo <= key < hi in key order (nil hi:
// to the end) until f returns false. The slices are valid during the call.
func (s *Store) Scan(lo, hi []byte, f func(key, value []byte) bool) error { return nil }

// View is a snapshot of a DB for queries.
type View struct{}

func (v *View) Get(store string, key []byte) (value []byte, ok bool, err error) {
	return nil, false, nil
}
func (v *View) Scan(store string, lo, hi []byte, f func(key, value []byte) bool) error { return nil }

// Meta is what the last Apply stored: the task's encoded checkpoint.
func (v *View) Meta() []byte { return nil }
func (v *View) Close() error { return nil }
