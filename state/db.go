package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/hashicorp/go-hclog"

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
	ID        uint32             // allotted at first deploy, never reused: the key prefix in Pebble; 0xffffffff is reserved
	Changelog log.TopicPartition // the compacted topic partition that mirrors the store
}

// DB holds the stores of one task in one Pebble database. It is owned by the
// task's goroutine; only View may be called from others.
//
// The life of an interval: stores are written (Put, Delete, or a Cache that is
// drained), Freeze cuts the interval off, the task commits its Writes to the
// log together with its outputs and checkpoint, and Apply moves them into
// Pebble once they are durable. The next interval runs meanwhile and reads
// through the frozen one; a View sees only what has been applied. After a
// Commit that failed, or may have, the DB is closed and opened again.
type DB struct {
	opts     Options
	spec     Spec
	logger   hclog.Logger
	counters counters
	failure  *failure

	gate         *gate
	pebble       *pebble.DB
	tableOptions sstable.WriterOptions // of tables to ingest
	blockCache   *pebble.Cache
	stores       []*Store // by id
	sorter       sorter

	pending      []*Changes // applied, not yet in Pebble; oldest first; changed under mu
	pendingBytes int64      // of changelog
	pendingMin   int        // the constant, but for tests
	free         []*Changes // to be used again

	cur, frozen, spare        *Changes // at most one of frozen and spare is nil
	frozenCount, appliedCount uint64
	sinceFlush                int64 // bytes of changelog
	lastFlush                 time.Time
	positionBuf               []byte

	mu     sync.Mutex // guards the fields below
	idle   sync.Cond  // views has become 0
	views  int        // open
	closed bool
}

// Store returns the named store, or nil.
func (d *DB) Store(name string) *Store {
	for _, s := range d.stores {
		if s.spec.Name == name {
			return s
		}
	}
	return nil
}

// newChanges makes the buffers of one interval.
func (d *DB) newChanges() *Changes {
	c := &Changes{}
	for _, s := range d.stores {
		c.stages = append(c.stages, &stage{store: s})
	}
	return c
}

// setStores makes the stores of the spec.
func (d *DB) setStores() {
	for _, spec := range d.spec.Stores {
		prefix := appendStoreID(nil, spec.ID)
		d.stores = append(d.stores, &Store{db: d, spec: spec, prefix: prefix, end: prefixEnd(prefix)})
	}
	slices.SortFunc(d.stores, func(a, b *Store) int { return cmp.Compare(a.spec.ID, b.spec.ID) })
	d.cur, d.spare = d.newChanges(), d.newChanges()
	for i, s := range d.stores {
		s.at, s.cur = i, d.cur.stages[i]
	}
}

// Staged is the number of encoded changelog bytes staged since the last Freeze.
// What a Cache holds back until Drain is not in it.
func (d *DB) Staged() int {
	n := 0
	for _, g := range d.cur.stages {
		n += g.builder.Size()
	}
	return n
}

// Freeze ends the interval: it returns what Put and Delete have staged since the
// last Freeze. At most one frozen interval may be unapplied at a time.
func (d *DB) Freeze() *Changes {
	if d.frozen != nil {
		panic(fmt.Sprintf("state: freeze of interval %d before interval %d was applied", d.frozenCount+1, d.frozenCount))
	}
	d.frozen, d.cur, d.spare = d.cur, d.spare, nil
	for i, s := range d.stores {
		s.frozen, s.cur = d.frozen.stages[i], d.cur.stages[i]
	}
	d.frozenCount++
	d.frozen.freeze()
	return d.frozen
}

// Apply makes a durable interval visible. Changes go into Pebble together with
// the positions they stand for, at once or, if there are many, later together
// with those of other intervals. offsets are what log.Commit returned for
// c.Writes, in order. meta, the task's encoded checkpoint, is kept with the
// changes so that a View can say up to where it is true. After an error the DB
// can only be closed.
func (d *DB) Apply(c *Changes, offsets []log.Offset, meta []byte) error {
	if c != d.frozen {
		panic("state: apply of changes that are not the frozen ones")
	}
	if len(offsets) != len(c.writes) {
		panic(fmt.Sprintf("state: apply got %d offsets for %d writes", len(offsets), len(c.writes)))
	}
	if err := d.failure.get(); err != nil {
		return fmt.Errorf("apply to %s: %w", d.spec.Dir, err)
	}
	d.advance(c, offsets)
	c.meta = append(c.meta[:0], meta...)
	for _, s := range d.stores {
		s.frozen = nil
	}
	d.frozen = nil
	d.appliedCount++
	d.sinceFlush += int64(c.size)
	if err := d.keep(c); err != nil {
		return fmt.Errorf("apply to %s: %w", d.spec.Dir, err)
	}
	return d.maybeFlush()
}

// advance moves the positions over an interval.
func (d *DB) advance(c *Changes, offsets []log.Offset) {
	now := log.TimestampOf(d.opts.Now())
	next := 0
	for _, g := range c.stages {
		if len(g.list) > 0 {
			g.store.pos.offset = offsets[next] + log.Offset(g.builder.Len())
			next++
			d.counters.changes.Inc(int64(len(g.list)))
		}
		// The task is the only writer of its changelogs, so each store stands at
		// the end of its own, changed or not.
		g.store.pos.at = now
	}
	d.counters.changeBytes.Inc(int64(c.size))
}

