package operators_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// conformanceCase is one of ../shared/conformance/cases.json, as far as it is
// about operators.
type conformanceCase struct {
	Name   string
	Op     string
	Emit   string
	Window struct {
		Kind    string
		Size    int64 `json:"size_ms"`
		Advance int64 `json:"advance_ms"`
		Grace   int64 `json:"grace_ms"`
		Inputs  int
	}
	Requires map[string]any
	Input    []struct {
		I       int
		Key     any
		Value   any
		TS      int64 `json:"ts"`
		Ctl     string
		Channel int
		Status  string
	}
	LateInputs []int           `json:"late_inputs"`
	Expected   json.RawMessage // of several shapes
}

type expectedRow struct {
	After     int
	Key       any
	Value     any
	TS        any `json:"ts"`
	Window    struct{ Start, End int64 }
	Windows   []struct{ Start, End int64 }
	Elements  []int64
	Watermark *int64
	Query, Op string
}

// waiting says what the cases that do not run yet wait for, by the beginning of
// their names.
var waiting = []struct{ prefix, what string }{
	{"ks_session", "sessions"}, {"ks_final_results_session", "sessions"}, {"flink_session", "sessions"}, {"beam_session", "sessions"},
	{"ks_final_results_sliding", "sliding windows"}, {"ks_sliding", "sliding windows"},
	{"ks_suppress", "aggregates over tables"}, {"ks_table_aggregate", "aggregates over tables"}, {"ks_table_table", "joins of tables"},
	{"ks_stream_self_join", "JoinWithin"}, {"ks_join_", "JoinWithin"}, {"ks_left_join", "JoinWithin"}, {"ks_outer_join", "JoinWithin"},
	{"flink_interval_join", "JoinWithin"}, {"samza_join", "JoinWithin"},
	{"ks_stream_table_inner_join_grace", "Versioned tables"},
	{"beam_calendar", "calendar windows"},
	{"samza_chooser", "nothing: package engine runs them"},
}

