package log

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/vfs"
)

// part is what an entry does to one partition.
type part struct {
	entryPart
	p       *partition
	count   Offset // offsets that the batches take up
	offsets []GroupOffset
	of      []*partition // that offsets are of, but for those that are forgotten
	group   string
	origin  origin
	marker  *Marker        // that the batch is
	txn     bool           // a batch is of a transaction; set when it is admitted
	undo    []producerUndo // what admission changed
}

// origin is where the batches of a part come from, and so what is checked.
type origin uint8

const (
	fromLog         origin = iota // the engine and the log itself: no producers
	fromClient                    // an outside producer: epoch and sequence
	fromCoordinator               // offsets within a transaction: epoch only
)

// entry is one atomic step on its way through the journal.
type entry struct {
	parts []part
	one   [1]part // backing of parts for Append
	time  Timestamp
	seq   uint64 // set when it is written
}

// group is the entries that are written and synced together. done is closed
// when they are visible, or err says why they never will be.
type group struct {
	entries []*entry
	runs    []*run // what it only refers to in the journal; then its leader holds applyMu
	done    chan struct{}
	err     error
}

// Append implements Log. It cannot be interrupted once the batches have been
// admitted, since they are still the caller's memory; that is the time of one
// or two syncs.
func (l *Embedded) Append(ctx context.Context, tp TopicPartition, batches []byte) (Offset, error) {
	off, err := l.append(ctx, tp, batches)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", tp, err)
	}
	return off, nil
}

func (l *Embedded) append(ctx context.Context, tp TopicPartition, batches []byte) (Offset, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := l.partition(tp)
	if err != nil {
		return 0, err
	}
	if len(batches) == 0 {
		return Offset(p.hw.Load()), l.usable()
	}
	if err := l.checkSize(int64(len(batches))); err != nil {
		return 0, err
	}
	en := &entry{time: l.now()}
	en.parts = en.one[:]
	if err := l.checkWrite(&en.one[0], p, batches, false, en.time); err != nil {
		return 0, err
	}
	if err := l.submit(en, "", 0); err != nil {
		return 0, err
	}
	l.m.records.Inc(int64(en.one[0].count))
	l.m.bytesIn.Inc(int64(len(batches)))
	return en.one[0].base, nil
}

// Commit implements Log. As with Append, it cannot be interrupted once it has
// been admitted. A GroupOffset with a negative Offset forgets the partition.
func (l *Embedded) Commit(ctx context.Context, c *Commit) ([]Offset, error) {
	offs, err := l.commit(ctx, c)
	if err != nil && c.Producer != "" {
		return nil, fmt.Errorf("commit of %s: %w", c.Producer, err)
	}
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return offs, nil
}

func (l *Embedded) commit(ctx context.Context, c *Commit) ([]Offset, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	en := &entry{time: l.now(), parts: make([]part, 0, len(c.Writes)+1)}
	at := make([]int, len(c.Writes)) // index in parts of each write, or -1
	offs := make([]Offset, len(c.Writes))
	var size, records int64
	for i := range c.Writes {
		w := &c.Writes[i]
		p, err := l.partition(w.TopicPartition)
		if err != nil {
			return nil, err
		}
		size += int64(len(w.Batches))
		if at[i] = -1; len(w.Batches) == 0 {
			offs[i] = Offset(p.hw.Load())
			continue
		}
		at[i] = len(en.parts)
		en.parts = append(en.parts, part{})
		if err := l.checkWrite(&en.parts[at[i]], p, w.Batches, w.isSealed(), en.time); err != nil {
			return nil, fmt.Errorf("write to %s: %w", w.TopicPartition, err)
		}
		records += int64(en.parts[at[i]].count)
	}
	if err := l.checkSize(size); err != nil {
		return nil, err
	}
	if len(c.Offsets) > 0 {
		b := builders.Get().(*Builder)
		defer builders.Put(b)
		if err := l.offsetsPart(en, b, c.Group, c.Offsets); err != nil {
			return nil, err
		}
	}
	if err := l.markerParts(en, c.Markers); err != nil {
		return nil, err
	}
	if err := l.submit(en, c.Producer, c.Epoch); err != nil {
		return nil, err
	}
	l.m.commits.Inc(1)
	l.m.records.Inc(records)
	l.m.bytesIn.Inc(size)
	for i, j := range at {
		if j >= 0 {
			offs[i] = en.parts[j].base
		}
	}
	return offs, nil
}

