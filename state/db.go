package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

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
		s.cur = d.cur.stages[i]
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

// Apply makes a durable interval visible: it writes the changes into Pebble in
// one batch with their positions. offsets are what log.Commit returned for
// c.Writes, in order. meta, the task's encoded checkpoint, is stored in the same
// batch so that a View can say up to where it is true.
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
	if err := d.write(c, offsets, meta); err != nil {
		return fmt.Errorf("apply to %s: %w", d.spec.Dir, err)
	}
	for _, s := range d.stores {
		s.frozen = nil
	}
	d.appliedCount++
	d.counters.changeBytes.Inc(int64(c.size))
	d.sinceFlush += int64(c.size)
	c.reset()
	d.frozen, d.spare = nil, c
	return d.maybeFlush()
}

// write puts an interval, its positions and the meta record into Pebble.
func (d *DB) write(c *Changes, offsets []log.Offset, meta []byte) error {
	now := log.TimestampOf(d.opts.Now())
	next, n := 0, 0
	for _, g := range c.stages {
		if len(g.list) > 0 {
			g.store.pos.offset = offsets[next] + log.Offset(g.builder.Len())
			next++
			n += len(g.list)
		}
		// The task is the only writer of its changelogs, so each store stands at
		// the end of its own, changed or not.
		g.store.pos.at = now
	}
	d.counters.changes.Inc(int64(n))
	return d.update(n, c.size+len(meta), func(w changeWriter) error {
		for _, g := range c.stages {
			if err := g.writeTo(w); err != nil {
				return err
			}
		}
		for _, s := range d.stores {
			if err := d.writePosition(w, s); err != nil {
				return err
			}
		}
		return w.Set(metaKey, meta)
	})
}

// writeTo writes the changes in key order.
func (g *stage) writeTo(w changeWriter) error {
	if len(g.list) == 0 {
		return nil
	}
	raw, key, order := g.builder.Raw(), g.store.keyBuf, g.sorted()
	for k, i := range order {
		// In key order the changes lie all over memory.
		if ahead := k + 2*prefetchAhead; ahead < len(order) {
			prefetch(unsafe.Pointer(&g.list[order[ahead]]))
			prefetch(unsafe.Pointer(&raw[g.list[order[k+prefetchAhead]].key]))
		}
		ch := &g.list[i]
		key = append(append(key[:0], g.store.prefix...), ch.keyIn(raw)...)
		var err error
		if ch.valueLen < 0 {
			err = w.Delete(key)
		} else {
			err = w.Set(key, ch.valueIn(raw))
		}
		if err != nil {
			return err
		}
	}
	g.store.keyBuf = key
	return nil
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
		errs = append(errs, d.flush())
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