const (
	// pendingMin is from how many bytes of changelog on an interval is kept until
	// there are more of them. Pebble takes a few changes as well at once.
	pendingMin = 64 << 10
	// maxPending is how many intervals may be pending: a View has to look into
	// all of them.
	maxPending = 16
)

// keep makes an applied interval visible: by writing it into Pebble, or by adding
// it to the pending ones, which are written together. Then each key is written
// once, however many of them changed it, and Pebble gets few big tables.
func (d *DB) keep(c *Changes) error {
	if len(d.pending) == 0 && c.size < d.pendingMin {
		if err := d.write([]*Changes{c}); err != nil {
			return err
		}
		c.reset()
		d.spare = c
		return nil
	}
	d.mu.Lock()
	d.pending = append(slices.Clip(d.pending), c) // Views hold the old slice
	d.mu.Unlock()
	d.pendingBytes += int64(c.size)
	if n := len(d.free); n > 0 {
		d.spare, d.free = d.free[n-1], d.free[:n-1]
	} else {
		d.spare = d.newChanges()
	}
	if d.pendingBytes >= d.opts.MemTableBytes || len(d.pending) == maxPending {
		return d.writePending()
	}
	return nil
}

// writePending writes the pending intervals into Pebble.
func (d *DB) writePending() error {
	if len(d.pending) == 0 {
		return nil
	}
	if err := d.write(d.pending); err != nil {
		return err
	}
	d.mu.Lock()
	written := d.pending
	d.pending = nil
	d.mu.Unlock()
	d.pendingBytes = 0
	for _, c := range written {
		if c.views.Load() == 0 && len(d.free) < maxPending {
			c.reset()
			d.free = append(d.free, c)
		}
	}
	return nil
}

// write puts applied intervals, oldest first, with the present positions and the
// meta record of the last into Pebble, as one step.
func (d *DB) write(intervals []*Changes) error {
	last := intervals[len(intervals)-1]
	merged := make([]merge, len(d.stores))
	n, size := 0, 0
	for i := range d.stores {
		m := &merged[i]
		for _, c := range intervals {
			m.add(c.stages[i])
		}
		m.sort(&d.sorter)
		n += len(m.order)
	}
	for _, c := range intervals {
		size += c.size
	}
	return d.update(n, size+len(last.meta), func(w changeWriter) error {
		for i, s := range d.stores {
			if err := merged[i].writeTo(w, s); err != nil {
				return err
			}
		}
		for _, s := range d.stores {
			if err := d.writePosition(w, s); err != nil {
				return err
			}
		}
		return w.Set(metaKey, last.meta)
	})
}

func (d *DB) writePosition(w changeWriter, s *Store) error {
	d.positionBuf = s.pos.appendTo(d.positionBuf[:0])
	return w.Set(positionKey(s.spec.ID), d.positionBuf)
}

// maybeFlush starts a flush if one is due. It does not wait for it.
func (d *DB) maybeFlush() error {
	now := d.opts.Now()
	if d.sinceFlush < d.opts.FlushBytes && now.Sub(d.lastFlush) < d.opts.FlushEvery {
		return nil
	}
	if err := d.writePending(); err != nil {
		return fmt.Errorf("write to %s: %w", d.spec.Dir, err)
	}
	d.sinceFlush, d.lastFlush = 0, now
	d.counters.flushes.Inc(1)
	if err := d.guard(func() error { _, err := d.pebble.AsyncFlush(); return err }); err != nil {
		return fmt.Errorf("flush %s: %w", d.spec.Dir, err)
	}
	return nil
}

// SetMeta replaces what View.Meta returns, without an interval: after Open, when
// the task has read its checkpoint.
func (d *DB) SetMeta(meta []byte) error {
	if err := d.writePending(); err != nil {
		return fmt.Errorf("set meta of %s: %w", d.spec.Dir, err)
	}
	if err := d.update(1, len(meta), func(w changeWriter) error { return w.Set(metaKey, meta) }); err != nil {
		return fmt.Errorf("set meta of %s: %w", d.spec.Dir, err)
	}
	return nil
}

// Frozen counts the intervals frozen since Open, Applied those applied.
func (d *DB) Frozen() uint64  { return d.frozenCount }
func (d *DB) Applied() uint64 { return d.appliedCount }

// readError marks the database as failed if what was read is damaged, so that
// Close wipes it and the next Open restores it from the changelogs.
func (d *DB) readError(err error) error {
	if isCorrupt(err) {
		d.failure.fatal(err, true)
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return err
}

// Close flushes Pebble and closes it. It waits for open Views to be closed.
// What has not been applied is forgotten. A DB whose files are damaged is removed
// from the disk, to be restored by the next Open.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.closed = true
	for d.views > 0 {
		d.idle.Wait()
	}
	d.mu.Unlock()

	var errs []error
	if d.failure.get() == nil {
		errs = append(errs, d.writePending(), d.flush())
	}
	errs = append(errs, d.closePebble())
	d.releaseCache()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", d.spec.Dir, err)
	}
	return nil
}

// flush waits until all that was applied is on the disk, or cannot get there.
func (d *DB) flush() error {
	return d.guard(func() error {
		flushed, err := d.pebble.AsyncFlush()
		if err != nil {
			return err
		}
		select {
		case <-flushed:
			return nil
		case <-d.failure.happened:
			return d.failure.get()
		}
	})
}

// releaseCache gives back a block cache of our own.
func (d *DB) releaseCache() {
	if d.opts.BlockCache == nil && d.blockCache != nil {
		d.blockCache.Unref()
	}
}
