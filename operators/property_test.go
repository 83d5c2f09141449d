package operators_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// drawWindow draws small windows of either kind.
func drawWindow(t *rapid.T) (w op.WindowKind, size, every, grace int64) {
	size = rapid.Int64Range(1, 12).Draw(t, "size")
	every = size
	grace = rapid.Int64Range(0, 5).Draw(t, "grace")
	offset := time.Duration(rapid.Int64Range(-3, 3).Draw(t, "offset")) * ms
	d := func(n int64) time.Duration { return time.Duration(n) * ms }
	if rapid.Bool().Draw(t, "hopping") {
		every = rapid.Int64Range(1, 14).Draw(t, "every")
		return op.Hopping{Size: d(size), Every: d(every), Grace: d(grace), Offset: offset, AllowGaps: true}, size, every, grace
	}
	return op.Tumbling{Size: d(size), Grace: d(grace), Offset: offset}, size, every, grace
}

// drawRecords draws records of a few keys, out of order by some.
func drawRecords(t *rapid.T) []log.Record {
	at := int64(0)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) log.Record {
		at += rapid.Int64Range(0, 4).Draw(t, "step")
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", ""}).Draw(t, "key")
		return rec(at-rapid.Int64Range(0, 15).Draw(t, "behind"), key, "v")
	}), 1, 60).Draw(t, "records")
}

// model counts windows the naive way: for every record, every window around it.
func model(records []log.Record, w op.WindowKind, size, every, grace int64) (finals []string) {
	offset := int64(0)
	switch w := w.(type) {
	case op.Tumbling:
		offset = w.Offset.Milliseconds()
	case op.Hopping:
		offset = w.Offset.Milliseconds()
	}
	type window struct {
		start int64
		key   string
	}
	counts := map[window]int{}
	mark := int64(-1 << 60)
	var order []window
	emit := func() {
		var due []window
		for k := range counts {
			if k.start+size+grace <= mark {
				due = append(due, k)
			}
		}
		slices.SortFunc(due, func(a, b window) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key)) })
		for _, k := range due {
			finals = append(finals, fmt.Sprintf("%d %s@%d-%d %d", k.start+size-1, k.key, k.start, k.start+size, counts[k]))
			delete(counts, k)
		}
		order = append(order, due...)
	}
	for _, r := range records {
		t := int64(r.Timestamp)
		if t > mark {
			mark = t
			emit()
		}
		if r.Key == nil {
			continue
		}
		for start := t - size + 1; start <= t; start++ {
			if ((start-offset)%every+every)%every == 0 && start+size+grace > mark {
				counts[window{start, string(r.Key)}]++
			}
		}
	}
	mark = 1 << 60
	emit()
	return finals
}

// TestWindowsMatchTheNaiveCount: whatever the windows, however the records are
// cut into batches and commits, with restarts at any commit, the finals are
// those of counting every record in every window around it.
func TestWindowsMatchTheNaiveCount(t *testing.T) {
	defer op.SmallCommits()()
	rapid.Check(t, func(rt *rapid.T) {
		w, size, every, grace := drawWindow(rt)
		records := drawRecords(rt)
		r := start(t, func(g *op.Graph) {
			show(op.Count(op.Window(op.From(g, words), w), "counts").Final(), "finals")
		})
		rest := slices.Clone(records)
		for len(rest) > 0 {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			if rapid.Bool().Draw(rt, "whole") {
				r.send("words", rest[:n]...)
			} else {
				// As an engine does that goes on while the commit is full.
				r.must(r.flows[0].Process(0, rest[:n]))
				r.commit(0)
			}
			rest = rest[n:]
			if rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
				r.restart()
			}
		}
		r.settle()
		r.finish()
		var got []string
		for _, rec := range r.out["finals"] {
			got = append(got, fmt.Sprintf("%d %s %s", rec.Timestamp, rec.Key, rec.Value))
		}
		if want := model(records, w, size, every, grace); !slices.Equal(got, want) {
			rt.Fatalf("finals: got %q\nwant %q", got, want)
		}
	})
}