func (l *Embedded) checkSize(n int64) error {
	if n > l.opts.MaxCommitBytes {
		return fmt.Errorf("%w: %d bytes of batches in one step, want at most %d", ErrTooLarge, n, l.opts.MaxCommitBytes)
	}
	return l.space.admit(l, n)
}

// checkWrite checks batches and makes them a part of an entry. Of those that
// were sealed in this process the checksums are believed.
func (l *Embedded) checkWrite(pt *part, p *partition, batches []byte, sealed bool, now Timestamp) error {
	check := CheckBatch
	if sealed {
		check = ParseBatch
	}
	cfg := p.topic.config()
	*pt = part{p: p, entryPart: entryPart{id: p.topic.id, partition: p.tp.Partition, batches: batches}}
	for pos := 0; pos < len(batches); {
		info, err := check(batches[pos:])
		if err != nil {
			return fmt.Errorf("batch at byte %d: %w", pos, err)
		}
		if int64(info.Size) > cfg.maxMessageBytes {
			return fmt.Errorf("%w: batch of %d bytes, want at most max.message.bytes, which is %d", ErrTooLarge, info.Size, cfg.maxMessageBytes)
		}
		if cfg.appendTime {
			stampBatch(batches[pos:pos+info.Size], now)
		}
		pt.count += Offset(info.LastOffsetDelta) + 1
		pos += info.Size
	}
	return nil
}

// submit admits an entry, in the order of its offsets, and waits for it.
//
// All partitions are admitted to under one lock: it is held for the assignment
// of offsets only, some 100 ns, which is less than taking the locks of thirty
// partitions in order would be, and a failed write can put all offsets back
// while nobody is admitted.
func (l *Embedded) submit(en *entry, producer string, epoch Epoch) error {
	l.mu.Lock()
	err := l.admissibleLocked(en, producer, epoch)
	if err == nil {
		err = l.assignLocked(en)
	}
	if err != nil {
		l.mu.Unlock()
		return err
	}
	g := l.enqueueLocked(en)
	l.mu.Unlock()
	return l.await(g)
}

// enqueueLocked puts an admitted entry into the group that is written next.
func (l *Embedded) enqueueLocked(en *entry) *group {
	if l.pending == nil {
		l.pending = &group{done: make(chan struct{})}
		l.tail = l.pending
	}
	l.pending.entries = append(l.pending.entries, en)
	return l.pending
}

// admissibleLocked tells whether an entry may be admitted at all.
func (l *Embedded) admissibleLocked(en *entry, producer string, epoch Epoch) error {
	if l.closed {
		return ErrClosed
	}
	if f := l.failure.Load(); f != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, f.err)
	}
	if err := l.checkFenceLocked(producer, epoch); err != nil {
		return err
	}
	en.parts = slices.DeleteFunc(en.parts, func(pt part) bool { return pt.marker != nil && pt.p.deleted })
	for i := range en.parts {
		if p := en.parts[i].p; p.deleted {
			return fmt.Errorf("%w %q", ErrUnknownTopic, p.tp.Topic)
		}
		// Whoever deletes a topic forgets the offsets that were admitted before.
		for _, p := range en.parts[i].of {
			if p.deleted {
				return fmt.Errorf("offset of %s: %w", p.tp, ErrUnknownTopic)
			}
		}
	}
	return nil
}

