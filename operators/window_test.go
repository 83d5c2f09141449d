package operators_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	op "github.com/gretestream/grete/operators"
)

const ms = time.Millisecond

// show turns windowed results into text, so that tests can read them.
func show[A any](s op.Stream[op.Windowed[string], A], topic string) {
	op.To(op.MapRecord(s, func(r op.Record[op.Windowed[string], A]) op.Record[string, string] {
		return op.Record[string, string]{
			Key: fmt.Sprintf("%s@%d-%d", r.Key.Key, r.Key.Start, r.Key.End), Value: fmt.Sprint(r.Value), Time: r.Time,
		}
	}), op.NewTopic(topic, op.String, op.String))
}

func TestTumblingCount(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		counts := op.Count(op.Window(op.From(g, words), op.Tumbling{Size: 10 * ms, Grace: 5 * ms}), "counts")
		show(counts.Final(), "finals")
		show(counts.Updates(), "updates")
	})
	r.send("words", rec(1, "b", "x"), rec(9, "a", "x"), rec(3, "b", "x"), rec(10, "b", "x"), rec(14, "a", ""), rec(14, "", "x"), rec(4, "a", "x"))
	r.wrote("finals")
	r.shows("counts", op.Range{}, "[0,10) a 2", "[0,10) b 2", "[10,20) b 1")
	r.send("words", rec(15, "c", "x"), rec(4, "a", "x"))
	r.wrote("finals", "9 a@0-10 2", "9 b@0-10 2")
	r.shows("counts", op.Range{}, "[0,10) a 2 *", "[0,10) b 2 *", "[10,20) b 1", "[10,20) c 1")
	r.wrote("updates", "1 b@0-10 1", "9 a@0-10 1", "3 b@0-10 2", "10 b@10-20 1", "9 a@0-10 2", "15 c@10-20 1")
	r.dropped(`count "counts": late 1`, `count "counts": null key 1`, `count "counts": null value 1`)
}

func TestBoundedRunsEmitEachFinalOnce(t *testing.T) {
	for name, w := range map[string]op.WindowKind{
		"tumbling": op.Tumbling{Size: 10 * ms},
		"hopping":  op.Hopping{Size: 10 * ms, Every: 5 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(g *op.Graph) {
				show(op.Count(op.Window(op.From(g, words), w), "counts").Final(), "finals")
			})
			r.send("words", rec(6, "a", "x"), rec(7, "b", "x"))
			r.finish()
			once := []string{"9 a@0-10 1", "9 b@0-10 1"}
			if name == "hopping" {
				once = append(once, "14 a@5-15 1", "14 b@5-15 1")
			}
			r.wrote("finals", once...)
			r.finish()
			r.restart()
			r.finish()
			r.wrote("finals", once...)
			r.send("words", rec(8, "a", "x"))
			r.restart()
			r.finish()
			more := []string{"9 a@0-10 2"}
			if name == "hopping" {
				more = append(more, "14 a@5-15 2")
			}
			r.wrote("finals", append(once, more...)...)
			r.send("words", rec(100, "z", "x"))
			r.wrote("finals", append(once, more...)...)
			want := []string{"[0,10) a 2 *", "[0,10) b 1 *"}
			if name == "hopping" {
				want = append(want, "[5,15) a 2 *", "[5,15) b 1 *", "[95,105) z 1", "[100,110) z 1")
			} else {
				want = append(want, "[100,110) z 1")
			}
			r.shows("counts", op.Range{}, want...)
		})
	}
}

func TestHoppingCount(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		counts := op.Count(op.Window(op.From(g, words), op.Hopping{Size: 10 * ms, Every: 4 * ms}), "counts")
		show(counts.Final(), "finals")
		show(counts.Updates(), "updates")
	})
	r.send("words", rec(0, "a", "x"), rec(5, "a", "x"), rec(9, "b", "x"))
	r.shows("counts", op.Range{}, "[-8,2) a 1 *", "[-4,6) a 2 *", "[0,10) a 2", "[0,10) b 1", "[4,14) a 1", "[4,14) b 1", "[8,18) b 1")
	r.wrote("finals", "1 a@-8-2 1", "5 a@-4-6 2")
	r.send("words", rec(3, "a", "x")) // late for [-4, 6), in time for [0, 10)
	r.shows("counts", op.Range{}, "[-8,2) a 1 *", "[-4,6) a 2 *", "[0,10) a 3", "[0,10) b 1", "[4,14) a 1", "[4,14) b 1", "[8,18) b 1")
	r.send("words", rec(30, "c", "x"))
	r.wrote("finals", "1 a@-8-2 1", "5 a@-4-6 2", "9 a@0-10 3", "9 b@0-10 1", "13 a@4-14 1", "13 b@4-14 1", "17 b@8-18 1")
	r.dropped(`count "counts": late 1`)
	r.wrote("updates",
		"0 a@-8-2 1", "0 a@-4-6 1", "0 a@0-10 1",
		"5 a@-4-6 2", "5 a@0-10 2", "5 a@4-14 1",
		"9 b@0-10 1", "9 b@4-14 1", "9 b@8-18 1",
		"5 a@0-10 3",
		"30 c@24-34 1", "30 c@28-38 1")
}

type visit struct {
	N    int
	Last string
}

func (v visit) Add(w string) visit  { return visit{v.N + 1, max(v.Last, w)} }
func (v visit) Merge(o visit) visit { return visit{v.N + o.N, max(v.Last, o.Last)} }

