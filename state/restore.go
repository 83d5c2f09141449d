package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"

	"github.com/gretestream/grete/log"
)

// Open opens the database, wipes it if it belongs to another log, generation or
// changelog, and reads the changelogs from its own position to their ends.
func Open(ctx context.Context, l log.Log, spec Spec, opts Options) (*DB, error) {
	opts.EnsureDefaults()
	if err := errors.Join(opts.Validate(), spec.Validate()); err != nil {
		return nil, fmt.Errorf("open state %s: %w", spec.Dir, err)
	}
	d := &DB{opts: opts, spec: spec, logger: opts.Logger, counters: newCounters(opts.Metrics), lastFlush: opts.Now(), pendingMin: pendingMin}
	d.idle.L = &d.mu
	d.setStores()
	if d.blockCache = opts.BlockCache; d.blockCache == nil {
		d.blockCache = pebble.NewCache(DefaultBlockCacheBytes + maxMemTables*d.opts.MemTableBytes)
	}
	err := d.openPebble()
	if err == nil {
		err = d.catchUp(ctx, l)
		if err != nil {
			err = errors.Join(err, d.closePebble())
		}
	}
	if err != nil {
		d.releaseCache()
		return nil, fmt.Errorf("open state %s: %w", spec.Dir, err)
	}
	return d, nil
}

// wipe starts again from nothing.
func (d *DB) wipe(reason string) error {
	if err := d.closePebble(); err != nil {
		return err
	}
	if err := d.remove(reason); err != nil {
		return err
	}
	return d.openPebble()
}

// remove deletes the directory, says so and counts it.
func (d *DB) remove(reason string) error {
	if err := d.opts.FS.RemoveAll(d.spec.Dir); err != nil {
		return fmt.Errorf("wipe, because %s: %w", reason, err)
	}
	d.logger.Warn("state does not fit the log: wiped, to be restored whole", "dir", d.spec.Dir, "reason", reason)
	d.counters.wipes.Inc(1)
	return nil
}

// tail is what one store has to read from its changelog.
type tail struct {
	topic log.TopicID
	log.Bounds
}

// catchUp compares the database with the log and reads what it lacks.
func (d *DB) catchUp(ctx context.Context, l log.Log) error {
	tails := make([]tail, len(d.stores))
	for i, s := range d.stores {
		t, err := l.Topic(ctx, s.spec.Changelog.Topic)
		if err != nil {
			return fmt.Errorf("changelog of store %q: %w", s.spec.Name, err)
		}
		b, err := l.Bounds(ctx, s.spec.Changelog)
		if err != nil {
			return fmt.Errorf("changelog of store %q: %w", s.spec.Name, err)
		}
		tails[i] = tail{t.ID, b}
	}

	positions, reason, err := d.examine(l.ClusterID(), tails)
	if isCorrupt(err) {
		d.failure.fatal(err, true)
		reason = err.Error()
	} else if err != nil {
		return err
	}
	if reason != "" {
		if err := d.wipe(reason); err != nil {
			return err
		}
		positions = nil
	}
	if err := d.prepare(l.ClusterID(), tails, positions); err != nil {
		return err
	}
	return d.restore(ctx, l, tails)
}

// examine reads the database's own records. A reason says why it has to be
// wiped.
func (d *DB) examine(cluster string, tails []tail) (positions map[uint32]position, reason string, err error) {
	b, ok, err := getCopy(d.pebble, identityKey, nil)
	if err != nil || !ok {
		return nil, "", err
	}
	got, err := decodeIdentity(b)
	if err != nil {
		return nil, err.Error(), nil
	}
	if want := (identity{d.spec.Generation, cluster}); got != want {
		return nil, fmt.Sprintf("got generation %d of log %q, want %d of %q", got.generation, got.cluster, want.generation, want.cluster), nil
	}

	positions = map[uint32]position{}
	var bad error
	err = scan(d.pebble, positionLo, positionHi, nil, nil, nil, func(key, value []byte) bool {
		var p position
		if len(key) != storeIDSize {
			bad = fmt.Errorf("position key %x: want %d bytes after the kind", key, storeIDSize)
		} else if p, bad = decodePosition(value); bad == nil {
			positions[storeID(key)] = p
		}
		return bad == nil
	})
	if err != nil || bad != nil {
		return nil, fmt.Sprint(bad), err
	}
	for i, s := range d.stores {
		p, ok := positions[s.spec.ID]
		switch {
		case !ok:
		case p.topic != tails[i].topic || p.partition != s.spec.Changelog.Partition:
			return nil, fmt.Sprintf("store %q mirrors partition %d of topic %x, want %v with id %x",
				s.spec.Name, p.partition, p.topic, s.spec.Changelog, tails[i].topic), nil
		case p.offset > tails[i].Stable:
			return nil, fmt.Sprintf("store %q is at offset %d of %v, which ends at %d", s.spec.Name, p.offset, s.spec.Changelog, tails[i].Stable), nil
		}
	}
	return positions, "", nil
}