// assignLocked gives the batches of an admissible entry their offsets and takes
// in what they say of their producers. If one may not follow, nothing is changed.
func (l *Embedded) assignLocked(en *entry) error {
	for i := range en.parts {
		pt := &en.parts[i]
		if pt.kind != partBatches {
			continue
		}
		pt.base = pt.p.next
		base := pt.base
		for b := pt.batches; len(b) > 0; {
			info := parseHeader(b)
			setBatchOffset(b, base, l.leaderEpoch)
			if info.ProducerID >= 0 {
				info.BaseOffset = base
				if err := l.admitProducerLocked(pt, &info, en.time); err != nil {
					l.unassignLocked(en.parts[:i+1])
					return err
				}
			}
			base += Offset(info.LastOffsetDelta) + 1
			b = b[info.Size:]
		}
		pt.p.next = base
	}
	return nil
}

// unassignLocked undoes assignLocked, the last part first.
func (l *Embedded) unassignLocked(parts []part) {
	for i := range slices.Backward(parts) {
		if pt := &parts[i]; pt.kind == partBatches {
			pt.p.next = pt.base
			pt.p.producers.undo(pt)
			pt.undo = nil
		}
	}
}

// await waits for a group. Whoever finds the token leads: no timer, no
// goroutine. While one sync runs, the next group gathers.
//
// Who has led its own group is done, though the token be there for the next as
// well: others wait for what it waited for, and so far they have no answer.
func (l *Embedded) await(g *group) error {
	for {
		select {
		case <-g.done:
			return g.err
		default:
		}
		select {
		case <-g.done:
			return g.err
		case <-l.token:
		}
		next := l.take()
		if next == nil {
			l.token <- struct{}{}
			<-g.done // its leader applies it
			return g.err
		}
		l.lead(next)
	}
}

// take returns the group that is written next, or nil. The caller holds the token.
func (l *Embedded) take() *group {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.storing, l.pending = l.pending, nil
	return l.storing
}

// lead takes a group through the journal and into the segments. The caller
// holds the token; lead gives it back after the sync, so that the next group
// syncs while this one is applied. applyMu is taken before that: groups are
// applied in order.
func (l *Embedded) lead(g *group) {
	if err := l.store(g); err != nil {
		if g.runs != nil {
			l.applyMu.Unlock()
		}
		l.abandon(g, err)
		l.token <- struct{}{}
		return
	}
	if g.runs == nil {
		l.applyMu.Lock()
	}
	l.mu.Lock()
	for _, en := range g.entries {
		for i := range en.parts {
			if pt := &en.parts[i]; pt.kind == partBatches {
				pt.p.durable = pt.base + pt.count
			}
		}
	}
	l.storing = nil
	l.mu.Unlock()
	l.token <- struct{}{}
	l.apply(g)
	l.applyMu.Unlock()
	close(g.done)
}

// store writes a group to the journal, and syncs it where that is what an
// acknowledgement means.
func (l *Embedded) store(g *group) error {
	if f := l.failure.Load(); f != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, f.err)
	}
	if l.journal.isFull() {
		if err := l.nextJournal(); err != nil {
			return err
		}
	}
	l.refer(g)
	if err := l.journal.write(g); err != nil {
		return err
	}
	if l.opts.Sync.Mode == SyncGroup {
		l.m.syncs.Inc(1)
		if err := l.journal.sync(); err != nil {
			return err
		}
	}
	if err := l.writeRuns(g); err != nil {
		if _, fatal := err.(fatalError); fatal {
			return err
		}
		return l.journal.takeBack(err)
	}
	return nil
}

// nextJournal begins the next journal file.
func (l *Embedded) nextJournal() error {
	if l.opts.Sync.Mode == SyncInterval {
		if err := l.syncJournal(); err != nil {
			return err
		}
	}
	if err := l.journal.begin(); err != nil {
		return err
	}
	l.journalRolled()
	return nil
}

