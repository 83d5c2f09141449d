package engine

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// TestCheckpointBehindOpenTransaction: the transaction of a task whose container
// was killed hides what other tasks have committed behind it. A task that was
// fenced finds its checkpoint all the same; one that has none there does not wait.
func TestCheckpointBehindOpenTransaction(t *testing.T) {
	l := logtest.Open(t)
	tp := logtest.Create(t, l, "checkpoint", 1)[0]
	checkpoint := func(task string, epoch log.Epoch) log.Record {
		c := jobs.Checkpoint{Epoch: epoch}
		return log.Record{Timestamp: 1, Key: []byte(task), Value: c.AppendTo(nil)}
	}
	logtest.Append(t, l, tp, checkpoint("a-0", 1), checkpoint("b-0", 1), checkpoint("c-0", 1))
	end := logtest.Begin(t, l, tp, checkpoint("a-0", 2))
	logtest.Append(t, l, tp, checkpoint("b-0", 3))
	want := func(points map[string]savedPoint, epochs map[string]log.Epoch) {
		t.Helper()
		for task, epoch := range epochs {
			if got := points[task].checkpoint.Epoch; got != epoch {
				t.Errorf("task %s: got epoch %d, want %d", task, got, epoch)
			}
		}
	}

	// Nobody's own, and that of a task without a record behind the transaction.
	for _, fenced := range [][]string{nil, {"c-0"}} {
		points, err := readCheckpoints(t.Context(), l, "checkpoint", fenced...)
		if err != nil {
			t.Fatal(err)
		}
		want(points, map[string]log.Epoch{"a-0": 1, "b-0": 1, "c-0": 1})
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if points, err := readCheckpoints(stopped, l, "checkpoint", "b-0"); err == nil {
		t.Fatalf("read past an open transaction: got %v", points)
	}
	var points map[string]savedPoint
	found := make(chan error)
	go func() {
		var err error
		points, err = readCheckpoints(t.Context(), l, "checkpoint", "b-0")
		found <- err
	}()
	end(false)
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	want(points, map[string]log.Epoch{"a-0": 1, "b-0": 3, "c-0": 1})
}

// TestPurgeSparesHiddenCheckpoints: a checkpoint behind the open transaction of
// another task is not to be seen, and stays.
func TestPurgeSparesHiddenCheckpoints(t *testing.T) {
	l := logtest.Open(t)
	tp := logtest.Create(t, l, "checkpoint", 1)[0]
	record := log.Record{Timestamp: 1, Key: []byte("x"), Value: new(jobs.Checkpoint).AppendTo(nil)}
	named := func(task string) log.Record {
		r := record
		r.Key = []byte(task)
		return r
	}
	logtest.Append(t, l, tp, named("a-0"), named("c-0"))
	end := logtest.Begin(t, l, tp, named("c-0"))
	logtest.Append(t, l, tp, named("b-0"), named("a-0"), named("a-0"))

	scanned := &scanned{Log: l}
	c := &Container{opts: Options{Log: scanned}, checkpointTopic: "checkpoint", logger: hclog.NewNullLogger()}
	for i, name := range []string{"a-0", "b-0"} { // b-0 is elsewhere
		c.tasks = append(c.tasks, &task{c: c, name: name})
		c.tasks[i].mu.checkpointAt = []log.Offset{5, -1}[i]
	}
	j := newJanitor(c)
	for _, want := range []log.Offset{2, 3} {
		scanned.then = nil
		if want == 2 { // the transaction ends when the topic was looked through
			scanned.opened, scanned.then = false, func() { end(true) }
		}
		j.purgeCheckpoints(t.Context())
		b, err := l.Bounds(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		if b.Start != want {
			t.Errorf("the topic begins at %d, want %d", b.Start, want)
		}
		if scanned.then != nil {
			scanned.then()
		}
	}
}

// scanned is a log that does something between the scan of a partition and the
// next look at its bounds.
type scanned struct {
	log.Log
	opened bool
	then   func() // or nil: done
}

func (l *scanned) OpenReader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) (log.Reader, error) {
	l.opened = true
	return l.Log.OpenReader(tp, from, opts)
}

func (l *scanned) Bounds(ctx context.Context, tp log.TopicPartition) (log.Bounds, error) {
	if l.opened && l.then != nil {
		l.then()
		l.then = nil
	}
	return l.Log.Bounds(ctx, tp)
}

// TestEpochsBeginAnew: a log whose internal topics were copied from another may
// give out lower epochs than the checkpoints in them have. The newest still wins.
func TestEpochsBeginAnew(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	n.view(0, 1_000, "a")
	n.runUntilEnd(countJob)

	d, err := jobs.LoadDeployment(t.Context(), n.log, countJob.Name)
	if err != nil {
		t.Fatal(err)
	}
	topic := jobs.CheckpointTopic(countJob.Name, d.Plan.Generation)
	points, err := readCheckpoints(t.Context(), n.log, topic)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) == 0 {
		t.Fatalf("no checkpoint in %s", topic)
	}
	for name, p := range points {
		p.checkpoint.Epoch += 1 << 50
		n.append(topic, 0, log.Record{Timestamp: 1, Key: []byte(name), Value: p.checkpoint.AppendTo(nil)})
	}
	want := map[string][]int64{"0 a": {1, 2}}
	n.view(0, 2_000, "a")
	for range 2 { // the second has nothing to do
		n.runUntilEnd(countJob)
		wantRows(t, n.finals(), want)
	}
}

// TestTermRises: what a task signs with is above the last checkpoint, and if that
// is of neither this life nor the last one here, another container had it.
func TestTermRises(t *testing.T) {
	tk := &task{name: "a-0"}
	begin := func(saved, epoch, term, taken log.Epoch) {
		t.Helper()
		points := map[string]savedPoint{}
		if saved > 0 {
			points["a-0"] = savedPoint{checkpoint: jobs.Checkpoint{Epoch: saved}}
		}
		tk.findSaved(points, epoch)
		if tk.term != term || tk.taken != taken {
			t.Errorf("checkpoint of %d, epoch %d: got term %d, taken %d, want %d, %d", saved, epoch, tk.term, tk.taken, term, taken)
		}
	}
	begin(0, 5, 5, 5)
	begin(5, 7, 7, 5)
	begin(7, 8, 8, 5)
	tk.until = []log.Offset{1}
	begin(9, 11, 11, 11) // 9 was elsewhere
	if tk.until != nil {
		t.Error("the ends are those from before another container had the task")
	}
	begin(11, 3, 12, 11) // copied to a log that counts anew
	begin(12, 4, 13, 11)
	tk.enter(&hold{})
	begin(13, 5, 14, 14)
}