// sharedCases finds the cases beside the repository.
func sharedCases(t *testing.T) []conformanceCase {
	dir := os.Getenv("GRETE_SHARED")
	for up := ".."; dir == "" && len(up) < 30; up = filepath.Join(up, "..") {
		if at := filepath.Join(up, "shared"); exists(filepath.Join(at, "conformance", "cases.json")) {
			dir = at
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "conformance", "cases.json"))
	if err != nil {
		if os.Getenv("CI") == "true" && os.Getenv("GRETE_SHARED") != "" {
			t.Fatalf("GRETE_SHARED wants the conformance cases: %v", err)
		}
		t.Skip("no shared/conformance/cases.json above this folder: nothing to compare with")
	}
	var cases []conformanceCase
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestConformance runs every case whose operators exist and prints how many
// passed, and what the others wait for.
func TestConformance(t *testing.T) {
	passed, waits := 0, map[string]int{}
next:
	for _, c := range sharedCases(t) {
		for _, w := range waiting {
			if strings.HasPrefix(c.Name, w.prefix) {
				waits[w.what]++
				continue next
			}
		}
		if t.Run(c.Name, func(t *testing.T) { c.run(t) }) {
			passed++
		}
	}
	t.Logf("%d cases passed; waiting for other operators: %v", passed, waits)
}

func (c *conformanceCase) run(t *testing.T) {
	switch {
	case strings.HasPrefix(c.Name, "watermark_"):
		c.watermarks(t)
	case strings.HasPrefix(c.Name, "flink_"):
		c.explicitWatermarks(t)
	case strings.HasPrefix(c.Name, "beam_top"), strings.HasPrefix(c.Name, "beam_quantiles"):
		c.lists(t)
	case c.Op == "assign_windows", c.Op == "assign_windows_and_group":
		c.assign(t)
	case strings.HasPrefix(c.Name, "ks_unwindowed"):
		c.unwindowed(t)
	case c.Emit == "update" || c.Emit == "final":
		c.aggregate(t)
	default:
		t.Fatalf("no runner for op %q: add one, or say what the case waits for", c.Op)
	}
}

func (c *conformanceCase) rows(t *testing.T) (rows []expectedRow) {
	if err := json.Unmarshal(c.Expected, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (c *conformanceCase) kind() op.WindowKind {
	d := func(n int64) time.Duration { return time.Duration(n) * ms }
	switch c.Window.Kind {
	case "tumbling":
		return op.Tumbling{Size: d(c.Window.Size), Grace: d(c.Window.Grace)}
	case "hopping":
		return op.Hopping{Size: d(c.Window.Size), Every: d(c.Window.Advance), Grace: d(c.Window.Grace)}
	}
	return op.Forever{}
}

func (c *conformanceCase) send(r *runner) {
	for _, in := range c.Input {
		if in.Ctl == "" {
			r.send("words", rec(in.TS, fmt.Sprint(in.Key), value(in.Value)))
		}
	}
}

// value is a JSON value as a record's text; null is null.
func value(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// concat is the cases' favourite aggregate: "0", then "+" and each value.
func concat(acc, v string) string {
	if acc == "" {
		acc = "0"
	}
	return acc + "+" + v
}

func concatMerge(a, b string) string { return a + strings.TrimPrefix(b, "0") }

// aggregate compares updates or finals. Kafka Streams has no windows before time
// zero; Grete does, so rows of theirs are left out.
func (c *conformanceCase) aggregate(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.Window(op.From(g, words), c.kind())
		if c.Op == "count" {
			counts := op.Count(in, "store")
			show(counts.Updates(), "update")
			show(counts.Final(), "final")
			return
		}
		table := op.Aggregate(in, "store", concat, concatMerge)
		show(table.Updates(), "update")
		show(table.Final(), "final")
	})
	c.send(r)
	var want, got []string
	for _, row := range c.rows(t) {
		want = append(want, fmt.Sprintf("%v %v@%d-%d %v", row.TS, row.Key, row.Window.Start, row.Window.End, row.Value))
	}
	for _, line := range lines(r.out[c.Emit]) {
		if c.Requires["negative_start"] != "clamped to 0" || !strings.Contains(line, "@-") {
			got = append(got, line)
		}
	}
	r.same(c.Name, got, want)
}

// assign compares the windows around records, and what is in them.
func (c *conformanceCase) assign(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		op.Aggregate(op.Window(op.From(g, words), c.kind()), "store", func(acc []string, v string) []string {
			return append(slices.Clone(acc), v)
		}, func(a, b []string) []string { return slices.Concat(a, b) })
	})
	c.send(r)
	var want []string
	for _, row := range c.rows(t) {
		for _, w := range row.Windows {
			want = append(want, fmt.Sprintf("[%d,%d) k [x]", w.Start, w.End))
		}
		if row.Elements != nil {
			want = append(want, fmt.Sprintf("[%d,%d) k %v", row.Window.Start, row.Window.End, row.Elements))
		}
	}
	var got []string
	for _, row := range r.query("store", op.Range{}) {
		got = append(got, strings.TrimSuffix(row, " *"))
	}
	r.same(c.Name, got, want)
}

// unwindowed compares what the stores of a count and a reduce without windows
// hold.
func (c *conformanceCase) unwindowed(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.Window(op.From(g, words), op.Forever{})
		op.Count(in, "count")
		op.Reduce(in, "reduce", func(a, b string) string { return a + "+" + b })
	})
	c.send(r)
	for _, store := range []string{"count", "reduce"} {
		var want []string
		for _, row := range c.rows(t) {
			if row.Query == store {
				want = append(want, fmt.Sprintf("[0,0) %v %v", row.Key, row.Value))
			}
		}
		r.shows(store, op.Range{}, want...)
	}
}

