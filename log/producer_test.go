package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/vfs"
	"pgregory.net/rapid"
)

// What Kafka's broker lets a producer do.
func TestProducerRules(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	// want is the base offset, or the error.
	f := func(pid int64, epoch int16, sequence int32, n int, want any) {
		t.Helper()
		pd, err := l.Produce(tp, clientBatch(pid, epoch, sequence, n, 0), ProduceOptions{})
		var r ProduceResult
		if err == nil {
			r, err = pd.Wait(context.Background())
		}
		if wantErr, ok := want.(error); ok {
			if !errors.Is(err, wantErr) {
				t.Errorf("sequence %d: got %v, want %v", sequence, err, wantErr)
			}
			return
		}
		if err != nil || r.Base != Offset(want.(int)) {
			t.Errorf("sequence %d: got base %d, %v, want %d", sequence, r.Base, err, want)
		}
	}
	f(1, 0, 0, 2, 0)
	f(1, 0, 0, 2, 0) // again
	f(1, 0, 0, 1, ErrOutOfOrderSequence)
	f(1, 0, 3, 1, ErrOutOfOrderSequence)
	f(1, 0, 2, 1, 2)
	f(2, 0, 7, 1, 3) // its earlier batches may have gone with retention
	f(2, 0, 8, 1, 4)
	f(1, 0, 3, 1, 5)
	f(1, 0, 4, 1, 6)
	f(1, 0, 5, 1, 7)
	f(1, 0, 0, 2, 0) // the fifth from the end
	f(1, 0, 6, 1, 8)
	f(1, 0, 0, 2, ErrOutOfOrderSequence) // too long ago
	f(1, 1, 7, 1, ErrOutOfOrderSequence)
	f(1, 1, 0, 1, 9)
	f(1, 0, 7, 1, ErrProducerFenced)
	f(1, 1, 1, 1, 10)
	f(3, 0, math.MaxInt32-1, 4, 11) // the sequence goes round
	f(3, 0, math.MaxInt32-1, 4, 11)
	f(3, 0, 2, 1, 15)

	got, err := l.Producers(tp)
	if err != nil {
		t.Fatal(err)
	}
	want := []ProducerState{{ProducerID: 1, Epoch: 1, LastSequence: 1}, {ProducerID: 2, LastSequence: 8}, {ProducerID: 3, LastSequence: 2}}
	for i := range want {
		want[i].CoordinatorEpoch, want[i].TxnStart = -1, -1
		if i < len(got) {
			want[i].LastTimestamp = got[i].LastTimestamp
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The engine's way in takes no producers: what it writes is fenced otherwise.
func TestAppendTakesNoProducers(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	_, err := l.Append(context.Background(), TopicPartition{"a", 0}, clientBatch(1, 0, 0, 1, 0))
	if !errors.Is(err, ErrInvalidBatch) {
		t.Errorf("got %v, want ErrInvalidBatch", err)
	}
	if off := mustProduce(t, l, TopicPartition{"a", 0}, clientBatch(1, 0, 0, 1, 0)); off != 0 {
		t.Errorf("got offset %d, want 0: the batch that was refused took up none", off)
	}
}

// A second copy is not answered before the first is safe.
func TestDuplicateWaitsForTheOriginal(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	first, err := l.Produce(tp, clientBatch(1, 0, 0, 1, 0), ProduceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.Produce(tp, clientBatch(1, 0, 0, 1, 0), ProduceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := l.Bounds(context.Background(), tp); b.End != 0 {
		t.Fatalf("end %d before anybody waited, want 0", b.End)
	}
	for _, pd := range []*Produced{again, first} {
		if r, err := pd.Wait(context.Background()); err != nil || r.Base != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
		if b, _ := l.Bounds(context.Background(), tp); b.End != 1 {
			t.Errorf("end %d, want 1", b.End)
		}
	}
}

// failFS fails as many writes to files as bad says.
type failFS struct {
	memFS
	bad *int
}

type failFile struct {
	vfs.File
	bad *int
}

var errBadDisk = errors.New("bad disk")

func (fs failFS) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.memFS.OpenReadWrite(name, opts...)
	return failFile{f, fs.bad}, err
}

func (f failFile) WriteAt(b []byte, pos int64) (int, error) {
	if *f.bad > 0 {
		*f.bad--
		return 0, errBadDisk
	}
	return f.File.WriteAt(b, pos)
}

// After a failed journal write the producers are what they were, so the client
// may send the same batches again.
func TestProducersAfterAFailedWrite(t *testing.T) {
	bad := 0
	o := testOptions(newMemFS())
	o.FS = failFS{newMemFS(), &bad}
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	mustProduce(t, l, tp, clientBatch(1, 0, 0, 1, 0))
	before, _ := l.Producers(tp)

	bad = 1 // the group; what erases it may pass
	var waiting []*Produced
	for _, b := range [][]byte{clientBatch(1, 0, 1, 2, 0), clientBatch(1, 0, 3, 1, 0), clientBatch(1, 1, 0, 1, 0), clientBatch(2, 0, 0, 1, 0), clientBatch(2, 0, 0, 1, 0)} {
		pd, err := l.Produce(tp, b, ProduceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, pd)
	}
	for i, pd := range waiting {
		if _, err := pd.Wait(context.Background()); !errors.Is(err, errBadDisk) {
			t.Errorf("produce %d: got %v, want the error of the disk", i, err)
		}
	}
	if after, _ := l.Producers(tp); !slices.Equal(before, after) {
		t.Errorf("got %+v, want %+v", after, before)
	}
	if off := mustProduce(t, l, tp, clientBatch(1, 0, 1, 2, 0)); off != 1 {
		t.Errorf("got offset %d, want 1", off)
	}
}

// What is known of producers survives a clean restart and a crash, in full: a
// client whose answers were lost sends its last five batches again.
func TestProducersSurvive(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			fs := newMemFS()
			o := testOptions(fs)
			o.SegmentBytes = 1 << 10
			l := mustOpen(t, "data", o)
			mustCreate(t, l, "a", 1)
			tp := TopicPartition{"a", 0}
			bases := map[string]Offset{}
			for i := range 60 {
				for pid := range int64(3) {
					b := clientBatch(pid, 0, int32(i), 1, 0)
					bases[string(b[BatchHeaderSize-20:])] = mustProduce(t, l, tp, slices.Clone(b))
				}
				if i%16 == 0 {
					if err := l.Maintain(); err != nil {
						t.Fatal(err)
					}
				}
			}
			want, _ := l.Producers(tp)
			if clean {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				o.FS = copyFS(t, fs) // as it is now, with no mark of a clean end
			}
			l = mustOpen(t, "data", o)
			got, _ := l.Producers(tp)
			if !clean { // when the batches were written is not known
				for i := range got {
					got[i].LastTimestamp = want[i].LastTimestamp
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			for i := 55; i < 60; i++ {
				b := clientBatch(1, 0, int32(i), 1, 0)
				wantBase := bases[string(b[BatchHeaderSize-20:])]
				if off := mustProduce(t, l, tp, b); off != wantBase {
					t.Errorf("sequence %d: got offset %d, want %d", i, off, wantBase)
				}
			}
		})
	}
}

// copyFS is what a crash leaves that loses nothing: all files but the mark of a
// clean end.
func copyFS(t *testing.T, from memFS) memFS {
	t.Helper()
	to := from.clone(t)
	if err := to.Remove(to.PathJoin("data", cleanShutdownName)); err != nil && !isNotExist(err) {
		t.Fatal(err)
	}
	return to
}

// When there are too many, those that were silent longest are forgotten; and
// all that are silent for long enough.
func TestProducersAreBounded(t *testing.T) {
	clock := newClock()
	o := testOptions(newMemFS())
	o.MaxProducers, o.Now = 100, clock.now
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 2)
	for pid := range int64(1000) {
		clock.advance(1)
		mustProduce(t, l, TopicPartition{"a", int32(pid % 2)}, clientBatch(pid, 0, 0, 1, 0))
		if n := l.producers; n > 100 {
			t.Fatalf("%d producers are remembered, want at most 100", n)
		}
	}
	if _, ok := l.partitionOf("a", 1).producers[999]; !ok {
		t.Error("the youngest producer was forgotten")
	}
	clock.advance(24*3600*1000 - 1)
	l.expireProducers()
	if l.producers != 1 {
		t.Errorf("%d producers after a day, want 1", l.producers)
	}
	clock.advance(1)
	l.expireProducers()
	if l.producers != 0 || len(l.partitionOf("a", 1).producers) != 0 {
		t.Errorf("%d producers after a day and more, want none", l.producers)
	}
}

// A flood of producers pushes out idle ones of its kind, the oldest first: none
// whose transaction is open, nor one that goes on after a transaction and would
// not be let in as a new one.
func TestFloodOfProducersSparesTransactions(t *testing.T) {
	clock := newClock()
	o := testOptions(newMemFS())
	o.MaxProducers, o.Now = 100, clock.now
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	mustProduce(t, l, tp, txnBatch(1, 0, 0, 2)) // open all the while
	mustProduce(t, l, tp, txnBatch(2, 0, 0, 2))
	mustEnd(t, l, true, 2, 0, tp)
	for i := range 60 {
		if i%6 == 0 {
			clock.advance(1) // many in one tick of the clock
		}
		mustProduce(t, l, tp, clientBatch(int64(10+i), 0, 0, 1, 0))
	}
	count := func() int { return len(l.partitionOf("a", 0).producers) }
	youngest := int64(0)
	for pid := range int64(200) {
		known := count()
		youngest = 1000 + pid
		mustProduce(t, l, tp, clientBatch(youngest, 0, 0, 1, 0))
		if n := count(); n < known-25 || n > 100 {
			t.Fatalf("%d producers after %d, want at most 100, and at most a quarter of them to go", n, known)
		}
	}
	if got := l.partitionOf("a", 0).producers; got[youngest] == nil || got[10] != nil {
		t.Errorf("youngest %v, oldest %v, want the first alone", got[youngest], got[10])
	}
	mustProduce(t, l, tp, txnBatch(1, 0, 2, 1))
	mustProduce(t, l, tp, txnBatch(2, 0, 2, 1))
}

// Open transactions are remembered, however many there are; one that has ended
// makes room.
func TestOpenTransactionsAreNotForgotten(t *testing.T) {
	clock := newClock()
	o := testOptions(newMemFS())
	o.MaxProducers, o.Now = 16, clock.now
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	for pid := range int64(100) {
		clock.advance(1)
		mustProduce(t, l, tp, txnBatch(pid, 0, 0, 1))
	}
	for pid := range int64(100) {
		mustProduce(t, l, tp, txnBatch(pid, 0, 1, 1))
		mustEnd(t, l, pid%2 == 0, pid, 0, tp)
	}
	for pid := range int64(100) {
		mustProduce(t, l, tp, clientBatch(1000+pid, 0, 0, 1, 0))
	}
	if n := len(l.partitionOf("a", 0).producers); n > 16 {
		t.Errorf("%d producers when no transaction is open any more, want at most 16", n)
	}
}

// TestProducerModel holds a partition's producers against a simple model: each
// has a list of all that it wrote.
func TestProducerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := newMemFS()
		o := testOptions(fs)
		o.SegmentBytes = 1 << 10
		l := mustOpen(t, "data", o)
		defer func() { _ = l.Close() }()
		mustCreate(t, l, "a", 1)
		tp := TopicPartition{"a", 0}
		type batch struct {
			sequence, n int32
			base        Offset
		}
		type model struct {
			epoch int16
			all   []batch // of the epoch
		}
		known := map[int64]*model{}
		end := Offset(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				if rapid.Bool().Draw(rt, "clean") {
					if err := l.Close(); err != nil {
						rt.Fatal(err)
					}
				} else {
					o.FS = copyFS(t, fs)
					_ = l.Close()
					fs = o.FS.(memFS)
				}
				var err error
				if l, err = Open("data", o); err != nil {
					rt.Fatal(err)
				}
			}
			if rapid.IntRange(0, 9).Draw(rt, "maintain") == 0 {
				if err := l.Maintain(); err != nil {
					rt.Fatal(err)
				}
			}
			pid := rapid.Int64Range(0, 2).Draw(rt, "pid")
			m := known[pid]
			epoch := int16(rapid.IntRange(0, 2).Draw(rt, "epoch"))
			if m != nil && rapid.Bool().Draw(rt, "same epoch") {
				epoch = m.epoch
			}
			n := int32(rapid.IntRange(1, 3).Draw(rt, "n"))
			sequence := int32(rapid.IntRange(0, 12).Draw(rt, "sequence"))
			if m != nil && len(m.all) > 0 {
				switch last := m.all[len(m.all)-1]; rapid.IntRange(0, 2).Draw(rt, "kind") {
				case 0:
					sequence = last.sequence + last.n
				case 1:
					again := m.all[rapid.IntRange(0, len(m.all)-1).Draw(rt, "again")]
					sequence, n = again.sequence, again.n
				}
			}

			// What must come of it.
			var want error
			base := end
			duplicate := false
			switch {
			case m == nil:
			case epoch < m.epoch:
				want = ErrProducerFenced
			case epoch > m.epoch:
				if sequence != 0 {
					want = ErrOutOfOrderSequence
				}
			default:
				for _, b := range m.all[max(0, len(m.all)-producedBatches):] {
					if b.sequence == sequence && b.n == n {
						base, duplicate = b.base, true
					}
				}
				if last := m.all[len(m.all)-1]; !duplicate && sequence != last.sequence+last.n {
					want = ErrOutOfOrderSequence
				}
			}
			pd, err := l.Produce(tp, clientBatch(pid, epoch, sequence, int(n), 0), ProduceOptions{})
			if !errors.Is(err, want) {
				rt.Fatalf("producer %d, epoch %d, sequence %d: got %v, want %v", pid, epoch, sequence, err, want)
			}
			if err != nil {
				continue
			}
			r, err := pd.Wait(context.Background())
			if err != nil || r.Base != base {
				rt.Fatalf("producer %d, epoch %d, sequence %d: got %+v, %v, want base %d", pid, epoch, sequence, r, err, base)
			}
			if duplicate {
				continue
			}
			if m == nil || m.epoch != epoch {
				m = &model{epoch: epoch}
				known[pid] = m
			}
			m.all = append(m.all, batch{sequence, n, base})
			end += Offset(n)
		}
	})
}

