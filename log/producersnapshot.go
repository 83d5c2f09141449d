package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// <offset>.snapshot holds what a partition knew of its producers when it ended
// at that offset, in Kafka's form (ProducerSnapshot version 1). Big-endian.
//
//	 0  version  2   1
//	 2  crc      4   CRC-32C of everything after this field
//	 6  count    4
//	10  entries, 46 each
//	      0  producer id        8
//	      8  epoch              2
//	     10  last sequence      4   -1: none in this epoch
//	     14  last offset        8   -1: none
//	     22  offset delta       4   of the last record of the last batch to its first
//	     26  timestamp          8   when it was last heard of
//	     34  coordinator epoch  4   -1: none
//	     38  transaction start  8   first offset of the open transaction; -1: none
//
// Kafka stops reading here. Of the batches of a producer it keeps the last
// alone; a client whose answers were lost repeats up to five. So this follows:
//
//	windows, one for each entry, in their order
//	      0  count              1   0 to 5
//	      1  batches, 24 each: last sequence 4 · offset delta 4 · last offset 8 · max timestamp 8
//
// It is derived from the batches. The meta says which one counts, and from where
// on the batches say the rest.
const (
	snapshotSuffix     = ".snapshot"
	snapshotVersion    = 1
	snapshotHeaderSize = 10
	snapshotEntrySize  = 46
	snapshotBatchSize  = 24
)

func appendSnapshot(dst []byte, ps producers) []byte {
	from := len(dst)
	ids := slices.Sorted(maps.Keys(ps))
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(ids)))
	for _, id := range ids {
		s := ps[id]
		last := producedBatch{lastSequence: -1, lastOffset: -1}
		if s.n > 0 {
			last = s.last[s.n-1]
		}
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.epoch))
		dst = binary.BigEndian.AppendUint32(dst, uint32(last.lastSequence))
		dst = binary.BigEndian.AppendUint64(dst, uint64(last.lastOffset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(last.delta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.seen))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.coordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.txnStart))
	}
	for _, id := range ids {
		s := ps[id]
		dst = append(dst, byte(s.n))
		for i := range s.last[:s.n] {
			b := &s.last[i]
			dst = binary.BigEndian.AppendUint32(dst, uint32(b.lastSequence))
			dst = binary.BigEndian.AppendUint32(dst, uint32(b.delta))
			dst = binary.BigEndian.AppendUint64(dst, uint64(b.lastOffset))
			dst = binary.BigEndian.AppendUint64(dst, uint64(b.maxTime))
		}
	}
	binary.BigEndian.PutUint32(dst[from+2:], crc32.Checksum(dst[from+6:], castagnoli))
	return dst
}

// decodeSnapshot reads what appendSnapshot, or Kafka, writes. Whatever is
// neither is ErrCorrupt.
func decodeSnapshot(b []byte) (producers, error) {
	if len(b) < snapshotHeaderSize {
		return nil, fmt.Errorf("%w: producer snapshot of %d bytes, want at least %d", ErrCorrupt, len(b), snapshotHeaderSize)
	}
	f := fields{b: b}
	if v := f.int16(); v != snapshotVersion {
		return nil, fmt.Errorf("%w: producer snapshot version %d, want %d", ErrCorrupt, v, snapshotVersion)
	}
	if got, want := crc32.Checksum(b[6:], castagnoli), uint32(f.int32()); got != want {
		return nil, fmt.Errorf("%w: producer snapshot: crc %08x, want %08x", ErrCorrupt, got, want)
	}
	n := int(f.int32())
	if n < 0 || n > len(f.b)/snapshotEntrySize {
		return nil, fmt.Errorf("%w: producer snapshot of %d producers in %d bytes", ErrCorrupt, n, len(b))
	}
	ps := make(producers, n)
	ids := make([]int64, n)
	for i := range ids {
		id, s := f.producer()
		if id < 0 || s.epoch < 0 || ps[id] != nil || s.txnStart < -1 || !s.sound() {
			return nil, fmt.Errorf("%w: producer snapshot: entry %d of producer %d makes no sense", ErrCorrupt, i, id)
		}
		ps[id], ids[i] = s, id
	}
	if len(f.b) > 0 {
		for _, id := range ids {
			f.window(ps[id])
			if f.bad || !ps[id].sound() {
				return nil, fmt.Errorf("%w: producer snapshot: batches of producer %d make no sense", ErrCorrupt, id)
			}
		}
	}
	if f.bad || len(f.b) > 0 {
		return nil, fmt.Errorf("%w: producer snapshot: %d bytes are left over", ErrCorrupt, len(f.b))
	}
	return ps, nil
}

// producer reads one entry.
func (f *fields) producer() (int64, *producerState) {
	id := f.int64()
	s := &producerState{epoch: int16(f.int16())}
	b := producedBatch{lastSequence: f.int32(), lastOffset: Offset(f.int64()), delta: f.int32()}
	s.seen = Timestamp(f.int64())
	b.maxTime = s.seen
	s.coordinatorEpoch = f.int32()
	s.txnStart = Offset(f.int64())
	if b.lastOffset >= 0 {
		s.last[0], s.n = b, 1
	}
	return id, s
}

// window reads the batches of a producer, which take the place of the one that
// its entry has.
func (f *fields) window(s *producerState) {
	n := int(f.take(1)[0])
	if n > producedBatches {
		f.bad = true
		return
	}
	clear(s.last[:])
	s.n = n
	for i := range s.last[:n] {
		s.last[i] = producedBatch{lastSequence: f.int32(), delta: f.int32(), lastOffset: Offset(f.int64()), maxTime: Timestamp(f.int64())}
	}
}

// sound tells whether the batches of a producer can be what was written.
func (s *producerState) sound() bool {
	end := Offset(-1)
	for i := range s.last[:s.n] {
		b := &s.last[i]
		if b.lastSequence < 0 || b.delta < 0 || b.base() <= end {
			return false
		}
		end = b.lastOffset
	}
	return true
}
