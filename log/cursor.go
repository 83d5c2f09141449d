package log

import (
	"errors"
	"fmt"
	"runtime"
)

// A Cursor finds the stored batches of a partition for a server that hands them
// out as they are: as places in files, so that they need not be read into memory
// to be sent. Reading on where the last Span ended costs no search. It is owned
// by one goroutine.
//
// Checksums are not looked at: that is for who decodes the batches, and Scrub.
// Nor are batches within a Span that lies between index entries or takes all of a
// file. Where a Cursor goes from header to header, to find an offset or the end of
// a Span, it holds a header's form and base offset against what is around it: one
// that goes back, or beyond its segment, is ErrCorrupt.
type Cursor struct {
	l  *Embedded
	p  *partition
	id TopicID

	seg *sharedSegment // or nil: to be found
	at  Offset         // of the batch at pos in seg
	pos int64
}

// Span is a run of whole batches as it lies in a file. It is valid until the
// next call of its Cursor.
type Span struct {
	seg  *sharedSegment
	pos  int64
	Size int    // bytes; 0 if there is nothing to be read
	Next Offset // of the first record after the span
}

// OpenCursor makes a Cursor of a partition.
func (l *Embedded) OpenCursor(tp TopicPartition) (*Cursor, error) {
	p, err := l.partition(tp)
	if err != nil {
		return nil, fmt.Errorf("open cursor of %s: %w", tp, err)
	}
	return &Cursor{l: l, p: p, id: p.topic.id}, nil
}

// OpenCursorByID is OpenCursor of a partition of the topic with an id: never of
// one that was made since under the name that the id had.
func (l *Embedded) OpenCursorByID(id TopicID, partition int32) (*Cursor, error) {
	name, _ := l.TopicName(id)
	c, err := l.OpenCursor(TopicPartition{name, partition})
	if err == nil && c.id != id {
		return nil, fmt.Errorf("open cursor of topic id %v: %w: it was deleted", id, ErrUnknownTopic)
	}
	return c, err
}

// TopicID is the id of the topic that the cursor was opened on.
func (c *Cursor) TopicID() TopicID { return c.id }

// Aborted is Embedded.Aborted of the cursor's partition.
func (c *Cursor) Aborted(from, to Offset) []AbortedTxn { return c.p.abortedIn(from, to) }

// Arm asks for a token (never blocking: a full channel is left alone) when
// records may have become readable. Whoever then finds none by Next will miss no
// record by waiting for it.
func (c *Cursor) Arm(wake chan<- struct{}) { c.p.arm(wake) }

// Disarm takes back what Arm asked for.
func (c *Cursor) Disarm(wake chan<- struct{}) { c.p.disarm(wake) }

// Close gives back the file.
func (c *Cursor) Close() { c.leave() }

func (c *Cursor) leave() {
	if c.seg != nil {
		c.seg.release()
		c.seg = nil
	}
}

// Next finds whole batches from an offset on: the first one holds it or, after
// compaction, follows it. They have at most maxBytes, but if whole is set the
// first is found however large it is. With committed set, none is of an open
// transaction. It returns the bounds by which it went, and ErrOffsetOutOfRange
// if the offset lies outside of them.
func (c *Cursor) Next(from Offset, maxBytes int, whole, committed bool) (Span, Bounds, error) {
	for {
		sp, b, err := c.next(from, maxBytes, whole, committed)
		if errors.Is(err, errGone) {
			c.leave() // compaction or retention got in between
			continue
		}
		if err != nil {
			err = fmt.Errorf("read %s: %w", c.p.tp, err)
		}
		return sp, b, err
	}
}

func (c *Cursor) next(from Offset, maxBytes int, whole, committed bool) (Span, Bounds, error) {
	if err := c.readable(); err != nil {
		return Span{}, Bounds{}, err
	}
	tail, size, b := c.p.visible()
	if from < b.Start || from > b.End {
		return Span{}, b, fmt.Errorf("%w: %d, want %d to %d", ErrOffsetOutOfRange, from, b.Start, b.End)
	}
	end := b.End
	if committed {
		end = b.Stable
	}
	none := Span{Next: from}
	if from >= end {
		return none, b, nil
	}
	if c.seg == nil || c.at != from {
		if err := c.find(from); err != nil {
			return none, b, err
		}
	}
	for {
		// What ends with the file needs no look at its batches.
		limit, next := size, b.End
		if c.seg.s != tail {
			after, ok := c.p.after(c.seg.s)
			if !ok {
				return none, b, errGone
			}
			limit, next = c.seg.s.size.Load(), after
		}
		if c.pos < limit {
			sp, err := c.cut(limit, next, end, maxBytes, whole)
			if sp.Size == 0 {
				sp.Next = from
			}
			return sp, b, err
		}
		if c.seg.s == tail || next >= end {
			return none, b, nil
		}
		if err := c.open(next); err != nil {
			return none, b, err
		}
		if c.seg.s.base != next {
			return none, b, errGone
		}
		c.at, c.pos = next, 0
	}
}