// lists compares the largest, smallest and quantiles of all values of a key,
// made from their list.
func (c *conformanceCase) lists(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		numbers := op.Map(op.From(g, words), func(s string) (n int64) {
			if _, err := fmt.Sscan(s, &n); err != nil {
				panic(err)
			}
			return n
		})
		op.Aggregate(op.Window(numbers, op.Forever{}), "store", func(acc []int64, v int64) []int64 {
			acc = append(slices.Clone(acc), v)
			slices.Sort(acc)
			return acc
		}, func(a, b []int64) []int64 { return slices.Sorted(slices.Values(slices.Concat(a, b))) })
	})
	c.send(r)
	sorted := map[string][]int64{}
	r.scan("store", op.Range{}, func(row op.Row) { sorted[row.Key.(string)] = row.Value.([]int64) })
	for _, row := range c.rows(t) {
		all := sorted[fmt.Sprint(row.Key)]
		how, n := row.Op, 0
		if how == "" {
			how = c.Op
		}
		if _, err := fmt.Sscanf(how[strings.Index(how, "("):], "(%d)", &n); err != nil {
			t.Fatal(err)
		}
		got := []int64{}
		for i := range n {
			switch {
			case strings.HasPrefix(how, "quantiles"):
				got = append(got, all[i*(len(all)-1)/max(1, n-1)])
			case strings.HasPrefix(how, "smallest"):
				got = append(got, all[i])
			case i < len(all):
				got = append(got, all[len(all)-1-i])
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(row.Value) {
			t.Errorf("%s of %v: got %v, want %v", how, row.Key, got, row.Value)
		}
	}
}

// behindKeyBys is a job whose second stage hears the marks of n upstreams, as
// the engine would pass them on.
func behindKeyBys(t *testing.T, n int, build func(op.Stream[string, string])) (*runner, *op.Flow) {
	r := start(t, func(g *op.Graph) {
		var streams []op.Stream[string, string]
		for i := range n {
			in := op.From(g, op.NewTopic(fmt.Sprintf("in-%d", i), op.String, op.String))
			streams = append(streams, op.KeyBy(in, fmt.Sprintf("by-%d", i), strings.ToLower))
		}
		build(op.Merge(streams[0], streams[1:]...))
	})
	return r, r.flows[1]
}

func (c *conformanceCase) watermarks(t *testing.T) {
	r, f := behindKeyBys(t, c.Window.Inputs, func(s op.Stream[string, string]) {
		op.Count(op.Window(s, op.Tumbling{Size: time.Hour}), "store")
	})
	var got, want []string
	last := ""
	for _, in := range c.Input {
		switch in.Ctl {
		case "watermark":
			r.must(f.Advance(in.Channel, in.TS))
		case "status":
			r.must(f.SetIdle(in.Channel, in.Status == "IDLE"))
		}
		if w, ok := f.Watermark(); ok {
			if now := fmt.Sprint(w); now != last {
				got = append(got, fmt.Sprintf("after %d: %s", in.I, now))
				last = now
			}
		}
	}
	for _, row := range c.rows(t) {
		want = append(want, fmt.Sprintf("after %d: %d", row.After, *row.Watermark))
	}
	r.same(c.Name, got, want)
}

// explicitWatermarks runs Flink's cases. Their watermark W says that no record
// with a time up to W will come, Grete's that none below W will: one more.
func (c *conformanceCase) explicitWatermarks(t *testing.T) {
	r, f := behindKeyBys(t, 1, func(s op.Stream[string, string]) {
		in := op.Window(s, c.kind())
		sums := op.Sum(in, "store", func(s string) (n int64) {
			if _, err := fmt.Sscan(s, &n); err != nil {
				panic(err)
			}
			return n
		})
		show(sums.Final(), "finals")
		show(in.Late(), "late")
	})
	var got, want []string
	seen := 0
	for _, in := range c.Input {
		switch in.Ctl {
		case "watermark":
			r.must(f.Advance(0, in.TS+1))
		case "end_of_stream":
			r.must(f.Finish())
		default:
			r.must(f.Process(0, []log.Record{rec(in.TS, fmt.Sprint(in.Key), value(in.Value))}))
		}
		r.commit(1)
		var rows []string
		for _, line := range lines(r.out["finals"])[seen:] {
			seen++
			rows = append(rows, fmt.Sprintf("after %d: %s", in.I, line))
		}
		got = append(got, rows...)
	}
	for _, row := range c.rows(t) {
		if c.Window.Kind == "global" {
			row.TS, row.Window.Start, row.Window.End = r.out["finals"][len(want)].Timestamp, -1<<61, 1<<61 // Forever's time is the key's largest
			want = append(want, fmt.Sprintf("after %d: %d %v@%d-%d %v", row.After, row.TS, row.Key, row.Window.Start, row.Window.End, row.Value))
			continue
		}
		want = append(want, fmt.Sprintf("after %d: %v %v@%d-%d %v", row.After, row.TS, row.Key, row.Window.Start, row.Window.End, row.Value))
	}
	r.same(c.Name, got, want)
	if n := len(r.out["late"]); n != len(c.LateInputs) {
		t.Errorf("got %d late records %q, want %d", n, lines(r.out["late"]), len(c.LateInputs))
	}
}
