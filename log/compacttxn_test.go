package log

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// compactTopic is a log with a compacted topic, whose segments hold about four
// batches, and a clock.
func compactTopic(t *testing.T, configs ...string) (*Embedded, TopicPartition, *clock) {
	t.Helper()
	clock := newClock()
	o := testOptions(newMemFS())
	o.Now = clock.now
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1, append([]string{"cleanup.policy", "compact", "segment.bytes", "1024", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "1000"}, configs...)...)
	return l, TopicPartition{"a", 0}, clock
}

// keyed is a batch of one record.
func keyed(pid int64, sequence int32, attributes int16, key, value string) []byte {
	r := Record{Timestamp: 1000, Key: []byte(key), Value: []byte(value)}
	if value == "" {
		r.Value = nil
	}
	return appendBatch(nil, BatchInfo{ProducerID: pid, BaseSequence: sequence, Attributes: attributes}, 1000, []Record{r})
}

// fill seals the segments so far, with records whose keys come once.
func fill(t *testing.T, l *Embedded, tp TopicPartition, round int) {
	t.Helper()
	for i := range 4 {
		b := keyed(-1, -1, 0, fmt.Sprintf("fill %d %d", round, i), strings.Repeat("x", 300))
		mustProduce(t, l, tp, b)
	}
}