// readable tells why nothing can be read.
func (c *Cursor) readable() error {
	select {
	case <-c.l.stop:
		return ErrClosed
	default:
	}
	if p, err := c.l.partition(c.p.tp); err != nil {
		return err
	} else if p != c.p {
		return fmt.Errorf("%w %q: it was deleted and made again", ErrUnknownTopic, c.p.tp.Topic)
	}
	c.p.polled.Store(int64(c.l.now()))
	return nil
}

// open goes to the segment of an offset.
func (c *Cursor) open(o Offset) error {
	s, next := c.p.find(o)
	if s == nil {
		s = next // compaction has taken what was before it
	}
	if s == nil {
		return fmt.Errorf("%w: no segment holds offset %d", ErrCorrupt, o)
	}
	seg, err := c.p.share(s)
	if err != nil {
		return err
	}
	c.leave()
	c.seg = seg
	return nil
}

// find goes to the batch that holds an offset or follows it.
func (c *Cursor) find(o Offset) error {
	if err := c.open(o); err != nil {
		return err
	}
	entries, err := c.seg.index()
	if err != nil {
		return err
	}
	pos, err := c.seg.positionIn(entries, o)
	if err != nil {
		return err
	}
	least := c.seg.s.base
	for size := c.seg.s.size.Load(); pos < size; {
		info, err := c.headerAt(pos, least)
		if err != nil {
			return err
		}
		least = info.NextOffset()
		if least > o {
			break
		}
		pos += int64(info.Size)
	}
	c.at, c.pos = o, pos
	return nil
}

// cut makes a span that begins at pos and has at most maxBytes. The segment ends
// at limit, where offset next follows; the span must not reach end.
func (c *Cursor) cut(limit int64, next, end Offset, maxBytes int, whole bool) (Span, error) {
	sp := Span{seg: c.seg, pos: c.pos}
	var stop int64
	if limit-c.pos <= int64(maxBytes) && next <= end {
		stop = limit
	} else {
		var err error
		if stop, next, err = c.within(limit, next, end, maxBytes, whole); err != nil {
			return Span{}, err
		}
	}
	if stop == c.pos {
		return Span{}, nil
	}
	sp.Size, sp.Next = int(stop-c.pos), next
	c.pos, c.at = stop, next
	return sp, nil
}

// headerAt reads the header of a batch that can begin at least or later.
func (c *Cursor) headerAt(pos int64, least Offset) (BatchInfo, error) {
	info, err := c.seg.headerAt(pos)
	if err == nil && info.BaseOffset < least {
		err = &damageAt{c.seg.s.logName(), pos, fmt.Errorf("base offset %d, want %d or more", info.BaseOffset, least)}
	}
	return info, err
}

// within finds where the last whole batch within bounds ends, and the offset
// after it: at an index entry, if there is one, or else from header to header.
// The segment ends at size, where offset last follows.
func (c *Cursor) within(size int64, last, end Offset, maxBytes int, whole bool) (stop int64, next Offset, err error) {
	limit := min(size, c.pos+int64(max(maxBytes, 0)))
	entries, err := c.seg.index()
	if err != nil {
		return 0, 0, err
	}
	if e, ok := lastEntry(entries, limit, int64(end-c.seg.s.base)); ok && int64(e.pos) > c.pos {
		info, err := c.seg.headerAt(int64(e.pos))
		if err == nil && info.LastOffset() == c.seg.s.base+Offset(e.delta) {
			return int64(e.pos), info.BaseOffset, nil
		}
		// The index is not of this log: go by the batches.
	}
	stop, next = c.pos, c.seg.s.base
	for stop < size {
		info, err := c.headerAt(stop, next)
		if err == nil && info.NextOffset() > last {
			err = &damageAt{c.seg.s.logName(), stop, fmt.Errorf("batch ends at offset %d, want at most %d", info.NextOffset(), last)}
		}
		if err != nil {
			return 0, 0, err
		}
		if info.NextOffset() > end || stop+int64(info.Size) > limit && !(whole && stop == c.pos) {
			break
		}
		stop, next = stop+int64(info.Size), info.NextOffset()
	}
	return stop, next, nil
}

// ReadAt is io.ReaderAt of the span's bytes.
func (sp *Span) ReadAt(b []byte, off int64) (int, error) {
	return sp.seg.ReadAt(b, sp.pos+off)
}

// File is where the span lies: a file descriptor, valid as long as the span is,
// and the place in it; false if the bytes can only be had by ReadAt.
func (sp *Span) File() (fd uintptr, pos int64, ok bool) {
	return sp.seg.place(sp.pos, sp.Size)
}

// visible returns the last segment, how many bytes of it are visible, and the
// bounds that go with that.
func (p *partition) visible() (last *segment, size int64, b Bounds) {
	for {
		v := p.publishing.Load()
		if v&1 == 0 {
			b = p.bounds()
			if last = p.last(); last != nil {
				size = last.size.Load()
			}
			if p.publishing.Load() == v {
				return last, size, b
			}
		}
		runtime.Gosched() // publish takes some nanoseconds
	}
}

// after returns the base offset of the segment after s; false if s is not one of
// the partition's any more, or the last.
func (p *partition) after(s *segment) (Offset, bool) {
	have, next := p.find(s.base)
	if have != s || next == nil {
		return 0, false
	}
	return next.base, true
}
