package log

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/vfs"
)

// settle takes over what the walk of a partition found, and cuts what nothing
// vouches for. What is cut is kept aside.
func (r *recovery) settle(p *partition, vouched Offset) error {
	w, l := r.walks[p], r.l
	if w.end > vouched {
		// Only without sync: group, and after a power cut: the segments have
		// what the journal has not. Half of a commit may be among it.
		if err := w.retreat(vouched); err != nil {
			return err
		}
	}
	for _, ms := range w.meta.Segments {
		if ms.Swap == "" {
			continue
		}
		// The rename may have been done by a process that was killed before it could
		// make it durable: that is to come before a meta without the name.
		p.newFiles = true
		if slices.Contains(w.cleaned, ms.Swap) {
			// A crash came between the meta that says so and the rename.
			s := newSegment(l.fs, p.dir, ms.Base, 0)
			if err := l.fs.Rename(l.fs.PathJoin(p.dir, ms.Swap), s.logName()); err != nil {
				return fmt.Errorf("put compacted segment in place: %w", err)
			}
		}
	}
	for _, base := range w.later {
		s := newSegment(l.fs, p.dir, base, 0)
		size, err := fileSize(l.fs, s.logName())
		if err != nil {
			return err
		}
		if size > 0 {
			if err := r.keepAside(p, s.logName(), base, 0, size); err != nil {
				return err
			}
		}
		if err := s.remove(); err != nil {
			return fmt.Errorf("remove segment: %w", err)
		}
		p.newFiles = true
	}
	if n := len(w.segments); n > 0 && w.tail > 0 {
		s := w.segments[n-1]
		if err := r.keepAside(p, s.logName(), s.base, w.pos, w.tail); err != nil {
			return err
		}
		if err := l.fs.Truncate(s.logName(), w.pos); err != nil {
			return fmt.Errorf("cut %s to %d bytes: %w", s.logName(), w.pos, err)
		}
	}
	if !r.clean && w.end > w.meta.Recovery {
		if err := r.rewind(p); err != nil {
			return err
		}
	}
	return r.adopt(p)
}

