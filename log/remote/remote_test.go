package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a secret of the owner"

// both runs a test against a log in this process and against the same kind of
// log through HTTP: a caller must not be able to tell.
func both(t *testing.T, f func(t *testing.T, l log.Log)) {
	open := func(t *testing.T) log.Log {
		l, err := log.Open(t.TempDir(), log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		return l
	}
	t.Run("embedded", func(t *testing.T) { f(t, open(t)) })
	t.Run("remote", func(t *testing.T) { f(t, dial(t, open(t))) })
}

func dial(t *testing.T, l log.Log) log.Log {
	t.Helper()
	s := httptest.NewServer(remote.Handler(l, token))
	t.Cleanup(s.Close)
	r, err := remote.Dial(strings.TrimPrefix(s.URL, "http://"), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func create(t *testing.T, l log.Log, name string, partitions int) {
	t.Helper()
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

func tp(topic string, p int32) log.TopicPartition {
	return log.TopicPartition{Topic: topic, Partition: p}
}

func text(recs []log.Record) string {
	var b strings.Builder
	for _, r := range recs {
		fmt.Fprintf(&b, "%d@%d %q=%q", r.Offset, int64(r.Timestamp), r.Key, r.Value)
		for _, h := range r.Headers {
			fmt.Fprintf(&b, " %s:%q", h.Key, h.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestTopics(t *testing.T) {
	both(t, func(t *testing.T, l log.Log) {
		ctx := t.Context()
		made, err := l.CreateTopic(ctx, log.TopicSpec{Name: "a.b_c-1", Partitions: 3, Configs: map[string]string{"retention.ms": "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		create(t, l, "other", 0)
		got, err := l.Topic(ctx, "a.b_c-1")
		if err != nil || fmt.Sprint(got) != fmt.Sprint(made) || got.Partitions != 3 || got.ID == (log.TopicID{}) || got.Configs["retention.ms"] != "1000" {
			t.Errorf("got %+v and %v, want %+v", got, err, made)
		}
		ms := "5000"
		if got, err = l.AlterTopic(ctx, "a.b_c-1", map[string]*string{"retention.ms": &ms}); err != nil || got.Configs["retention.ms"] != "5000" {
			t.Errorf("altered: got %+v and %v", got, err)
		}
		if got, err = l.AlterTopic(ctx, "a.b_c-1", map[string]*string{"retention.ms": nil}); err != nil || len(got.Configs) != 0 {
			t.Errorf("back to the default: got %+v and %v", got, err)
		}
		list, err := l.Topics(ctx)
		names := ""
		for _, x := range list {
			if !x.Internal {
				names += x.Name + " "
			}
		}
		if err != nil || names != "a.b_c-1 other " {
			t.Errorf("got %q and %v", names, err)
		}
		if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "other"}); !errors.Is(err, log.ErrTopicExists) {
			t.Errorf("created twice: got %v", err)
		}
		if err := l.DeleteTopic(ctx, "other"); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"other", "..", "", "a/b"} {
			if _, err := l.Topic(ctx, name); !errors.Is(err, log.ErrUnknownTopic) {
				t.Errorf("topic %q: got %v, want ErrUnknownTopic", name, err)
			}
		}
		if _, err := l.Bounds(ctx, tp("a.b_c-1", 3)); !errors.Is(err, log.ErrUnknownPartition) {
			t.Errorf("partition 3 of 3: got %v", err)
		}
		if l.ClusterID() == "" {
			t.Error("no cluster id")
		}
	})
}

func TestAppendAndRead(t *testing.T) {
	both(t, func(t *testing.T, l log.Log) {
		ctx := t.Context()
		create(t, l, "t", 2)
		recs := []log.Record{
			{Timestamp: 10, Key: []byte("k"), Value: []byte("v"), Headers: []log.Header{{Key: "h", Value: []byte("x")}, {Key: "n"}}},
			{Timestamp: 20, Key: []byte{}, Value: nil},
			{Timestamp: 30, Key: nil, Value: []byte{0xff, 0}},
		}
		for i := range 2 {
			off, err := log.AppendRecords(ctx, l, tp("t", 1), recs...)
			if err != nil || off != log.Offset(3*i) {
				t.Fatalf("append: got offset %d and %v", off, err)
			}
		}
		b, err := l.Bounds(ctx, tp("t", 1))
		if err != nil || b != (log.Bounds{Start: 0, Stable: 6, End: 6}) {
			t.Errorf("bounds: got %+v and %v", b, err)
		}
		off, at, err := l.OffsetFor(ctx, tp("t", 1), 15)
		if err != nil || off != 1 || at != 20 {
			t.Errorf("offset for 15: got %d at %d and %v", off, at, err)
		}
		if off, at, err = l.OffsetFor(ctx, tp("t", 1), 99); err != nil || off != 6 || at != log.NoTimestamp {
			t.Errorf("offset for 99: got %d at %d and %v", off, at, err)
		}

		r, err := l.OpenReader(tp("t", 1), 1, log.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var got []log.Record
		for r.Position() < 6 {
			part, err := r.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range part {
				got = append(got, log.Record{Offset: rec.Offset, Timestamp: rec.Timestamp, Key: clone(rec.Key), Value: clone(rec.Value), Headers: rec.Headers})
			}
		}
		const want = "1@20 \"\"=\"\"\n2@30 \"\"=\"\\xff\\x00\"\n3@10 \"k\"=\"v\" h:\"x\" n:\"\"\n4@20 \"\"=\"\"\n5@30 \"\"=\"\\xff\\x00\"\n"
		if text(got) != want {
			t.Errorf("got\n%swant\n%s", text(got), want)
		}
		if got[0].Key == nil || got[0].Value != nil || got[1].Key != nil {
			t.Errorf("nil and empty are mixed up: %#v", got[:2])
		}
		if more, err := r.Poll(); err != nil || len(more) != 0 || r.End() != 6 {
			t.Errorf("at the end: got %d records, end %d, %v", len(more), r.End(), err)
		}
		if err := r.Seek(4); err != nil {
			t.Fatal(err)
		}
		if again, err := r.Poll(); err != nil || len(again) == 0 || again[0].Offset != 4 {
			t.Errorf("after Seek(4): got %s and %v", text(again), err)
		}
	})
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func TestWakeAndWait(t *testing.T) {
	both(t, func(t *testing.T, l log.Log) {
		ctx := t.Context()
		create(t, l, "t", 2)
		wake := make(chan struct{}, 1)
		var readers [2]log.Reader
		for p := range readers {
			r, err := l.OpenReader(tp("t", int32(p)), 0, log.ReaderOptions{Wake: wake})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if recs, err := r.Poll(); err != nil || len(recs) > 0 {
				t.Fatalf("empty partition: got %v and %v", recs, err)
			}
			readers[p] = r
		}
		if _, err := log.AppendRecords(ctx, l, tp("t", 1), log.Record{Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		for n := 0; n == 0; {
			<-wake
			recs, err := readers[1].Poll()
			if err != nil {
				t.Fatal(err)
			}
			n = len(recs)
		}
		waiting, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if _, err := readers[0].Next(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing comes: got %v", err)
		}
		got := make(chan string)
		go func() {
			recs, err := readers[0].Next(ctx)
			got <- fmt.Sprint(text(recs), err)
		}()
		if _, err := log.AppendRecords(ctx, l, tp("t", 0), log.Record{Timestamp: 1, Value: []byte("y")}); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != "0@1 \"\"=\"y\"\n <nil>" && s != "0@1 \"\"=\"y\"\n<nil>" {
			t.Errorf("got %s", s)
		}
	})
}

func TestCommitAndFence(t *testing.T) {
	both(t, func(t *testing.T, l log.Log) {
		ctx := t.Context()
		create(t, l, "a", 1)
		create(t, l, "b", 2)
		create(t, l, "in", 1)
		epoch, err := l.Fence(ctx, "task-0")
		if err != nil {
			t.Fatal(err)
		}
		var one, two log.Builder
		one.Append(1, nil, []byte("1"))
		two.Append(2, nil, []byte("2"))
		two.Append(3, nil, []byte("3"))
		c := &log.Commit{
			Producer: "task-0", Epoch: epoch, Group: "g",
			Writes:  []log.Write{{TopicPartition: tp("a", 0), Batches: one.Bytes()}, {TopicPartition: tp("b", 1), Batches: two.Bytes()}},
			Offsets: []log.GroupOffset{{TopicPartition: tp("in", 0), Offset: 7, Metadata: "m"}},
		}
		for i := range 2 {
			offs, err := l.Commit(ctx, c)
			if err != nil || fmt.Sprint(offs) != fmt.Sprint([]log.Offset{log.Offset(i), log.Offset(2 * i)}) {
				t.Fatalf("commit %d: got %v and %v", i, offs, err)
			}
		}
		all, err := l.Committed(ctx, "g")
		if err != nil || len(all) != 1 || all[tp("in", 0)].Offset != 7 || all[tp("in", 0)].Metadata != "m" {
			t.Errorf("committed: got %v and %v", all, err)
		}
		if some, err := l.Committed(ctx, "g", tp("in", 1)); err != nil || len(some) != 0 {
			t.Errorf("committed of another partition: got %v and %v", some, err)
		}
		if _, err := l.Fence(ctx, "task-0"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Commit(ctx, c); !errors.Is(err, log.ErrFenced) {
			t.Errorf("commit of the fenced: got %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	both(t, func(t *testing.T, l log.Log) {
		ctx := t.Context()
		create(t, l, "t", 1)
		if _, err := l.Append(ctx, tp("t", 0), []byte("these are no batches, but they are long enough to be looked at as one")); !errors.Is(err, log.ErrInvalidBatch) {
			t.Errorf("append of rubbish: got %v", err)
		}
		if _, err := log.AppendRecords(ctx, l, tp("no", 0), log.Record{}); !errors.Is(err, log.ErrUnknownTopic) {
			t.Errorf("append to no topic: got %v", err)
		}
		if _, err := log.AppendRecords(ctx, l, tp("t", 0), make([]log.Record, 5)...); err != nil {
			t.Fatal(err)
		}
		if err := l.DeleteRecords(ctx, tp("t", 0), 3); err != nil {
			t.Fatal(err)
		}
		outOfRange := func(from log.Offset) {
			t.Helper()
			r, err := l.OpenReader(tp("t", 0), from, log.ReaderOptions{})
			if err == nil {
				defer r.Close()
				_, err = r.Poll()
			}
			if !errors.Is(err, log.ErrOffsetOutOfRange) {
				t.Errorf("read from %d of 3 to 5: got %v", from, err)
			}
		}
		outOfRange(2)
		outOfRange(6)
	})
}

func TestDialRefusals(t *testing.T) {
	l, err := log.Open(t.TempDir(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := httptest.NewServer(remote.Handler(l, token))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")

	if _, err := remote.Dial(addr, "a guess"); !errors.Is(err, remote.ErrUnauthorized) {
		t.Errorf("wrong token: got %v", err)
	}
	if _, err := remote.Dial("192.0.2.1:80", token); err == nil || !strings.Contains(err.Error(), "want an address of this machine") {
		t.Errorf("another machine: got %v", err)
	}
	if _, err := remote.Dial("nowhere", token); err == nil {
		t.Error("an address without a port was taken")
	}
	r, err := remote.Dial(addr, token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join(t.Context(), log.GroupSpec{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("join: got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Topics(t.Context()); !errors.Is(err, log.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// What is passed over, of transactions, moves the position all the same: who
// reads up to the end gets there.
func TestReadTransactions(t *testing.T) {
	l, err := log.Open(t.TempDir(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	create(t, l, "t", 1)
	remote := dial(t, l)
	internal := tp("__consumer_offsets", 0)
	f := func(uncommitted bool, records int, end log.Offset) {
		t.Helper()
		r, err := remote.OpenReader(internal, 0, log.ReaderOptions{Uncommitted: uncommitted})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if r.End() != end {
			t.Errorf("uncommitted=%t: end %d at first, want %d", uncommitted, r.End(), end)
		}
		recs, err := r.Poll()
		if err != nil || len(recs) != records || r.Position() != end || r.End() != end {
			t.Errorf("uncommitted=%t: got %d records up to %d of %d, %v, want %d up to %d", uncommitted, len(recs), r.Position(), r.End(), err, records, end)
		}
	}
	if err := l.CommitTxnOffsets(t.Context(), "g", 7, 0, []log.GroupOffset{{TopicPartition: tp("t", 0), Offset: 1}}); err != nil {
		t.Fatal(err)
	}
	f(false, 0, 0)
	f(true, 1, 1)
	if _, err := l.Commit(t.Context(), &log.Commit{Markers: []log.Marker{{TopicPartition: internal, ProducerID: 7}}}); err != nil {
		t.Fatal(err)
	}
	f(false, 0, 2)
	f(true, 1, 2)
}
