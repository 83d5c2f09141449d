package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
)

// Report is what Verify has found.
type Report struct {
	ClusterID      string
	Clean          bool // the log was closed in order
	Topics         int
	Partitions     int
	Segments       int
	Batches        int64
	Records        int64
	Bytes          int64 // read
	JournalEntries int   // not yet in synced segments
	Problems       []Problem
}

// OK tells whether nothing is damaged.
func (r *Report) OK() bool {
	return !slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Harmless })
}

// Problem is something in a directory that is not as it should be.
type Problem struct {
	File string // or partition, where no single file is to blame
	Pos  int64  // in File, in bytes; -1 if that says nothing
	// Harmless problems are leftovers of a crash, such as a torn batch at the
	// end of a segment: the next Open deals with them, and nothing that was
	// acknowledged is in them.
	Harmless bool
	Err      error
}

func (p Problem) String() string {
	kind := "damaged"
	if p.Harmless {
		kind = "leftover"
	}
	if p.Pos < 0 {
		return fmt.Sprintf("%s: %s: %v", kind, p.File, p.Err)
	}
	return fmt.Sprintf("%s: %s at byte %d: %v", kind, p.File, p.Pos, p.Err)
}

// Verify reads everything in the directory of a log that no process has open,
// and changes nothing. Damage is in the report; an error means that it could
// not look. progress, if not nil, hears how many bytes of how many were read.
func Verify(ctx context.Context, fs FS, dir string, progress func(done, total int64)) (Report, error) {
	v := &verifier{ctx: ctx, progress: progress}
	opts := Options{FS: fs}
	v.l = &Embedded{dir: dir, fs: fs, opts: *opts.EnsureDefaults(), logger: opts.Logger}
	if err := v.run(); err != nil {
		return v.report, fmt.Errorf("verify %s: %w", dir, err)
	}
	return v.report, nil
}

type verifier struct {
	ctx      context.Context
	l        *Embedded
	report   Report
	progress func(done, total int64)
	total    int64
	seen     *seenProducers // of the partition that is looked at
	d        decoder
	recs     []Record
}

func (v *verifier) run() error {
	l := v.l
	format := l.fs.PathJoin(l.dir, formatName)
	data, err := readFile(l.fs, format)
	if isNotExist(err) {
		return fmt.Errorf("there is no log: %w", err)
	}
	if err != nil {
		return err
	}
	switch err := l.acquire(); {
	case err == nil:
		defer l.lock.Close()
	case !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission):
		return err
	}
	if err := checkFormat(format, data); err != nil {
		return v.note(format, -1, err)
	}
	m, err := loadMeta(l.fs, l.dir)
	if err != nil {
		return v.note(metaPath(l.fs, l.dir), -1, err)
	}
	v.report.ClusterID, l.clusterID = m.ClusterID, m.ClusterID
	size, err := fileSize(l.fs, l.fs.PathJoin(l.dir, cleanShutdownName))
	v.report.Clean = size >= 0
	if err != nil {
		return err
	}
	return v.contents(m)
}

// contents goes through journal and partitions as Open would, and then through
// every byte.
func (v *verifier) contents(m *meta) error {
	l := v.l
	r := &recovery{l: l, clean: v.report.Clean, mode: m.Sync, byID: map[TopicID]*topic{}, walks: map[*partition]*walked{}}
	var err error
	if r.journal, err = scanJournal(l.fs, l.journalDir(), l.seed(), m.Sequence); err != nil {
		if err := v.note(l.journalDir(), -1, err); err != nil {
			return err
		}
		r.journal = nil
	}
	if err := r.load(m); err != nil {
		if err := v.note(l.fs.PathJoin(l.dir, topicsDirName), -1, err); err != nil {
			return err
		}
	} else if r.journal != nil {
		if err := r.judge(); err != nil {
			if err := v.note(l.fs.PathJoin(l.dir, topicsDirName), -1, err); err != nil {
				return err
			}
		}
		v.report.JournalEntries = len(r.journal.entries)
	}
	if err := v.measure(m); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.topics)) {
		v.report.Topics++
		for _, p := range r.topics[name].parts {
			v.report.Partitions++
			if err := v.partition(p, r.walks[p]); err != nil {
				return err
			}
		}
	}
	return nil
}

// note adds a problem; an error that is not about the bytes is returned.
func (v *verifier) note(file string, pos int64, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	v.add(Problem{File: file, Pos: pos, Err: err})
	return nil
}

// add puts a problem into the report, at the place that its error names.
func (v *verifier) add(p Problem) {
	var d *damageAt
	if errors.As(p.Err, &d) {
		p.File, p.Pos, p.Err = d.file, d.pos, d.err
	}
	v.report.Problems = append(v.report.Problems, p)
}

