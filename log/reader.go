package log

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"time"
)

const (
	defaultReadBytes = 256 << 10

	// prefetchBytes is how far ahead of a reader the operating system is asked
	// to read, and how often. It is asked only while reads come from the disk:
	// of what is in memory, asking costs a quarter of reading.
	prefetchBytes = 1 << 20
)

// reader implements Reader on a partition of an embedded log. It has a file and
// a buffer of its own, and no goroutine.
type reader struct {
	l    *Embedded
	p    *partition
	opts ReaderOptions

	pos  Offset         // of the next record to be returned
	seg  *segmentReader // or nil: to be found
	next int64          // position in seg of the first byte that is not in buf
	base Offset         // that the next batch in seg must have, or -1: not known

	buf      *[]byte // from the pool; Close gives it back
	from, to int     // bytes of buf that were read and not yet returned
	ahead    int64   // position in seg up to which the disk was asked to read
	cold     bool    // the last read took more than 1 ns a byte, so it came from the disk

	d    decoder
	recs []Record
	end  Offset
	// aborted are the transactions that are passed over, as of when end was
	// looked up.
	aborted []abortedTxn
	own     chan struct{} // wakes Next
	closed  bool
}

// BatchReader is what Readers of an embedded log also are.
type BatchReader interface {
	Reader
	// PollBatches is Poll for whole batches as they are stored: control batches
	// too, and the first may begin below the position. They are valid until the
	// next call.
	PollBatches() ([]byte, error)
}

var _ BatchReader = (*reader)(nil)

// OpenReader implements Log.
func (l *Embedded) OpenReader(tp TopicPartition, from Offset, opts ReaderOptions) (Reader, error) {
	p, err := l.partition(tp)
	if err != nil {
		return nil, fmt.Errorf("open reader of %s: %w", tp, err)
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultReadBytes
	}
	opts.MaxBytes = max(opts.MaxBytes, BatchHeaderSize) // to see how large a batch is
	r := &reader{l: l, p: p, opts: opts, own: make(chan struct{}, 1)}
	if err := r.Seek(from); err != nil {
		return nil, fmt.Errorf("open reader: %w", err)
	}
	return r, nil
}

// Position implements Reader.
func (r *reader) Position() Offset { return r.pos }

// End implements Reader.
func (r *reader) End() Offset { return r.end }

// Seek implements Reader.
func (r *reader) Seek(to Offset) error {
	if r.closed {
		return ErrClosed
	}
	b := r.p.bounds()
	if to < b.Start || to > b.End {
		return r.outOfRange(to, b)
	}
	if r.end = b.End; !r.opts.Uncommitted {
		r.end = b.Stable
	}
	r.leave()
	r.pos = to
	return nil
}

func (r *reader) outOfRange(o Offset, b Bounds) error {
	return fmt.Errorf("read %s: %w: %d, want %d to %d", r.p.tp, ErrOffsetOutOfRange, o, b.Start, b.End)
}

// leave forgets the segment and all that was read of it.
func (r *reader) leave() {
	if r.seg != nil {
		_ = r.seg.Close()
		r.seg = nil
	}
	r.from, r.to, r.base = 0, 0, -1
}

// Close implements Reader.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.leave()
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf = nil
	}
	r.p.disarm(r.own)
	if r.opts.Wake != nil {
		r.p.disarm(r.opts.Wake)
	}
	return nil
}

