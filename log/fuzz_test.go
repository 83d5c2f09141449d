package log

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// journalEntry encodes one entry as the journal writes it.
func journalEntry(salt uint64, seq uint64, parts ...entryPart) []byte {
	fs := newMemFS()
	f, err := fs.OpenReadWrite("j")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	j := &journal{file: f, salt: salt, seq: seq - 1, limit: 1 << 20, buf: appendJournalHeader(nil, journalHeader{number: 1, salt: salt}), pos: journalHeaderSize}
	e := &entry{time: 5}
	for _, p := range parts {
		e.parts = append(e.parts, part{entryPart: p})
	}
	if err := j.write(&group{entries: []*entry{e}}); err != nil {
		panic(err)
	}
	data, err := readFile(fs, "j")
	if err != nil {
		panic(err)
	}
	return data
}

// Whatever bytes lie in a journal: no panic, and what decodes is what a writer
// would have written.
func FuzzJournal(f *testing.F) {
	const salt = 7
	run := place(f, encode([]Record{{Timestamp: 1, Value: []byte("v")}}, 0), 3)
	f.Add(journalEntry(salt, 9, entryPart{id: TopicID{1}, partition: 2, base: 3, batches: run}, entryPart{kind: partStart, base: 1}))
	f.Add(journalEntry(salt, 2, entryPart{kind: partBatches, base: 3, ref: &reference{segment: 3, position: 9, bytes: 100, end: 5, crc: 7}}, entryPart{batches: run}))
	f.Add(journalEntry(salt, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < journalHeaderSize {
			return
		}
		file := &scannedFile{bad: map[int]error{}}
		file.scan("j", 1, data, salt)
		for _, e := range file.entries {
			h, parts, err := decodeEntry(nil, data[e.pos:], salt)
			if err != nil || len(parts) != h.parts || h.sequence != e.header.sequence {
				t.Fatalf("entry at %d: %v", e.pos, err)
			}
			again := journalEntry(salt, h.sequence, parts...)[journalHeaderSize:]
			_, same, err := decodeEntry(nil, again, salt)
			if err != nil || len(same) != len(parts) {
				t.Fatalf("entry at %d does not round-trip: %v", e.pos, err)
			}
			for i := range same {
				if a, b := same[i].ref, parts[i].ref; (a == nil) != (b == nil) || a != nil && *a != *b {
					t.Fatalf("part %d: got reference %+v, want %+v", i, a, b)
				}
				if same[i].id != parts[i].id || same[i].base != parts[i].base || !bytes.Equal(same[i].batches, parts[i].batches) {
					t.Fatalf("part %d: got %+v, want %+v", i, same[i], parts[i])
				}
			}
		}
		if _, err := parseJournalHeader(data); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}

// Whatever bytes lie in a record: no panic, and the short way of reading it comes
// to the same as the long one, or leaves it to that.
func FuzzRecord(f *testing.F) {
	for _, r := range []Record{{}, {Key: []byte{}, Value: []byte("v")}, {Timestamp: 70, Value: make([]byte, 100)}, {Key: make([]byte, 70)}, {Headers: []Header{{Key: "h"}}}} {
		b := appendBatch(nil, BatchInfo{}, 0, []Record{r})[BatchHeaderSize:]
		f.Add(b, 0)
		f.Add(append(b, b...), len(b))
	}
	f.Add([]byte{0x92, 0x00, 0, 0x80, 0x00, 0x80, 0x00, 0x81, 0x00, 0x80, 0x00, 0}, 0) // longer than they need be
	f.Fuzz(func(t *testing.T, body []byte, p int) {
		if p < 0 || p > len(body) {
			return
		}
		var d decoder
		var short, long Record
		next, time, offset := decodeShort(&short, body, p)
		wantNext, wantTime, wantOffset, bad := d.decodeLong(&long, body, p)
		if next == 0 {
			return
		}
		if bad != "" || next != wantNext || time != wantTime || offset != wantOffset || !reflect.DeepEqual(short, long) {
			t.Fatalf("got %v up to %d, %d, %d, want %v up to %d, %d, %d, bad %q", short, next, time, offset, long, wantNext, wantTime, wantOffset, bad)
		}
	})
}

// Whatever bytes lie in an index file: no panic, and what decodes encodes to
// the same bytes and only points into the log.
func FuzzIndex(f *testing.F) {
	f.Add(appendIndex(nil, []indexEntry{{9, 4096}, {20, 9000}}), int64(10000))
	f.Add(appendTimeIndex(nil, []timeEntry{{100, 9}, {200, 20}}), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		if entries, err := decodeIndex(data, size); err == nil {
			if !bytes.Equal(appendIndex(nil, entries), data) {
				t.Fatal("offset index does not round-trip")
			}
			for delta := int64(-1); delta < 40; delta++ {
				if e := findOffset(entries, delta); int64(e.delta) > delta || int64(e.pos) > max(size, 0) {
					t.Fatalf("offset %d: got %+v", delta, e)
				}
			}
		}
		if entries, err := decodeTimeIndex(data); err == nil {
			if !bytes.Equal(appendTimeIndex(nil, entries), data) {
				t.Fatal("time index does not round-trip")
			}
			findTime(entries, 100)
		}
	})
}

// Whatever a meta file holds: no panic, and damage is told from newness.
func FuzzMeta(f *testing.F) {
	fs := newMemFS()
	m := &meta{ClusterID: "c", Topics: []metaTopic{{Name: "a", Partitions: []metaPartition{{Recovery: 3, Segments: []metaSegment{{Bytes: 7}}}}}}}
	if err := fs.MkdirAll("d/meta", 0o755); err != nil {
		f.Fatal(err)
	}
	if err := m.store(fs, "d"); err != nil {
		f.Fatal(err)
	}
	data, err := readFile(fs, "d/meta/meta.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := decodeMeta(data); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
