package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

var (
	views      = op.NewTopic("views", op.String, op.String)
	viewCounts = op.NewTopic("view-counts", op.WindowKey(op.String), op.Int64)
)

// countViews counts views per page and minute, across a repartition.
func countViews(g *op.Graph) {
	in := op.From(g, views)
	byPage := op.KeyBy(in, "by-page", func(page string) string { return page })
	counts := op.Count(op.Window(byPage, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second}), "views-per-page")
	op.To(counts.Final(), viewCounts)
}

var countJob = jobs.Job{Name: "visits", Build: countViews}

// counts reads the rows of a windowed store of int64: "start key" → count.
func counts(t testing.TB, s Source, store string) map[string]int64 {
	t.Helper()
	vs, err := s.Views(store)
	if err != nil {
		t.Fatal(err)
	}
	return countsIn(t, s, store, vs)
}

// countsIn reads the rows out of views and closes them.
func countsIn(t testing.TB, s Source, store string, vs []TaskView) map[string]int64 {
	t.Helper()
	rows := map[string]int64{}
	var query *op.StoreQuery
	for _, info := range s.Stores() {
		if info.Name == store {
			query = info.Query
		}
	}
	for i := range vs {
		err := query.Scan(vs[i].View, op.Range{}, func(r op.Row) error {
			rows[fmt.Sprintf("%d %v", r.Start, r.Key)] = r.Value.(int64)
			return nil
		})
		if err := errors.Join(err, vs[i].Close()); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// finals reads the output topic: "start key" → counts in the order written.
func (n *node) finals() map[string][]int64 {
	n.t.Helper()
	rows := map[string][]int64{}
	for _, r := range n.read("view-counts") {
		var k op.Windowed[string]
		if err := viewCounts.Key.Decode(&k, r.Key, nil); err != nil {
			n.t.Fatal(err)
		}
		var v int64
		if err := viewCounts.Value.Decode(&v, r.Value, nil); err != nil {
			n.t.Fatal(err)
		}
		name := fmt.Sprintf("%d %s", k.Start, k.Key)
		rows[name] = append(rows[name], v)
	}
	return rows
}

func wantRows[V any](t testing.TB, got, want map[string]V) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("got rows %s\nwant %s", g, w)
	}
}

func TestBoundedRun(t *testing.T) {
	n := newNode(t)
	n.create("views", 3)
	n.view(0, 1_000, "a")
	n.view(1, 2_000, "b")
	n.view(0, 3_000, "a")
	n.view(2, 61_000, "a")
	n.runUntilEnd(countJob)

	want := map[string][]int64{"0 a": {2}, "0 b": {1}, "60000 a": {1}}
	wantRows(t, n.finals(), want)

	i, err := Inspect(context.Background(), n.options(countJob))
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, counts(t, i, "views-per-page"), map[string]int64{"0 a": 2, "0 b": 1, "60000 a": 1})
	s := i.Status()
	if s.Lag() != 0 || !s.Ready() {
		t.Errorf("got lag %d, ready %v, want 0, true", s.Lag(), s.Ready())
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}

	// Nothing new: nothing changes. Later records of the open minute count.
	n.runUntilEnd(countJob)
	wantRows(t, n.finals(), want)
	n.view(1, 62_000, "a")
	n.view(1, 200_000, "c")
	n.runUntilEnd(countJob)
	want["60000 a"] = []int64{1, 2}
	want["180000 c"] = []int64{1}
	wantRows(t, n.finals(), want)
}