// abandon fails a group and all that were admitted behind it, and puts the
// offsets back to where the journal ends, before anything else is admitted.
func (l *Embedded) abandon(g *group, err error) {
	if fatal, ok := err.(fatalError); ok {
		l.fail(fatal.err)
		err = fmt.Errorf("%w: %w", ErrReadOnly, fatal.err)
	} else if vfs.IsNoSpaceError(err) {
		l.space.exhausted(l)
		err = asNoSpace(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	behind := l.pending
	behind.undo(producersOf)
	g.undo(producersOf)
	l.pending, l.storing = nil, nil
	for _, failed := range []*group{g, behind} {
		if failed == nil {
			continue
		}
		for _, en := range failed.entries {
			for i := range en.parts {
				p := en.parts[i].p
				p.next = p.durable
			}
		}
		failed.err = err
		close(failed.done)
	}
}

// apply writes a group that is safe in the journal to the segments, and then
// shows it to readers. The caller is the applier.
func (l *Embedded) apply(g *group) {
	for _, en := range g.entries {
		for i := range en.parts {
			if pt := &en.parts[i]; pt.kind == partBatches {
				if pt.txn {
					pt.p.noteTxns(pt)
				}
				l.applyBatches(pt, en.time)
			}
		}
	}
	for _, en := range g.entries {
		for i := range en.parts {
			l.flush(en.parts[i].p)
		}
	}
	// The last entry first: all bytes of a partition are shown at once, so its
	// high watermark has to come to the end of them at once too.
	for _, en := range slices.Backward(g.entries) {
		for i := range en.parts {
			if pt := &en.parts[i]; pt.kind == partBatches {
				pt.p.publish(pt.base + pt.count)
			}
		}
	}
	for _, en := range g.entries {
		for i := range en.parts {
			pt := &en.parts[i]
			if pt.kind == partStart {
				pt.p.raiseStart(pt.base)
			}
			l.offsets.applyPart(pt)
		}
		l.applied = en.seq
	}
}

// applyBatches writes to the segments. If that fails, the entry is acknowledged
// all the same, for the journal has it: it is served from memory, and the log
// is read-only, so that the journal is kept.
func (l *Embedded) applyBatches(pt *part, now Timestamp) {
	ok := true
	if pt.ref != nil {
		pt.p.take(pt.batches, now)
	} else {
		ok = l.writeSegment(func() error { return pt.p.append(l.fs, pt.base, pt.batches, now) })
	}
	if !ok {
		pt.p.keep(l.fs, pt.base, pt.batches, now)
		return
	}
	if err := pt.p.enterEpoch(l.fs, l.leaderEpoch, pt.base); err != nil {
		l.logger.Warn("leader epochs were not written", "partition", pt.p.tp, "err", err)
	}
}

// flush writes what applyBatches has gathered for a partition.
func (l *Embedded) flush(p *partition) {
	if p.staged != nil && !l.writeSegment(p.flush) {
		p.keepStaged()
	}
}

// writeSegment calls write, once more with the ballast's space if the disk is
// full, and reports whether it worked out. If not, the log is read-only.
func (l *Embedded) writeSegment(write func() error) bool {
	if l.failure.Load() != nil {
		return false
	}
	err := write()
	if err != nil && vfs.IsNoSpaceError(err) {
		l.space.exhausted(l)
		err = write()
	}
	if err != nil {
		l.fail(err)
	}
	return err == nil
}

// barrier waits until everything admitted so far is visible or has failed.
func (l *Embedded) barrier() {
	l.mu.Lock()
	g := l.tail
	l.mu.Unlock()
	if g != nil {
		_ = l.await(g)
	}
}

// Fence implements Log. Epochs rise across restarts: the high half counts the
// opens of the directory.
func (l *Embedded) Fence(ctx context.Context, producer string) (Epoch, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, fmt.Errorf("fence %s: %w", producer, ErrClosed)
	}
	l.fenced++
	epoch := Epoch(l.boot<<32 | l.fenced)
	l.fences[producer] = epoch
	l.mu.Unlock()
	// What the old epoch got in before must be visible to the new one.
	l.barrier()
	return epoch, nil
}

func (l *Embedded) checkFenceLocked(producer string, epoch Epoch) error {
	if producer == "" {
		return nil
	}
	current, ok := l.fences[producer]
	if !ok {
		// From before a restart: whether a newer one was given out since is not
		// known, so the producer has to ask again.
		current = Epoch(l.boot << 32)
	}
	if epoch < current {
		return fmt.Errorf("%w: epoch %d, want %d", ErrFenced, epoch, current)
	}
	return nil
}
