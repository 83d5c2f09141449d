package log

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
)

// A Cursor that was asked for by an id is of that topic, whatever has its name
// since; and stays with it when the topic is made again.
func TestCursorIsOfItsTopic(t *testing.T) {
	ctx := context.Background()
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	old, _ := l.TopicID("a")
	tp := TopicPartition{"a", 0}
	mustProduce(t, l, tp, txnBatch(1, 0, 0, 1))
	mustEnd(t, l, false, 1, 0, tp)
	c, err := l.OpenCursorByID(old, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if sp, _, err := c.Next(0, 1<<20, true, true); err != nil || sp.Size == 0 {
		t.Fatalf("%+v, %v", sp, err)
	}

	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, l, "a", 1)
	mustProduce(t, l, tp, txnBatch(2, 0, 0, 3))
	mustEnd(t, l, false, 2, 0, tp)
	if _, err := l.OpenCursorByID(old, 0); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("open by the id of a topic that was deleted: %v, want ErrUnknownTopic", err)
	}
	if sp, _, err := c.Next(0, 1<<20, true, true); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("read of a topic that was deleted: %+v, %v, want ErrUnknownTopic", sp, err)
	}
	if got := c.Aborted(0, 10); len(got) != 1 || got[0].ProducerID != 1 {
		t.Errorf("aborted transactions %+v, want those of the topic that was deleted", got)
	}
	id, _ := l.TopicID("a")
	now, err := l.OpenCursorByID(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if got := now.Aborted(0, 10); len(got) != 1 || got[0].ProducerID != 2 {
		t.Errorf("aborted transactions %+v, want those of the topic that is there", got)
	}
	if _, err := l.OpenCursorByID(id, 1); !errors.Is(err, ErrUnknownPartition) {
		t.Errorf("partition 1 of 1: %v, want ErrUnknownPartition", err)
	}
}

// Where a Cursor goes from header to header, it hands out no batch whose base
// offset lies before or beyond where the batch is.
func TestCursorHoldsBaseOffsets(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	const batches, n = 8, 3
	for range batches {
		mustProduce(t, l, tp, plainBatch(n))
	}
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	name := l.partitionOf("a", 0).last().logName()
	good, err := readFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	size := len(good) / batches
	// read goes through it, a batch at a time, and returns how many it got.
	read := func() (got int, err error) {
		c, err := l.OpenCursor(tp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for from := Offset(0); from < batches*n; got++ {
			sp, _, err := c.Next(from, size, false, false)
			if err != nil || sp.Size != size || sp.Next != from+n {
				return got, err
			}
			from = sp.Next
		}
		return got, nil
	}
	if got, err := read(); got != batches || err != nil {
		t.Fatalf("read %d batches, %v, want %d", got, err, batches)
	}
	for i := range batches {
		for _, base := range []int64{int64(n*i) - 1, batches * n, 1 << 40, -1} {
			bad := bytes.Clone(good)
			binary.BigEndian.PutUint64(bad[i*size:], uint64(base))
			if err := writeFile(fs, name, bad, false); err != nil {
				t.Fatal(err)
			}
			if got, err := read(); !errors.Is(err, ErrCorrupt) || got > i {
				t.Errorf("base offset %d in batch %d: read %d batches, %v, want ErrCorrupt", base, i, got, err)
			}
		}
	}
}
