package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memFS is a file system in memory.
type memFS struct{ vfs.FS }

func newMemFS() memFS { return memFS{vfs.NewMem()} }

func (fs memFS) Truncate(name string, size int64) error {
	data, err := readFile(fs, name)
	if err != nil {
		return err
	}
	return writeFile(fs, name, data[:size], false)
}

// testOptions are for a small log without background work.
func testOptions(fs FS) Options {
	return Options{FS: fs, MaintainEvery: -1, BallastBytes: -1, DefaultPartitions: 2}
}

func mustOpen(t testing.TB, dir string, opts Options) *Embedded {
	t.Helper()
	l, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func mustCreate(t testing.TB, l Log, name string, partitions int, configs ...string) {
	t.Helper()
	spec := TopicSpec{Name: name, Partitions: partitions, Configs: map[string]string{}}
	for i := 0; i < len(configs); i += 2 {
		spec.Configs[configs[i]] = configs[i+1]
	}
	if _, err := l.CreateTopic(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
}

// value is the value of the n-th record of a test.
func value(n int) []byte { return fmt.Appendf(nil, "value %d", n) }

// mustAppend appends records n to n+count-1.
func mustAppend(t testing.TB, l Log, tp TopicPartition, n, count int) Offset {
	t.Helper()
	var recs []Record
	for i := range count {
		recs = append(recs, Record{Timestamp: Timestamp(1000 * (n + i)), Key: fmt.Appendf(nil, "key %d", n+i), Value: value(n + i)})
	}
	off, err := AppendRecords(context.Background(), l, tp, recs...)
	if err != nil {
		t.Fatal(err)
	}
	return off
}

// readAll returns everything from an offset on, copied.
func readAll(t testing.TB, l Log, tp TopicPartition, from Offset) []Record {
	t.Helper()
	r, err := l.OpenReader(tp, from, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []Record
	for {
		recs, err := r.Poll()
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			return all
		}
		for _, rec := range recs {
			rec.Key = append([]byte(nil), rec.Key...)
			rec.Value = append([]byte(nil), rec.Value...)
			all = append(all, rec)
		}
	}
}

// checkValues wants records from..to-1, in order, with consecutive offsets.
func checkValues(t testing.TB, recs []Record, from, to int) {
	t.Helper()
	if len(recs) != to-from {
		t.Fatalf("got %d records, want %d", len(recs), to-from)
	}
	for i, r := range recs {
		if r.Offset != Offset(from+i) || string(r.Value) != string(value(from+i)) {
			t.Fatalf("got %d %q, want %d %q", r.Offset, r.Value, from+i, value(from+i))
		}
	}
}

func TestAppendAndRead(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 2, "segment.bytes", "2000")
	tp := TopicPartition{"a", 1}
	for i := range 50 {
		if off := mustAppend(t, l, tp, 3*i, 3); off != Offset(3*i) {
			t.Fatalf("got offset %d, want %d", off, 3*i)
		}
	}
	checkValues(t, readAll(t, l, tp, 0), 0, 150)
	for from := range 150 {
		checkValues(t, readAll(t, l, tp, Offset(from)), from, 150)
	}
	if n := len(*l.mustPartition(t, tp).segments.Load()); n < 3 {
		t.Errorf("got %d segments, want several", n)
	}

	// Again after a clean end and after a crash.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(fs))
	checkValues(t, readAll(t, l, tp, 0), 0, 150)
	mustAppend(t, l, tp, 150, 10)
	checkValues(t, readAll(t, l, tp, 100), 100, 160)
}

func (l *Embedded) mustPartition(t testing.TB, tp TopicPartition) *partition {
	t.Helper()
	p, err := l.partition(tp)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCommit(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 2)
	epoch, err := l.Fence(ctx, "task")
	if err != nil {
		t.Fatal(err)
	}
	var b0, b1 Builder
	b0.Append(1, nil, value(0))
	b1.Append(1, nil, value(0))
	b1.Append(1, nil, value(1))
	c := &Commit{Producer: "task", Epoch: epoch, Writes: []Write{b0.Write(TopicPartition{"a", 0}), b1.Write(TopicPartition{"a", 1})},
		Group: "g", Offsets: []GroupOffset{{TopicPartition: TopicPartition{"a", 0}, Offset: 7, LeaderEpoch: 3, Metadata: "note", CommitTime: 5}}}
	offs, err := l.Commit(ctx, c)
	if err != nil || len(offs) != 2 {
		t.Fatal(offs, err)
	}
	if _, err := l.Fence(ctx, "task"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(ctx, c); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	check := func() {
		t.Helper()
		checkValues(t, readAll(t, l, TopicPartition{"a", 0}, 0), 0, 1)
		checkValues(t, readAll(t, l, TopicPartition{"a", 1}, 0), 0, 2)
		got, err := l.Committed(ctx, "g")
		if err != nil || len(got) != 1 || got[TopicPartition{"a", 0}] != c.Offsets[0] {
			t.Errorf("got %v, %v", got, err)
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(fs))
	check()
	if _, err := l.Commit(ctx, c); !errors.Is(err, ErrFenced) {
		t.Errorf("after a restart: got %v, want ErrFenced", err)
	}
	next, err := l.Fence(ctx, "task")
	if err != nil || next <= epoch {
		t.Errorf("got epoch %d, %v, want above %d", next, err, epoch)
	}
}

// Only what a Builder of this process has sealed goes unchecked: the same Write
// with other bytes in it is checked like anybody's.
func TestForeignBatchesAreChecked(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	var b Builder
	b.Append(1, nil, value(0))
	bad := append([]byte(nil), b.Bytes()...)
	bad[len(bad)-2] ^= 1
	for name, c := range map[string]struct {
		change func(*Write)
		want   error
	}{
		"as the Builder gave it":   {func(*Write) {}, nil},
		"made by hand":             {func(w *Write) { *w = Write{TopicPartition: tp, Batches: append([]byte(nil), w.Batches...)} }, nil},
		"made by hand, damaged":    {func(w *Write) { *w = Write{TopicPartition: tp, Batches: bad} }, ErrCorrupt},
		"other batches put in":     {func(w *Write) { w.Batches = bad }, ErrCorrupt},
		"batches added":            {func(w *Write) { w.Batches = append(w.Batches[:len(w.Batches):len(w.Batches)], bad...) }, ErrCorrupt},
		"batches added in place":   {func(w *Write) { w.Batches = append(w.Batches, bad...) }, ErrCorrupt},
		"cut":                      {func(w *Write) { w.Batches = w.Batches[:len(w.Batches)-1] }, ErrInvalidBatch},
		"emptied":                  {func(w *Write) { w.Batches = nil }, nil},
		"sealed, of no use at all": {func(w *Write) { b.Reset(); *w = b.Write(tp) }, nil},
	} {
		b.Reset()
		b.buf = make([]byte, 0, 1<<10)
		b.Append(1, nil, value(0))
		w := b.Write(tp)
		c.change(&w)
		if _, err := l.Commit(context.Background(), &Commit{Writes: []Write{w}}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// Damage in a sealed segment is found before anybody reads it, over as many
// rounds as the budget makes of it.
func TestScrub(t *testing.T) {
	fs := newMemFS()
	opts := testOptions(fs)
	opts.ScrubBytes = 1
	l := mustOpen(t, "data", opts)
	mustCreate(t, l, "a", 2, "segment.bytes", "1024")
	for p := range int32(2) {
		for i := range 10 {
			mustAppend(t, l, TopicPartition{"a", p}, i*20, 20)
		}
	}
	bases, err := listSegments(fs, "data/topics/a-1")
	if err != nil {
		t.Fatal(err)
	}
	name := "data/topics/a-1/" + baseName(int64(bases[2])) + logSuffix
	data, err := readFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	data[200] ^= 1
	if err := writeFile(fs, name, data, false); err != nil {
		t.Fatal(err)
	}
	for round := 1; len(l.Damage()) == 0; round++ {
		if err := l.Maintain(); err != nil {
			t.Fatal(err)
		}
		if round > 50 {
			t.Fatal("damage was not found")
		}
	}
	if d := l.Damage()[0]; d.File != name || d.Pos != 0 {
		t.Errorf("got %v, want it in %s", d, name)
	}
	for range 40 {
		if err := l.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.Damage()); n != 1 {
		t.Errorf("damage was reported %d times", n)
	}
}

// Many goroutines share syncs; every record is there once, in each one's order.
func TestConcurrentAppends(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{JournalBytes: 64 << 10, MaintainEvery: time.Hour, BallastBytes: -1})
	mustCreate(t, l, "a", 1, "segment.bytes", "20000")
	tp := TopicPartition{"a", 0}
	const workers, each = 16, 200
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if _, err := AppendRecords(context.Background(), l, tp, Record{Key: []byte{byte(w)}, Value: []byte{byte(i)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var seen [workers]int
	r, err := l.OpenReader(tp, 0, ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := 0; n < workers*each; {
		recs, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range recs {
			if w := rec.Key[0]; int(rec.Value[0]) != seen[w] || rec.Offset != Offset(n) {
				t.Fatalf("got record %d of worker %d at %d, want %d", rec.Value[0], w, rec.Offset, seen[w])
			} else {
				seen[w]++
			}
			n++
		}
	}
	wg.Wait()
	if n := l.m.syncs.Count(); n > workers*each {
		t.Errorf("got %d syncs", n)
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1, "max.message.bytes", "200")
	mustCreate(t, l, "stamped", 1, "message.timestamp.type", "LogAppendTime")
	f := func(want, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	app := func(topic string, partition int32, batches []byte) error {
		_, err := l.Append(ctx, TopicPartition{topic, partition}, batches)
		return err
	}
	good := encode([]Record{{Value: []byte("x")}}, 0)
	f(ErrUnknownTopic, app("b", 0, good))
	f(ErrUnknownPartition, app("a", 1, good))
	f(ErrUnknownPartition, app("a", -1, good))
	f(ErrTooLarge, app("a", 0, encode([]Record{{Value: make([]byte, 300)}}, 0)))
	f(ErrInvalidBatch, app("a", 0, good[:len(good)-1]))
	bad := encode([]Record{{Value: []byte("x")}}, 0)
	bad[len(bad)-2] ^= 1
	f(ErrCorrupt, app("a", 0, bad))
	_, err := l.CreateTopic(ctx, TopicSpec{Name: "a"})
	f(ErrTopicExists, err)
	_, err = l.CreateTopic(ctx, TopicSpec{Name: "no/name"})
	f(ErrInvalidTopic, err)
	_, err = l.CreateTopic(ctx, TopicSpec{Name: "c", Configs: map[string]string{"what.is": "this"}})
	f(ErrInvalidConfig, err)
	f(ErrUnknownTopic, l.DeleteTopic(ctx, "b"))
	f(ErrInvalidTopic, l.DeleteTopic(ctx, offsetsTopic))
	f(ErrOffsetOutOfRange, l.DeleteRecords(ctx, TopicPartition{"a", 0}, 1))
	_, err = l.Commit(ctx, &Commit{Producer: "nobody", Epoch: 1})
	f(ErrFenced, err)
	_, err = Open("data", testOptions(l.fs))
	f(ErrLocked, err)

	// Nothing of it left a trace.
	if b, err := l.Bounds(ctx, TopicPartition{"a", 0}); err != nil || b != (Bounds{}) {
		t.Errorf("got %v, %v", b, err)
	}
	before := l.now()
	mustAppend(t, l, TopicPartition{"stamped", 0}, 0, 2)
	for _, r := range readAll(t, l, TopicPartition{"stamped", 0}, 0) {
		if r.Timestamp < before {
			t.Errorf("got timestamp %v, want the time of the append", r.Timestamp)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f(ErrClosed, app("a", 0, good))
	_, err = l.Commit(ctx, &Commit{})
	f(ErrClosed, err)
	_, err = l.CreateTopic(ctx, TopicSpec{Name: "late"})
	f(ErrClosed, err)
}

func TestAlterTopic(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 1, "retention.ms", "5")
	policy := "compact"
	got, err := l.AlterTopic(ctx, "a", map[string]*string{"cleanup.policy": &policy, "retention.ms": nil})
	if err != nil || len(got.Configs) != 1 || got.Configs["cleanup.policy"] != "compact" {
		t.Errorf("got %+v, %v", got, err)
	}
	bad := "maybe"
	if _, err := l.AlterTopic(ctx, "a", map[string]*string{"cleanup.policy": &bad}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(fs))
	again, err := l.Topic(ctx, "a")
	if err != nil || again.ID != got.ID || again.Configs["cleanup.policy"] != "compact" {
		t.Errorf("got %+v, %v, want %+v", again, err, got)
	}
	all, err := l.Topics(ctx)
	if err != nil || len(all) != 2 || !all[0].Internal || all[1].Name != "a" {
		t.Errorf("got %+v, %v", all, err)
	}
}

// A topic made again under the name of a deleted one has nothing of it.
func TestDeletedTopicIsGone(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	mustAppend(t, l, tp, 0, 5)
	if _, err := l.Commit(ctx, &Commit{Group: "g", Offsets: []GroupOffset{{TopicPartition: tp, Offset: 3}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, l, "a", 1)
	fs = fs.clone(t)
	l.abort()
	l = mustOpen(t, "data", testOptions(fs))
	if recs := readAll(t, l, tp, 0); len(recs) != 0 {
		t.Errorf("got %d records", len(recs))
	}
	if m, err := l.Committed(ctx, "g"); err != nil || len(m) != 0 {
		t.Errorf("got %v, %v", m, err)
	}
	mustAppend(t, l, tp, 0, 2)
	checkValues(t, readAll(t, l, tp, 0), 0, 2)
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(fs, "data/format", []byte("99\n"), true); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("data", testOptions(fs)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("got %v", err)
	}
}

// clock is moved by hand.
type clock struct{ at time.Time }

func newClock() *clock          { return &clock{time.UnixMilli(1_000_000_000_000)} }
func (c *clock) now() time.Time { return c.at }
func (c *clock) advance(milliseconds int) {
	c.at = c.at.Add(time.Duration(milliseconds) * time.Millisecond)
}

func (l *Embedded) partitionOf(topic string, n int32) *partition {
	p, err := l.partition(TopicPartition{topic, n})
	if err != nil {
		panic(err)
	}
	return p
}

// putCRC writes the checksum of body to b.
func putCRC(b, body []byte) { binary.BigEndian.PutUint32(b, crc32.Checksum(body, castagnoli)) }
