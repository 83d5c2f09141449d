package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// txnBatch is a batch of a transaction.
func txnBatch(pid int64, epoch int16, sequence int32, n int) []byte {
	return clientBatch(pid, epoch, sequence, n, attrTransactional)
}

func mustEnd(t testing.TB, l *Embedded, commit bool, pid int64, epoch int16, tps ...TopicPartition) {
	t.Helper()
	c := &Commit{}
	for _, tp := range tps {
		c.Markers = append(c.Markers, Marker{TopicPartition: tp, ProducerID: pid, ProducerEpoch: epoch, Commit: commit})
	}
	if _, err := l.Commit(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

// offsetsOf are the offsets that a reader returns from the start on.
func offsetsOf(t testing.TB, l *Embedded, tp TopicPartition, uncommitted bool) []Offset {
	t.Helper()
	b := l.partitionOf(tp.Topic, tp.Partition).bounds()
	r, err := l.OpenReader(tp, b.Start, ReaderOptions{Uncommitted: uncommitted, MaxBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	offs := []Offset{}
	for {
		recs, err := r.Poll()
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		for _, rec := range recs {
			offs = append(offs, rec.Offset)
		}
	}
	if end := map[bool]Offset{false: b.Stable, true: b.End}[uncommitted]; r.Position() != end || r.End() != end {
		t.Errorf("reader of %s ends at %d, says %d, want %d", tp, r.Position(), r.End(), end)
	}
	return offs
}

func TestTransaction(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 2)
	a, b := TopicPartition{"a", 0}, TopicPartition{"a", 1}
	f := func(what string, tp TopicPartition, stable, end Offset, committed, all []Offset, aborted ...AbortedTxn) {
		t.Helper()
		got, err := l.Bounds(context.Background(), tp)
		if want := (Bounds{0, stable, end}); err != nil || got != want {
			t.Errorf("%s: bounds %+v, %v, want %+v", what, got, err, want)
		}
		if got := offsetsOf(t, l, tp, false); !slices.Equal(got, committed) {
			t.Errorf("%s: committed records %v, want %v", what, got, committed)
		}
		if got := offsetsOf(t, l, tp, true); !slices.Equal(got, all) {
			t.Errorf("%s: all records %v, want %v", what, got, all)
		}
		if got, err := l.Aborted(tp, 0, end); err != nil || !slices.Equal(got, aborted) {
			t.Errorf("%s: aborted %v, %v, want %v", what, got, err, aborted)
		}
	}
	mustProduce(t, l, a, plainBatch(1))        // 0
	mustProduce(t, l, a, txnBatch(7, 0, 0, 2)) // 1, 2
	mustProduce(t, l, a, txnBatch(8, 0, 0, 1)) // 3
	mustProduce(t, l, a, plainBatch(1))        // 4
	mustProduce(t, l, b, txnBatch(7, 0, 0, 1)) // 0 in b
	mustProduce(t, l, a, txnBatch(7, 0, 2, 1)) // 5
	f("two open", a, 1, 6, []Offset{0}, []Offset{0, 1, 2, 3, 4, 5})
	mustEnd(t, l, false, 8, 0, a) // 6
	f("one aborted, the older open", a, 1, 7, []Offset{0}, []Offset{0, 1, 2, 3, 4, 5}, AbortedTxn{8, 3, 6})
	mustEnd(t, l, true, 7, 0, a, b) // 7, and 1 in b
	f("both ended", a, 8, 8, []Offset{0, 1, 2, 4, 5}, []Offset{0, 1, 2, 3, 4, 5}, AbortedTxn{8, 3, 6})
	f("committed", b, 2, 2, []Offset{0}, []Offset{0})

	// The sequence goes on in the next transaction, or begins anew with the
	// epoch that the marker has raised (KIP-890).
	mustProduce(t, l, a, txnBatch(7, 0, 3, 1)) // 8
	f("the next", a, 8, 9, []Offset{0, 1, 2, 4, 5}, []Offset{0, 1, 2, 3, 4, 5, 8}, AbortedTxn{8, 3, 6})
	mustEnd(t, l, false, 7, 1, a) // 9
	if _, err := l.Produce(a, txnBatch(7, 0, 4, 1), ProduceOptions{}); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("a late batch of the epoch before: got %v, want ErrProducerFenced", err)
	}
	if _, err := l.Produce(a, txnBatch(7, 1, 4, 1), ProduceOptions{}); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Errorf("a new epoch that does not begin at 0: got %v, want ErrOutOfOrderSequence", err)
	}
	mustProduce(t, l, a, txnBatch(7, 1, 0, 1)) // 10
	if _, err := l.Produce(a, clientBatch(7, 1, 1, 1, 0), ProduceOptions{}); !errors.Is(err, ErrInvalidTxnState) {
		t.Errorf("not part of the open transaction: got %v, want ErrInvalidTxnState", err)
	}
	mustEnd(t, l, true, 7, 1, a) // 11
	f("in the end", a, 12, 12, []Offset{0, 1, 2, 4, 5, 10}, []Offset{0, 1, 2, 3, 4, 5, 8, 10}, AbortedTxn{8, 3, 6}, AbortedTxn{7, 8, 9})
	if got, _ := l.Aborted(a, 4, 8); !slices.Equal(got, []AbortedTxn{{8, 3, 6}}) {
		t.Errorf("aborted in [4, 8): %v", got)
	}
	if got, _ := l.Aborted(a, 7, 8); len(got) != 0 {
		t.Errorf("aborted in [7, 8): %v", got)
	}
}

func TestMarkers(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 2)
	mustCreate(t, l, "gone", 1)
	a := TopicPartition{"a", 0}
	mustProduce(t, l, a, txnBatch(7, 3, 0, 1))
	f := func(want error, m Marker) {
		t.Helper()
		m.TopicPartition = a
		if _, err := l.Commit(context.Background(), &Commit{Markers: []Marker{m}}); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", m, err, want)
		}
	}
	f(ErrProducerFenced, Marker{ProducerID: 7, ProducerEpoch: 2, Commit: true})
	f(ErrInvalidRecord, Marker{ProducerID: -1})
	if b, _ := l.Bounds(context.Background(), a); b.Stable != 0 || b.End != 1 {
		t.Fatalf("bounds %+v after markers that were refused", b)
	}
	// One that may not be written takes all of its commit with it.
	_, err := l.Commit(context.Background(), &Commit{
		Writes:  []Write{{TopicPartition: TopicPartition{"a", 1}, Batches: plainBatch(1)}},
		Markers: []Marker{{TopicPartition: TopicPartition{"a", 1}, ProducerID: 9}, {TopicPartition: a, ProducerID: 7}},
	})
	if b, _ := l.Bounds(context.Background(), TopicPartition{"a", 1}); !errors.Is(err, ErrProducerFenced) || b.End != 0 {
		t.Errorf("got %v and %+v, want ErrProducerFenced and nothing written", err, b)
	}
	if ps, _ := l.Producers(TopicPartition{"a", 1}); len(ps) != 0 {
		t.Errorf("producers %v, want none", ps)
	}
	f(nil, Marker{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 5, Commit: true})
	f(ErrProducerFenced, Marker{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 4})

	// What would be marked is gone: that is no mistake.
	if err := l.DeleteTopic(context.Background(), "gone"); err != nil {
		t.Fatal(err)
	}
	offs, err := l.Commit(context.Background(), &Commit{
		Writes: []Write{{TopicPartition: a, Batches: plainBatch(1)}},
		Markers: []Marker{{TopicPartition: TopicPartition{"gone", 0}, ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 5},
			{TopicPartition: TopicPartition{"a", 1}, ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 5}},
	})
	if err != nil || !slices.Equal(offs, []Offset{2}) {
		t.Errorf("got %v, %v, want offset 2", offs, err)
	}
	if ps, _ := l.Producers(a); len(ps) != 1 || ps[0].CoordinatorEpoch != 5 || ps[0].TxnStart != -1 {
		t.Errorf("producers %+v", ps)
	}
}