// Next implements Reader.
func (r *reader) Next(ctx context.Context) ([]Record, error) {
	for from := r.pos; ; {
		recs, err := r.poll(r.own)
		if len(recs) > 0 || err != nil || r.pos > from {
			return recs, err
		}
		select {
		case <-r.own:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Poll implements Reader.
func (r *reader) Poll() ([]Record, error) { return r.poll(r.opts.Wake) }

func (r *reader) poll(wake chan<- struct{}) ([]Record, error) {
	for {
		run, err := r.batches(wake)
		if err != nil || len(run) == 0 {
			return nil, err
		}
		recs, err := r.decode(run)
		// No records: control batches only, or the end of a batch below the
		// position. There may be more behind them.
		if len(recs) > 0 || err != nil {
			return recs, err
		}
	}
}

// PollBatches implements BatchReader.
func (r *reader) PollBatches() ([]byte, error) {
	for {
		run, err := r.batches(r.opts.Wake)
		if err != nil || len(run) == 0 {
			return nil, err
		}
		from, at := 0, 0
		for at < len(run) {
			info := parseHeader(run[at:])
			err := r.follow(&info, at)
			if err == nil {
				err = r.check(&info, run, at)
			}
			if err != nil {
				r.leave()
				if at > from {
					break // the next call begins with the bad one
				}
				return nil, err
			}
			at += info.Size
			if info.NextOffset() <= r.pos {
				from = at // the search began before the position
				continue
			}
			r.pos = info.NextOffset()
		}
		if at > from {
			return run[from:at], nil
		}
	}
}

// decode turns a run of whole batches into records and moves the position.
func (r *reader) decode(run []byte) ([]Record, error) {
	r.d.reset()
	recs := r.recs[:0]
	want := r.pos
	for at := 0; at < len(run); {
		info := parseHeader(run[at:])
		err := r.follow(&info, at)
		if err == nil {
			err = r.check(&info, run, at)
			if err != nil && info.NextOffset() <= want && r.endsThere(&info, run, at) {
				err = nil // damage below the position is in nobody's way
			}
		}
		if err == nil && info.NextOffset() > want && !r.passOver(&info) {
			if recs, err = r.d.decodeBatch(recs, &info, run[at:at+info.Size]); err != nil {
				err = fmt.Errorf("read %s: %w", r.p.tp, r.damage(at, err))
			}
		}
		if err != nil {
			// What comes before is good: the next call begins with the bad one.
			r.leave()
			if len(recs) > 0 {
				break
			}
			return nil, err
		}
		r.pos = max(r.pos, info.NextOffset())
		at += info.Size
	}
	r.recs = recs
	if len(recs) > 0 && recs[0].Offset < want {
		recs = recs[sort.Search(len(recs), func(i int) bool { return recs[i].Offset >= want }):]
	}
	return recs, nil
}

// check holds the batch at run[at:] against its checksum.
func (r *reader) check(info *BatchInfo, run []byte, at int) error {
	if got := crc32.Checksum(run[at+batchAttributesPos:at+info.Size], castagnoli); got != info.CRC {
		return fmt.Errorf("read %s: %w", r.p.tp, r.damage(at, fmt.Errorf("crc %08x, want %08x", got, info.CRC)))
	}
	return nil
}

// endsThere tells whether a damaged batch ends where its header says: because the
// next one joins on, or else will be refused for not doing so.
func (r *reader) endsThere(info *BatchInfo, run []byte, at int) bool {
	next := at + info.Size
	return next < len(run) && parseHeader(run[next:]).BaseOffset == info.NextOffset() || !r.gaps()
}

// passOver tells whether a batch is of a transaction that was aborted.
func (r *reader) passOver(info *BatchInfo) bool {
	return info.IsTransactional() && !r.opts.Uncommitted && isAborted(r.aborted, info)
}

// cut takes off a run what is not decided yet: the bytes in the buffer may go on
// beyond the last stable offset. They stay there for the next call.
func (r *reader) cut(run []byte) []byte {
	if r.opts.Uncommitted || !r.p.txns.used.Load() {
		return run
	}
	want := r.base
	for at := 0; at < len(run); {
		info := parseHeader(run[at:])
		if !r.follows(&info, want) {
			return run // whoever goes through it will say so
		}
		if info.BaseOffset >= r.end {
			r.from = at
			return run[:at]
		}
		want = info.NextOffset()
		at += info.Size
	}
	return run
}

// follows tells whether a batch may come next: at offset want or, if that is -1,
// at the position or before; or later where compaction leaves gaps.
func (r *reader) follows(info *BatchInfo, want Offset) bool {
	if want < 0 && info.BaseOffset > r.pos {
		want = r.pos
	}
	return want < 0 || info.BaseOffset == want || info.BaseOffset > want && r.gapBefore(info)
}

// follow holds the base offset of a batch, which the checksum does not cover,
// against what comes before it.
func (r *reader) follow(info *BatchInfo, at int) error {
	if !r.follows(info, r.base) {
		want := r.base
		if want < 0 {
			want = r.pos
		}
		return fmt.Errorf("read %s: %w", r.p.tp, r.damage(at, fmt.Errorf("base offset %d, want %d", info.BaseOffset, want)))
	}
	r.base = info.NextOffset()
	return nil
}

// damage names the place of what lies at byte at of the buffer.
func (r *reader) damage(at int, err error) error {
	return &damageAt{r.seg.s.logName(), r.next - int64(r.to-at), err}
}

// batches returns the next whole batches, valid until the next call; none at
// the end of what may be read, and then the reader is armed.
func (r *reader) batches(wake chan<- struct{}) ([]byte, error) {
	for armed := false; ; {
		if err := r.readable(); err != nil {
			return nil, err
		}
		if r.pos < r.end {
			run, err := r.readOn()
			if err != nil || len(run) > 0 || r.pos < r.end {
				return run, err
			}
			continue
		}
		if armed || wake == nil {
			return nil, nil
		}
		// Look again after arming: records may have come in between.
		r.p.arm(wake)
		armed = true
	}
}

// readOn returns the next whole batches below end, or none if there are none
// below it any more; then the position is at end, unless a segment that is
// not complete ends before.
func (r *reader) readOn() ([]byte, error) {
	for {
		if r.seg == nil {
			if err := r.find(); err != nil {
				return nil, err
			}
		}
		run, err := r.fill()
		if err != nil {
			return nil, err
		}
		if len(run) > 0 {
			if run = r.cut(run); len(run) == 0 {
				r.pos = max(r.pos, r.end) // compaction took what was before it
			}
			r.l.m.bytesOut.Inc(int64(len(run)))
			return run, nil
		}
		if err := r.complete(); err != nil {
			return nil, err
		}
		if !r.nextSegment() {
			return nil, nil
		}
	}
}

// readable tells why nothing can be read, and looks up the high watermark.
func (r *reader) readable() error {
	if r.closed {
		return ErrClosed
	}
	select {
	case <-r.l.stop:
		return ErrClosed
	default:
	}
	if p, err := r.l.partition(r.p.tp); err != nil {
		return err
	} else if p != r.p {
		return fmt.Errorf("%w %q: it was deleted and made again", ErrUnknownTopic, p.tp.Topic)
	}
	r.p.polled.Store(int64(r.l.now()))
	b := r.p.bounds()
	r.end = b.End
	if !r.opts.Uncommitted {
		r.end = b.Stable
		r.aborted = *r.p.txns.aborted.Load()
	}
	// A position above the end is no mistake: bytes are shown just before the
	// high watermark that goes with them. The reader waits for it.
	if r.pos < b.Start {
		return r.outOfRange(r.pos, b)
	}
	return nil
}

// find opens the segment of the position where the scan for it begins.
func (r *reader) find() error {
	for {
		s, next := r.p.find(r.pos)
		if s == nil {
			// Retention raises the start before it takes segments away.
			if err := r.readable(); err != nil {
				return err
			}
			s = next
		}
		if s == nil {
			return fmt.Errorf("read %s: %w: no segment holds offset %d", r.p.tp, ErrCorrupt, r.pos)
		}
		sr, err := r.p.openSegment(s)
		if errors.Is(err, errGone) {
			if err := r.readable(); err != nil {
				return err // retention was faster
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.p.tp, err)
		}
		pos, err := sr.position(r.pos)
		if err != nil {
			_ = sr.Close()
			return fmt.Errorf("read %s: %w", r.p.tp, err)
		}
		r.leave()
		r.seg, r.next, r.ahead = sr, pos, pos
		if pos == 0 {
			r.base = s.base
		}
		return nil
	}
}

// gapBefore tells whether compaction may have taken what comes before a batch. It
// never touches the last segment.
func (r *reader) gapBefore(info *BatchInfo) bool {
	_, next := r.p.find(r.seg.s.base)
	return next != nil && info.NextOffset() <= next.base && r.gaps()
}

// gaps tells whether offsets may be missing between batches: compaction takes
// whole batches away.
func (r *reader) gaps() bool {
	if r.p.topic.config().compact {
		return true
	}
	r.l.metaMu.Lock() // only asked when something is missing
	defer r.l.metaMu.Unlock()
	return r.p.safe.Compacted > 0
}

// complete tells, at the visible end of a segment, whether all of its offsets
// have been seen.
func (r *reader) complete() error {
	end := r.end
	if _, next := r.p.find(r.seg.s.base); next != nil {
		end = min(end, next.base)
	}
	if r.pos >= end || r.next < r.seg.s.size.Load() || r.gaps() {
		return nil
	}
	err := fmt.Errorf("read %s: %w", r.p.tp, r.damage(r.to, fmt.Errorf("ends at offset %d, want %d", r.pos, end)))
	r.leave()
	return err
}

// nextSegment goes on to the segment after a sealed one that has been read to
// its end. It reports whether it did; if not, the caller stands at the end.
func (r *reader) nextSegment() bool {
	list := *r.p.segments.Load()
	i := sort.Search(len(list), func(i int) bool { return list[i].base > r.seg.s.base })
	if i == 0 || list[i-1] != r.seg.s {
		// Compaction has put another in its place, which may go on beyond it.
		r.leave()
		return true
	}
	if i == len(list) {
		return false
	}
	// Sealed before its successor was shown: what it has now is all there is.
	if r.next < r.seg.s.size.Load() {
		return true
	}
	r.pos = max(r.pos, list[i].base)
	r.leave()
	return true
}

// fill reads on in the segment and returns the whole batches that it has. What
// is left of a batch that was cut off moves to the front of the buffer.
func (r *reader) fill() ([]byte, error) {
	if r.buf == nil {
		r.buf = buffers.Get().(*[]byte)
	}
	copy(*r.buf, (*r.buf)[r.from:r.to])
	r.from, r.to = 0, r.to-r.from
	want := r.opts.MaxBytes
	for {
		if want > len(*r.buf) {
			grown := make([]byte, want)
			copy(grown, (*r.buf)[:r.to])
			buffers.Put(r.buf)
			r.buf = &grown
		}
		if err := r.read(want); err != nil {
			return nil, err
		}
		end, first, err := r.whole()
		if err != nil {
			return nil, err
		}
		if end > 0 {
			r.from = end
			return (*r.buf)[:end], nil
		}
		// A size that the segment cannot hold is damage, and not worth the memory.
		if left := r.seg.s.size.Load() - r.next; first > want && int64(first-r.to) <= left {
			want = first
			continue
		}
		if r.to == 0 {
			return nil, nil // the end of the segment
		}
		err = fmt.Errorf("read %s: %w", r.p.tp, r.damage(0, fmt.Errorf("batch of %d bytes goes on beyond the end", first)))
		r.leave()
		return nil, err
	}
}

// read fills the buffer up to want bytes with what is visible.
func (r *reader) read(want int) error {
	n := min(int64(want-r.to), r.seg.s.size.Load()-r.next)
	if n <= 0 {
		return nil
	}
	if r.cold && r.next+n > r.ahead {
		r.seg.prefetch(r.next + n)
		r.ahead = r.next + n + prefetchBytes
	}
	began := time.Now()
	got, err := r.seg.ReadAt((*r.buf)[r.to:r.to+int(n)], r.next)
	r.cold = time.Since(began) > time.Duration(n)*time.Nanosecond
	r.to += got
	r.next += int64(got)
	if int64(got) == n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the file ends at byte %d, want %d", ErrCorrupt, r.next, r.next+n-int64(got))
	}
	name := r.seg.s.logName()
	r.leave()
	return fmt.Errorf("read %s: %s: %w", r.p.tp, name, err)
}

// whole returns where the last whole batch in the buffer ends, and the size of
// the first. Headers are checked here, checksums later.
func (r *reader) whole() (end, first int, err error) {
	b := (*r.buf)[:r.to]
	for len(b)-end >= BatchHeaderSize {
		h := b[end:]
		info := parseHeader(h)
		if err := info.check(h[batchMagicPos]); err != nil {
			if end > 0 {
				break // what comes before is good
			}
			err = fmt.Errorf("read %s: %w", r.p.tp, r.damage(end, err))
			r.leave()
			return 0, 0, err
		}
		if end == 0 {
			first = info.Size
		}
		if info.Size > len(h) {
			break
		}
		end += info.Size
	}
	return end, first, nil
}
