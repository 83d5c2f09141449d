package log

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// OffsetFor implements Log.
func (l *Embedded) OffsetFor(ctx context.Context, tp TopicPartition, t Timestamp) (Offset, Timestamp, error) {
	p, err := l.partition(tp)
	if err != nil {
		return 0, NoTimestamp, err
	}
	for {
		off, found, err := p.offsetFor(ctx, t)
		if errors.Is(err, errGone) {
			continue // compaction or retention got in between
		}
		if err != nil {
			return 0, NoTimestamp, fmt.Errorf("offset for %v in %s: %w", t, tp, err)
		}
		return off, found, nil
	}
}

// MaxTimestamp returns the first record with the largest timestamp of a
// partition; the end offset and NoTimestamp if there is none.
func (l *Embedded) MaxTimestamp(ctx context.Context, tp TopicPartition) (Offset, Timestamp, error) {
	p, err := l.partition(tp)
	if err != nil {
		return 0, NoTimestamp, err
	}
	newest := NoTimestamp
	for _, s := range *p.segments.Load() {
		t, _ := s.times()
		newest = max(newest, t)
	}
	if newest == NoTimestamp {
		return p.bounds().End, NoTimestamp, nil
	}
	return l.OffsetFor(ctx, tp, newest)
}

func (p *partition) offsetFor(ctx context.Context, t Timestamp) (Offset, Timestamp, error) {
	b := p.bounds()
	for _, s := range *p.segments.Load() {
		if err := ctx.Err(); err != nil {
			return 0, NoTimestamp, err
		}
		if maxTime, _ := s.times(); maxTime < t {
			continue
		}
		off, found, err := p.findTime(s, t, b)
		if found != NoTimestamp || err != nil {
			return off, found, err
		}
	}
	return b.End, NoTimestamp, nil
}

// findTime returns the first record of a segment within b that is as young as t.
func (p *partition) findTime(s *segment, t Timestamp, b Bounds) (Offset, Timestamp, error) {
	r, err := p.openSegment(s)
	if err != nil {
		return 0, NoTimestamp, err
	}
	defer r.Close()
	times, err := s.timeIndex(r)
	if err != nil {
		return 0, NoTimestamp, err
	}
	e := findTime(times, t)
	if !r.timeHolds(e) {
		// The index is not of this log.
		x, err := s.rebuildIndexes(r)
		if err != nil {
			return 0, NoTimestamp, err
		}
		e = findTime(x.times, t)
	}
	from := max(s.base+Offset(e.delta), b.Start)
	pos, err := r.position(from)
	if err != nil {
		return 0, NoTimestamp, err
	}
	sc := newBatchScanner(r, s.logName(), pos, s.size.Load())
	defer sc.Close()
	var d decoder
	var recs []Record
	for {
		pos := sc.pos
		info, err := sc.header()
		if errors.Is(err, io.EOF) {
			return 0, NoTimestamp, nil
		}
		if err != nil {
			return 0, NoTimestamp, err
		}
		if info.NextOffset() <= from {
			continue
		}
		sc.pos = pos
		info, batch, err := sc.batch() // its times are believed only when checked
		if err != nil {
			return 0, NoTimestamp, err
		}
		if info.MaxTimestamp < t {
			continue
		}
		d.reset()
		if recs, err = d.decodeBatch(recs[:0], &info, batch); err != nil {
			return 0, NoTimestamp, err
		}
		for i := range recs {
			if r := &recs[i]; r.Timestamp >= t && r.Offset >= from && r.Offset < b.End {
				return r.Offset, r.Timestamp, nil
			}
		}
	}
}

// timeHolds tells whether a time index entry names a batch and its time.
func (r *segmentReader) timeHolds(e timeEntry) bool {
	if e.time == NoTimestamp {
		return true
	}
	last := r.s.base + Offset(e.delta)
	pos, err := r.position(last)
	if err != nil {
		return false
	}
	sc := newBatchScanner(r, r.s.logName(), pos, r.s.size.Load())
	defer sc.Close()
	for {
		info, err := sc.header()
		if err != nil {
			return false
		}
		if info.LastOffset() >= last {
			return info.LastOffset() == last && info.MaxTimestamp == e.time
		}
	}
}

// DeleteRecords implements Log. A negative offset means the end. The new start
// goes through the journal like a record; files go with the next maintenance.
func (l *Embedded) DeleteRecords(ctx context.Context, tp TopicPartition, before Offset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := l.partition(tp)
	if err == nil {
		b := p.bounds()
		if before < 0 {
			before = b.End
		}
		if before > b.End {
			err = fmt.Errorf("%w: %d, want at most %d", ErrOffsetOutOfRange, before, b.End)
		} else if before <= b.Start {
			return nil
		}
	}
	if err == nil {
		en := &entry{time: l.now()}
		en.parts = en.one[:]
		en.one[0] = part{p: p, entryPart: entryPart{id: p.topic.id, partition: tp.Partition, kind: partStart, base: before}}
		err = l.submit(en, "", 0)
	}
	if err != nil {
		return fmt.Errorf("delete records of %s: %w", tp, err)
	}
	return nil
}