func snapshotExample() producers {
	return producers{
		7: {epoch: 3, coordinatorEpoch: -1, seen: 99, txnStart: -1, n: 2, last: [5]producedBatch{
			{lastSequence: 4, delta: 4, lastOffset: 10, maxTime: 50}, {lastSequence: 5, delta: 0, lastOffset: 20, maxTime: 60}}},
		9: {epoch: 0, coordinatorEpoch: 2, seen: 100, txnStart: 12},
	}
}

func sameProducers(a, b producers) bool {
	return maps.EqualFunc(a, b, func(x, y *producerState) bool { return *x == *y })
}

// The bytes of a snapshot are Kafka's up to the windows, which Kafka ignores.
func TestSnapshotBytes(t *testing.T) {
	b := appendSnapshot(nil, snapshotExample())
	want := "0001" + fmt.Sprintf("%x", b[2:6]) + "00000002" +
		"0000000000000007" + "0003" + "00000005" + "0000000000000014" + "00000000" + "0000000000000063" + "ffffffff" + "ffffffffffffffff" +
		"0000000000000009" + "0000" + "ffffffff" + "ffffffffffffffff" + "00000000" + "0000000000000064" + "00000002" + "000000000000000c"
	if got := fmt.Sprintf("%x", b[:snapshotHeaderSize+2*snapshotEntrySize]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ps, err := decodeSnapshot(b)
	if err != nil || !sameProducers(ps, snapshotExample()) {
		t.Errorf("got %v, %v", ps, err)
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(appendSnapshot(nil, snapshotExample()))
	f.Add(appendSnapshot(nil, nil))
	f.Add([]byte{0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= snapshotHeaderSize { // else the checksum stands in the way
			b = bytes.Clone(b)
			putCRC(b[2:], b[6:])
		}
		ps, err := decodeSnapshot(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			return
		}
		again, err := decodeSnapshot(appendSnapshot(nil, ps))
		if err != nil || !sameProducers(ps, again) {
			t.Errorf("got %v, %v, want %v", again, err, ps)
		}
	})
}

func FuzzDecodeMarker(f *testing.F) {
	f.Add(appendMarker(nil, &Marker{ProducerID: 4, ProducerEpoch: 2, CoordinatorEpoch: 6, Commit: true}, 5))
	f.Add(appendMarker(nil, &Marker{}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ParseBatch(b)
		if err != nil {
			return
		}
		m, ok, err := decodeMarker(&info, b)
		if err != nil || !ok {
			return
		}
		again := appendMarker(nil, &m, 1)
		info, _ = ParseBatch(again)
		if got, ok, err := decodeMarker(&info, again); err != nil || !ok || got != m {
			t.Errorf("got %+v, %t, %v, want %+v", got, ok, err, m)
		}
	})
}

// The bytes of a marker are Kafka's.
func TestMarkerBytes(t *testing.T) {
	b := appendMarker(nil, &Marker{ProducerID: 1, ProducerEpoch: 2, CoordinatorEpoch: 3, Commit: true}, 0)
	if want := []byte{32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 3, 0}; !bytes.Equal(b[BatchHeaderSize:], want) {
		t.Errorf("got %v, want %v", b[BatchHeaderSize:], want)
	}
	info, err := CheckBatch(b)
	if err != nil || !info.IsControl() || !info.IsTransactional() || info.BaseSequence != -1 || info.Count != 1 {
		t.Errorf("got %+v, %v", info, err)
	}
}
