package logtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/gretestream/grete/log"
)

// Dir is where Open keeps its log on the disk.
const Dir = "data"

// Open returns an embedded log on a fresh disk in memory. It is closed at the
// end of the test. Each opt may change the options before the log is opened; to
// keep hold of the disk, set the FS:
//
//	d := logtest.NewDisk(1)
//	l := logtest.Open(t, func(o *log.Options) { o.FS = d })
func Open(t testing.TB, opts ...func(*log.Options)) log.Log {
	t.Helper()
	o := log.Options{FS: NewDisk(1), ReserveBytes: -1, BallastBytes: -1}
	for _, opt := range opts {
		opt(&o)
	}
	l, err := log.Open(Dir, o)
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	t.Cleanup(func() {
		err := l.Close()
		if d, ok := o.FS.(*Disk); ok && d.Crashed() {
			return // it has to complain
		}
		if err != nil && !errors.Is(err, log.ErrClosed) && !errors.Is(err, os.ErrClosed) {
			t.Errorf("close log: %v", err)
		}
	})
	return l
}

// Create makes a topic and returns its partitions.
func Create(t testing.TB, l log.Log, topic string, partitions int) []log.TopicPartition {
	t.Helper()
	if _, err := l.CreateTopic(context.Background(), log.TopicSpec{Name: topic, Partitions: partitions}); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
	tps := make([]log.TopicPartition, partitions)
	for p := range tps {
		tps[p] = log.TopicPartition{Topic: topic, Partition: int32(p)}
	}
	return tps
}

// Append adds records to a partition as one append, waits until they are
// durable, and returns the offset of the first. The Offset of a record is not
// looked at.
func Append(t testing.TB, l log.Log, tp log.TopicPartition, recs ...log.Record) log.Offset {
	t.Helper()
	var b log.Builder
	for _, r := range recs {
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	at, err := l.Append(context.Background(), tp, b.Bytes())
	if err != nil {
		t.Fatalf("append %d records to %s: %v", len(recs), tp, err)
	}
	return at
}

// Begin writes a record to a partition of an embedded log, in a transaction that
// it leaves open. What it returns ends that.
func Begin(t testing.TB, l log.Log, tp log.TopicPartition, r log.Record) (end func(commit bool)) {
	t.Helper()
	e, ok := l.(*log.Embedded)
	if !ok {
		t.Fatalf("begin a transaction: the log is a %T, want an embedded one", l)
	}
	id, err := e.NewProducerID()
	if err != nil {
		t.Fatalf("begin a transaction: %v", err)
	}
	var b log.Builder
	b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	log.StampProducer(b.Bytes(), id, 0, 0, true)
	pd, err := e.Produce(tp, b.Bytes(), log.ProduceOptions{})
	if err == nil {
		_, err = pd.Wait(context.Background())
	}
	if err != nil {
		t.Fatalf("write to %s in a transaction: %v", tp, err)
	}
	return func(commit bool) {
		t.Helper()
		marker := log.Marker{TopicPartition: tp, ProducerID: id, Commit: commit}
		if _, err := l.Commit(context.Background(), &log.Commit{Markers: []log.Marker{marker}}); err != nil {
			t.Fatalf("end the transaction on %s: %v", tp, err)
		}
	}
}

// Fill adds n records to a partition, in appends of up to 1,000. Record i is
// f(i); without f it has timestamp i, key "k<i>" and value "v<i>".
func Fill(t testing.TB, l log.Log, tp log.TopicPartition, n int, f func(i int) log.Record) {
	t.Helper()
	if f == nil {
		f = func(i int) log.Record {
			return log.Record{Timestamp: log.Timestamp(i), Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)}
		}
	}
	recs := make([]log.Record, 0, min(n, 1000))
	for i := range n {
		if recs = append(recs, f(i)); len(recs) == cap(recs) || i == n-1 {
			Append(t, l, tp, recs...)
			recs = recs[:0]
		}
	}
}

// ReadAll returns all records of a partition, from its start to its end as of
// now. The records are copies: they stay valid.
func ReadAll(t testing.TB, l log.Log, tp log.TopicPartition) []log.Record {
	t.Helper()
	b, err := l.Bounds(context.Background(), tp)
	if err != nil {
		t.Fatalf("bounds of %s: %v", tp, err)
	}
	r, err := l.OpenReader(tp, b.Start, log.ReaderOptions{})
	if err != nil {
		t.Fatalf("open reader of %s: %v", tp, err)
	}
	defer r.Close()
	var out []log.Record
	for r.Position() < b.End {
		recs, err := r.Poll()
		if err != nil {
			t.Fatalf("read %s at %s: %v", tp, r.Position(), err)
		}
		if len(recs) == 0 {
			break // the rest was compacted away, or is a transaction's marker
		}
		for _, rec := range recs {
			if rec.Offset < b.End {
				out = append(out, clone(rec))
			}
		}
	}
	return out
}

func clone(r log.Record) log.Record {
	r.Key, r.Value = cloneBytes(r.Key), cloneBytes(r.Value)
	headers := r.Headers
	r.Headers = nil
	for _, h := range headers {
		r.Headers = append(r.Headers, log.Header{Key: h.Key, Value: cloneBytes(h.Value)})
	}
	return r
}

// cloneBytes keeps nil apart from empty.
func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
