package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
)

// Much data is written once: to its segment, while the entry in the journal only
// refers to it. The journal says first what will be there, then the batches are
// written, and both are synced before anybody hears of it. A crash in between
// leaves a reference without its batches, at the end of the journal, and so the
// end of the journal.
//
//	 0  segment   8   base offset of the segment that holds the batches
//	 8  position  8   in it, of the first of them
//	16  bytes     8   of all of them
//	24  end       8   the offset after the last record
//	32  crc       4   CRC-32C of the first 21 bytes of each batch; its own checksum covers the rest
//	36  zero      4
type reference struct {
	segment  Offset
	position int64
	bytes    int64
	end      Offset
	crc      uint32
}

const referenceSize = 40

func (r *reference) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.segment))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.position))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.bytes))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.end))
	dst = binary.BigEndian.AppendUint32(dst, r.crc)
	return binary.BigEndian.AppendUint32(dst, 0)
}

func decodeReference(b []byte) (*reference, error) {
	if len(b) != referenceSize {
		return nil, fmt.Errorf("%w: reference of %d bytes, want %d", ErrCorrupt, len(b), referenceSize)
	}
	r := &reference{
		segment:  Offset(binary.BigEndian.Uint64(b)),
		position: int64(binary.BigEndian.Uint64(b[8:])),
		bytes:    int64(binary.BigEndian.Uint64(b[16:])),
		end:      Offset(binary.BigEndian.Uint64(b[24:])),
		crc:      binary.BigEndian.Uint32(b[32:]),
	}
	if r.segment < 0 || r.position < 0 || r.bytes <= 0 || r.end <= r.segment || binary.BigEndian.Uint32(b[36:]) != 0 {
		return nil, fmt.Errorf("%w: reference to %d bytes at %d of segment %d up to offset %d", ErrCorrupt, r.bytes, r.position, r.segment, r.end)
	}
	return r, nil
}

// framesCRC takes the frame of each batch of a run into a checksum.
func framesCRC(crc uint32, run []byte) uint32 {
	for len(run) > 0 {
		crc = crc32.Update(crc, castagnoli, run[:batchAttributesPos])
		run = run[batchFrameSize+int(binary.BigEndian.Uint32(run[batchLengthPos:])):]
	}
	return crc
}

const (
	// referRun is from how many bytes for a partition a group only refers to them. A
	// second file to be synced, and the blocks that it grows by, cost as much as
	// the journal takes for so many. Without a sync there is no such price, but that
	// of one write more.
	referRun         = 256 << 10
	referRunUnsynced = largePart

	// runAlone is from how many bytes a run into the cache has a goroutine of its
	// own. To wake one for less costs more than it wins.
	runAlone = 1 << 20
)

// referFrom is from how many bytes for a partition a group refers to them: no
// more than fit into a segment several times.
func (l *Embedded) referFrom() int64 {
	least := int64(referRun)
	if l.opts.Sync.Mode != SyncGroup {
		least = referRunUnsynced
	}
	return min(least, l.opts.SegmentBytes/4)
}

// run is what a group brings to a partition by reference.
type run struct {
	p     *partition
	s     *segment
	pos   int64
	size  int64
	parts []*part
	past  bool       // past the cache of the operating system
	with  []*segment // that hold bytes of the partition which may not be synced
	names bool       // nor may the segment's directory entry
}

// refer chooses the partitions to which a group brings much, and makes its parts
// references to where they will be. The caller holds the token. If there are
// any, refer takes applyMu: segments grow by what lead does until it gives it
// back. A partition whose segment cannot be had is left to the journal.
func (l *Embedded) refer(g *group) {
	least := l.referFrom()
	if g.size() < least {
		return
	}
	runs := map[*partition]*run{}
	for _, en := range g.entries {
		for i := range en.parts {
			if pt := &en.parts[i]; pt.kind == partBatches {
				r := runs[pt.p]
				if r == nil {
					r = &run{p: pt.p}
					runs[pt.p] = r
				}
				r.parts = append(r.parts, pt)
				r.size += int64(len(pt.batches))
			}
		}
	}
	for _, r := range runs {
		if r.size >= least && r.size <= r.p.topic.config().segmentBytes {
			g.runs = append(g.runs, r)
		}
	}
	if len(g.runs) == 0 {
		return
	}
	l.applyMu.Lock()
	if l.failure.Load() != nil {
		// The group before this one could not be applied: its bytes are in memory,
		// and there is no place behind them. The journal takes this one.
		l.applyMu.Unlock()
		g.runs = nil
		return
	}
	now := g.entries[0].time
	for _, r := range g.runs {
		if err := r.place(l, now); err != nil {
			l.logger.Warn("large batches take the way through the journal", "partition", r.p.tp, "err", err)
			continue
		}
		if l.opts.Sync.Mode == SyncGroup {
			r.toSync()
		}
		pos := r.pos
		for _, pt := range r.parts {
			n := int64(len(pt.batches))
			pt.ref = &reference{r.s.base, pos, n, pt.base + pt.count, framesCRC(0, pt.batches)}
			pos += n
		}
	}
}

// size is the bytes of batches in a group.
func (g *group) size() (n int64) {
	for _, en := range g.entries {
		for i := range en.parts {
			n += int64(len(en.parts[i].batches))
		}
	}
	return n
}

