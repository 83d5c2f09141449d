package log

import (
	"encoding/binary"
	"fmt"
)

// <base offset>.txnindex holds the aborted transactions whose markers are in the
// segment, as Kafka writes it (AbortedTxn), ordered by their last offset. A
// segment without any has no such file. Big-endian, 34 bytes each:
//
//	 0  version             2   0
//	 2  producer id         8
//	10  first offset        8
//	18  last offset         8   of the marker
//	26  last stable offset  8   after it
//
// It is derived from the batches. A checkpoint syncs it and the meta has how
// many entries there are, so that one that is lost is missed.
const (
	txnIndexSuffix    = ".txnindex"
	txnIndexEntrySize = 34
)

func appendTxnIndex(dst []byte, list []abortedTxn) []byte {
	for i := range list {
		a := &list[i]
		dst = binary.BigEndian.AppendUint16(dst, 0)
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.ProducerID))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.FirstOffset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.LastOffset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.stable))
	}
	return dst
}

// decodeTxnIndex reads what appendTxnIndex writes; whatever else is ErrCorrupt.
func decodeTxnIndex(b []byte) ([]abortedTxn, error) {
	if len(b)%txnIndexEntrySize != 0 {
		return nil, fmt.Errorf("%w: transaction index of %d bytes, want a multiple of %d", ErrCorrupt, len(b), txnIndexEntrySize)
	}
	list := make([]abortedTxn, 0, len(b)/txnIndexEntrySize)
	end := Offset(-1)
	for f := (fields{b: b}); len(f.b) > 0; {
		version := f.int16()
		a := abortedTxn{AbortedTxn{f.int64(), Offset(f.int64()), Offset(f.int64())}, Offset(f.int64())}
		if version != 0 || a.ProducerID < 0 || a.FirstOffset < 0 || a.LastOffset <= a.FirstOffset || a.LastOffset <= end || a.stable < 0 || a.stable > a.LastOffset+1 {
			return nil, fmt.Errorf("%w: transaction index: entry %d, version %d, %+v makes no sense", ErrCorrupt, len(list), version, a)
		}
		end = a.LastOffset
		list = append(list, a)
	}
	return list, nil
}

func readTxnIndex(s *segment) ([]abortedTxn, error) {
	data, err := readFile(s.fs, s.path+txnIndexSuffix)
	if err != nil {
		return nil, fmt.Errorf("read transaction index: %w", err)
	}
	list, err := decodeTxnIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path+txnIndexSuffix, err)
	}
	return list, nil
}

// txnIndexFile is the transaction index of a segment, to be written.
type txnIndexFile struct {
	name string
	data []byte
}

// store puts the file in place of the one that may be there, so that a crash
// leaves one of them whole. The caller syncs the directory.
func (f *txnIndexFile) store(fs FS) error {
	if err := writeFile(fs, f.name+tempSuffix, f.data, true); err != nil {
		return err
	}
	if err := fs.Rename(f.name+tempSuffix, f.name); err != nil {
		return fmt.Errorf("rename %s: %w", f.name+tempSuffix, err)
	}
	return nil
}

// dirtyTxnIndexes returns the transaction indexes that have changed since the
// last checkpoint. The caller is the applier.
func (p *partition) dirtyTxnIndexes() (files []txnIndexFile) {
	list, hw := *p.txns.aborted.Load(), Offset(p.hw.Load())
	saved := p.txns.saved
	p.txns.saved = hw
	if len(between(list, saved, hw)) == 0 {
		return nil
	}
	segments := *p.segments.Load()
	for i, s := range segments {
		end := hw
		if i+1 < len(segments) {
			end = segments[i+1].base
		}
		if end > saved && len(between(list, max(s.base, saved), end)) > 0 {
			files = append(files, txnIndexFile{s.path + txnIndexSuffix, appendTxnIndex(nil, between(list, s.base, end))})
		}
	}
	return files
}

// loadAborted reads the transaction indexes of the segments that the meta knows,
// up to the offset from which on the batches say it. It reports whether all of
// it was there.
func (p *partition) loadAborted(fs FS, mp *metaPartition, to Offset) bool {
	var all []abortedTxn
	for i, ms := range mp.Segments {
		if ms.Aborted == 0 {
			continue
		}
		end := mp.Recovery
		if i+1 < len(mp.Segments) {
			end = mp.Segments[i+1].Base
		}
		list, err := readTxnIndex(newSegment(fs, p.dir, ms.Base, 0))
		if err == nil {
			list = between(list, ms.Base, end)
		}
		if len(list) < ms.Aborted {
			return false
		}
		all = append(all, between(list, ms.Base, min(end, to))...)
	}
	// Of what was compacted no aborted record is left.
	all = between(all, max(mp.Start, mp.Compacted), to)
	if len(all) > 0 {
		p.txns.used.Store(true)
	}
	p.txns.aborted.Store(&all)
	p.txns.saved = to
	return true
}

// pruneAborted forgets aborted transactions below the start offset. A reader
// looks up the start before it looks here.
func (l *Embedded) pruneAborted() {
	l.applyMu.Lock()
	defer l.applyMu.Unlock()
	_ = l.eachPartition(func(p *partition) error {
		list := *p.txns.aborted.Load()
		if kept := between(list, Offset(p.start.Load()), Offset(p.hw.Load())); len(kept) < len(list) {
			kept = append([]abortedTxn(nil), kept...)
			p.txns.aborted.Store(&kept)
		}
		return nil
	})
}