// TestEndsBesideTransaction: what is to be read of a source ends before an open
// transaction; a mark behind it is one of earlier all the same.
func TestEndsBesideTransaction(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	n.view(0, 1_000, "a")
	logtest.Begin(t, n.log, log.TopicPartition{Topic: "views"}, log.Record{Timestamp: 2_000, Key: []byte("a"), Value: []byte("a")})
	inputs := []jobs.InputPlan{{Topic: "views", Partitions: 1}, {Topic: "views", Partitions: 1, Repartition: true}}
	tk := &task{c: &Container{opts: Options{Log: n.log}}, plan: &jobs.StagePlan{Inputs: inputs}}
	tk.mu.status.Inputs = make([]InputStatus, len(inputs))
	if err := tk.captureEnds(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := []log.Offset{1, 2}; !slices.Equal(tk.until, want) {
		t.Errorf("got ends %v, want %v", tk.until, want)
	}
}

// TestBoundedRunBesideTransaction: a transaction that is open when a bounded run
// starts is not part of it, and does not hold it up.
func TestBoundedRunBesideTransaction(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	n.view(0, 1_000, "a")
	end := logtest.Begin(t, n.log, log.TopicPartition{Topic: "views"}, log.Record{Timestamp: 2_000, Key: []byte("a"), Value: []byte("a")})
	n.view(0, 3_000, "a")
	n.runUntilEnd(countJob)
	wantRows(t, n.finals(), map[string][]int64{"0 a": {1}})

	end(true)
	n.runUntilEnd(countJob)
	wantRows(t, n.finals(), map[string][]int64{"0 a": {1, 3}})
}

// TestCommitsOverMarkers: the control batch that ends a transaction is read too.
// Who waits until all of a partition is processed waits for its end, and that lies
// behind it.
func TestCommitsOverMarkers(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	tp := log.TopicPartition{Topic: "views"}
	r := n.start(countJob)
	defer r.stop()
	committed := func(what string) {
		t.Helper()
		if err := r.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := n.log.Bounds(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		s := r.Status()
		for _, task := range s.Tasks {
			for _, in := range task.Inputs {
				if in.TopicPartition == tp && in.Offset != b.End {
					t.Errorf("%s: committed up to %d, want %d, the end", what, in.Offset, b.End)
				}
			}
		}
	}
	logtest.Begin(t, n.log, tp, log.Record{Timestamp: 1_000, Key: []byte("a"), Value: []byte("a")})(true)
	committed("after a commit")
	logtest.Begin(t, n.log, tp, log.Record{Timestamp: 2_000, Key: []byte("a"), Value: []byte("a")})(false)
	committed("after an abort")
}

// TestBoundedPassesNothing: a bounded run that ends behind a control batch leaves
// what came after its start to the next run, though the reader has gone there.
func TestBoundedPassesNothing(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	tp := log.TopicPartition{Topic: "views"}
	logtest.Begin(t, n.log, tp, log.Record{Timestamp: 1_000, Key: []byte("a"), Value: []byte("a")})(false)
	reader, err := n.log.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	in := &input{plan: &jobs.InputPlan{Topic: "views", Partitions: 1}, tp: tp, reader: reader, until: 2}
	n.view(0, 2_000, "b")
	if err := in.poll(true); err != nil {
		t.Fatal(err)
	}
	if in.offset != 2 || len(in.pending) > 0 {
		t.Errorf("got offset %d and %d records, want 2 and none", in.offset, len(in.pending))
	}
}

// TestOvertakenReaderIsFenced: whoever slept while another took the task over, and
// deleted what it had read of a repartition topic, is fenced, and not broken.
func TestOvertakenReaderIsFenced(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	tp := log.TopicPartition{Topic: "views"}
	for i := range 3 {
		n.view(0, int64(i), "a")
	}
	for _, repartition := range []bool{false, true} {
		b, err := n.log.Bounds(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := n.log.OpenReader(tp, b.Start, log.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		in := &input{plan: &jobs.InputPlan{Topic: "views", Partitions: 1, Repartition: repartition}, tp: tp, reader: reader}
		if err := n.log.DeleteRecords(t.Context(), tp, reader.Position()+1); err != nil {
			t.Fatal(err)
		}
		if err := in.poll(false); !errors.Is(err, log.ErrOffsetOutOfRange) || errors.Is(err, log.ErrFenced) != repartition {
			t.Errorf("repartition %t: got %v", repartition, err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLiveRunAndRestart(t *testing.T) {
	n := newNode(t)
	n.create("views", 2)
	r := n.start(countJob)
	for i := range 50 {
		n.view(i%2, int64(i)*1000, "p"+fmt.Sprint(i%3))
	}
	r.caughtUp(100)
	got := counts(t, r, "views-per-page")
	wantRows(t, got, map[string]int64{"0 p0": 17, "0 p1": 17, "0 p2": 16})
	r.stop()

	r = n.start(countJob)
	r.until("readiness", func() bool { s := r.Status(); return s.Ready() })
	n.view(0, 49_000, "p0")
	r.caughtUp(2)
	wantRows(t, counts(t, r, "views-per-page"), map[string]int64{"0 p0": 18, "0 p1": 17, "0 p2": 16})

	// The watermark of both partitions passes the minute and its grace.
	n.view(0, 80_000, "x")
	n.view(1, 80_000, "x")
	r.until("the final counts", func() bool { return len(n.finals()) == 3 })
	r.stop()
	wantRows(t, n.finals(), map[string][]int64{"0 p0": {18}, "0 p1": {17}, "0 p2": {16}})
}

func TestMissingInputTopic(t *testing.T) {
	n := newNode(t)
	_, err := Open(context.Background(), n.options(countJob))
	var m *jobs.Mistakes
	if !errors.As(err, &m) || !strings.Contains(err.Error(), `"views" does not exist`) {
		t.Fatalf("got %v, want mistakes that name the topic", err)
	}
	o := n.options(countJob)
	o.CreateTopics = true
	if _, err := Open(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if topic, err := n.log.Topic(context.Background(), "views"); err != nil || topic.Partitions != DefaultPartitions {
		t.Errorf("got %+v, %v, want %d partitions", topic, err, DefaultPartitions)
	}
}

func TestIncompatibleDeployIsRefused(t *testing.T) {
	n := newNode(t)
	n.create("views", 2)
	n.runUntilEnd(countJob)
	changed := jobs.Job{Name: countJob.Name, Build: func(g *op.Graph) {
		byPage := op.KeyBy(op.From(g, views), "by-page", func(page string) string { return page })
		op.To(op.Count(op.Window(byPage, op.Tumbling{Size: time.Hour}), "views-per-page").Final(), viewCounts)
	}}
	_, err := Open(context.Background(), n.options(changed))
	var in *jobs.Incompatible
	if !errors.As(err, &in) || len(in.List) != 1 || !strings.Contains(err.Error(), "grete reprocess visits") {
		t.Fatalf("got %v, want one incompatibility and advice", err)
	}
}

func TestReprocess(t *testing.T) {
	ctx := context.Background()
	n := newNode(t)
	n.create("views", 2)
	for i := range 10 {
		n.view(i%2, int64(i)*20_000, "a")
	}
	n.runUntilEnd(countJob)
	once := n.finals()

	generation, err := Reprocess(ctx, n.options(countJob), From{}, false)
	if err != nil || generation != 2 {
		t.Fatalf("got generation %d, %v", generation, err)
	}
	n.runUntilEnd(countJob)
	twice := map[string][]int64{}
	for k, v := range once {
		twice[k] = append(slices.Clone(v), v...)
	}
	wantRows(t, n.finals(), twice)
	topics, err := n.log.Topics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if g, ok := jobs.InternalTopic("visits", topic.Name); ok && g != 2 {
			t.Errorf("topic %s was not swept", topic.Name)
		}
	}
	dirs, err := n.disk.List("state/visits")
	if err != nil || !slices.Equal(dirs, []string{"2"}) {
		t.Errorf("got state of generations %v, %v, want 2 alone", dirs, err)
	}
	generations := map[string]int{}
	for _, r := range n.read("view-counts") {
		for _, h := range r.Headers {
			if h.Key == "grete.generation" {
				generations[string(h.Value)]++
			}
		}
	}
	if len(generations) != 1 || generations["2"] != len(once) {
		t.Errorf("got generations %v, want %d results of 2 (those of the first go without)", generations, len(once))
	}

	if _, err := Reprocess(ctx, n.options(countJob), From{Time: time.UnixMilli(130_000)}, true); err != nil {
		t.Fatal(err)
	}
	n.runUntilEnd(countJob)
	wantRows(t, n.finals(), map[string][]int64{"120000 a": {3}, "180000 a": {1}})
}

func TestDropOutputIsRefusedForSharedTopics(t *testing.T) {
	n := newNode(t)
	n.create("views", 2)
	n.runUntilEnd(countJob)
	n.runUntilEnd(jobs.Job{Name: "other", Build: countViews})
	_, err := Reprocess(context.Background(), n.options(countJob), From{}, true)
	if err == nil || !strings.Contains(err.Error(), `job "other" writes to view-counts too`) {
		t.Errorf("got %v", err)
	}
	// A plan that is not to be seen yet may be of a job that writes to it too.
	end := logtest.Begin(t, n.log, log.TopicPartition{Topic: jobs.PlansTopic}, log.Record{Timestamp: 1, Key: []byte("third"), Value: []byte("not committed")})
	defer end(false)
	_, err = Reprocess(context.Background(), n.options(countJob), From{}, true)
	if err == nil || !strings.Contains(err.Error(), "another job is being deployed") {
		t.Errorf("got %v", err)
	}
}

func TestDeadLettersCarryTheirOrigin(t *testing.T) {
	type view struct{ Page string }
	in := op.NewTopic("views", op.String, op.JSON[view]())
	out := op.NewTopic("pages", op.String, op.String)
	job := jobs.Job{Name: "pages", Build: func(g *op.Graph) {
		op.To(op.Map(op.From(g, in), func(v view) string { return v.Page }), out)
	}}
	n := newNode(t)
	n.create("views", 1)
	n.append("views", 0,
		log.Record{Timestamp: 1, Key: []byte("k"), Value: []byte(`{"Page":"a"}`)},
		log.Record{Timestamp: 2, Key: []byte("k"), Value: []byte(`nonsense`), Headers: []log.Header{{Key: "h", Value: []byte("x")}}})
	n.runUntilEnd(job)
	if got := n.read("pages"); len(got) != 1 || string(got[0].Value) != "a" {
		t.Errorf("got %v, want the good record", got)
	}
	dead := n.read("pages.dead-letters")
	if len(dead) != 1 {
		t.Fatalf("got %d dead letters, want 1", len(dead))
	}
	headers := map[string]string{}
	for _, h := range dead[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if string(dead[0].Value) != "nonsense" || string(dead[0].Key) != "k" || headers["grete.origin"] != "views/0/1" ||
		headers["h"] != "x" || headers["grete.error"] == "" || headers["grete.operator"] == "" {
		t.Errorf("got %q with headers %v", dead[0].Value, headers)
	}
}

func TestGap(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	for i := range 10 {
		n.view(0, int64(i), "a")
	}
	n.runUntilEnd(countJob)
	for i := range 10 {
		n.view(0, int64(i), "a")
	}
	tp := log.TopicPartition{Topic: "views"}
	if err := n.log.DeleteRecords(context.Background(), tp, 15); err != nil {
		t.Fatal(err)
	}
	o := n.options(countJob)
	o.UntilEnd = true
	c, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(context.Background())
	var gap *GapError
	if !errors.As(err, &gap) || gap.From != 10 || gap.To != 15 || gap.TopicPartition != tp {
		t.Fatalf("got %v, want records 10 to 14 to be missed", err)
	}
	if s := c.Status(); s.State != Failed || s.Health().Healthy {
		t.Errorf("got state %s, health %+v", s.State, s.Health())
	}
}

func TestForeignPartitioner(t *testing.T) {
	job := jobs.Job{Name: "direct", Build: func(g *op.Graph) {
		op.To(op.Count(op.Window(op.From(g, views), op.Tumbling{Size: time.Minute}), "counts").Final(), viewCounts)
	}}
	n := newNode(t)
	n.create("views", 2)
	wrong := 1 - log.PartitionFor([]byte("user"), 2)
	n.view(int(wrong), 1, "a")
	c, err := Open(context.Background(), n.options(job))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "topic views") || !strings.Contains(err.Error(), "op.KeyBy") {
		t.Errorf("got %v, want an error that names the topic and advises KeyBy", err)
	}
}

func TestUnknownStore(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	r := n.start(countJob)
	defer r.stop()
	if _, err := r.Views("view-per-page"); !errors.Is(err, ErrUnknownStore) || !strings.Contains(err.Error(), "keeps views-per-page") {
		t.Errorf("got %v", err)
	}
}

func TestMetricsHandler(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	n.view(0, 1, "a")
	r := n.start(countJob)
	r.caughtUp(2)
	text := scrape(t, r.MetricsHandler())
	r.stop()
	for _, want := range []string{
		`grete_records_read_total{job="visits",task="source-0"} 1`,
		`grete_records_read_total{job="visits",task="by-page-0"} 1`,
		"# HELP grete_commits_total Commits that tasks have made.",
		`grete_commit_seconds_count{job="visits"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s:\n%s", want, text)
		}
	}
}
