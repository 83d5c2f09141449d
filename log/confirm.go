package log

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/vfs"
)

// confirm looks for what the journal refers to. At the first entry that refers to
// something that is not there, the journal ends: it was never acknowledged.
// Unless it is known to have been synced: then it is damage.
func (r *recovery) confirm() error {
	r.unfinished = map[*partition]Offset{}
	for i := range r.journal.entries {
		e := &r.journal.entries[i]
		err := r.confirmEntry(e)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		err = fmt.Errorf("journal file %d at byte %d: %w", e.file, e.pos, err)
		if e.header.sequence <= r.journal.mark {
			return fmt.Errorf("journal entry %d had been synced but what it refers to is not whole: %w", e.header.sequence, err)
		}
		r.endJournal(i, err)
		break
	}
	return nil
}

// endJournal drops the entries from i on.
func (r *recovery) endJournal(i int, why error) {
	j := r.journal
	for _, e := range j.entries[i:] {
		for _, fp := range e.parts {
			if p := r.find(fp.id, fp.partition); p != nil && fp.ref != nil {
				r.unfinished[p] = max(r.unfinished[p], fp.end)
			}
		}
	}
	// Their sequences count as used: else a later Open might take them up, when
	// the partition is gone that kept them from holding.
	j.torn = why
	j.entries = j.entries[:i]
}

// confirmEntry looks for what one entry refers to.
func (r *recovery) confirmEntry(e *foundEntry) error {
	refs := map[*walked]*reference{}
	for _, fp := range e.parts {
		p := r.find(fp.id, fp.partition)
		if p == nil || fp.ref == nil || fp.end <= r.walks[p].meta.Recovery {
			continue // deleted, or safe
		}
		if err := r.walks[p].confirm(&fp); err != nil {
			return fmt.Errorf("partition %s: offsets from %d to %d: %w", p.tp, fp.base, fp.end-1, err)
		}
		refs[r.walks[p]] = fp.ref
	}
	for w, ref := range refs {
		w.ref = ref
	}
	return nil
}

// confirm compares what the walk found, whose checksums are good, with a reference.
func (w *walked) confirm(fp *foundPart) error {
	ref := fp.ref
	if w.end < ref.end {
		if w.stopped != nil {
			return w.stopped
		}
		return fmt.Errorf("%w: there is nothing from offset %d on", ErrCorrupt, w.end)
	}
	i := w.segment(ref.segment)
	if i < 0 {
		return fmt.Errorf("%w: no segment %s", ErrCorrupt, baseName(int64(ref.segment)))
	}
	s := w.segments[i]
	f, err := s.fs.Open(s.logName(), vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open segment %s: %w", s.logName(), err)
	}
	defer f.Close()
	if size := s.size.Load(); ref.position+ref.bytes > size {
		return &damageAt{s.logName(), ref.position, fmt.Errorf("%d bytes of batches, want them to end before %d", ref.bytes, size)}
	}
	crc, next := uint32(0), fp.base
	sc := newBatchScanner(f, s.logName(), ref.position, ref.position+ref.bytes)
	defer sc.Close()
	for {
		info, b, err := sc.batch()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		crc, next = framesCRC(crc, b), info.NextOffset()
	}
	if crc != ref.crc || next != ref.end {
		return &damageAt{s.logName(), ref.position, fmt.Errorf("batches up to offset %d with crc %08x of their frames, want %d and %08x", next, crc, ref.end, ref.crc)}
	}
	return nil
}

// segment returns which of the walked segments begins at an offset, or -1.
func (w *walked) segment(base Offset) int {
	return slices.IndexFunc(w.segments, func(s *segment) bool { return s.base == base })
}

// rewriteAll writes the bytes of segments again where they lie: from a position in
// the first to one in the last.
func rewriteAll(segments []*segment, from, to int64) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for i, s := range segments {
		end := s.size.Load()
		if i == len(segments)-1 {
			end = to
		}
		if err := s.rewrite(*buf, from, end); err != nil {
			return err
		}
		from = 0
	}
	return nil
}

// rewrite writes the bytes between two positions again.
func (s *segment) rewrite(buf []byte, from, to int64) error {
	if _, err := s.openForWrite(); err != nil {
		return err
	}
	if err := rewriteFile(s.file, buf, from, to); err != nil {
		return fmt.Errorf("write segment %s again: %w", s.logName(), err)
	}
	return nil
}

// rewriteFile writes the bytes of a file between two positions again, through buf.
func rewriteFile(f vfs.File, buf []byte, from, to int64) error {
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := readFullAt(f, b, from)
		if err == nil && n < len(b) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read at %d: %w", from, err)
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return fmt.Errorf("write at %d: %w", from, err)
		}
		from += int64(n)
	}
	return nil
}

// secureJournal makes durable the entries that may not be. A process that was killed
// may have written them and not synced them, or failed to sync them: then only a
// new write does it, see rewind.
func (r *recovery) secureJournal() error {
	entries := r.journal.entries
	i := slices.IndexFunc(entries, func(e foundEntry) bool { return e.header.sequence > r.journal.mark })
	if i < 0 {
		return nil
	}
	for entries = entries[i:]; len(entries) > 0; {
		number := entries[0].file
		n := slices.IndexFunc(entries, func(e foundEntry) bool { return e.file != number })
		if n < 0 {
			n = len(entries)
		}
		last := &entries[n-1]
		if err := r.secureFile(number, entries[0].pos, last.pos+last.size); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func (r *recovery) secureFile(number, from, to int64) (err error) {
	name := journalName(r.l.fs, r.l.journalDir(), number)
	f, err := r.l.fs.OpenReadWrite(name)
	if err != nil {
		return fmt.Errorf("open journal %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if err := rewriteFile(f, *buf, from, to); err != nil {
		return fmt.Errorf("write journal %s again: %w", name, err)
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("sync journal %s: %w", name, err)
	}
	return nil
}