// TestBoundedRunsAgree: with bounded runs ending anywhere in between, the last
// final of each key and window is the naive count, none is emitted twice, and a
// query shows the same.
func TestBoundedRunsAgree(t *testing.T) {
	defer op.SmallCommits()()
	rapid.Check(t, func(rt *rapid.T) {
		w, size, every, grace := drawWindow(rt)
		records := drawRecords(rt)
		r := start(t, func(g *op.Graph) {
			show(op.Count(op.Window(op.From(g, words), w), "counts").Final(), "finals")
		})
		for rest := slices.Clone(records); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			r.send("words", rest[:n]...)
			rest = rest[n:]
			switch rapid.IntRange(0, 4).Draw(rt, "then") {
			case 0:
				r.finish()
			case 1:
				r.must(r.flows[0].Finish()) // a commit, and a crash or more records while it is busy
				r.commit(0)
				if rapid.Bool().Draw(rt, "restart") {
					r.restart()
				}
			}
		}
		r.finish()
		last := map[string]string{}
		var keys []string
		for _, line := range lines(r.out["finals"]) {
			fields := strings.Fields(line)
			if last[fields[1]] == fields[2] {
				rt.Fatalf("final %s was emitted twice: %q", line, lines(r.out["finals"]))
			}
			if last[fields[1]] == "" {
				keys = append(keys, fields[1])
			}
			last[fields[1]] = fields[2]
		}
		want := model(records, w, size, every, grace)
		if len(keys) != len(want) {
			rt.Fatalf("got finals %q\nwant %q", last, want)
		}
		var rows []string
		for _, line := range want {
			f := strings.Fields(line)
			if last[f[1]] != f[2] {
				rt.Fatalf("last final of %s: got %s, want %s", f[1], last[f[1]], f[2])
			}
			key, span, _ := strings.Cut(f[1], "@")
			end, _ := strconv.Atoi(f[0])
			from := strings.TrimSuffix(span, fmt.Sprintf("-%d", end+1))
			rows = append(rows, fmt.Sprintf("[%s,%d) %s %s", from, end+1, key, f[2]))
		}
		var got []string
		for _, row := range r.query("counts", op.Range{}) {
			got = append(got, strings.TrimSuffix(row, " *"))
		}
		if !slices.Equal(got, rows) {
			rt.Fatalf("query: got %q\nwant %q", got, rows)
		}
	})
}

// TestBatchesDoNotMatter: updates, late outputs and finals of a job with an
// EventTime and a stage behind a KeyBy are the same for any cut into batches.
func TestBatchesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, _, _, _ := drawWindow(rt)
		records := drawRecords(rt)
		outOfOrder := time.Duration(rapid.IntRange(0, 6).Draw(rt, "out of order")) * ms
		build := func(g *op.Graph) {
			s := op.From(g, words, op.Input{OutOfOrder: outOfOrder})
			in := op.Window(s, w)
			counts := op.Count(in, "counts")
			show(counts.Updates(), "updates")
			show(in.Late(), "late")
			show(counts.Final(), "finals")
			show(op.Count(op.Window(op.DropWindow(counts.Final()), op.Tumbling{Size: 20 * ms}), "windows").Final(), "nested")
		}
		whole, cut := start(t, build), start(t, build)
		whole.send("words", records...)
		for rest := records; len(rest) > 0; {
			n := rapid.IntRange(1, min(5, len(rest))).Draw(rt, "batch")
			cut.send("words", rest[:n]...)
			rest = rest[n:]
		}
		whole.finish()
		cut.finish()
		for _, topic := range []string{"updates", "late", "finals", "nested"} {
			a, b := lines(whole.out[topic]), lines(cut.out[topic])
			if !slices.Equal(a, b) {
				rt.Fatalf("%s: in one batch %q\nin several %q", topic, a, b)
			}
		}
	})
}

func lines(records []log.Record) (s []string) {
	for _, r := range records {
		s = append(s, fmt.Sprintf("%d %s %s", r.Timestamp, r.Key, r.Value))
	}
	return s
}

// TestLateKeyStaysOutAfterRestart: a record that is late for a window that waits
// for the next commit, and in time for others over the same slice, stays out of
// the window also when the task restarts in the middle of its keys.
func TestLateKeyStaysOutAfterRestart(t *testing.T) {
	defer op.SmallCommits()()
	w := op.Hopping{Size: 9 * ms, Every: ms, Offset: ms}
	r := start(t, func(g *op.Graph) {
		show(op.Count(op.Window(op.From(g, words), w), "counts").Final(), "finals")
	})
	records := []log.Record{
		rec(-5, "a", "v"), rec(-1, "b", "v"), rec(-8, "a", "v"), rec(-5, "c", "v"), rec(9, "", "v"), rec(12, "c", "v"),
		rec(10, "", "v"), rec(21, "b", "v"), rec(21, "d", "v"), rec(15, "a", "v"), rec(24, "", "v"), rec(25, "b", "v"),
		rec(25, "d", "v"), rec(22, "c", "v"), rec(17, "d", "v"), rec(27, "b", "v"), rec(18, "", "v"),
	}
	for i, cut := range [][]log.Record{records[:14], records[14:16], records[16:]} {
		r.must(r.flows[0].Process(0, cut))
		r.commit(0)
		if i == 2 {
			r.restart()
		}
	}
	r.settle()
	r.finish()
	r.wrote("finals", model(records, w, 9, 1, 0)...)
}
