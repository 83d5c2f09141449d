package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"
)

// bigRun is batches that a group refers to, as record n.
func bigRun(n int) []byte {
	var b Builder
	b.Append(1, value(n), bytes.Repeat([]byte{byte(n)}, referRun))
	return bytes.Clone(b.Bytes())
}

// referring is a log with small and large appends, and the disk as a kill would
// leave it.
func referring(t *testing.T, sync SyncPolicy, larges ...bool) (memFS, TopicPartition) {
	t.Helper()
	fs, tp := newMemFS(), TopicPartition{"a", 0}
	o := testOptions(fs)
	o.Sync = sync
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	for n, large := range larges {
		run := bigRun(n)
		if !large {
			run = place(t, encode([]Record{{Timestamp: 1, Key: value(n)}}, 0), 0)
		}
		if _, err := l.Append(t.Context(), tp, run); err != nil {
			t.Fatal(err)
		}
	}
	return copyFS(t, fs), tp
}

const referredSegment = "data/topics/a-0/00000000000000000000.log"

func checkKeys(t *testing.T, fs memFS, tp TopicPartition, want int) {
	t.Helper()
	recs := readAll(t, mustOpen(t, "data", testOptions(fs)), tp, 0)
	if len(recs) != want {
		t.Fatalf("got %d records, want %d", len(recs), want)
	}
	for i, r := range recs {
		if !bytes.Equal(r.Key, value(i)) {
			t.Fatalf("record %d has key %s", i, r.Key)
		}
	}
}

// What is referred to is there after a crash, with what came by the journal
// before and after it, and written once.
func TestReferences(t *testing.T) {
	for _, mode := range []SyncPolicy{{}, {Mode: SyncInterval, Every: time.Hour}, {Mode: SyncNone}} {
		fs, tp := referring(t, mode, false, true, true, false, true, false)
		data, err := readFile(fs, journalName(fs, "data/journal", 1))
		if err != nil || len(data) == 0 || len(data) > referRun {
			t.Fatalf("%v: journal of %d bytes, want some and fewer than %d: %v", mode, len(data), referRun, err)
		}
		checkKeys(t, fs, tp, 6)
	}
}

// A segment that lost its end, or has a bad bit in it, ends the journal if
// nothing says that it was synced. What can be read of it is kept aside.
func TestUnfinishedReference(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, fs memFS){
		"cut": func(t *testing.T, fs memFS) {
			if err := fs.Truncate(referredSegment, 2*referRun+1000); err != nil {
				t.Fatal(err)
			}
		},
		"bit":   func(t *testing.T, fs memFS) { flip(t, fs, referredSegment, 2*referRun+referRun/2) },
		"epoch": func(t *testing.T, fs memFS) { flipLast(t, fs, batchLeaderEpochPos) },
	} {
		t.Run(name, func(t *testing.T) {
			fs, tp := referring(t, SyncPolicy{}, true, true, true)
			damage(t, fs)
			checkKeys(t, fs, tp, 2)
			if names, err := fs.List("data/cut"); err != nil || len(names) != 1 {
				t.Errorf("kept aside: got %v, %v; want one file", names, err)
			}
			checkKeys(t, copyFS(t, fs), tp, 2) // and it stays so
		})
	}
}

// flipLast flips a bit in the header of the last batch of the segment.
func flipLast(t *testing.T, fs memFS, at int64) {
	t.Helper()
	data, err := readFile(fs, referredSegment)
	if err != nil {
		t.Fatal(err)
	}
	pos := 0
	for next := 0; next < len(data); next += parseHeader(data[next:]).Size {
		pos = next
	}
	flip(t, fs, referredSegment, int64(pos)+at)
}

// Damage in what is known to have been synced refuses the directory, with file
// and position, and changes nothing.
func TestDamagedReference(t *testing.T) {
	fs, _ := referring(t, SyncPolicy{}, true, true, false)
	flip(t, fs, referredSegment, referRun+referRun/2)
	before, err := readFile(fs, referredSegment)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), fs, "data", nil)
	if err != nil || report.OK() {
		t.Errorf("verify: got %v, %v; want damage", report.Problems, err)
	}
	_, err = Open("data", testOptions(fs))
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), referredSegment+" at byte") {
		t.Fatalf("got %v, want ErrCorrupt with file and position", err)
	}
	if after, err := readFile(fs, referredSegment); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the segment was changed, %v", err)
	}
}