// A reader that waits at the last stable offset wakes when the transaction ends.
func TestReaderWaitsForTheEndOfATransaction(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	mustProduce(t, l, tp, txnBatch(7, 0, 0, 2))
	wake := make(chan struct{}, 1)
	r, err := l.OpenReader(tp, 0, ReaderOptions{Wake: wake})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if recs, err := r.Poll(); len(recs) != 0 || err != nil {
		t.Fatalf("got %d records, %v, of an open transaction", len(recs), err)
	}
	mustEnd(t, l, true, 7, 0, tp)
	<-wake
	if recs, err := r.Poll(); len(recs) != 2 || err != nil {
		t.Errorf("got %d records, %v, want 2", len(recs), err)
	}
}

// Open and aborted transactions are known again after a restart, over many
// segments, whatever of the derived files is lost.
func TestTransactionsSurvive(t *testing.T) {
	for _, how := range []string{"clean", "crash", "no indexes", "no snapshots", "garbage"} {
		t.Run(how, func(t *testing.T) {
			fs := newMemFS()
			o := testOptions(fs)
			o.SegmentBytes = 1 << 10
			l := mustOpen(t, "data", o)
			mustCreate(t, l, "a", 1)
			tp := TopicPartition{"a", 0}
			mustProduce(t, l, tp, txnBatch(100, 0, 0, 1)) // aborted at the very end
			for i := range 40 {
				for pid := range int64(3) {
					mustProduce(t, l, tp, txnBatch(pid, 0, int32(i), 1))
				}
				for pid := range int64(3) {
					mustEnd(t, l, pid > 0, pid, 0, tp)
				}
				if i%10 == 5 {
					if err := l.Maintain(); err != nil {
						t.Fatal(err)
					}
				}
			}
			mustProduce(t, l, tp, txnBatch(101, 0, 0, 1)) // stays open
			mustEnd(t, l, false, 100, 0, tp)
			mustProduce(t, l, tp, plainBatch(1))
			wantBounds, _ := l.Bounds(context.Background(), tp)
			wantAborted, _ := l.Aborted(tp, 0, wantBounds.End)
			wantRead := offsetsOf(t, l, tp, false)
			if len(wantAborted) != 41 || len(wantRead) != 80 {
				t.Fatalf("%d aborted and %d records, want 41 and 80", len(wantAborted), len(wantRead))
			}

			if how == "clean" || how == "garbage" {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				fs = copyFS(t, fs)
			}
			dir := "data/topics/a-0"
			names, err := fs.List(dir)
			if err != nil {
				t.Fatal(err)
			}
			touched := 0
			for _, name := range names {
				path := fs.PathJoin(dir, name)
				switch {
				case how == "no indexes" && strings.HasSuffix(name, txnIndexSuffix), how == "no snapshots" && strings.HasSuffix(name, snapshotSuffix):
					err = fs.Remove(path)
					touched++
				case how == "garbage" && (strings.HasSuffix(name, txnIndexSuffix) || strings.HasSuffix(name, snapshotSuffix)):
					err = writeFile(fs, path, []byte("garbage"), false)
					touched++
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if touched == 0 && how != "clean" && how != "crash" {
				t.Fatal("there was nothing to lose")
			}
			o.FS = fs
			for again := range 2 {
				l = mustOpen(t, "data", o)
				if got, _ := l.Bounds(context.Background(), tp); got != wantBounds {
					t.Errorf("open %d: bounds %+v, want %+v", again, got, wantBounds)
				}
				if got, _ := l.Aborted(tp, 0, wantBounds.End); !slices.Equal(got, wantAborted) {
					t.Errorf("open %d: aborted %v, want %v", again, got, wantAborted)
				}
				if got := offsetsOf(t, l, tp, false); !slices.Equal(got, wantRead) {
					t.Errorf("open %d: records %v, want %v", again, got, wantRead)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			l = mustOpen(t, "data", o)
			mustEnd(t, l, true, 101, 0, tp)
			if got, _ := l.Bounds(context.Background(), tp); got.Stable != got.End {
				t.Errorf("bounds %+v after the last transaction", got)
			}
		})
	}
}

func TestTxnOffsets(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 2)
	ctx := context.Background()
	a, b := TopicPartition{"a", 0}, TopicPartition{"a", 1}
	internal := TopicPartition{offsetsTopic, 0}
	in := func(pid int64, tp TopicPartition, o Offset) {
		t.Helper()
		if err := l.CommitTxnOffsets(ctx, "g", pid, 0, []GroupOffset{{TopicPartition: tp, Offset: o, LeaderEpoch: -1}}); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(tp TopicPartition, o Offset) {
		t.Helper()
		if _, err := l.Commit(ctx, &Commit{Group: "g", Offsets: []GroupOffset{{TopicPartition: tp, Offset: o, LeaderEpoch: -1}}}); err != nil {
			t.Fatal(err)
		}
	}
	// want -1: none. Everything is checked again after a restart.
	f := func(what string, wantA, wantB Offset, pendingA, pendingB bool) {
		t.Helper()
		for _, when := range []string{"", ", after a restart"} {
			if when != "" {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = mustOpen(t, "data", testOptions(fs))
			}
			got, err := l.Committed(ctx, "g")
			if err != nil {
				t.Fatal(err)
			}
			for tp, want := range map[TopicPartition]Offset{a: wantA, b: wantB} {
				if o, ok := got[tp]; ok != (want >= 0) || ok && o.Offset != want {
					t.Errorf("%s%s: %s is at %v (%t), want %d", what, when, tp, o.Offset, ok, want)
				}
			}
			if l.PendingOffsets("g", a) != pendingA || l.PendingOffsets("g", b) != pendingB || l.PendingOffsets("g") != (pendingA || pendingB) || l.PendingOffsets("h") {
				t.Errorf("%s%s: pending %t, %t, want %t, %t", what, when, l.PendingOffsets("g", a), l.PendingOffsets("g", b), pendingA, pendingB)
			}
		}
	}
	in(7, a, 10)
	f("written", -1, -1, true, false)
	mustEnd(t, l, false, 7, 0, internal)
	f("aborted", -1, -1, false, false)
	in(7, a, 10)
	in(8, b, 20)
	in(7, a, 11)
	mustEnd(t, l, true, 7, 0, internal, a)
	f("one committed", 11, -1, false, true)
	mustEnd(t, l, true, 8, 0, internal)
	f("both committed", 11, 20, false, false)
	in(7, a, 30)
	plain(a, 31)
	mustEnd(t, l, true, 7, 0, internal)
	f("overtaken by a plain commit", 31, 20, false, false)
	in(7, a, 40)
	plain(a, -1)
	mustEnd(t, l, true, 7, 0, internal)
	f("overtaken by a deletion", -1, 20, false, false)
	in(7, b, 50)
	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, l, true, 7, 0, internal)
	f("the topic is gone", -1, -1, false, false)

	if err := l.CommitTxnOffsets(ctx, "g", 7, 0, []GroupOffset{{TopicPartition: a, Offset: -1}}); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("got %v, want ErrInvalidRecord", err)
	}
	mustEnd(t, l, true, 7, 1, internal)
	mustCreate(t, l, "a", 2)
	if err := l.CommitTxnOffsets(ctx, "g", 7, 0, []GroupOffset{{TopicPartition: a}}); !errors.Is(err, ErrProducerFenced) {
		t.Errorf("got %v, want ErrProducerFenced", err)
	}
}

// TestTxnModel runs transactions at random over two partitions, with restarts,
// and holds what a reader is given, as it comes, against a simple model.
func TestTxnModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := newMemFS()
		o := testOptions(fs)
		o.SegmentBytes = 1 << 10
		l := mustOpen(t, "data", o)
		defer func() { _ = l.Close() }()
		mustCreate(t, l, "a", 2)
		type written struct {
			base    Offset
			n       int
			pid     int64 // -1: no transaction
			aborted bool
			ended   bool
		}
		type txn struct {
			parts map[int32]bool
		}
		var logs [2][]*written
		var ends, read [2]Offset
		var seen [2][]Offset
		open := map[int64]*txn{}
		var sequence [2][4]int32
		var readers [2]Reader
		look := func(i int32) {
			if readers[i] == nil {
				var err error
				if readers[i], err = l.OpenReader(TopicPartition{"a", i}, read[i], ReaderOptions{MaxBytes: 300}); err != nil {
					rt.Fatal(err)
				}
			}
			for {
				recs, err := readers[i].Poll()
				if err != nil {
					rt.Fatal(err)
				}
				for _, r := range recs {
					seen[i] = append(seen[i], r.Offset)
				}
				read[i] = readers[i].Position()
				if len(recs) == 0 {
					break
				}
			}
			stable := ends[i]
			want := []Offset{}
			for _, w := range logs[i] {
				if w.pid >= 0 && !w.ended {
					stable = w.base
					break
				}
			}
			for _, w := range logs[i] {
				for k := range w.n {
					if w.base < stable && !w.aborted {
						want = append(want, w.base+Offset(k))
					}
				}
			}
			if b, _ := l.Bounds(context.Background(), TopicPartition{"a", i}); b.Stable != stable || b.End != ends[i] {
				rt.Fatalf("partition %d: bounds %+v, want stable %d, end %d", i, b, stable, ends[i])
			}
			if !slices.Equal(seen[i], want) {
				rt.Fatalf("partition %d: read %v, want %v", i, seen[i], want)
			}
		}
		restart := func(clean bool) {
			for i, r := range readers {
				if r != nil {
					_ = r.Close()
					readers[i] = nil
				}
			}
			if !clean {
				o.FS = copyFS(t, fs)
			}
			if err := l.Close(); err != nil {
				rt.Fatal(err)
			}
			fs = o.FS.(memFS)
			var err error
			if l, err = Open("data", o); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			i := int32(rapid.IntRange(0, 1).Draw(rt, "partition"))
			pid := rapid.Int64Range(0, 3).Draw(rt, "pid")
			n := rapid.IntRange(1, 3).Draw(rt, "n")
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				restart(rapid.Bool().Draw(rt, "clean"))
			case 1:
				if err := l.Maintain(); err != nil {
					rt.Fatal(err)
				}
			case 2:
				mustProduce(t, l, TopicPartition{"a", i}, plainBatch(n))
				logs[i] = append(logs[i], &written{base: ends[i], n: n, pid: -1})
				ends[i] += Offset(n)
			case 3, 4, 5, 6:
				mustProduce(t, l, TopicPartition{"a", i}, txnBatch(pid, 0, sequence[i][pid], n))
				sequence[i][pid] += int32(n)
				logs[i] = append(logs[i], &written{base: ends[i], n: n, pid: pid})
				ends[i] += Offset(n)
				if open[pid] == nil {
					open[pid] = &txn{map[int32]bool{}}
				}
				open[pid].parts[i] = true
			case 7, 8:
				if open[pid] == nil {
					continue
				}
				commit := rapid.Bool().Draw(rt, "commit")
				var tps []TopicPartition
				for k := range int32(2) {
					if !open[pid].parts[k] {
						continue
					}
					tps = append(tps, TopicPartition{"a", k})
					for _, w := range logs[k] {
						if w.pid == pid && !w.ended {
							w.ended, w.aborted = true, !commit
						}
					}
					ends[k]++
				}
				mustEnd(t, l, commit, pid, 0, tps...)
				delete(open, pid)
			}
			look(i)
		}
		look(0)
		look(1)
	})
}

