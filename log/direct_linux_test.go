package log

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Direct writes arrive, also where the file system wants another alignment than
// ours: then through the cache.
func TestOpenDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := DefaultFS.(DirectFS).OpenDirect(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := append(alignedBytes(2*DirectBlock), bytes.Repeat([]byte("direct! "), 2*DirectBlock/8)...)
	for _, step := range []struct{ from, to, at int }{{0, 2 * DirectBlock, 0}, {0, DirectBlock, 2 * DirectBlock}, {3, 100, 5}, {0, DirectBlock, DirectBlock}} {
		if n, err := f.WriteAt(b[step.from:step.to], int64(step.at)); err != nil || n != step.to-step.from {
			t.Fatalf("write bytes %d to %d at %d: got %d, %v", step.from, step.to, step.at, n, err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got[step.at:step.at+step.to-step.from], b[step.from:step.to]) {
			t.Fatalf("bytes %d to %d at %d are not in the file, %v", step.from, step.to, step.at, err)
		}
	}
}

// A log on a real disk, killed, comes back from a journal that was written
// directly, in one write or in many.
func TestDirectJournal(t *testing.T) {
	o := testOptions(DefaultFS)
	o.JournalBytes = 64 << 10
	dir := t.TempDir()
	l := mustOpen(t, dir, o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	for n, size := range []int{1, 3000, 4000, 4096, 5000, 200 << 10, 1, 65 << 10} {
		if _, err := AppendRecords(t.Context(), l, tp, Record{Timestamp: 1, Key: value(n), Value: make([]byte, size)}); err != nil {
			t.Fatalf("record of %d bytes: %v", size, err)
		}
	}
	// What a crash could have left: the journal, and nothing of the segment.
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(left, "topics", "a-0", baseName(0)+logSuffix), 0); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, left, o)
	if recs := readAll(t, l, tp, 0); len(recs) != 8 || len(recs[7].Value) != 65<<10 {
		t.Fatalf("got %d records back", len(recs))
	}
}

// Large runs go past the cache while nobody reads the partition, and arrive in
// one piece wherever they begin.
func TestDirectSegment(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	o := testOptions(DefaultFS)
	o.Now = func() time.Time { return now }
	l := mustOpen(t, t.TempDir(), o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	p, err := l.partition(tp)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	app := func(sizes ...int) {
		for _, size := range sizes {
			r := Record{Timestamp: 1, Key: value(n), Value: bytes.Repeat([]byte{byte(n)}, size)}
			if _, err := AppendRecords(t.Context(), l, tp, r); err != nil {
				t.Fatalf("record of %d bytes: %v", size, err)
			}
			n++
		}
	}
	check := func() {
		t.Helper()
		recs := readAll(t, l, tp, 0)
		if len(recs) != n {
			t.Fatalf("got %d records, want %d", len(recs), n)
		}
		for i, r := range recs {
			if !bytes.Equal(r.Value, bytes.Repeat([]byte{byte(i)}, len(r.Value))) {
				t.Fatalf("record %d is not what was written", i)
			}
		}
	}
	app(1, referRun, 100, referRun+5000, 900_000, 1, 1_000_000)
	if p.last().direct == nil {
		t.Error("nothing was written directly to a partition without readers")
	}
	check()
	if err := p.last().close(); err != nil {
		t.Fatal(err)
	}
	app(referRun, referRun+1)
	if p.last().direct != nil {
		t.Error("written directly although somebody reads")
	}
	check()
	now = now.Add(time.Hour)
	app(referRun)
	if p.last().direct == nil {
		t.Error("nothing was written directly an hour after the last reader")
	}
	check()

	// More than a buffer, in batches that end anywhere.
	var b Builder
	for range 7 {
		b.Append(1, value(n), bytes.Repeat([]byte{byte(n)}, 700_001))
		n++
	}
	if _, err := l.Append(t.Context(), tp, b.Bytes()); err != nil {
		t.Fatal(err)
	}
	check()
	if l.journal.pos > 1<<20 {
		t.Errorf("the journal has %d bytes: large runs were written twice", l.journal.pos)
	}
}

// BenchmarkDirectWrite shows why direct writes are gathered in huge pages: 1 MiB,
// synced, to a file that grows.
func BenchmarkDirectWrite(b *testing.B) {
	const size = 1 << 20
	for name, buf := range map[string][]byte{
		"scattered": alignedBytes(size)[:size],
		"huge":      alignedBytes(hugePage)[:size],
	} {
		b.Run(name, func(b *testing.B) {
			f, err := DefaultFS.(DirectFS).OpenDirect(filepath.Join(b.TempDir(), "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			for i := range buf {
				buf[i] = byte(i)
			}
			b.SetBytes(size)
			at := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(buf, at); err != nil {
					b.Fatal(err)
				}
				if err := f.SyncData(); err != nil {
					b.Fatal(err)
				}
				at += size
			}
		})
	}
}

// One step may have more direct writes than there is memory for at a time.
func TestManyDirectWrites(t *testing.T) {
	l := mustOpen(t, t.TempDir(), testOptions(DefaultFS))
	const partitions = 2*directBuffers + 1
	mustCreate(t, l, "a", partitions)
	c := &Commit{}
	for i := range int32(partitions) {
		c.Writes = append(c.Writes, Write{TopicPartition: TopicPartition{"a", i}, Batches: bigRun(0)})
	}
	if _, err := l.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for i := range int32(partitions) {
		tp := TopicPartition{"a", i}
		p, err := l.partition(tp)
		if err != nil {
			t.Fatal(err)
		}
		if p.last().direct == nil {
			t.Errorf("partition %d was written through the cache", i)
		}
		if recs := readAll(t, l, tp, 0); len(recs) != 1 {
			t.Errorf("partition %d has %d records, want 1", i, len(recs))
		}
	}
	if n := len(directMemory); n != directBuffers {
		t.Errorf("%d buffers came back, want %d", n, directBuffers)
	}
}

// Where nobody is to wait for a disk, nothing goes past the cache.
func TestUnsyncedSegment(t *testing.T) {
	o := testOptions(DefaultFS)
	o.Sync = SyncPolicy{Mode: SyncNone}
	l := mustOpen(t, t.TempDir(), o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	for n := range 3 {
		if _, err := l.Append(t.Context(), tp, bigRun(n)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := l.partition(tp)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.last(); s.direct != nil {
		t.Error("written past the cache")
	}
	if recs := readAll(t, l, tp, 0); len(recs) != 3 {
		t.Errorf("got %d records", len(recs))
	}
}
