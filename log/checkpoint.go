package log

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/vfs"
)

// checkpoint syncs what the segments hold and gives up the journal files that
// vouched for it. Order is everything here:
//
//  1. every segment that was written to is synced,
//  2. then the directory of every new file,
//  3. then the recovery points are made durable in the meta,
//  4. and only then is a journal file used again.
func (l *Embedded) checkpoint() error {
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	if l.failure.Load() != nil {
		return nil // the journal is what is left
	}
	work, applied := l.collectDirty()
	if len(work) == 0 && applied == l.safeSequence || l.failure.Load() != nil {
		return nil
	}
	if err := l.syncDirty(work); err != nil {
		l.fail(err)
		return err
	}
	l.metaMu.Lock()
	for i := range work {
		work[i].safe.Compacted = work[i].p.safe.Compacted
		work[i].p.setSafe(work[i].safe)
	}
	l.safeSequence = applied
	l.metaMu.Unlock()
	if err := l.storeMeta(*l.topics.Load()); err != nil {
		return err
	}
	l.removeSnapshots(work)
	l.m.checkpoints.Inc(1)
	return l.journal.release(applied)
}

// dirtyPartition is what a checkpoint has to sync of a partition, and how far
// the partition is safe then.
type dirtyPartition struct {
	p        *partition
	segments []*segment
	newDir   bool
	newFiles bool
	safe     metaPartition
	snapshot []byte // of its producers, or nil: none is due
	indexes  []txnIndexFile
}

// collectDirty takes down what was written since the last checkpoint.
func (l *Embedded) collectDirty() ([]dirtyPartition, uint64) {
	l.applyMu.Lock()
	defer l.applyMu.Unlock()
	if l.failure.Load() != nil {
		return nil, l.applied // segments may have bytes in memory only
	}
	var work []dirtyPartition
	_ = l.eachPartition(func(p *partition) error {
		if len(p.dirty) > 0 || p.newDir || p.newFiles {
			work = append(work, dirtyPartition{p: p, segments: p.dirty, newDir: p.newDir, newFiles: p.newFiles, safe: p.describe(), indexes: p.dirtyTxnIndexes()})
			p.dirty, p.newDir, p.newFiles = nil, false, false
		}
		return nil
	})
	return l.collectProducers(work), l.applied
}

// describe is the meta of a partition as of now. The caller is the applier.
func (p *partition) describe() metaPartition {
	mp := metaPartition{Recovery: Offset(p.hw.Load()), Position: p.written}
	aborted, segments := *p.txns.aborted.Load(), *p.segments.Load()
	for i, s := range segments {
		end := mp.Recovery
		if i+1 < len(segments) {
			end = segments[i+1].base
		}
		s.mu.RLock()
		mp.Segments = append(mp.Segments, metaSegment{Base: s.base, Bytes: s.size.Load(), MaxTime: s.maxTime, AppendTime: s.lastTime, FirstTime: s.firstTime,
			Aborted: len(between(aborted, s.base, end))})
		s.mu.RUnlock()
	}
	return mp
}

func (l *Embedded) syncDirty(work []dirtyPartition) error {
	topicsDir := false
	for _, w := range work {
		for _, s := range w.segments {
			if err := s.sync(); err != nil {
				return err
			}
		}
		for _, f := range w.indexes {
			if err := f.store(l.fs); err != nil {
				return err
			}
		}
		if w.snapshot != nil {
			if err := w.storeSnapshot(l.fs); err != nil {
				return err
			}
		}
		if w.newFiles || w.newDir || w.snapshot != nil || w.indexes != nil {
			if err := syncDir(l.fs, w.p.dir); err != nil {
				return err
			}
		}
		topicsDir = topicsDir || w.newDir
		if err := l.closeSealed(w); err != nil {
			return err
		}
	}
	if topicsDir {
		return syncDir(l.fs, l.fs.PathJoin(l.dir, topicsDirName))
	}
	return nil
}

// closeSealed closes the files of segments that are sealed and synced. One that
// was written to after it was synced, and then sealed, waits for the next time.
func (l *Embedded) closeSealed(w dirtyPartition) error {
	l.applyMu.Lock()
	defer l.applyMu.Unlock()
	last := w.p.last()
	for _, s := range w.segments {
		if s == last || s.file == nil || slices.Contains(w.p.dirty, s) {
			continue
		}
		if err := s.close(); err != nil {
			return fmt.Errorf("close segment %s: %w", s.logName(), err)
		}
	}
	return nil
}

// storeMeta makes the meta durable with these topics.
func (l *Embedded) storeMeta(topics map[string]*topic) error {
	l.metaMu.Lock()
	defer l.metaMu.Unlock()
	return l.storeMetaLocked(topics)
}

// storeMetaLocked is storeMeta for who holds metaMu.
func (l *Embedded) storeMetaLocked(topics map[string]*topic) error {
	m := meta{
		ClusterID: l.clusterID, Boot: l.boot, LeaderEpoch: l.leaderEpoch,
		Journal: l.journal.first, Sync: l.opts.Sync.Mode, Sequence: l.safeSequence,
		Topics: make([]metaTopic, 0, len(topics)),
	}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := topics[name]
		mt := metaTopic{Name: name, ID: t.id, Internal: t.internal, Configs: t.settings.Load().configs}
		for _, p := range t.parts {
			mp := p.safe
			// A start above the recovery point is in the journal still.
			mp.Start = min(Offset(p.start.Load()), mp.Recovery)
			mt.Partitions = append(mt.Partitions, mp)
		}
		m.Topics = append(m.Topics, mt)
	}
	err := m.store(l.fs, l.dir)
	if isFull(err) && l.space.ballast.Load() {
		l.space.exhausted(l)
		err = m.store(l.fs, l.dir)
	}
	return l.failUnlessFull(err)
}

// failUnlessFull makes the log read-only for good if something other than a
// full disk kept its files from being written: which bytes are on the disk is
// not known any more, and after a failed sync it cannot be made sure of.
func (l *Embedded) failUnlessFull(err error) error {
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return asNoSpace(err)
	}
	l.fail(err)
	return fmt.Errorf("%w: %w", ErrReadOnly, err)
}

// isFull tells whether a file was not replaced for want of space.
func isFull(err error) bool { return vfs.IsNoSpaceError(err) && !errors.Is(err, errReplaced) }

// journalRolled asks for a checkpoint when one is due, or makes it when too much
// waits for it. The caller holds the token, so nothing is appended meanwhile.
func (l *Embedded) journalRolled() {
	if l.opts.MaintainEvery < 0 {
		return
	}
	due, most := 0, maxJournals
	if l.opts.Sync.Mode == SyncNone {
		due, most = lazyJournals, 4*lazyJournals
	}
	waiting := l.journal.waiting()
	if waiting < due {
		return
	}
	if waiting <= most {
		select {
		case l.kick <- struct{}{}:
		default:
		}
		return
	}
	l.m.stalls.Inc(1)
	if err := l.checkpoint(); err != nil && !errors.Is(err, ErrReadOnly) {
		l.logger.Error("the journal cannot be emptied", "err", err)
	}
}
