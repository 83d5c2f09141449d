package log

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestReaderWaits(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 2)
	tp := TopicPartition{"a", 0}
	wake := make(chan struct{}, 1)
	r, err := l.OpenReader(tp, 0, ReaderOptions{Wake: wake})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if recs, err := r.Poll(); len(recs) != 0 || err != nil {
		t.Fatal(recs, err)
	}
	mustAppend(t, l, TopicPartition{"a", 1}, 0, 1)
	select {
	case <-wake:
		t.Error("woken by another partition")
	default:
	}
	mustAppend(t, l, tp, 0, 3)
	<-wake
	recs, err := r.Poll()
	if err != nil {
		t.Fatal(err)
	}
	checkValues(t, recs, 0, 3)
	if r.Position() != 3 || r.End() != 3 {
		t.Errorf("position %d, end %d", r.Position(), r.End())
	}

	got := make(chan int, 1)
	go func() {
		recs, err := r.Next(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- len(recs)
	}()
	mustAppend(t, l, tp, 3, 2)
	if n := <-got; n != 2 {
		t.Errorf("got %d records", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := r.Seek(6); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("got %v", err)
	}
	if err := l.DeleteTopic(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Poll(); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("got %v", err)
	}
}

func TestReaderEndsWithTheLog(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	r, err := l.OpenReader(TopicPartition{"a", 0}, 0, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() {
		_, err := r.Next(context.Background())
		done <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// A batch larger than MaxBytes is returned all the same, and small reads see
// every record once.
func TestReaderSmallReads(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1, "segment.bytes", "5000")
	tp := TopicPartition{"a", 0}
	for i := range 20 {
		mustAppend(t, l, tp, 40*i, 40)
	}
	r, err := l.OpenReader(tp, 17, ReaderOptions{MaxBytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := 17
	for next < 800 {
		recs, err := r.Poll()
		if err != nil {
			t.Fatal(err)
		}
		checkValues(t, recs, next, next+len(recs))
		next += len(recs)
	}

	br, ok := r.(BatchReader)
	if !ok {
		t.Fatal("not a BatchReader")
	}
	if err := br.Seek(100); err != nil {
		t.Fatal(err)
	}
	run, err := br.PollBatches()
	if err != nil {
		t.Fatal(err)
	}
	recs, err := DecodeRecords(nil, run)
	if err != nil || recs[0].Offset != 80 || br.Position() != 120 {
		t.Errorf("got batches from %d, position %d, %v", recs[0].Offset, br.Position(), err)
	}
}

func TestOffsetFor(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 1, "segment.bytes", "5000", "index.interval.bytes", "100")
	tp := TopicPartition{"a", 0}
	for i := range 100 {
		mustAppend(t, l, tp, 3*i, 3) // the timestamp of record n is 1000 n
	}
	check := func() {
		t.Helper()
		for n := range Offset(300) {
			for _, at := range []Timestamp{Timestamp(1000*n - 999), Timestamp(1000 * n)} {
				off, found, err := l.OffsetFor(ctx, tp, at)
				if err != nil || off != n || found != Timestamp(1000*n) {
					t.Fatalf("at %d: got %d of %d, %v, want %d", at, off, found, err, n)
				}
			}
		}
		if off, found, err := l.OffsetFor(ctx, tp, 300_000); err != nil || off != 300 || found != NoTimestamp {
			t.Errorf("beyond the end: got %d of %d, %v", off, found, err)
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Index files that are gone or not of this log are made again.
	dir := "data/topics/a-0/"
	if err := fs.Remove(dir + baseName(0) + indexSuffix); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(fs, dir+baseName(0)+timeIndexSuffix, []byte("odd"), false); err != nil {
		t.Fatal(err)
	}
	segments, err := listSegments(fs, "data/topics/a-0")
	if err != nil {
		t.Fatal(err)
	}
	wrong := appendIndex(nil, []indexEntry{{5, 50}, {20, 900}})
	if err := writeFile(fs, dir+baseName(int64(segments[1]))+indexSuffix, wrong, false); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(fs))
	check()
}