// A lost journal entry is noticed by the batches that it referred to.
func TestLostReference(t *testing.T) {
	fs, _ := referring(t, SyncPolicy{}, true)
	flip(t, fs, journalName(fs, "data/journal", 1), journalHeaderSize+entryHeaderSize)
	if _, err := Open("data", testOptions(fs)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), referredSegment) {
		t.Fatalf("got %v, want ErrCorrupt that names the segment", err)
	}
}

// An entry that Open has cut does not come back when the partition is deleted that
// kept it from holding.
func TestCutReferenceStaysAway(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "small", 1)
	mustCreate(t, l, "a", 1)
	small := place(t, encode([]Record{{Timestamp: 1, Key: value(0)}}, 0), 0)
	writes := []Write{{TopicPartition: TopicPartition{"small", 0}, Batches: small}, {TopicPartition: TopicPartition{"a", 0}, Batches: bigRun(0)}}
	if _, err := l.Commit(t.Context(), &Commit{Writes: writes}); err != nil {
		t.Fatal(err)
	}
	fs = copyFS(t, fs)
	for _, name := range []string{referredSegment, strings.Replace(referredSegment, "/a-0/", "/small-0/", 1)} {
		if err := fs.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	l = mustOpen(t, "data", testOptions(fs))
	if b, err := l.Bounds(t.Context(), TopicPartition{"small", 0}); err != nil || b.End != 0 {
		t.Fatalf("half a commit: got %v, %v", b, err)
	}
	if err := l.DeleteTopic(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(copyFS(t, fs)))
	if b, err := l.Bounds(t.Context(), TopicPartition{"small", 0}); err != nil || b.End != 0 {
		t.Fatalf("half a commit came back: got %v, %v", b, err)
	}
}

// A group is not referred to where the one before it could not be applied: there
// is no place behind bytes that are in memory only.
func TestNoReferenceAfterFailure(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	p, err := l.partition(TopicPartition{"a", 0})
	if err != nil {
		t.Fatal(err)
	}
	en := &entry{parts: []part{{p: p, entryPart: entryPart{batches: bigRun(0)}, count: 1}}}
	g := &group{entries: []*entry{en}}
	l.fail(errors.New("disk is gone"))
	l.refer(g)
	if g.runs != nil || en.parts[0].ref != nil {
		t.Error("got a reference in a log that has failed")
	}
	if !l.applyMu.TryLock() {
		t.Fatal("applyMu is held")
	}
	l.applyMu.Unlock()
}

// flakyFile fails one sync, as the system tells of an error once.
type flakyFile struct {
	vfs.File
	fail error
}

func (f *flakyFile) SyncData() (err error) {
	err, f.fail = f.fail, nil
	return err
}

// Who syncs a segment after a sync of it has failed hears of it too.
func TestFailedSyncStays(t *testing.T) {
	s := newSegment(newMemFS(), "data", 0, 0)
	s.file = &flakyFile{fail: errors.New("bad sector")}
	for range 2 {
		if err := s.sync(); err == nil || !strings.Contains(err.Error(), "bad sector") {
			t.Fatalf("got %v, want the error of the first sync", err)
		}
	}
}

// A segment that could not be cut is not synced, though its file is closed.
func TestFailedCutStays(t *testing.T) {
	s := newSegment(newMemFS(), "nowhere", 0, 0)
	if err := s.cut(10); err == nil {
		t.Fatal("a file that is not there was cut")
	}
	if err := s.sync(); err == nil {
		t.Fatal("got no error of a segment that could not be cut")
	}
}

// The topic that is deleted has been synced before the journal may call it so.
func TestIntervalDeleteSyncs(t *testing.T) {
	o := testOptions(newMemFS())
	o.Sync = SyncPolicy{Mode: SyncInterval, Every: time.Hour}
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	if _, err := l.Append(t.Context(), tp, bigRun(0)); err != nil {
		t.Fatal(err)
	}
	p, err := l.partition(tp)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.unsynced) != 1 || p.last().named {
		t.Fatal("a run was synced although an hour is not over")
	}
	if err := l.DeleteTopic(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if !p.last().named {
		t.Error("the topic was not synced before it went")
	}
	if err := l.syncJournal(); err != nil { // and what is closed is let be
		t.Fatal(err)
	}
}

// A journal of before there were references is read; one of a later format is not.
func TestJournalVersions(t *testing.T) {
	for version, want := range map[byte]error{1: nil, 2: nil, 3: ErrNewerFormat} {
		h := appendJournalHeader(nil, journalHeader{number: 1})
		h[11] = version
		binary.BigEndian.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
		if _, err := parseJournalHeader(h); !errors.Is(err, want) {
			t.Errorf("version %d: got %v, want %v", version, err, want)
		}
	}
}