// place finds the place of a run: in one segment, behind all that is there.
func (r *run) place(l *Embedded, now Timestamp) error {
	p, base := r.p, r.parts[0].base
	if s := p.last(); s == nil || p.full(s, int(r.size), base, now) {
		if err := p.roll(l.fs, base); err != nil {
			return err
		}
	}
	s := p.last()
	created, err := s.openForWrite()
	if err != nil {
		return err
	}
	p.newFiles = p.newFiles || created
	r.s, r.pos = s, p.written
	// To wait for the disk is worth it only for many bytes, and where somebody
	// waits for it anyway.
	_, direct := l.fs.(DirectFS)
	r.past = direct && l.opts.Sync.Mode != SyncNone && r.size >= min(referRun, l.opts.SegmentBytes/4) && p.unread(now)
	return nil
}

// toSync finds out what has to be synced with a run: all of the partition, so
// that what comes before a reference is never less safe than what it refers to.
func (r *run) toSync() {
	safe := Offset(r.p.synced.Load())
	segments := *r.p.segments.Load()
	for i, s := range segments {
		if i+1 == len(segments) || segments[i+1].base > safe {
			r.with = append(r.with, s)
		}
	}
	r.names = !r.s.named
}

// write writes a run to its segment: from where its batches lie, or in blocks past
// the cache.
func (r *run) write() error {
	if r.past {
		return r.writeBlocks()
	}
	batches := make([][]byte, len(r.parts))
	for i, pt := range r.parts {
		batches[i] = pt.batches
	}
	return r.s.writeVector(batches, r.pos)
}

// writeBlocks gathers a run in whole blocks and writes it past the cache.
func (r *run) writeBlocks() error {
	room := <-directMemory
	if room == nil {
		room = alignIn(offHeap(directBytes+hugePage), directBytes, hugePage)
	}
	defer func() { directMemory <- room }()
	// The first byte of room lies in the file where a block begins.
	n := int(r.pos % DirectBlock)
	at, skip := r.pos-int64(n), n
	for _, pt := range r.parts {
		for b := pt.batches; len(b) > 0; {
			m := copy(room[n:], b)
			n, b = n+m, b[m:]
			if n == len(room) {
				if err := r.s.writeBlocks(room, skip, at); err != nil {
					return err
				}
				at, n, skip = at+int64(n), 0, 0
			}
		}
	}
	if n > skip {
		return r.s.writeBlocks(room[:n], skip, at)
	}
	return nil
}

// sync makes a run durable, and all of the partition before it.
func (r *run) sync(l *Embedded) error {
	for _, s := range r.with {
		if err := s.sync(); err != nil {
			return fatalError{err}
		}
	}
	if !r.names {
		return nil
	}
	if err := errors.Join(syncDir(l.fs, r.p.dir), syncDir(l.fs, l.fs.PathJoin(l.dir, topicsDirName))); err != nil {
		return fatalError{err}
	}
	r.s.named = true
	return nil
}

// writeRuns writes what a group refers to; where an acknowledgement means it,
// also durably. If that fails for want of space, say, the segments are as they
// were before, unless the error is fatal.
func (l *Embedded) writeRuns(g *group) error {
	runs := slices.DeleteFunc(slices.Clone(g.runs), func(r *run) bool { return r.s == nil })
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i, r := range runs {
		write := func() {
			if errs[i] = r.write(); errs[i] == nil && l.opts.Sync.Mode == SyncGroup {
				errs[i] = r.sync(l)
			}
		}
		if i < len(runs)-1 && (l.opts.Sync.Mode == SyncGroup || r.size >= runAlone) {
			wg.Go(write)
		} else {
			write()
		}
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil && l.opts.Sync.Mode == SyncInterval {
		for _, r := range runs {
			l.unsynced[r.p] = true
		}
	}
	var fatal fatalError
	if errors.As(err, &fatal) {
		return fatal
	}
	if err == nil {
		return nil
	}
	for _, r := range runs {
		if cerr := r.s.cut(r.pos); cerr != nil {
			return fatalError{fmt.Errorf("%w; and it could not be undone: %v", err, cerr)}
		}
	}
	return err
}

// syncJournal makes everything in the journal durable, and first what its entries
// refer to. The caller holds the token.
func (l *Embedded) syncJournal() error {
	if len(l.unsynced) > 0 {
		l.applyMu.Lock()
		defer l.applyMu.Unlock()
		for p := range l.unsynced {
			if err := l.syncPartition(p); err != nil {
				return err
			}
		}
		clear(l.unsynced)
	}
	return l.journal.sync()
}

// syncPartition makes all of a partition durable that has been applied, unless it
// was given up. The caller holds applyMu.
func (l *Embedded) syncPartition(p *partition) error {
	r := &run{p: p, s: p.last()}
	if r.s == nil || r.s.file == nil {
		return nil
	}
	r.toSync()
	return r.sync(l)
}

// cut makes the file of a segment end at size again, durably.
func (s *segment) cut(size int64) (err error) {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	defer func() { s.syncErr = err }()
	if err := s.close(); err != nil {
		return fmt.Errorf("close segment %s: %w", s.logName(), err)
	}
	if err := s.fs.Truncate(s.logName(), size); err != nil {
		return fmt.Errorf("cut segment %s to %d bytes: %w", s.logName(), size, err)
	}
	if _, err := s.openForWrite(); err != nil {
		return err
	}
	return s.file.SyncData()
}
