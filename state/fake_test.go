package state

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
)

// fakeLog is a log in memory with as much of log.Log as state needs. Whatever
// was committed is durable.
type fakeLog struct {
	log.Log
	cluster string
	topics  map[string]*fakeTopic
}

type fakeTopic struct {
	id      log.TopicID
	start   log.Offset
	records []log.Record // from offset 0 on
}

func newFakeLog(topics ...string) *fakeLog {
	l := &fakeLog{cluster: "fake", topics: map[string]*fakeTopic{}}
	for i, name := range topics {
		l.topics[name] = &fakeTopic{id: log.TopicID{byte(i + 1)}}
	}
	return l
}

func (l *fakeLog) ClusterID() string { return l.cluster }

func (l *fakeLog) Topic(_ context.Context, name string) (log.Topic, error) {
	t, ok := l.topics[name]
	if !ok {
		return log.Topic{}, fmt.Errorf("topic %q: %w", name, log.ErrUnknownTopic)
	}
	return log.Topic{Name: name, ID: t.id, Partitions: 1}, nil
}

func (l *fakeLog) Bounds(_ context.Context, tp log.TopicPartition) (log.Bounds, error) {
	t := l.topics[tp.Topic]
	end := log.Offset(len(t.records))
	return log.Bounds{Start: t.start, Stable: end, End: end}, nil
}

func (l *fakeLog) Commit(_ context.Context, c *log.Commit) ([]log.Offset, error) {
	var offsets []log.Offset
	for _, w := range c.Writes {
		t := l.topics[w.Topic]
		recs, err := log.DecodeRecords(nil, append([]byte(nil), w.Batches...))
		if err != nil {
			return nil, err
		}
		offsets = append(offsets, log.Offset(len(t.records)))
		for _, r := range recs {
			r.Offset = log.Offset(len(t.records))
			t.records = append(t.records, r)
		}
	}
	return offsets, nil
}

func (l *fakeLog) OpenReader(tp log.TopicPartition, from log.Offset, _ log.ReaderOptions) (log.Reader, error) {
	return &fakeReader{t: l.topics[tp.Topic], pos: from}, nil
}

type fakeReader struct {
	log.Reader
	t   *fakeTopic
	pos log.Offset
}

func (r *fakeReader) Next(context.Context) ([]log.Record, error) {
	recs := r.t.records[r.pos:min(int(r.pos)+100_000, len(r.t.records))]
	r.pos += log.Offset(len(recs))
	return recs, nil
}

func (r *fakeReader) Position() log.Offset { return r.pos }
func (r *fakeReader) End() log.Offset      { return log.Offset(len(r.t.records)) }
func (r *fakeReader) Close() error         { return nil }

// memFS is Pebble's own memory file system with the one method it lacks.
type memFS struct{ *vfs.MemFS }

func newMemFS() memFS { return memFS{vfs.NewMem()} }

func (m memFS) Truncate(name string, size int64) error {
	return fmt.Errorf("truncate %s: not used by state", name)
}

func testSpec(stores ...string) Spec {
	spec := Spec{Dir: "state", Generation: 1}
	for i, name := range stores {
		spec.Stores = append(spec.Stores, StoreSpec{Name: name, ID: uint32(i + 1), Changelog: log.TopicPartition{Topic: name + ".changelog"}})
	}
	return spec
}

// open opens a DB that the test closes itself, or not at all.
func open(t testing.TB, l log.Log, spec Spec, opts Options) *DB {
	t.Helper()
	d, err := Open(context.Background(), l, spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustClose(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// commit freezes an interval, commits it to the log and applies it.
func commit(t testing.TB, l log.Log, d *DB, meta string) {
	t.Helper()
	c := d.Freeze()
	offsets, err := l.Commit(context.Background(), &log.Commit{Writes: c.Writes()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(c, offsets, []byte(meta)); err != nil {
		t.Fatal(err)
	}
}

// contents reads a whole store.
func contents(t testing.TB, scan func(lo, hi []byte, f func(k, v []byte) bool) error) map[string]string {
	t.Helper()
	got := map[string]string{}
	last := ""
	err := scan(nil, nil, func(k, v []byte) bool {
		if len(got) > 0 && string(k) <= last {
			t.Fatalf("scan: key %q after %q", k, last)
		}
		last = string(k)
		got[last] = string(v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