// prepare gives each store the position from which it is restored, and removes
// from the database what cannot be built upon.
func (d *DB) prepare(cluster string, tails []tail, positions map[uint32]position) error {
	now := d.opts.Now()
	b := d.pebble.NewBatch()
	if err := b.Set(identityKey, identity{d.spec.Generation, cluster}.encode(), nil); err != nil {
		return err
	}
	for i, s := range d.stores {
		p, ok := positions[s.spec.ID]
		delete(positions, s.spec.ID)
		old := ok && p.offset < tails[i].Stable && p.age(now) > d.opts.DeleteRetention/2
		if ok && !old && p.offset >= tails[i].Start {
			s.pos = p
			continue
		}
		if ok {
			d.logger.Info("store is restored whole", "store", s.spec.Name, "offset", p.offset,
				"changelog", s.spec.Changelog, "start", tails[i].Start, "end", tails[i].Stable, "age", p.age(now))
		}
		if tails[i].Stable > tails[i].Start {
			d.counters.restores.Inc(1)
		}
		// Deletions that the store needs are kept in the changelog for some time
		// from now on, so that is how old the position is while it moves.
		s.pos = position{topic: tails[i].topic, partition: s.spec.Changelog.Partition, offset: tails[i].Start, at: log.TimestampOf(now)}
		if err := b.DeleteRange(s.prefix, s.end, nil); err != nil {
			return err
		}
		if err := d.writePosition(batchWriter{b}, s); err != nil {
			return err
		}
	}
	for id := range positions { // of stores that the job no longer has
		d.logger.Info("store is no longer part of the job: removed", "id", id, "dir", d.spec.Dir)
		prefix := appendStoreID(nil, id)
		if err := errors.Join(b.DeleteRange(prefix, prefixEnd(prefix), nil), b.Delete(positionKey(id), nil)); err != nil {
			return err
		}
	}
	return d.guard(func() error {
		defer b.Close() // here: it may outlive prepare
		return d.pebble.Apply(b, pebble.NoSync)
	})
}

// restore reads the tails of the changelogs into the stores.
func (d *DB) restore(ctx context.Context, l log.Log, tails []tail) error {
	var done, total int64
	for i, s := range d.stores {
		total += int64(tails[i].Stable - s.pos.offset)
	}
	if total == 0 {
		return nil
	}
	// Once anything is read, the checkpoint of the last Apply says too little.
	if err := d.update(1, 0, func(w changeWriter) error { return w.Delete(metaKey) }); err != nil {
		return err
	}
	started := d.opts.Now()
	for i, s := range d.stores {
		if s.pos.offset >= tails[i].Stable {
			continue
		}
		err := d.restoreStore(ctx, l, s, tails[i].Stable, func(n int64) {
			done += n
			d.opts.Progress(done, total)
		})
		if err != nil {
			return fmt.Errorf("restore store %q from %v at offset %d: %w", s.spec.Name, s.spec.Changelog, s.pos.offset, err)
		}
	}
	d.logger.Debug("state restored", "dir", d.spec.Dir, "offsets", total, "took", d.opts.Now().Sub(started))
	return nil
}

// restoreReadBytes is how much changelog goes into one Pebble batch.
const restoreReadBytes = 8 << 20

// restoreStore reads a changelog up to end, one Pebble batch per read, each with
// the position it stands for: a restore that is cut short goes on from there.
func (d *DB) restoreStore(ctx context.Context, l log.Log, s *Store, end log.Offset, progress func(n int64)) (err error) {
	r, err := l.OpenReader(s.spec.Changelog, s.pos.offset, log.ReaderOptions{MaxBytes: restoreReadBytes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	started := log.TimestampOf(d.opts.Now())
	var order []uint32
	for s.pos.offset < end {
		recs, err := r.Next(ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		before := s.pos.offset
		s.pos.offset = r.Position()
		if s.pos.offset >= end {
			s.pos.at = started
		}
		if order, err = d.restoreBatch(s, recs, order[:0]); err != nil {
			return err
		}
		progress(int64(s.pos.offset - before))
	}
	return nil
}

// restoreBatch writes records and the store's position into Pebble.
func (d *DB) restoreBatch(s *Store, recs []log.Record, order []uint32) ([]uint32, error) {
	order = d.sorter.sort(order, len(recs), func(i uint32) []byte { return recs[i].Key })
	size := 0
	for _, i := range order {
		size += len(recs[i].Key) + len(recs[i].Value)
	}
	err := d.update(len(order), size, func(w changeWriter) (err error) {
		key := s.keyBuf
		for _, i := range order {
			rec := &recs[i]
			key = append(append(key[:0], s.prefix...), rec.Key...)
			if rec.IsTombstone() {
				err = w.Delete(key)
			} else {
				err = w.Set(key, rec.Value)
			}
			if err != nil {
				return err
			}
		}
		s.keyBuf = key
		return d.writePosition(w, s)
	})
	if err != nil {
		return order, err
	}
	d.counters.restoreRecord.Inc(int64(len(recs)))
	d.sinceFlush += int64(size)
	return order, d.maybeFlush()
}
