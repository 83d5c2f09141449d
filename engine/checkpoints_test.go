package engine

import (
	"context"
	"testing"

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