func TestAggregateSumReduce(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.Window(op.From(g, words), op.Hopping{Size: 20 * ms, Every: 10 * ms})
		show(op.Aggregate(in, "visits", visit.Add, visit.Merge).Final(), "visits")
		show(op.Sum(in, "letters", func(s string) int { return len(s) }).Final(), "letters")
		show(op.Reduce(in, "longest", func(a, b string) string {
			if len(b) > len(a) {
				return b
			}
			return a
		}).Final(), "longest")
	})
	r.send("words", rec(1, "k", "one"), rec(12, "k", "three"), rec(15, "j", "two"), rec(40, "k", "x"))
	r.wrote("visits", "9 k@-10-10 {1 one}", "19 j@0-20 {1 two}", "19 k@0-20 {2 three}", "29 j@10-30 {1 two}", "29 k@10-30 {1 three}")
	r.wrote("letters", "9 k@-10-10 3", "19 j@0-20 3", "19 k@0-20 8", "29 j@10-30 3", "29 k@10-30 5")
	r.wrote("longest", "9 k@-10-10 one", "19 j@0-20 two", "19 k@0-20 three", "29 j@10-30 two", "29 k@10-30 three")
}

func TestPanickingAddLeavesNoTrace(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.Window(op.From(g, words), op.Tumbling{Size: 10 * ms})
		show(op.Sum(in, "sums", func(s string) int {
			if s == "boom" {
				panic("no")
			}
			return len(s)
		}).Final(), "finals")
	})
	r.send("words", rec(1, "a", "boom"), rec(2, "b", "x"), rec(3, "b", "boom"), rec(4, "b", "y"), rec(20, "c", "z"))
	r.wrote("finals", "9 b@0-10 2")
	r.dropped(`sum "sums": failed 2`)
}

func TestLateRecordsGoToTheLateOutput(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.Window(op.From(g, words), op.Hopping{Size: 10 * ms, Every: 5 * ms})
		op.Count(in, "counts")
		show(in.Late(), "late")
	})
	r.send("words", rec(3, "a", "x"), rec(12, "a", "x"), rec(8, "a", "late"), rec(22, "a", "x"), rec(1, "b", "later"))
	r.wrote("late", "8 a@0-10 late", "1 b@-5-5 later", "1 b@0-10 later")
	r.dropped(`count "counts": late 3`)
}

func TestCollapsedUpdates(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		counts := op.Count(op.Window(op.From(g, words), op.Tumbling{Size: 10 * ms}), "counts")
		show(counts.Updates(op.AfterCount(3)), "third")
		show(counts.Updates(op.Every(time.Second)), "second")
	})
	r.must(r.flows[0].Tick(r.now))
	r.send("words", rec(1, "a", "x"), rec(2, "a", "x"), rec(3, "b", "x"), rec(4, "a", "x"))
	r.wrote("third", "2 a@0-10 2", "3 b@0-10 1")
	r.wrote("second")
	r.restart()
	r.must(r.flows[0].Tick(r.now))
	r.must(r.flows[0].Tick(r.now.Add(time.Second)))
	r.settle()
	r.wrote("second", "4 a@0-10 3", "3 b@0-10 1")
	r.send("words", rec(5, "a", "x"), rec(30, "a", "x"))
	r.wrote("second", "4 a@0-10 3", "3 b@0-10 1", "5 a@0-10 4")
}

func TestClosedWindowsExpire(t *testing.T) {
	for name, w := range map[string]op.WindowKind{
		"tumbling": op.Tumbling{Size: 10 * ms, Retain: 100 * ms},
		"hopping":  op.Hopping{Size: 10 * ms, Every: 5 * ms, Retain: 100 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(g *op.Graph) {
				op.Count(op.Window(op.From(g, words), w), "counts")
			})
			for i := range 50 {
				r.send("words", rec(int64(i)*10, "k", "x"))
			}
			rows := r.query("counts", op.Range{})
			if len(rows) == 0 || strings.HasPrefix(rows[0], "[0,") {
				t.Fatalf("nothing expired: %q", rows)
			}
			for _, row := range rows {
				var from, to int
				if _, err := fmt.Sscanf(row, "[%d,%d)", &from, &to); err != nil || to <= 490-100-10 {
					t.Errorf("row %s should have expired", row)
				}
			}
			r.shows("counts", op.Range{Key: []byte("k"), From: 450, To: 456}, map[string][]string{
				"tumbling": {"[450,460) k 1 *"}, "hopping": {"[450,460) k 1 *", "[455,465) k 1 *"},
			}[name]...)
		})
	}
}

func TestForeverCounts(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		counts := op.Count(op.Window(op.From(g, words), op.Forever{}), "counts")
		op.To(op.Map(op.DropWindow(counts.Updates()), func(n int64) string { return fmt.Sprint(n) }), result)
		op.To(op.Map(op.DropWindow(counts.Final()), func(n int64) string { return fmt.Sprint(n) }), others)
	})
	r.send("words", rec(5, "a", "x"), rec(1_000_000_000_000, "b", "x"), rec(3, "a", "x"))
	r.restart()
	r.send("words", rec(9, "a", "x"))
	r.wrote("result", "5 a 1", "1000000000000 b 1", "5 a 2", "9 a 3")
	r.shows("counts", op.Range{}, "[0,0) a 3", "[0,0) b 1")
	r.wrote("others")
	r.finish()
	r.wrote("others", "9 a 3", "1000000000000 b 1")
}
