package log

import (
	"errors"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// partition is one partition of an embedded log. It has no goroutine: the
// caller of Append assigns offsets under the admission lock, and whoever leads
// the group commit writes to it as the applier.
//
// Invariant: 0 <= start <= hw == end of the visible segments <= durable <= next.
type partition struct {
	tp    TopicPartition
	topic *topic
	dir   string

	// Guarded by Embedded.mu.
	next      Offset // of the next record to be admitted
	durable   Offset // end of what the journal has safe
	deleted   bool
	producers producers

	start  atomic.Int64 // first offset that is kept
	polled atomic.Int64 // when a reader last looked, in ms; 0: never
	hw     atomic.Int64 // high watermark: end of what readers may see
	// publishing is odd while publish changes what is visible: see visible.
	publishing atomic.Uint32

	// segments are ordered by base offset; a new slice is stored on every change.
	segments atomic.Pointer[[]*segment]

	// swapMu is held while files change under the names of segments, and shared
	// while one is opened: so a segment is never read from another's file.
	swapMu sync.RWMutex

	// Owned by the applier (Embedded.applyMu).
	written  int64          // bytes in the last segment, staged ones included
	staged   *[]byte        // bytes of the last segment that are still to be written, or nil
	dirty    []*segment     // not synced since they were written to
	newDir   bool           // the directory's own entry may not be durable
	newFiles bool           // entries in the directory may not be durable
	snapshot *metaProducers // the last of the producers, or nil

	epochs leaderEpochs
	txns   txns

	// safe is how far the partition is known to be synced; guarded by Embedded.metaMu.
	safe metaPartition
	// synced is safe.Recovery, for who must not wait while the meta is stored.
	synced atomic.Int64

	wakeMu sync.Mutex // guards armed
	armed  []chan<- struct{}
	nArmed atomic.Int32 // len(armed), so that a write without readers waiting takes no lock
}

// setSafe takes down how far the partition is synced. The caller holds
// Embedded.metaMu, or is alone.
func (p *partition) setSafe(mp metaPartition) {
	p.safe = mp
	p.synced.Store(int64(mp.Recovery))
}

func newPartition(t *topic, n int32, dir string) *partition {
	p := &partition{tp: TopicPartition{t.name, n}, topic: t, dir: dir}
	p.segments.Store(new([]*segment))
	p.txns.init()
	return p
}

func (p *partition) bounds() Bounds {
	// The end first: the start only rises, and never above an end seen before.
	end := Offset(p.hw.Load())
	stable := min(Offset(p.txns.firstOpen.Load()), end)
	start := min(Offset(p.start.Load()), end)
	return Bounds{Start: start, Stable: max(start, stable), End: end}
}

// find returns the segment that holds an offset, or would, and its successor.
func (p *partition) find(o Offset) (s, next *segment) {
	list := *p.segments.Load()
	i := sort.Search(len(list), func(i int) bool { return list[i].base > o })
	if i > 0 {
		s = list[i-1]
	}
	if i < len(list) {
		next = list[i]
	}
	return s, next
}

// openSegment opens a segment for reading; errGone if it is not one of the
// partition's any more.
func (p *partition) openSegment(s *segment) (*segmentReader, error) {
	p.swapMu.RLock()
	defer p.swapMu.RUnlock()
	if !slices.Contains(*p.segments.Load(), s) {
		return nil, errGone
	}
	return s.openReader()
}

var errGone = errors.New("segment was replaced")

func (p *partition) last() *segment {
	list := *p.segments.Load()
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// append writes a run of batches whose offsets begin at base to the segments,
// not yet visible. The applier calls it.
func (p *partition) append(fs FS, base Offset, run []byte, now Timestamp) error {
	s := p.last()
	if s == nil || p.full(s, len(run), base, now) {
		if err := p.flush(); err != nil {
			return err
		}
		// A segment is shown whole before it has a successor.
		p.publish(base)
		if err := p.roll(fs, base); err != nil {
			return err
		}
		s = p.last()
	}
	created, err := s.openForWrite()
	if err != nil {
		return err
	}
	p.newFiles = p.newFiles || created
	if err := p.write(s, run); err != nil {
		return err
	}
	p.take(run, now)
	return nil
}

// take counts a run that was written to the last segment as the partition's,
// not yet visible.
func (p *partition) take(run []byte, now Timestamp) {
	s := p.last()
	if len(p.dirty) == 0 || p.dirty[len(p.dirty)-1] != s {
		p.dirty = append(p.dirty, s)
	}
	s.note(run, p.written, now)
	p.written += int64(len(run))
}

// largePart is the size from which batches are written from where they lie
// instead of being gathered with the small ones: a write costs about a
// microsecond, a copy of 32 KiB three.
const largePart = 32 << 10

// write writes a large run, and gathers small ones: a group of many small
// commits costs each partition one write.
func (p *partition) write(s *segment, run []byte) error {
	large := len(run) >= largePart
	if p.staged != nil && (large || len(*p.staged)+len(run) > cap(*p.staged)) {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if large {
		return s.writeAt(run, p.written)
	}
	if p.staged == nil {
		p.staged = buffers.Get().(*[]byte)
		*p.staged = (*p.staged)[:0]
	}
	*p.staged = append(*p.staged, run...)
	return nil
}

// unreadMs is how long nobody must have read a partition, in ms, for large runs to
// be written past the cache of the operating system.
const unreadMs = 60_000

// unread tells whether nobody reads the partition now. Then its bytes have no
// business in the cache: to fill it costs twice as much as a direct write and
// more, and pushes out of it what is read.
func (p *partition) unread(now Timestamp) bool {
	return p.nArmed.Load() == 0 && int64(now)-p.polled.Load() >= unreadMs
}

// flush writes what has been gathered.
func (p *partition) flush() error {
	if p.staged == nil {
		return nil
	}
	if err := p.last().writeAt(*p.staged, p.written-int64(len(*p.staged))); err != nil {
		return err
	}
	p.unstage()
	return nil
}

// unstage gives the buffer back.
func (p *partition) unstage() {
	*p.staged = (*p.staged)[:cap(*p.staged)]
	buffers.Put(p.staged)
	p.staged = nil
}

// keepStaged is flush after a failed write: what was gathered is served from
// memory.
func (p *partition) keepStaged() {
	if p.staged != nil {
		p.last().keep(*p.staged, p.written-int64(len(*p.staged)))
		p.unstage()
	}
}

// keep is append after a failed write: the run is served from memory.
func (p *partition) keep(fs FS, base Offset, run []byte, now Timestamp) {
	p.keepStaged()
	s := p.last()
	if s == nil {
		s = newSegment(fs, p.dir, base, p.topic.config().indexBytes)
		p.segments.Store(&[]*segment{s})
		p.written = 0
	}
	s.keep(run, p.written)
	s.note(run, p.written, now)
	p.written += int64(len(run))
}

// full tells whether a run must go to the next segment.
func (p *partition) full(s *segment, size int, base Offset, now Timestamp) bool {
	if p.written == 0 {
		return false
	}
	cfg := p.topic.config()
	s.mu.RLock()
	first := s.firstTime
	s.mu.RUnlock()
	return p.written+int64(size) > cfg.segmentBytes ||
		first != NoTimestamp && int64(now-first) >= cfg.maxSegmentMs() ||
		int64(base-s.base) > 1<<30 // offsets are relative to the base in 32 bits in the index
}

// roll seals the last segment and begins the next one at base.
func (p *partition) roll(fs FS, base Offset) error {
	if s := p.last(); s != nil && p.written > 0 {
		// What cannot be written stays in memory, and is made anew on Open.
		_ = s.writeIndexes(true)
	}
	s := newSegment(fs, p.dir, base, p.topic.config().indexBytes)
	created, err := s.openForWrite()
	if err != nil {
		return err
	}
	p.newFiles = p.newFiles || created
	list := *p.segments.Load()
	grown := append(list[:len(list):len(list)], s)
	p.segments.Store(&grown)
	p.written = 0
	return nil
}

// publish shows readers everything written so far, up to end. The high watermark
// never goes back.
func (p *partition) publish(end Offset) {
	if int64(end) <= p.hw.Load() {
		return
	}
	p.publishing.Add(1)
	if s := p.last(); s != nil {
		s.size.Store(p.written)
	}
	p.hw.Store(int64(end))
	p.publishing.Add(1)
	p.wake()
}

// wake gives every armed reader its token.
func (p *partition) wake() {
	if p.nArmed.Load() == 0 {
		return
	}
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	for i, c := range p.armed {
		select {
		case c <- struct{}{}:
		default: // full: the goroutine behind it will look anyway
		}
		p.armed[i] = nil
	}
	p.armed = p.armed[:0]
	p.nArmed.Store(0)
}

// arm asks for a token at the next publish.
func (p *partition) arm(c chan<- struct{}) {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	for _, have := range p.armed {
		if have == c {
			return
		}
	}
	p.armed = append(p.armed, c)
	p.nArmed.Store(int32(len(p.armed)))
}

// disarm takes back what arm asked for.
func (p *partition) disarm(c chan<- struct{}) {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	for i, have := range p.armed {
		if have == c {
			p.armed = append(p.armed[:i], p.armed[i+1:]...)
			break
		}
	}
	p.nArmed.Store(int32(len(p.armed)))
}

// raiseStart moves the start offset up; never down.
func (p *partition) raiseStart(to Offset) {
	for {
		old := p.start.Load()
		if int64(to) <= old || p.start.CompareAndSwap(old, int64(to)) {
			return
		}
	}
}