// contents are the batches of a partition, fillers excepted: "k=v", "abort 7",
// "commit 7" and "empty 7".
func contents(t *testing.T, l *Embedded, tp TopicPartition) []string {
	t.Helper()
	r, err := l.OpenReader(tp, 0, ReaderOptions{Uncommitted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := []string{}
	for {
		run, err := r.(BatchReader).PollBatches()
		if err != nil {
			t.Fatal(err)
		}
		if len(run) == 0 {
			return all
		}
		err = ForEachBatch(run, func(info BatchInfo, batch []byte) error {
			recs, err := DecodeRecords(nil, batch)
			if err != nil {
				return err
			}
			for _, r := range recs {
				if !strings.HasPrefix(string(r.Key), "fill") {
					all = append(all, fmt.Sprintf("%s=%s", r.Key, r.Value))
				}
			}
			m, ok, err := decodeMarker(&info, batch)
			switch {
			case info.IsControl() && ok:
				all = append(all, fmt.Sprintf("%s %d", map[bool]string{true: "commit", false: "abort"}[m.Commit], m.ProducerID))
			case info.Count == 0:
				all = append(all, fmt.Sprintf("empty %d", info.ProducerID))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompactSparesTheRecoveryPoint: the segment of the recovery point stays as
// it is, even once it is sealed: the meta has a position in it, from which on a
// crash lets the journal write again.
func TestCompactSparesTheRecoveryPoint(t *testing.T) {
	clock, fs := newClock(), newMemFS()
	o := testOptions(fs)
	o.Now = clock.now
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1, "cleanup.policy", "compact", "segment.bytes", "1024", "min.cleanable.dirty.ratio", "0")
	tp := TopicPartition{"a", 0}
	for i := range 8 {
		mustProduce(t, l, tp, keyed(-1, -1, 0, "k", fmt.Sprint(i)))
	}
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	mustProduce(t, l, tp, keyed(-1, -1, 0, "fill", strings.Repeat("x", 900))) // begins the next segment
	if err := l.compact(); err != nil {
		t.Fatal(err)
	}
	want := contents(t, l, tp)
	crashed := copyFS(t, fs)
	o.FS = crashed
	again := mustOpen(t, "data", o)
	if got := contents(t, again, tp); !slices.Equal(got, want) {
		t.Fatalf("after a crash: got %v, want %v", got, want)
	}
	if err := again.Maintain(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again, tp); !slices.Equal(got, []string{"k=7"}) {
		t.Fatalf("compacted: got %v, want k=7", got)
	}
}

// What was aborted goes and replaces nothing. Markers stay as long as what they
// mark, and then as long as a tombstone.
func TestCompactTransactions(t *testing.T) {
	l, tp, clock := compactTopic(t)
	f := func(what string, want ...string) {
		t.Helper()
		if err := l.Maintain(); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, l, tp); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	mustProduce(t, l, tp, keyed(1, 0, attrTransactional, "k", "1"))
	mustEnd(t, l, true, 1, 0, tp)
	mustProduce(t, l, tp, keyed(2, 0, attrTransactional, "k", "aborted"))
	mustProduce(t, l, tp, keyed(2, 1, attrTransactional, "k", ""))
	fill(t, l, tp, 0)
	f("one is open", "k=1", "commit 1", "k=aborted", "k=")
	mustEnd(t, l, false, 2, 0, tp)
	fill(t, l, tp, 1)
	f("aborted", "k=1", "commit 1", "empty 2", "abort 2")

	// Others have the last batches of the producers now.
	mustProduce(t, l, tp, keyed(2, 2, attrTransactional, "k", "2"))
	mustEnd(t, l, true, 2, 0, tp)
	mustProduce(t, l, tp, keyed(1, 1, attrTransactional, "other", "1"))
	mustEnd(t, l, true, 1, 0, tp)
	fill(t, l, tp, 2)
	f("replaced", "commit 1", "abort 2", "k=2", "commit 2", "other=1", "commit 1")
	fill(t, l, tp, 3)
	f("marked", "commit 1", "abort 2", "k=2", "commit 2", "other=1", "commit 1")
	clock.advance(999)
	fill(t, l, tp, 4)
	f("not yet", "commit 1", "abort 2", "k=2", "commit 2", "other=1", "commit 1")
	clock.advance(1)
	fill(t, l, tp, 5)
	f("forgotten", "k=2", "commit 2", "other=1", "commit 1")
	if got, want := offsetsOf(t, l, tp, false), offsetsOf(t, l, tp, true); !slices.Equal(got, want) {
		t.Errorf("a reader of what is committed gets %v, want all that is left: %v", got, want)
	}
}

// A tombstone that is the only thing to be marked is marked all the same.
func TestCompactMarksALoneTombstone(t *testing.T) {
	l, tp, clock := compactTopic(t)
	mustProduce(t, l, tp, keyed(-1, -1, 0, "k", ""))
	for round := range 3 {
		fill(t, l, tp, round)
		if err := l.Maintain(); err != nil {
			t.Fatal(err)
		}
		clock.advance(1000)
	}
	if got := contents(t, l, tp); len(got) != 0 {
		t.Errorf("got %q long after the tombstone was due, want nothing", got)
	}
}

// However small the dirty part is, it is compacted at max.compaction.lag.ms.
func TestMaxCompactionLag(t *testing.T) {
	l, tp, clock := compactTopic(t, "min.cleanable.dirty.ratio", "0.9", "max.compaction.lag.ms", "60000")
	for round := range 10 {
		fill(t, l, tp, round)
	}
	clock.advance(60001)
	mustProduce(t, l, tp, keyed(-1, -1, 0, "k", "1"))
	if err := l.Maintain(); err != nil {
		t.Fatal(err)
	}
	mustProduce(t, l, tp, keyed(-1, -1, 0, "k", "2"))
	clock.advance(60000)
	mustProduce(t, l, tp, keyed(-1, -1, 0, "other", "1")) // seals the segment, for its age
	if err := l.Maintain(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, l, tp); !slices.Equal(got, []string{"k=1", "k=2", "other=1"}) {
		t.Errorf("got %q before the lag", got)
	}
	clock.advance(1)
	if err := l.Maintain(); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, l, tp); !slices.Equal(got, []string{"k=2", "other=1"}) {
		t.Errorf("got %q after the lag", got)
	}
}

// Compaction at random times, with restarts in between, changes nothing of what
// a reader of the committed records finds last of each key.
func TestCompactTxnModel(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		clock := newClock()
		o := testOptions(newMemFS())
		o.Now = clock.now
		l := mustOpen(t, "data", o)
		mustCreate(t, l, "a", 1, "cleanup.policy", "compact", "segment.bytes", "1024", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "50")
		tp := TopicPartition{"a", 0}
		want := map[string]string{}
		pending := [3]map[string]string{}
		for i := range pending {
			pending[i] = map[string]string{}
		}
		var sequence [3]int32
		// The order of commits is that of the records, by key.
		at := map[string]int{}
		pendingAt := [3]map[string]int{{}, {}, {}}
		for step := range 400 {
			clock.advance(r.IntN(10))
			key, value := fmt.Sprint("k", r.IntN(6)), fmt.Sprint("v", step)
			pid := r.IntN(3)
			switch k := r.IntN(20); {
			case k < 4:
				mustProduce(t, l, tp, keyed(-1, -1, 0, key, value))
				want[key], at[key] = value, step
			case k < 12:
				mustProduce(t, l, tp, keyed(int64(pid), sequence[pid], attrTransactional, key, value))
				sequence[pid]++
				pending[pid][key], pendingAt[pid][key] = value, step
			case k < 16:
				commit := r.IntN(2) == 0
				mustEnd(t, l, commit, int64(pid), 0, tp)
				for key, value := range pending[pid] {
					if commit && pendingAt[pid][key] > at[key] {
						want[key], at[key] = value, pendingAt[pid][key]
					}
				}
				clear(pending[pid])
				clear(pendingAt[pid])
			case k < 18:
				if err := l.Maintain(); err != nil {
					t.Fatal(err)
				}
			default:
				if r.IntN(4) > 0 {
					continue
				}
				if r.IntN(2) == 0 {
					o.FS = copyFS(t, o.FS.(memFS))
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = mustOpen(t, "data", o)
			}
		}
		for pid := range pending { // so that nothing hides behind an open one
			mustEnd(t, l, false, int64(pid), 0, tp)
		}
		rd, err := l.OpenReader(tp, 0, ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for {
			recs, err := rd.Poll()
			if err != nil {
				t.Fatal(err)
			}
			if len(recs) == 0 {
				break
			}
			for _, rec := range recs {
				got[string(rec.Key)] = string(rec.Value)
			}
		}
		_ = rd.Close()
		if !maps.Equal(got, want) {
			t.Errorf("seed %d: got %v, want %v", seed, got, want)
		}
		for pid := range int64(3) {
			if sequence[pid] > 0 {
				mustProduce(t, l, tp, keyed(pid, sequence[pid], 0, "k", "v"))
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err := Verify(context.Background(), o.FS, "data", nil); err != nil || !report.OK() {
			t.Errorf("seed %d: verify: %v, %v", seed, report.Problems, err)
		}
	}
}
