package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
)

// Whatever an entry with the right checksum says: no panic, and what decodes is all
// of it.
func FuzzEntry(f *testing.F) {
	const salt = 7
	run := place(f, encode([]Record{{Timestamp: 1, Value: []byte("v")}}, 0), 3)
	f.Add(journalEntry(salt, 9, entryPart{id: TopicID{1}, partition: 2, base: 3, batches: run}, entryPart{kind: partStart, base: 1})[journalHeaderSize:])
	f.Add(journalEntry(salt, 2, entryPart{base: 3, ref: &reference{segment: 3, position: 9, bytes: 100, end: 5, crc: 7}}, entryPart{batches: run})[journalHeaderSize:])
	f.Add(journalEntry(salt, 1)[journalHeaderSize:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if b = bytes.Clone(b); len(b) >= entryHeaderSize { // else salt and checksum stand in the way
			binary.BigEndian.PutUint64(b[entrySaltPos:], salt)
			if h := parseEntryHeader(b); h.length >= entryHeaderSize && h.length <= len(b) {
				binary.BigEndian.PutUint32(b[entryCRCPos:], crc32.Checksum(b[entrySequencePos:h.length], castagnoli))
			}
		}
		h, parts, err := decodeEntry(nil, b, salt)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		again := appendEntryHead(nil, &h)
		binary.BigEndian.PutUint32(again[entryCRCPos:], h.crc)
		for i := range parts {
			again = appendEntryPart(again, &parts[i])
		}
		for i := range parts {
			if again = append(again, parts[i].batches...); parts[i].ref != nil {
				again = parts[i].ref.appendTo(again)
			}
		}
		if !bytes.Equal(again, b[:h.length]) {
			t.Fatalf("encodes to %x, was %x", again, b[:h.length])
		}
	})
}

// Whatever files and directories are called: no panic, and a name that is taken
// for one of ours is the one that would be given.
func FuzzNames(f *testing.F) {
	f.Add("00000000000000000042.log")
	f.Add("+0000000000000000042.log")
	f.Add("page-views-3")
	f.Add("page-views-0." + TopicID{1, 2}.String() + deleteSuffix)
	f.Fuzz(func(t *testing.T, name string) {
		for _, suffix := range []string{journalSuffix, logSuffix, indexSuffix, timeIndexSuffix, snapshotSuffix} {
			if n, ok := parseName(name, suffix); ok && baseName(n)+suffix != name {
				t.Errorf("%q: got %d", name, n)
			}
		}
		if tp, ok := parsePartitionDir(name); ok && tp.String() != name {
			t.Errorf("%q: got partition %v", name, tp)
		}
		if id, err := ParseTopicID(name); err == nil {
			if again, err := ParseTopicID(id.String()); err != nil || again != id {
				t.Errorf("%q: got topic id %v, then %v, %v", name, id, again, err)
			}
		}
		parseDeletedDir(name)
	})
}

// Whatever a file of leader epochs holds: no panic, and what is taken from it is
// in order.
func FuzzEpochs(f *testing.F) {
	f.Add((&leaderEpochs{list: []epochStart{{0, 0}, {3, 1742}}}).encode())
	f.Add([]byte("0\n1000000000\n0 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list := decodeEpochs(data)
		for i := 1; i < len(list); i++ {
			if list[i].epoch <= list[i-1].epoch || list[i].start < list[i-1].start {
				t.Fatalf("epochs %v", list)
			}
		}
		if again := decodeEpochs((&leaderEpochs{list: list}).encode()); !slices.Equal(again, list) {
			t.Fatalf("got %v, want %v", again, list)
		}
	})
}

// Whatever a record of committed offsets holds: no panic, and what is understood
// is stored the same.
func FuzzDecodeOffset(f *testing.F) {
	o := GroupOffset{TopicPartition: TopicPartition{Topic: "t", Partition: 3}, Offset: 7, LeaderEpoch: 2, Metadata: "m", CommitTime: 9}
	f.Add(appendOffsetKey(nil, "g", o.TopicPartition), appendOffsetValue(nil, &o))
	f.Add(appendOffsetKey(nil, "", TopicPartition{}), []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		group, o, ok := decodeOffset(&Record{Key: key, Value: value})
		if !ok || value == nil {
			return
		}
		r := Record{Key: appendOffsetKey(nil, group, o.TopicPartition), Value: appendOffsetValue(nil, &o)}
		if g, again, ok := decodeOffset(&r); !ok || g != group || again != o {
			t.Errorf("got %q %+v, %v, want %q %+v", g, again, ok, group, o)
		}
	})
}
