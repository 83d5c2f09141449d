package log

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/vfs"
)

// segment is one .log file of a partition, with its indexes. The last one of a
// partition grows, at the hand of the applier; the others are sealed.
type segment struct {
	fs   FS
	path string // without suffix
	base Offset

	// size is the number of bytes that readers may see: whole batches, all of
	// them durable (under the sync policy).
	size atomic.Int64

	mu sync.RWMutex // guards the fields below
	// x holds the indexes while indexed is true; else the index files do.
	x       indexBuilder
	indexed bool
	// maxTime is the largest timestamp of a record, or NoTimestamp.
	maxTime   Timestamp
	firstTime Timestamp // append time of the first batch, or NoTimestamp
	lastTime  Timestamp // append time of the last batch
	// mem holds the bytes from memPos on, once a write has failed that came
	// after the acknowledgement.
	mem    []byte
	memPos int64

	// Owned by the applier: the file open for writing, or nil; and once more for
	// direct writes, or nil.
	file   vfs.File
	direct vfs.File
	named  bool // its directory entry is durable; if not set, it may be

	syncMu  sync.Mutex // held while file is synced, or replaced by cut; guards the field below
	syncErr error      // of the first sync that failed: a later one would lie

	shareMu sync.Mutex     // guards the field below
	shared  *sharedSegment // open for Cursors, or nil
}

func newSegment(fs FS, dir string, base Offset, indexEvery int64) *segment {
	return &segment{
		fs: fs, path: fs.PathJoin(dir, baseName(int64(base))), base: base,
		x: newIndexBuilder(base, indexEvery), indexed: true,
		maxTime: NoTimestamp, firstTime: NoTimestamp, lastTime: NoTimestamp,
	}
}

func (s *segment) logName() string { return s.path + logSuffix }

// openForWrite makes file usable. It reports whether the file is new.
func (s *segment) openForWrite() (created bool, err error) {
	if s.file != nil {
		return false, nil
	}
	size, err := fileSize(s.fs, s.logName())
	if err != nil {
		return false, err
	}
	f, err := s.fs.OpenReadWrite(s.logName())
	if err != nil {
		return false, fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	s.file = f
	return size < 0, nil
}

// writeAt writes a run of batches at pos, which is the end, without showing it
// to readers.
func (s *segment) writeAt(b []byte, pos int64) error {
	if _, err := s.file.WriteAt(b, pos); err != nil {
		return fmt.Errorf("write segment %s at %d: %w", s.logName(), pos, err)
	}
	return nil
}

// writeVector is writeAt for a run that lies in pieces.
func (s *segment) writeVector(pieces [][]byte, pos int64) error {
	if err := writeVector(s.file, pieces, pos); err != nil {
		return fmt.Errorf("write segment %s at %d: %w", s.logName(), pos, err)
	}
	return nil
}

const (
	directBytes   = 2 << 20
	directBuffers = 4 // that is as many direct writes at a time
)

// directMemory holds the buffers for direct writes of this process, nil where one
// was never used. Who finds none waits: for the disk, which others have. They lie
// outside of the heap, which would grow to twice their size, and are kept.
var directMemory = func() chan []byte {
	c := make(chan []byte, directBuffers)
	for range directBuffers {
		c <- nil
	}
	return c
}()

// writeBlocks writes b at pos, where a block begins, but for the first skip bytes,
// which are there, past the cache of the operating system: whole blocks, not the
// parts of one at both ends.
func (s *segment) writeBlocks(b []byte, skip int, pos int64) error {
	if s.direct == nil {
		f, err := s.fs.(DirectFS).OpenDirect(s.logName())
		if err != nil {
			return fmt.Errorf("open segment %s: %w", s.logName(), err)
		}
		s.direct = f
	}
	if skip > 0 {
		head := min(DirectBlock, len(b))
		if err := s.writeAt(b[skip:head], pos+int64(skip)); err != nil {
			return err
		}
		b, pos = b[head:], pos+int64(head)
	}
	if whole := len(b) &^ (DirectBlock - 1); whole > 0 {
		if _, err := s.direct.WriteAt(b[:whole], pos); err != nil {
			return fmt.Errorf("write segment %s at %d: %w", s.logName(), pos, err)
		}
		b, pos = b[whole:], pos+int64(whole)
	}
	if len(b) == 0 {
		return nil
	}
	return s.writeAt(b, pos)
}

// sync makes what was written durable. Checkpoints and leaders call it at once,
// and the system tells only one of them of an error. One that is closed was
// synced before.
func (s *segment) sync() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if s.syncErr == nil && s.file != nil {
		s.syncErr = s.file.SyncData()
	}
	if s.syncErr != nil {
		return fmt.Errorf("sync segment %s: %w", s.logName(), s.syncErr)
	}
	return nil
}

// close closes what is open for writing.
func (s *segment) close() error {
	var errs []error
	for _, f := range []vfs.File{s.file, s.direct} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	s.file, s.direct = nil, nil
	return errors.Join(errs...)
}

// keep holds on to bytes that could not be written, so that they can be read.
func (s *segment) keep(b []byte, pos int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mem == nil {
		s.memPos = pos
	}
	s.mem = append(s.mem, b...)
}

// note takes a run of batches that lies at pos into the indexes.
func (s *segment) note(run []byte, pos int64, appended Timestamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(run) > 0 {
		info := parseHeader(run)
		s.x.add(&info, pos)
		s.maxTime = max(s.maxTime, info.MaxTimestamp)
		pos += int64(info.Size)
		run = run[info.Size:]
	}
	if s.firstTime == NoTimestamp {
		s.firstTime = appended
	}
	s.lastTime = max(s.lastTime, appended)
}

