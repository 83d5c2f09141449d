package log

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// seenProducers is what the batches of one partition say of producers and
// transactions, up to where Open believes the derived files without looking at
// batches. Those files are held against it: one that is lost or damaged does no
// harm, one that is whole and wrong would give out aborted records, or refuse
// a producer.
type seenProducers struct {
	start   Offset // of what is kept
	until   Offset
	last    map[int64]seenBatch
	open    map[int64]bool   // whether a transaction is, if that is known
	aborted map[Offset]int64 // producers by the offsets of their abort markers
}

// seenBatch is the last batch of a producer.
type seenBatch struct {
	producedBatch
	epoch int16
}

func newSeenProducers(mp *metaPartition) *seenProducers {
	s := &seenProducers{start: mp.Start, until: mp.Recovery, last: map[int64]seenBatch{}, open: map[int64]bool{}, aborted: map[Offset]int64{}}
	if mp.Producers != nil {
		s.until = mp.Producers.From
	}
	return s
}

// note takes in a batch. A control batch that cannot be read is ErrCorrupt.
func (s *seenProducers) note(info *BatchInfo, batch []byte) error {
	id := info.ProducerID
	if id < 0 {
		return nil
	}
	if info.IsControl() {
		m, ok, err := decodeMarker(info, batch)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if ok && info.BaseOffset < s.until {
			if s.open[id] && !m.Commit {
				s.aborted[info.BaseOffset] = id
			}
			s.open[id] = false
		}
		return nil
	}
	if info.BaseOffset >= s.until {
		return nil
	}
	if info.IsTransactional() {
		s.open[id] = true
	}
	if info.BaseSequence >= 0 {
		s.last[id] = seenBatch{producedBatch{lastSequence: addSequence(info.BaseSequence, info.LastOffsetDelta), delta: info.LastOffsetDelta, lastOffset: info.LastOffset()}, info.ProducerEpoch}
	}
	return nil
}

// producers holds the producer snapshot that the meta names, and the indexes of
// aborted transactions, against the batches of a partition.
func (v *verifier) producers(p *partition, w *walked, seen *seenProducers) error {
	if mp := w.meta.Producers; mp != nil {
		name := v.l.fs.PathJoin(p.dir, baseName(int64(mp.From))+snapshotSuffix)
		switch ps, err := readSnapshot(v.l.fs, p.dir, mp.From); {
		case isNotExist(err) || errors.Is(err, ErrCorrupt):
			v.add(Problem{File: name, Pos: -1, Harmless: true, Err: err})
		case err != nil:
			return err
		default:
			for _, id := range slices.Sorted(maps.Keys(ps)) {
				if err := seen.compare(id, ps[id]); err != nil {
					v.add(Problem{File: name, Pos: -1, Err: err})
				}
			}
		}
	}
	if p.topic.config().compact || w.meta.Compacted > 0 {
		return nil // markers that are not needed any more are gone
	}
	for i, ms := range w.meta.Segments {
		end := seen.until
		if i+1 < len(w.meta.Segments) {
			end = min(end, w.meta.Segments[i+1].Base)
		}
		if err := v.aborted(newSegment(v.l.fs, p.dir, ms.Base, 0), ms.Aborted, end, seen); err != nil {
			return err
		}
	}
	return nil
}

// compare holds what a snapshot says of a producer against its batches. What
// these do not say may have gone with retention or compaction.
func (s *seenProducers) compare(id int64, got *producerState) error {
	if open, known := s.open[id]; known && open != (got.txnStart >= 0) {
		return fmt.Errorf("%w: producer %d: transaction open since %d, but by the batches open=%t", ErrCorrupt, id, got.txnStart, open)
	}
	last, ok := s.last[id]
	if !ok || last.epoch < got.epoch {
		return nil
	}
	if got.n == 0 {
		return nil // forgotten since, and known again by a marker
	}
	if got.last[got.n-1].lastOffset < last.lastOffset {
		return fmt.Errorf("%w: producer %d: its batch at offset %d is not known", ErrCorrupt, id, last.base())
	}
	if b := got.last[got.n-1]; b.lastOffset == last.lastOffset && (b.lastSequence != last.lastSequence || b.delta != last.delta || got.epoch != last.epoch) {
		return fmt.Errorf("%w: producer %d: sequence %d in epoch %d at offset %d, want %d in epoch %d", ErrCorrupt, id, b.lastSequence, got.epoch, b.lastOffset, last.lastSequence, last.epoch)
	}
	return nil
}

// aborted holds the transaction index of a segment that ends at an offset
// against the markers in it. It has n entries at least, or Open makes it again.
func (v *verifier) aborted(s *segment, n int, end Offset, seen *seenProducers) error {
	name := s.path + txnIndexSuffix
	list, err := readTxnIndex(s)
	switch {
	case n == 0 && err != nil:
		list = nil
	case isNotExist(err) || errors.Is(err, ErrCorrupt):
		v.add(Problem{File: name, Pos: -1, Harmless: true, Err: err})
		return nil
	case err != nil:
		return err
	case len(list) < n:
		v.add(Problem{File: name, Pos: -1, Harmless: true, Err: fmt.Errorf("%w: %d aborted transactions, want %d", ErrCorrupt, len(list), n)})
		return nil
	}
	indexed := map[Offset]int64{}
	for i := range list {
		indexed[list[i].LastOffset] = list[i].ProducerID
	}
	for _, at := range slices.Sorted(maps.Keys(seen.aborted)) {
		if id := seen.aborted[at]; at >= max(s.base, seen.start) && at < end && (n == 0 || indexed[at] != id) {
			v.add(Problem{File: name, Pos: -1, Err: fmt.Errorf("%w: the transaction of producer %d that was aborted at offset %d is not there", ErrCorrupt, id, at)})
		}
	}
	return nil
}
