package log

import (
	"context"
	"testing"
)

// A crash can leave, of a group of entries that was not synced, the second whole
// and the first torn. The journal ends before both. But the next life gives
// their sequences to entries of its own, in the next file; once the meta has the
// first of these safe, what was left in the old file must not pass for what
// follows it.
func TestLeftoverBehindATornEntry(t *testing.T) {
	fs := newMemFS()
	o := testOptions(fs)
	o.JournalBytes = 4 << 10
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 3)
	tp := func(n int32) TopicPartition { return TopicPartition{"a", n} }
	kept := 0
	for ; l.journal.number < 2; kept++ { // the first file is the one that is used again
		mustAppend(t, l, tp(0), kept, 1)
	}
	torn := l.journal.pos
	var waiting []*Produced
	for n := range int32(2) { // two entries of one group
		pd, err := l.Produce(tp(1+n), plainBatch(1), ProduceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, pd)
	}
	for _, pd := range waiting {
		if _, err := pd.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	}

	// The power goes, and with it all of the group but its second entry.
	fs = copyFS(t, fs)
	flip(t, fs, journalName(fs, "data/journal", 2), torn+entryHeaderSize)
	for _, name := range []string{"data/topics/a-1/00000000000000000000.log", "data/topics/a-2/00000000000000000000.log"} {
		if err := fs.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	l = mustOpen(t, "data", testOptions(fs))
	mustAppend(t, l, tp(0), kept, 1)
	if err := l.Maintain(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, tp(0), kept+1, 1)
	fs = copyFS(t, fs) // and again, this time nothing is lost

	l = mustOpen(t, "data", testOptions(fs))
	checkValues(t, readAll(t, l, tp(0), 0), 0, kept+2)
	for n := range int32(2) {
		if b, _ := l.Bounds(context.Background(), tp(1+n)); b.End != 0 {
			t.Errorf("partition %d: end %d, want 0", 1+n, b.End)
		}
	}
}

// flip turns over one bit of a file.
func flip(t *testing.T, fs memFS, name string, pos int64) {
	t.Helper()
	data, err := readFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	data[pos] ^= 1
	if err := writeFile(fs, name, data, false); err != nil {
		t.Fatal(err)
	}
}
