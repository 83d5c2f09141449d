package log

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/vfs"
)

// walked is what the files of a partition hold, found on open without changing
// anything.
type walked struct {
	p        *partition
	meta     metaPartition
	segments []*segment // up to where the walk ended; sizes set
	end      Offset     // after the last whole batch in order
	pos      int64      // of end in the last of segments
	tail     int64      // bytes in that file after pos
	later    []Offset   // bases of segment files that do not follow on
	stale    []Offset   // bases of segment files that retention or compaction had given up
	cleaned  []string   // files of compaction that were not, or not yet, put in place
	rewound  bool       // what lay beyond the recovery point was taken away
	ref      *reference // the last that the journal has and that holds, or nil
	stopped  error      // why the walk ended before the end of the file
}

// listSegments returns the bases of the segment files in a directory, in order.
func listSegments(fs FS, dir string) ([]Offset, error) {
	bases, _, err := listPartition(fs, dir)
	return bases, err
}

// listPartition is listSegments and the names of files that compaction made.
func listPartition(fs FS, dir string) (bases []Offset, cleaned []string, err error) {
	names, err := fs.List(dir)
	if isNotExist(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		if n, ok := parseName(name, logSuffix); ok {
			bases = append(bases, Offset(n))
		}
		if strings.HasSuffix(name, cleanedSuffix) {
			cleaned = append(cleaned, name)
		}
	}
	slices.Sort(bases)
	return bases, cleaned, nil
}

// walk reads what lies beyond a partition's recovery point. What lies below is
// taken to be there, but for its length: it is checked whenever it is read.
func walk(fs FS, p *partition, mp metaPartition, clean bool, now Timestamp) (*walked, error) {
	w := &walked{p: p, meta: mp, end: mp.Recovery, pos: mp.Position}
	bases, cleaned, err := listPartition(fs, p.dir)
	if err != nil {
		return nil, err
	}
	w.cleaned = cleaned
	for _, ms := range mp.Segments {
		s := newSegment(fs, p.dir, ms.Base, p.topic.config().indexBytes)
		s.maxTime, s.lastTime, s.firstTime = ms.MaxTime, ms.AppendTime, ms.FirstTime
		s.indexed = false
		file := s.logName()
		if slices.Contains(cleaned, ms.Swap) {
			file = fs.PathJoin(p.dir, ms.Swap)
		}
		size, err := fileSize(fs, file)
		if err != nil {
			return nil, err
		}
		if size < ms.Bytes {
			return nil, fmt.Errorf("%w: segment %s has %d bytes, want %d that had been synced", ErrCorrupt, file, max(size, 0), ms.Bytes)
		}
		s.size.Store(ms.Bytes)
		w.segments = append(w.segments, s)
	}
	known := len(mp.Segments)
	for _, base := range bases {
		switch {
		case slices.ContainsFunc(mp.Segments, func(ms metaSegment) bool { return ms.Base == base }):
		case known > 0 && base < mp.Segments[known-1].Base || base < mp.Recovery:
			w.stale = append(w.stale, base)
		default:
			w.later = append(w.later, base)
		}
	}
	if err := w.follow(fs, clean, now); err != nil {
		return nil, err
	}
	return w, nil
}

// follow walks the segment of the recovery point and those after it.
func (w *walked) follow(fs FS, clean bool, now Timestamp) error {
	for {
		var s *segment
		if n := len(w.segments); n > 0 {
			s = w.segments[n-1]
			complete, err := w.walkSegment(s, clean, now)
			if err != nil {
				return err
			}
			if !complete {
				return nil
			}
		}
		if len(w.later) == 0 || w.later[0] != w.end || s != nil && s.base == w.end {
			return nil
		}
		next := newSegment(fs, w.p.dir, w.later[0], w.p.topic.config().indexBytes)
		w.later = w.later[1:]
		w.segments = append(w.segments, next)
		w.pos = 0
	}
}

// walkSegment walks one segment from pos on, makes its indexes, and reports
// whether every byte of it made sense.
func (w *walked) walkSegment(s *segment, clean bool, now Timestamp) (complete bool, err error) {
	size, err := fileSize(s.fs, s.logName())
	if err != nil {
		return false, err
	}
	s.size.Store(w.pos)
	w.tail = size - w.pos
	if clean && w.tail == 0 && s.loadIndexes() == nil {
		return true, nil
	}
	f, err := s.fs.Open(s.logName(), vfs.SequentialReadsOption)
	if err != nil {
		return false, fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	defer f.Close()
	if err := s.indexFrom(f, w.pos); err != nil {
		return false, err
	}
	sc := newBatchScanner(f, s.logName(), w.pos, size)
	defer sc.Close()
	for {
		pos := sc.pos
		info, b, err := sc.batch()
		if err == io.EOF {
			w.tail = 0
			return true, nil
		}
		if err == nil && info.BaseOffset != w.end {
			err = &damageAt{s.logName(), pos, fmt.Errorf("base offset %d, want %d", info.BaseOffset, w.end)}
		}
		if errors.Is(err, ErrCorrupt) {
			w.stopped = err
			return false, nil
		}
		if err != nil {
			return false, err
		}
		s.note(b, pos, now)
		w.end = info.NextOffset()
		w.pos = sc.pos
		w.tail = size - w.pos
		s.size.Store(w.pos)
	}
}

// loadIndexes takes the indexes of the last segment from their files.
func (s *segment) loadIndexes() error {
	b, err := readFile(s.fs, s.path+indexSuffix)
	if err != nil {
		return err
	}
	offsets, err := decodeIndex(b, s.size.Load())
	if err != nil {
		return err
	}
	if b, err = readFile(s.fs, s.path+timeIndexSuffix); err != nil {
		return err
	}
	times, err := decodeTimeIndex(b)
	if err != nil {
		return err
	}
	s.x.offsets, s.x.times, s.indexed = offsets, times, true
	s.x.since = s.x.every // the next batch may as well have an entry
	if n := len(times); n > 0 {
		s.x.maxTime, s.x.maxTimeDelta = times[n-1].time, times[n-1].delta
	}
	return nil
}

// indexFrom makes the indexes of the batches below end anew.
func (s *segment) indexFrom(r io.ReaderAt, end int64) error {
	s.x = newIndexBuilder(s.base, s.x.every)
	s.indexed = true
	sc := newBatchScanner(r, s.logName(), 0, end)
	defer sc.Close()
	for {
		pos := sc.pos
		info, err := sc.header()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.x.add(&info, pos)
	}
}

// wholeBatchAt tells whether a whole batch lies at pos of a segment file.
func wholeBatchAt(fs FS, name string, pos int64) (BatchInfo, bool) {
	size, err := fileSize(fs, name)
	if err != nil || size <= pos {
		return BatchInfo{}, false
	}
	f, err := fs.Open(name)
	if err != nil {
		return BatchInfo{}, false
	}
	defer f.Close()
	sc := newBatchScanner(f, name, pos, size)
	defer sc.Close()
	info, _, err := sc.batch()
	return info, err == nil
}
