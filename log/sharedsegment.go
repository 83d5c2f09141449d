package log

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/cockroachdb/pebble/vfs"
)

// sharedSegment is a segment open for reading by many at once, with one file and
// one copy of its index: ten thousand clients that read a partition cost one
// descriptor.
type sharedSegment struct {
	segmentReader
	refs int // guarded by segment.shareMu

	mu     sync.Mutex   // guards the field below
	sealed []indexEntry // of the index file, once it was read
}

// share opens a segment for Cursors; errGone if it is not one of the partition's
// any more. Who has it calls release.
func (p *partition) share(s *segment) (*sharedSegment, error) {
	p.swapMu.RLock()
	defer p.swapMu.RUnlock()
	if !slices.Contains(*p.segments.Load(), s) {
		return nil, errGone
	}
	s.shareMu.Lock()
	defer s.shareMu.Unlock()
	if s.shared == nil {
		r, err := s.openReader()
		if err != nil {
			return nil, err
		}
		s.shared = &sharedSegment{segmentReader: *r}
	}
	s.shared.refs++
	return s.shared, nil
}

// release closes the file after the last one.
func (r *sharedSegment) release() {
	r.s.shareMu.Lock()
	defer r.s.shareMu.Unlock()
	if r.refs--; r.refs == 0 {
		_ = r.Close()
		r.s.shared = nil
	}
}

// index returns the offset index, in memory from its first use on.
func (r *sharedSegment) index() ([]indexEntry, error) {
	r.s.mu.RLock()
	entries, live := r.s.x.offsets, r.s.indexed
	r.s.mu.RUnlock()
	if live {
		return entries, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed == nil {
		var err error
		if r.sealed, err = r.s.offsetIndex(&r.segmentReader); err != nil {
			return nil, err
		}
	}
	return r.sealed, nil
}

// headerAt reads the header of the batch at pos.
func (r *sharedSegment) headerAt(pos int64) (BatchInfo, error) {
	var b [BatchHeaderSize]byte
	if n, err := r.ReadAt(b[:], pos); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return BatchInfo{}, fmt.Errorf("read %s at %d: %w", r.s.logName(), pos, err)
	}
	info := parseHeader(b[:])
	if err := info.check(b[batchMagicPos]); err != nil {
		return info, &damageAt{r.s.logName(), pos, err}
	}
	return info, nil
}

// place tells where in a file bytes lie.
func (r *sharedSegment) place(pos int64, size int) (fd uintptr, at int64, ok bool) {
	if r.file == nil {
		return 0, 0, false
	}
	r.s.mu.RLock()
	inFile := r.s.mem == nil || pos+int64(size) <= r.s.memPos
	r.s.mu.RUnlock()
	fd = r.file.Fd()
	return fd, pos, inFile && fd != vfs.InvalidFd
}

// lastEntry returns the last entry that lies at pos or before and whose batch
// ends before delta.
func lastEntry(entries []indexEntry, pos, delta int64) (indexEntry, bool) {
	pos = min(pos, math.MaxInt32)
	i := sort.Search(len(entries), func(i int) bool {
		return int64(entries[i].pos) > pos || int64(entries[i].delta) >= delta
	})
	if i == 0 {
		return indexEntry{}, false
	}
	return entries[i-1], true
}
