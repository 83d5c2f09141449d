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

	c := &Container{opts: Options{Log: l}, checkpointTopic: "checkpoint", logger: hclog.NewNullLogger()}
	for i, name := range []string{"a-0", "b-0"} { // b-0 is elsewhere
		c.tasks = append(c.tasks, &task{c: c, name: name})
		c.tasks[i].mu.checkpointAt = []log.Offset{5, -1}[i]
	}
	j := newJanitor(c)
	for _, want := range []log.Offset{2, 3} {
		j.purgeCheckpoints(t.Context())
		b, err := l.Bounds(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		if b.Start != want {
			t.Errorf("the topic begins at %d, want %d", b.Start, want)
		}
		if want == 2 {
			end(true)
		}
	}
}