// writeIndexes puts the indexes of a segment that is complete into their files
// and forgets them. They are derived, so nothing is synced, and a failure
// costs time later, not data.
func (s *segment) writeIndexes(drop bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.indexed {
		return nil
	}
	s.x.finish()
	if err := writeFile(s.fs, s.path+indexSuffix, appendIndex(nil, s.x.offsets), false); err != nil {
		return err
	}
	if err := writeFile(s.fs, s.path+timeIndexSuffix, appendTimeIndex(nil, s.x.times), false); err != nil {
		return err
	}
	if drop {
		s.x.offsets, s.x.times, s.indexed = nil, nil, false
	}
	return nil
}

// times returns the largest timestamp and the last append time.
func (s *segment) times() (maxTime, appended Timestamp) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.maxTime, s.lastTime
}

// segmentReader reads the visible bytes of a segment through a file of its own.
type segmentReader struct {
	s    *segment
	file vfs.File // nil: all of it is in memory only
}

func (s *segment) openReader() (*segmentReader, error) {
	f, err := s.fs.Open(s.logName(), vfs.SequentialReadsOption)
	if err != nil && s.inMemory() {
		return &segmentReader{s: s}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	return &segmentReader{s, f}, nil
}

// inMemory tells whether no byte of the segment is in its file.
func (s *segment) inMemory() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem != nil && s.memPos == 0
}

func (r *segmentReader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// prefetch asks the disk to read on from pos. It is only advice.
func (r *segmentReader) prefetch(pos int64) {
	if r.file != nil {
		_ = r.file.Prefetch(pos, prefetchBytes)
	}
}

// ReadAt is io.ReaderAt. What lies in memory only is served from there.
func (r *segmentReader) ReadAt(b []byte, pos int64) (n int, err error) {
	s := r.s
	s.mu.RLock()
	mem, memPos := s.mem, s.memPos
	s.mu.RUnlock()
	if mem == nil || pos+int64(len(b)) <= memPos {
		return r.file.ReadAt(b, pos)
	}
	if pos < memPos {
		if n, err = readFullAt(r.file, b[:memPos-pos], pos); err != nil || int64(n) < memPos-pos {
			return n, errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	m := copy(b[n:], mem[pos+int64(n)-memPos:])
	if n += m; n < len(b) {
		err = io.EOF
	}
	return n, err
}

// position returns where a scan for an offset should begin: at a batch, at or
// before the one that holds it.
func (r *segmentReader) position(o Offset) (int64, error) {
	delta := int64(o - r.s.base)
	if delta <= 0 {
		return 0, nil
	}
	entries, err := r.s.offsetIndex(r)
	if err != nil {
		return 0, err
	}
	return r.positionIn(entries, o)
}

// positionIn is position by index entries that are at hand.
func (r *segmentReader) positionIn(entries []indexEntry, o Offset) (int64, error) {
	delta := int64(o - r.s.base)
	e := findOffset(entries, delta)
	if e.delta < 0 {
		return 0, nil
	}
	if r.entryHolds(e) {
		return int64(e.pos), nil
	}
	// The index points nowhere: it is not of this log.
	x, err := r.s.rebuildIndexes(r)
	if err != nil {
		return 0, err
	}
	return int64(findOffset(x.offsets, delta).pos), nil
}

// entryHolds tells whether an index entry points at the batch that it names.
func (r *segmentReader) entryHolds(e indexEntry) bool {
	var b [BatchHeaderSize]byte
	if _, err := r.ReadAt(b[:], int64(e.pos)); err != nil {
		return false
	}
	info := parseHeader(b[:])
	return info.check(b[batchMagicPos]) == nil && info.LastOffset() == r.s.base+Offset(e.delta)
}

// offsetIndex returns the offset index, from memory or its file.
func (s *segment) offsetIndex(r *segmentReader) ([]indexEntry, error) {
	s.mu.RLock()
	entries, ok := s.x.offsets, s.indexed
	s.mu.RUnlock()
	if ok {
		return entries, nil
	}
	b, err := readFile(s.fs, s.path+indexSuffix)
	if err == nil {
		entries, err = decodeIndex(b, s.size.Load())
	}
	if err == nil {
		return entries, nil
	}
	x, err := s.rebuildIndexes(r)
	return x.offsets, err
}

// timeIndex returns the time index, from memory or its file.
func (s *segment) timeIndex(r *segmentReader) ([]timeEntry, error) {
	s.mu.RLock()
	entries, ok := s.x.times, s.indexed
	s.mu.RUnlock()
	if ok {
		return entries, nil
	}
	b, err := readFile(s.fs, s.path+timeIndexSuffix)
	if err == nil {
		entries, err = decodeTimeIndex(b)
	}
	if err == nil {
		return entries, nil
	}
	x, err := s.rebuildIndexes(r)
	return x.times, err
}

// rebuildIndexes makes the index files of a sealed segment anew. A batch that
// makes no sense ends them there: reading it will say what is wrong.
func (s *segment) rebuildIndexes(r *segmentReader) (indexBuilder, error) {
	x := newIndexBuilder(s.base, s.x.every)
	sc := newBatchScanner(r, s.logName(), 0, s.size.Load())
	defer sc.Close()
	for {
		pos := sc.pos
		info, err := sc.header()
		if err == io.EOF || errors.Is(err, ErrCorrupt) {
			break
		}
		if err != nil {
			return x, err
		}
		x.add(&info, pos)
	}
	x.finish()
	s.mu.RLock()
	live := s.indexed
	s.mu.RUnlock()
	if !live {
		// Best effort: without the files the next search scans again.
		_ = writeFile(s.fs, s.path+indexSuffix, appendIndex(nil, x.offsets), false)
		_ = writeFile(s.fs, s.path+timeIndexSuffix, appendTimeIndex(nil, x.times), false)
	}
	return x, nil
}