// rewind takes away what lies beyond the recovery point, for the journal to
// write it again. It looks well, but it may be bytes that an earlier process has
// failed to sync: the operating system goes on to show them, takes them for
// written, and no sync would ever save them. Only a new write does.
//
// A crash in between does no harm: the journal has all of it. What it only
// refers to, and all before that, is written again where it lies.
func (r *recovery) rewind(p *partition) error {
	w, l := r.walks[p], r.l
	n := max(len(w.meta.Segments), 1)
	end, pos := w.meta.Recovery, w.meta.Position
	if len(w.meta.Segments) == 0 {
		pos = 0 // retention took the segment that the position was in
	}
	if ref := w.ref; ref != nil {
		to := w.segment(ref.segment) + 1
		if err := rewriteAll(w.segments[n-1:to], pos, ref.position+ref.bytes); err != nil {
			return err
		}
		n, end, pos = to, ref.end, ref.position+ref.bytes
	}
	for _, s := range w.segments[n:] {
		if err := s.remove(); err != nil {
			return fmt.Errorf("remove segment: %w", err)
		}
	}
	w.segments = w.segments[:n]
	w.end, w.pos, w.rewound = end, pos, true
	s := w.segments[n-1]
	if err := s.close(); err != nil { // before its file is cut
		return fmt.Errorf("close segment %s: %w", s.logName(), err)
	}
	if err := l.fs.Truncate(s.logName(), w.pos); err != nil {
		return fmt.Errorf("cut %s to %d bytes: %w", s.logName(), w.pos, err)
	}
	s.size.Store(w.pos)
	f, err := l.fs.Open(s.logName(), vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	defer f.Close()
	return s.indexFrom(f, w.pos)
}

// adopt makes the walked segments those of the partition.
func (r *recovery) adopt(p *partition) error {
	w, l := r.walks[p], r.l
	p.segments.Store(&w.segments)
	p.written = w.pos
	p.hw.Store(int64(w.end))
	p.next, p.durable = w.end, w.end
	if err := p.makeDirIfMissing(l.fs); err != nil {
		return err
	}
	p.loadEpochs(l.fs, w.end)
	// A killed process may have made the directory and not synced its name.
	p.newDir = p.newDir || !r.clean && len(w.meta.Segments) == 0
	// What the walk went over may not be synced: all segments beyond those that
	// the meta knows, and the last of those.
	from := max(len(w.meta.Segments)-1, 0)
	if !w.rewound && w.end == w.meta.Recovery && w.tail == 0 && len(w.later) == 0 && len(w.segments) <= len(w.meta.Segments) {
		return nil
	}
	for _, s := range w.segments[min(from, len(w.segments)):] {
		if _, err := s.openForWrite(); err != nil {
			return err
		}
		p.dirty = append(p.dirty, s)
	}
	p.newFiles = true
	for i, s := range w.segments {
		if i >= from && i < len(w.segments)-1 {
			if err := s.writeIndexes(true); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeDirIfMissing makes the directory of a partition that a crash came too
// early for.
func (p *partition) makeDirIfMissing(fs FS) error {
	data, err := readFile(fs, fs.PathJoin(p.dir, partitionMetadataName))
	if err != nil && !isNotExist(err) || bytes.Equal(data, p.metadata()) {
		return err
	}
	return p.makeDir(fs)
}

// retreat moves the end of a walk back to an offset that begins a batch.
func (w *walked) retreat(to Offset) error {
	n := len(w.segments)
	for n > 1 && w.segments[n-1].base >= to {
		n--
		w.later = append([]Offset{w.segments[n].base}, w.later...)
	}
	w.segments = w.segments[:n]
	s := w.segments[n-1]
	size, err := fileSize(s.fs, s.logName())
	if err != nil {
		return err
	}
	f, err := s.fs.Open(s.logName(), vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	defer f.Close()
	sc := newBatchScanner(f, s.logName(), 0, size)
	defer sc.Close()
	for sc.pos < size {
		pos := sc.pos
		info, _, err := sc.batch()
		if err != nil {
			return err
		}
		if info.NextOffset() > to {
			sc.pos = pos
			break
		}
	}
	w.end, w.pos, w.tail = to, sc.pos, size-sc.pos
	s.size.Store(w.pos)
	return s.indexFrom(f, w.pos)
}

// keepAside copies bytes that are about to be cut to the cut directory, unless
// they are all zero (a file that grew before its bytes came).
func (r *recovery) keepAside(p *partition, name string, base Offset, pos, size int64) error {
	l := r.l
	data := make([]byte, size)
	f, err := l.fs.Open(name)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	n, err := readFullAt(f, data, pos)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	data = data[:n]
	if allZero(data) {
		return nil
	}
	dir := l.fs.PathJoin(l.dir, cutDirName)
	if err := l.fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	kept := l.fs.PathJoin(dir, fmt.Sprintf("%s.%s.%d.boot%d", p.tp, baseName(int64(base)), pos, l.boot))
	if err := replaceFile(l.fs, kept, data); err != nil {
		return err
	}
	l.logger.Warn("cut bytes that no acknowledged write accounts for", "file", name, "position", pos, "bytes", n, "kept-in", kept)
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// replay writes the journal's entries to the segments; those that are there
// already are recognised by their offsets.
func (r *recovery) replay() error {
	l := r.l
	var file vfs.File
	var number int64 = -1
	var buf []byte
	var parts []entryPart
	defer func() {
		if file != nil {
			_ = file.Close()
		}
	}()
	for _, e := range r.journal.entries {
		if e.file != number {
			if file != nil {
				_ = file.Close()
			}
			var err error
			if file, err = l.fs.Open(journalName(l.fs, l.journalDir(), e.file)); err != nil {
				return fmt.Errorf("open journal file %d: %w", e.file, err)
			}
			number = e.file
		}
		if int64(cap(buf)) < e.size {
			buf = make([]byte, e.size)
		}
		buf = buf[:e.size]
		if _, err := readFullAt(file, buf, e.pos); err != nil {
			return fmt.Errorf("read journal file %d: %w", e.file, err)
		}
		h, ps, err := decodeEntry(parts[:0], buf, e.header.salt)
		if err != nil {
			return fmt.Errorf("journal file %d at byte %d: %w", e.file, e.pos, err)
		}
		parts = ps
		for i := range parts {
			if err := r.replayPart(&parts[i], h.time); err != nil {
				return fmt.Errorf("replay journal file %d at byte %d: %w", e.file, e.pos, err)
			}
		}
	}
	return nil
}

func (r *recovery) replayPart(ep *entryPart, appended Timestamp) error {
	p := r.find(ep.id, ep.partition)
	if p == nil {
		return nil
	}
	if ep.kind == partStart {
		p.raiseStart(ep.base)
		return nil
	}
	if ep.ref != nil {
		if p.next < ep.ref.end {
			return fmt.Errorf("%w: partition %s: it ends at offset %d, want the %d that the journal refers to", ErrCorrupt, p.tp, p.next, ep.ref.end)
		}
		return nil
	}
	run := ep.batches
	for len(run) > 0 {
		info, err := CheckBatch(run)
		if err != nil {
			return err
		}
		if info.BaseOffset >= p.next {
			break
		}
		run = run[info.Size:]
	}
	if len(run) == 0 {
		return nil
	}
	base := parseHeader(run).BaseOffset
	if base != p.next {
		return fmt.Errorf("%w: partition %s: offset %d, want %d", ErrCorrupt, p.tp, base, p.next)
	}
	if err := p.append(r.l.fs, base, run, appended); err != nil {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	end := base
	for len(run) > 0 {
		info := parseHeader(run)
		end = info.NextOffset()
		run = run[info.Size:]
	}
	p.next, p.durable = end, end
	p.publish(end)
	return nil
}
