package log

import (
	"errors"
	"fmt"
	"io"
)

// metaProducers says where what is known of a partition's producers begins: with
// the snapshot of that offset, and from there on the batches say it. A partition
// without it had none at its recovery point.
type metaProducers struct {
	From Offset `json:"from"`
}

// loadProducers finds out what is known of the producers of all partitions, once
// they hold what they shall.
func (r *recovery) loadProducers() error {
	for _, p := range r.order {
		if err := r.loadPartition(p); err != nil {
			return fmt.Errorf("partition %s: producers: %w", p.tp, err)
		}
		r.l.producers += len(p.producers)
	}
	return nil
}

func (r *recovery) loadPartition(p *partition) error {
	l, mp := r.l, r.walks[p].meta
	from, whole := mp.Recovery, true
	if mp.Producers != nil {
		from = mp.Producers.From
		ps, err := readSnapshot(l.fs, p.dir, from)
		if err != nil {
			whole = false
			l.logger.Warn("producers are found out from all batches", "partition", p.tp, "err", err)
		}
		p.producers, p.snapshot = ps, mp.Producers
	}
	if whole && !p.loadAborted(l.fs, &mp, from) {
		whole = false
		l.logger.Warn("aborted transactions are found out from all batches: an index of theirs is missing or damaged", "partition", p.tp)
	}
	if !whole {
		from, p.producers, p.snapshot = 0, nil, nil
		p.newFiles = true // so that they are written again
	}
	p.txns.resume(p.producers)
	return p.scanProducers(from, l.now())
}

func readSnapshot(fs FS, dir string, at Offset) (producers, error) {
	name := fs.PathJoin(dir, baseName(int64(at))+snapshotSuffix)
	data, err := readFile(fs, name)
	if err != nil {
		return nil, fmt.Errorf("read producer snapshot: %w", err)
	}
	ps, err := decodeSnapshot(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return ps, nil
}

// scanProducers takes in what the batches from an offset on say of their
// producers. What it believes is checked: who has written what, and what a
// transaction came to, nobody would find out about later. Of batches without a
// producer it reads headers.
func (p *partition) scanProducers(from Offset, now Timestamp) error {
	end := Offset(p.hw.Load())
	list := *p.segments.Load()
	for i, s := range list {
		if from >= end || i+1 < len(list) && list[i+1].base <= from {
			continue
		}
		// Compaction never touches the last segment.
		gaps := i+1 < len(list) && (p.topic.config().compact || p.safe.Compacted > 0)
		if err := p.scanSegment(s, from, gaps, now); err != nil {
			return err
		}
	}
	return nil
}

func (p *partition) scanSegment(s *segment, from Offset, gaps bool, now Timestamp) error {
	r, err := p.openSegment(s)
	if err != nil {
		return err
	}
	defer r.Close()
	pos, err := r.position(from)
	if err != nil {
		return err
	}
	sc := newBatchScanner(r, s.logName(), pos, s.size.Load())
	defer sc.Close()
	want := Offset(-1) // not known: the index has led here
	if pos == 0 {
		want = s.base
	}
	for {
		pos := sc.pos
		info, err := sc.header()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if want >= 0 && info.BaseOffset != want && !(gaps && info.BaseOffset > want) {
			return &damageAt{s.logName(), pos, fmt.Errorf("base offset %d, want %d", info.BaseOffset, want)}
		}
		want = info.NextOffset()
		if info.ProducerID == -1 || info.BaseOffset < from {
			continue
		}
		sc.pos = pos
		info, batch, err := sc.batch()
		if err != nil {
			return err
		}
		if info.ProducerID < 0 {
			continue
		}
		if err := p.restoreBatch(&info, batch, now); err != nil {
			return &damageAt{s.logName(), pos, err}
		}
	}
}

// restoreBatch takes in a batch that was admitted long ago.
func (p *partition) restoreBatch(info *BatchInfo, batch []byte, now Timestamp) error {
	s := p.producers.get(info.ProducerID)
	next := s
	if !info.IsControl() {
		next = s.withBatch(info, now)
		if info.IsTransactional() {
			p.txns.noteBatch(info)
		}
	} else {
		m, ok, err := decodeMarker(info, batch)
		if err != nil {
			return err
		}
		if ok {
			next = s.withMarker(info.ProducerEpoch, m.CoordinatorEpoch, now)
			p.txns.noteMarker(info.ProducerID, info.BaseOffset, m.Commit)
		}
	}
	if next == s {
		return nil
	}
	if p.producers == nil {
		p.producers = producers{}
	}
	p.producers[info.ProducerID] = next
	return nil
}

// snapshotDue tells whether a partition wants a snapshot of its producers: not
// before it has begun another segment, so that what a crash leaves to be read is
// one segment at most; and when it is closed. The caller is the applier, and
// holds Embedded.mu.
func (p *partition) snapshotDue(closing bool) bool {
	if len(p.producers) == 0 {
		return false
	}
	s := p.last()
	return p.snapshot == nil || closing && p.snapshot.From != Offset(p.hw.Load()) || s != nil && s.base > p.snapshot.From
}

// collectProducers adds to the work of a checkpoint the snapshots that are due.
// The caller is the applier.
func (l *Embedded) collectProducers(work []dirtyPartition) []dirtyPartition {
	l.mu.Lock()
	var due []*partition
	for i := range work {
		if p := work[i].p; p.snapshotDue(l.closed) {
			due = append(due, p)
		} else if len(p.producers) == 0 {
			p.snapshot = nil
		}
	}
	if l.closed { // those that have not been written to since, too
		due = due[:0]
		_ = l.eachPartition(func(p *partition) error {
			if p.snapshotDue(true) {
				due = append(due, p)
			}
			return nil
		})
	}
	known := l.durableProducersLocked(due)
	l.mu.Unlock()

	at := make(map[*partition]int, len(work))
	for i := range work {
		at[work[i].p] = i
	}
	for _, p := range due {
		i, is := at[p]
		if !is {
			work = append(work, dirtyPartition{p: p, safe: p.describe()})
			i = len(work) - 1
		}
		if p.snapshot = nil; len(known[p]) > 0 {
			p.snapshot = &metaProducers{From: Offset(p.hw.Load())}
			work[i].snapshot = appendSnapshot(nil, known[p])
		}
	}
	for i := range work {
		work[i].safe.Producers = work[i].p.snapshot
	}
	return work
}

// storeSnapshot makes the snapshot of a partition durable, but for its name.
func (w *dirtyPartition) storeSnapshot(fs FS) error {
	name := fs.PathJoin(w.p.dir, baseName(int64(w.safe.Producers.From))+snapshotSuffix)
	return writeFile(fs, name, w.snapshot, true)
}

// removeSnapshots removes the snapshots that the meta does not name. One that
// cannot be removed is in nobody's way.
func (l *Embedded) removeSnapshots(work []dirtyPartition) {
	for _, w := range work {
		if w.snapshot == nil {
			continue
		}
		names, err := l.fs.List(w.p.dir)
		for _, name := range names {
			if at, ok := parseName(name, snapshotSuffix); ok && Offset(at) != w.safe.Producers.From {
				err = errors.Join(err, l.fs.Remove(l.fs.PathJoin(w.p.dir, name)))
			}
		}
		if err != nil && !isNotExist(err) {
			l.logger.Warn("old producer snapshots were not removed", "partition", w.p.tp, "err", err)
		}
	}
}