func TestTxnIndexBytes(t *testing.T) {
	list := []abortedTxn{{AbortedTxn{1, 2, 3}, 4}, {AbortedTxn{5, 0, 7}, 2}}
	b := appendTxnIndex(nil, list)
	want := "0000" + "0000000000000001" + "0000000000000002" + "0000000000000003" + "0000000000000004" +
		"0000" + "0000000000000005" + "0000000000000000" + "0000000000000007" + "0000000000000002"
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := decodeTxnIndex(b); err != nil || !slices.Equal(got, list) {
		t.Errorf("got %v, %v", got, err)
	}
}

// A file that grew before its bytes came holds zeros, which are no entry.
func TestTxnIndexOfZeros(t *testing.T) {
	if list, err := decodeTxnIndex(make([]byte, 2*txnIndexEntrySize)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, %v, want ErrCorrupt", list, err)
	}
}

func FuzzDecodeTxnIndex(f *testing.F) {
	f.Add(appendTxnIndex(nil, []abortedTxn{{AbortedTxn{1, 2, 3}, 4}, {AbortedTxn{5, 0, 7}, 2}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeTxnIndex(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			return
		}
		if again := appendTxnIndex(nil, list); string(again) != string(b) {
			t.Errorf("got %x, want %x", again, b)
		}
	})
}
