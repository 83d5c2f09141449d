package log

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// What is lost of the derived files does no harm; what is whole and wrong is
// damage, for Open believes it.
func TestVerifyProducers(t *testing.T) {
	o := testOptions(newMemFS())
	o.SegmentBytes = 1 << 10
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	for i := range 12 {
		mustProduce(t, l, tp, txnBatch(1, 0, int32(i), 1))
		mustProduce(t, l, tp, clientBatch(2, 0, int32(i), 1, 0))
		mustEnd(t, l, i%2 == 0, 1, 0, tp)
	}
	mustProduce(t, l, tp, txnBatch(3, 0, 0, 1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := "data/topics/a-0"
	find := func(fs memFS, suffix string) string {
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, suffix) })
		if i < 0 {
			t.Fatalf("there is no %s in %v", suffix, names)
		}
		return fs.PathJoin(dir, names[i])
	}
	// f changes the first file of a kind, unless data is nil: then it goes.
	f := func(what, suffix, want string, change func(data []byte) []byte) {
		t.Helper()
		fs := copyFS(t, o.FS.(memFS))
		name := find(fs, suffix)
		data, err := readFile(fs, name)
		if err != nil {
			t.Fatal(err)
		}
		if data = change(data); data == nil {
			err = fs.Remove(name)
		} else {
			err = writeFile(fs, name, data, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Verify(context.Background(), fs, "data", nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range rep.Problems {
			got = append(got, strings.Replace(p.String(), name, "FILE", 2))
		}
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	gone := func([]byte) []byte { return nil }
	snapshot := func(change func(ps producers)) func([]byte) []byte {
		return func(data []byte) []byte {
			ps, err := decodeSnapshot(data)
			if err != nil {
				t.Fatal(err)
			}
			change(ps)
			return appendSnapshot(nil, ps)
		}
	}
	f("nothing", snapshotSuffix, "", func(data []byte) []byte { return data })
	f("no snapshot", snapshotSuffix, "leftover: FILE: read producer snapshot", gone)
	f("half a snapshot", snapshotSuffix, "leftover: FILE: FILE: corrupt", func(data []byte) []byte { return data[:40] })
	f("a batch too few", snapshotSuffix, "damaged: FILE: corrupt: producer 2: its batch", snapshot(func(ps producers) { ps[2].n-- }))
	f("another sequence", snapshotSuffix, "damaged: FILE: corrupt: producer 2: sequence 12", snapshot(func(ps producers) { ps[2].last[4].lastSequence++ }))
	f("open", snapshotSuffix, "damaged: FILE: corrupt: producer 1: transaction open since 0", snapshot(func(ps producers) { ps[1].txnStart = 0 }))
	f("not open", snapshotSuffix, "damaged: FILE: corrupt: producer 3: transaction open since -1", snapshot(func(ps producers) { ps[3].txnStart = -1 }))
	f("no index", txnIndexSuffix, "leftover: FILE: read transaction index", gone)
	f("too few", txnIndexSuffix, "leftover: FILE: corrupt: 0 aborted", func(data []byte) []byte { return data[:0:0] })
	f("another producer", txnIndexSuffix, "damaged: FILE: corrupt: the transaction of producer 1", func(data []byte) []byte {
		data[2+7] = 9
		return data
	})
}
