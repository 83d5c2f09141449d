package log

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Index files, as Kafka lays them out. Both are sparse (one entry for about
// 4 KiB of log), sorted, and derived: they are rebuilt from the log whenever
// they are missing or make no sense.
//
//	.index       4  last offset of a batch, less the segment's base offset
//	             4  position of that batch in the .log file
//
//	.timeindex   8  the largest timestamp up to here in the segment
//	             4  last offset of the batch that has it, less the base offset
const (
	indexEntrySize = 8
	timeEntrySize  = 12
)

type indexEntry struct {
	delta int32 // last offset of the batch, relative to the segment's base
	pos   int32
}

type timeEntry struct {
	time  Timestamp
	delta int32
}

func appendIndex(dst []byte, entries []indexEntry) []byte {
	for _, e := range entries {
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.delta))
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.pos))
	}
	return dst
}

func appendTimeIndex(dst []byte, entries []timeEntry) []byte {
	for _, e := range entries {
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.time))
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.delta))
	}
	return dst
}

// decodeIndex reads an .index file of a log of size bytes.
func decodeIndex(b []byte, size int64) ([]indexEntry, error) {
	if len(b)%indexEntrySize != 0 {
		return nil, fmt.Errorf("%w: index of %d bytes, want a multiple of %d", ErrCorrupt, len(b), indexEntrySize)
	}
	entries := make([]indexEntry, 0, len(b)/indexEntrySize)
	last := indexEntry{delta: -1, pos: -1}
	for i := 0; i < len(b); i += indexEntrySize {
		e := indexEntry{int32(binary.BigEndian.Uint32(b[i:])), int32(binary.BigEndian.Uint32(b[i+4:]))}
		if e.delta <= last.delta || e.pos <= last.pos || int64(e.pos) >= size {
			return nil, fmt.Errorf("%w: index entry %d: offset +%d at %d after +%d at %d in %d bytes", ErrCorrupt, i/indexEntrySize, e.delta, e.pos, last.delta, last.pos, size)
		}
		entries = append(entries, e)
		last = e
	}
	return entries, nil
}

func decodeTimeIndex(b []byte) ([]timeEntry, error) {
	if len(b)%timeEntrySize != 0 {
		return nil, fmt.Errorf("%w: time index of %d bytes, want a multiple of %d", ErrCorrupt, len(b), timeEntrySize)
	}
	entries := make([]timeEntry, 0, len(b)/timeEntrySize)
	last := timeEntry{time: -1 << 63, delta: -1}
	for i := 0; i < len(b); i += timeEntrySize {
		e := timeEntry{Timestamp(binary.BigEndian.Uint64(b[i:])), int32(binary.BigEndian.Uint32(b[i+8:]))}
		if e.time <= last.time || e.delta < last.delta || e.delta < 0 {
			return nil, fmt.Errorf("%w: time index entry %d: %d at +%d after %d at +%d", ErrCorrupt, i/timeEntrySize, e.time, e.delta, last.time, last.delta)
		}
		entries = append(entries, e)
		last = e
	}
	return entries, nil
}

// findOffset returns where to begin a scan for the offset base+delta.
func findOffset(entries []indexEntry, delta int64) indexEntry {
	i := sort.Search(len(entries), func(i int) bool { return int64(entries[i].delta) > delta })
	if i == 0 {
		return indexEntry{delta: -1}
	}
	return entries[i-1]
}

// findTime returns the entry before whose batch every record is older than t;
// if there is none, one with NoTimestamp at the segment's base.
func findTime(entries []timeEntry, t Timestamp) timeEntry {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].time >= t })
	if i == 0 {
		return timeEntry{time: NoTimestamp}
	}
	return entries[i-1]
}

// indexBuilder makes both indexes of a segment, batch by batch.
type indexBuilder struct {
	every   int64 // bytes of log per entry
	base    Offset
	offsets []indexEntry
	times   []timeEntry

	since        int64 // bytes of log since the last entry
	maxTime      Timestamp
	maxTimeDelta int32
}

func newIndexBuilder(base Offset, every int64) indexBuilder {
	return indexBuilder{every: every, base: base, maxTime: NoTimestamp}
}

// add takes in a batch at pos. The first one has no entry: a scan begins there
// anyway.
func (x *indexBuilder) add(info *BatchInfo, pos int64) {
	delta := int32(info.LastOffset() - x.base)
	if info.MaxTimestamp > x.maxTime {
		x.maxTime, x.maxTimeDelta = info.MaxTimestamp, delta
	}
	if x.since > x.every {
		x.offsets = append(x.offsets, indexEntry{delta, int32(pos)})
		x.addTime()
		x.since = 0
	}
	x.since += int64(info.Size)
}

func (x *indexBuilder) addTime() {
	if n := len(x.times); x.maxTime >= 0 && (n == 0 || x.maxTime > x.times[n-1].time) {
		x.times = append(x.times, timeEntry{x.maxTime, x.maxTimeDelta})
	}
}

// finish makes the last time entry that of the largest timestamp, as Kafka does
// when it seals a segment.
func (x *indexBuilder) finish() { x.addTime() }