// measure adds up what there is to read.
func (v *verifier) measure(m *meta) error {
	for _, mt := range m.Topics {
		for i := range mt.Partitions {
			dir := v.l.fs.PathJoin(v.l.dir, topicsDirName, TopicPartition{mt.Name, int32(i)}.String())
			bases, err := listSegments(v.l.fs, dir)
			if err != nil {
				return err
			}
			for _, base := range bases {
				size, err := fileSize(v.l.fs, newSegment(v.l.fs, dir, base, 0).logName())
				if err != nil {
					return err
				}
				v.total += max(size, 0)
			}
		}
	}
	return nil
}

// partition checks all segments of one partition. w is nil if the walk failed;
// then whatever segment files there are is checked.
func (v *verifier) partition(p *partition, w *walked) error {
	bases, err := listSegments(v.l.fs, p.dir)
	if err != nil {
		return err
	}
	if v.seen = newSeenProducers(&metaPartition{}); w != nil {
		v.seen = newSeenProducers(&w.meta)
	}
	for i, base := range bases {
		s := newSegment(v.l.fs, p.dir, base, p.topic.config().indexBytes)
		size, err := fileSize(v.l.fs, s.logName())
		if err != nil {
			return err
		}
		s.size.Store(size)
		next := Offset(-1)
		if i+1 < len(bases) {
			next = bases[i+1]
		}
		if err := v.segment(s, next, w); err != nil {
			return err
		}
	}
	if w == nil {
		return nil
	}
	return v.producers(p, w, v.seen)
}

// segment checks every batch of one segment, and that its index points at them.
func (v *verifier) segment(s *segment, next Offset, w *walked) error {
	v.report.Segments++
	f, err := s.fs.Open(s.logName())
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	defer f.Close()
	size := s.size.Load()
	safe := w.safeBytes(s)
	sc := newBatchScanner(f, s.logName(), 0, size)
	defer sc.Close()
	ends := map[int64]Offset{} // last offset by position, for the index
	want := s.base
	for {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		pos := sc.pos
		info, b, err := sc.batch()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = v.batch(&info, b, want, next)
		}
		if err == nil {
			err = v.seen.note(&info, b)
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				return err
			}
			v.add(Problem{File: s.logName(), Pos: pos, Harmless: pos >= safe, Err: err})
			// A length that makes sense leads on to the next batch.
			if sc.pos = pos; info.Size < BatchHeaderSize || int64(info.Size) > size-pos {
				break
			}
			sc.pos += int64(info.Size)
		} else {
			ends[pos] = info.LastOffset()
			want = info.NextOffset()
		}
		v.advance(sc.pos - pos)
	}
	v.advance(size - sc.pos)
	return v.index(s, ends)
}

// safeBytes is how much of a segment a crash cannot have torn.
func (w *walked) safeBytes(s *segment) int64 {
	if w == nil {
		return s.size.Load()
	}
	for i, ws := range w.segments {
		if ws.base == s.base {
			if i == len(w.segments)-1 {
				return w.pos
			}
			return s.size.Load()
		}
	}
	return 0
}

func (v *verifier) batch(info *BatchInfo, b []byte, want, next Offset) error {
	if info.BaseOffset < want || next >= 0 && info.NextOffset() > next {
		return fmt.Errorf("%w: offsets %d to %d, want %d or more, and less than %d", ErrCorrupt, info.BaseOffset, info.LastOffset(), want, next)
	}
	v.d.reset()
	recs, err := v.d.decodeBatch(v.recs[:0], info, b)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	v.recs = recs
	v.report.Batches++
	v.report.Records += int64(len(recs))
	return nil
}

func (v *verifier) advance(n int64) {
	v.report.Bytes += n
	if v.progress != nil {
		v.progress(v.report.Bytes, v.total)
	}
}

// index checks the index files against the batches. They are derived, so no
// mistake in them does harm.
func (v *verifier) index(s *segment, ends map[int64]Offset) error {
	b, err := readFile(s.fs, s.path+indexSuffix)
	if isNotExist(err) {
		return nil // of the segment that grows
	}
	if err != nil {
		return err
	}
	entries, err := decodeIndex(b, s.size.Load())
	for _, e := range entries {
		if end, ok := ends[int64(e.pos)]; err == nil && (!ok || end != s.base+Offset(e.delta)) {
			err = fmt.Errorf("%w: entry for offset %d points at byte %d, where it is not", ErrCorrupt, s.base+Offset(e.delta), e.pos)
		}
	}
	name := s.path + indexSuffix
	if err == nil {
		if b, err = readFile(s.fs, s.path+timeIndexSuffix); err == nil {
			_, err = decodeTimeIndex(b)
		}
		name = s.path + timeIndexSuffix
	}
	if err != nil && errors.Is(err, ErrCorrupt) {
		v.add(Problem{File: name, Pos: -1, Harmless: true, Err: err})
	}
	return nil
}
